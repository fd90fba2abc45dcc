//! Parser of pressure files (psi_show, kernel/sched/psi.c): bytes in, plain numbers out.

use crate::source::task::number;

/// Totals of one resource since boot, or since the group was made, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// `some`: at least one task waited. The kernel prints none for interrupts.
    pub waiting_us: Option<u64>,
    /// `full`: no task ran while at least one waited. The kernel prints none for CPUs up to 5.12.
    pub stalled_us: Option<u64>,
}

/// Parses the lines `some` and `full`, each of which may be missing; `None` when both are, or one is cut.
pub fn pressure(text: &[u8]) -> Option<Pressure> {
    let mut found = Pressure::default();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n")?;
        if let Some(rest) = line.strip_prefix(b"some ") {
            found.waiting_us = Some(total(rest)?);
        } else if let Some(rest) = line.strip_prefix(b"full ") {
            found.stalled_us = Some(total(rest)?);
        }
    }
    (found != Pressure::default()).then_some(found)
}

fn total(averages_and_total: &[u8]) -> Option<u64> {
    number(averages_and_total.split(|byte| *byte == b' ').find_map(|field| field.strip_prefix(b"total="))?)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the oracle's own text")]
mod tests {
    use super::*;
    use procfs::FromRead;
    use proptest::prelude::*;

    #[test]
    fn one_line_or_two_are_read_and_cuts_are_refused() {
        let text = b"some avg10=1.00 avg60=0.50 avg300=0.10 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        assert_eq!(pressure(text), Some(Pressure { waiting_us: Some(12), stalled_us: Some(3) }));
        let full = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure(full), Some(Pressure { waiting_us: None, stalled_us: Some(7) }));
        for bad in [
            &b""[..],
            b"full",
            b"some\n",
            b"some avg10=0.00\n",
            b"some avg10=1.00 avg60=0.50 avg300=0.10 total=12\nfull avg10",
            b"some total=99999999999999999999\n",
            b"some total=-1\n",
            b"other total=1\n",
        ] {
            assert_eq!(pressure(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    /// On the running kernel's own text, where it has one.
    #[test]
    fn our_parser_agrees_with_the_crate() {
        let Ok(text) = std::fs::read("/proc/pressure/memory") else { return };
        let theirs = procfs::MemoryPressure::from_read(text.as_slice()).unwrap();
        let ours = pressure(&text).unwrap();
        assert_eq!((ours.waiting_us, ours.stalled_us), (Some(theirs.some.total), Some(theirs.full.total)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_understood(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = pressure(&text);
        }

        #[test]
        fn a_cut_text_never_gives_another_number(some: u64, full: u64, cut in 0_usize..160) {
            let averages = "avg10=0.00 avg60=1.02 avg300=0.41";
            let text = format!("some {averages} total={some}\nfull {averages} total={full}\n");
            let whole = Pressure { waiting_us: Some(some), stalled_us: Some(full) };
            prop_assert_eq!(pressure(text.as_bytes()), Some(whole));
            let cut = pressure(text.as_bytes().get(..cut).unwrap_or(text.as_bytes()));
            let first_line = Pressure { stalled_us: None, ..whole };
            prop_assert!(cut.is_none_or(|read| read == whole || read == first_line));
        }
    }
}
