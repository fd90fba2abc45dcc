//! Lists that may be longer than a reader's buffer, or that are directories of sysfs.

use std::collections::HashSet;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::pread;

use super::Reader;
use super::error::{Cause, SourceError};
use super::place::Place;

/// Most bytes of a list that is read line by line: far above the largest host, so that no file reads on for ever.
const LINES_MAX: usize = 16 * 1024 * 1024;

impl Reader<'_> {
    /// Opens, gives each line without its newline to `each`, closes. For lists that may be longer than the buffer. A
    /// last line without a newline is cut, and given to nobody; true when there was none.
    ///
    /// # Errors
    /// What the kernel answered, that a line did not fit, or that there was no end.
    pub fn lines(&mut self, place: &Place<'_>, mut each: impl FnMut(&[u8])) -> Result<bool, SourceError> {
        let kept = self.keep(place)?;
        let fail = |cause| SourceError::at(kept.row, kept.subject, cause);
        let (mut offset, mut held) = (0_usize, 0_usize);
        loop {
            self.stamp.enter(kept.row, kept.subject);
            let room = self.text.get_mut(held..).unwrap_or_default();
            let at = u64::try_from(offset).unwrap_or_default();
            let read = pread(&kept.fd, room, at).map_err(|errno| fail(Cause::from(errno)))?;
            if read == 0 {
                return if held < self.text.len() { Ok(held == 0) } else { Err(fail(Cause::TooLong(held))) };
            }
            offset = offset.saturating_add(read);
            if offset > LINES_MAX {
                return Err(fail(Cause::TooLong(LINES_MAX)));
            }
            let end = held.saturating_add(read);
            let text = self.text.get(..end).unwrap_or_default();
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last.saturating_add(1));
            let lines = text.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
            lines.filter_map(|line| line.strip_suffix(b"\n")).for_each(&mut each);
            self.text.copy_within(whole..end, 0);
            held = end.saturating_sub(whole);
        }
    }

    /// Lists the names of the whole block devices into `names`, at most `most` of them.
    ///
    /// # Errors
    /// What the kernel answered. `names` then holds what was listed before.
    pub fn list_disks(&mut self, most: usize, names: &mut HashSet<Vec<u8>>) -> Result<(), SourceError> {
        let fd = self.open(&Place::Disks, OFlags::RDONLY | OFlags::DIRECTORY)?;
        names.clear();
        self.entries(fd.as_fd(), &Place::Disks, |entry| {
            let name = entry.file_name().to_bytes();
            if names.len() < most && !matches!(name, b"." | b"..") {
                names.insert(name.to_vec());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Roots;
    use crate::source::{Host, NoStamp};

    fn lines(text: &str) -> (Vec<String>, Result<bool, SourceError>) {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join("diskstats"), text).unwrap();
        let root = || tree.path().to_owned();
        let host = Host::open(&Roots { procfs: root(), sysfs: root(), cgroupfs: root() }).unwrap();
        let mut lines = Vec::new();
        let each = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        let whole = Reader::for_probe(&host, &NoStamp).lines(&Place::DiskStats, each);
        (lines, whole)
    }

    #[test]
    fn every_whole_line_is_given_once_however_the_reads_cut_it() {
        assert_eq!(lines(""), (vec![], Ok(true)));
        assert_eq!(lines("a\n\nb\ncut"), (vec!["a".into(), String::new(), "b".into()], Ok(false)));
        let many: Vec<String> =
            (0..40_000).map(|number| format!("{number} {}", "x".repeat(number % 97))).collect();
        assert_eq!(lines(&format!("{}\n", many.join("\n"))), (many, Ok(true)));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = "x".repeat(70_000);
        let (given, refused) = lines(&format!("a\n{endless}\n"));
        assert_eq!(given, ["a"]);
        assert!(matches!(refused.unwrap_err().cause, Cause::TooLong(_)));
        assert!(lines(&"y\n".repeat(LINES_MAX / 2 + 1)).1.is_err(), "and so is a list without end");
    }
}
