//! Parsers of block-device files: bytes in, plain numbers out.

use crate::source::task::number;

/// Digits of the longest counter.
const DIGITS: usize = 20;
/// Most I/O that can be in flight. The kernel sums signed per-CPU counts and prints them unsigned, so a count that
/// has slipped below zero comes as one above this.
const INFLIGHT_MAX: u64 = i32::MAX as u64;
/// Longest name: 32 bytes for the disk (DISK_NAME_LEN), and `p` and a number for the partition.
const NAME_MAX: usize = 48;

/// One line of `/proc/diskstats` (diskstats_show, block/genhd.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Name of the device or partition.
    pub name: &'a [u8],
    /// I/O that was begun and has not ended.
    pub inflight: u64,
    /// I/O that has ended, failed or not: reads, writes, and where the kernel tells them apart (from 4.18, from 5.5)
    /// discards and flushes.
    pub completed: u64,
}

/// Parses a line without its newline; `None` when it is cut, has another number of columns than any kernel prints
/// (14, 18, 20), or a number that cannot be.
pub fn disk(line: &[u8]) -> Option<Disk<'_>> {
    let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let (_major, _minor) = (number(fields.next()?)?, number(fields.next()?)?);
    let name = fields.next().filter(|name| name.len() <= NAME_MAX)?;
    let mut counts = [0; 17];
    let mut columns = 0;
    for field in fields {
        if field.len() > DIGITS {
            return None;
        }
        *counts.get_mut(columns)? = number(field)?;
        columns = columns.saturating_add(1);
    }
    let [reads, _, _, _, writes, _, _, _, inflight, _, _, discards, _, _, _, flushes, _] = counts;
    if !matches!(columns, 11 | 15 | 17) || inflight > INFLIGHT_MAX {
        return None;
    }
    // Columns that are not there are zero.
    let completed = [reads, writes, discards, flushes].into_iter().try_fold(0, u64::checked_add)?;
    Some(Disk { name, inflight, completed })
}

/// The number of a device-mapper device, `dm-N`; any other name has none.
pub fn dm_number(name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(b"dm-")?;
    // As the kernel writes it: the number becomes a part of a path again.
    let plain = digits == b"0" || !digits.starts_with(b"0");
    number(digits).filter(|_| plain).and_then(|number| u32::try_from(number).ok())
}

/// `dm/suspended` (dm_attr_suspended_show, drivers/md/dm-sysfs.c).
pub fn suspended(text: &[u8]) -> Option<bool> {
    match text {
        b"0\n" => Some(false),
        b"1\n" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the oracle's own text")]
mod tests {
    use super::*;
    use procfs::FromBufRead;
    use proptest::prelude::*;

    const OLD: &str = "   8       0 sda 10 0 0 0 5 0 0 0 2 0 0";

    #[test]
    fn every_number_of_columns_that_a_kernel_prints_is_read() {
        let disk = |completed| Some(Disk { name: b"sda", inflight: 2, completed });
        assert_eq!(super::disk(OLD.as_bytes()), disk(15));
        assert_eq!(super::disk(format!("{OLD} 3 0 0 0").as_bytes()), disk(18));
        assert_eq!(super::disk(format!("{OLD} 3 0 0 0 4 9").as_bytes()), disk(22));
        for cut in ["", " 3", " 3 0 0", " 3 0 0 0 4", " 3 0 0 0 4 9 9"] {
            assert_eq!(super::disk(format!("{OLD}{cut}").as_bytes()).is_some(), cut.is_empty(), "{cut:?}");
        }
        for bad in ["", "8 0 sda", "8 0 sda 1 2 3", "x 0 sda 1 2 3 4 5 6 7 8 9 10 11"] {
            assert_eq!(super::disk(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_no_count() {
        for inflight in ["4294967295", "18446744073709551615", "-1", "2147483648", "000000000000000000001"] {
            let line = format!("8 0 sda 10 0 0 0 5 0 0 0 {inflight} 0 0");
            assert_eq!(disk(line.as_bytes()), None, "{inflight}");
        }
        let sum = format!("8 0 sda {} 0 0 0 1 0 0 0 0 0 0", u64::MAX);
        assert_eq!(disk(sum.as_bytes()), None, "never a wrap");
        let long = format!("8 0 {} 1 0 0 0 1 0 0 0 0 0 0", "x".repeat(300));
        assert_eq!(disk(long.as_bytes()), None);
    }

    #[test]
    fn only_the_kernels_own_spelling_of_a_dm_device_has_a_number() {
        assert_eq!(dm_number(b"dm-0"), Some(0));
        assert_eq!(dm_number(b"dm-17"), Some(17));
        for other in [&b"dm-"[..], b"dm-01", b"dm-1p1", b"sda", b"dm-../x", b"dm-4294967296"] {
            assert_eq!(dm_number(other), None, "{}", String::from_utf8_lossy(other));
        }
        assert_eq!((suspended(b"1\n"), suspended(b"0\n"), suspended(b"1")), (Some(true), Some(false), None));
    }

    /// On the running kernel's own text.
    #[test]
    fn our_parser_agrees_with_the_crate() {
        let text = std::fs::read("/proc/diskstats").unwrap();
        let theirs = procfs::DiskStats::from_buf_read(text.as_slice()).unwrap().0;
        let ours: Vec<Disk<'_>> =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(disk).collect();
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            let rest = [theirs.discards, theirs.flushes].into_iter().flatten().sum::<u64>();
            assert_eq!(ours.name, theirs.name.as_bytes());
            assert_eq!(
                (ours.inflight, ours.completed),
                (theirs.in_progress, theirs.reads + theirs.writes + rest)
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_understood(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (disk(&text), dm_number(&text), suspended(&text));
        }

        #[test]
        fn what_the_kernel_prints_comes_back_and_its_cuts_do_not_lie(
            counts in proptest::collection::vec(0..u64::from(u32::MAX), 17), inflight in 0..=INFLIGHT_MAX,
            columns in prop_oneof![Just(11_usize), Just(15), Just(17)], cut in 0_usize..200,
        ) {
            let mut counts = counts;
            counts[8] = inflight;
            counts.truncate(columns);
            let completed = [0, 4, 11, 15].into_iter().filter_map(|column| counts.get(column)).sum();
            let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
            let line = format!(" 259       3 nvme0n1 {}", counts.join(" "));
            prop_assert_eq!(disk(line.as_bytes()), Some(Disk { name: b"nvme0n1", inflight, completed }));
            // A cut in the last column, or between the columns of two kernels, looks whole; the reader knows that a
            // line without its newline is none. A cut anywhere must not panic.
            let _ = disk(line.as_bytes().get(..cut).unwrap_or_default());
        }
    }
}
