//! The only room that opens the kernel's files.
//!
//! A [`Reader`] opens what [`place::Place`] can name and nothing else, stamps every entry into the kernel before it
//! makes it, reads a bounded number of bytes in one call, and gives errors that say what, where and what to do.
//! Parsers (`task`, `cgroup`) take bytes and never open.
#![expect(clippy::disallowed_methods, reason = "this room is the owner of file opening")]

pub mod block;
pub mod cgroup;
pub mod cold;
pub mod error;
pub mod kernel;
mod lists;
pub mod paths;
pub mod place;
pub mod pressure;
mod stamp;
pub mod task;

use std::ffi::CStr;
use std::fmt::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, RawDirEntry, openat, statat};
use rustix::io::{Errno, pread};

use crate::config::Roots;
use error::{Cause, SourceError};
use paths::{Class, Reader as Side, RowId};
use place::{Base, Out, Place, ThreadFile, Tree};
pub use stamp::{NoStamp, Stamp};

/// Most bytes of one file that are looked at. `status` is about 1.5 KiB, `sched` about 2 KiB.
const TEXT_MAX: usize = 64 * 1024;
/// Longest path below a root, terminator included. Cgroup paths are the long ones.
const PATH_MAX: usize = 4096;
/// Bytes of directory entries taken per `getdents64`.
const ENTRIES: usize = 32 * 1024;

/// The mounted trees, held open from the start.
#[derive(Debug)]
pub struct Host {
    proc: OwnedFd,
    sys: Option<OwnedFd>,
    cgroup: Option<OwnedFd>,
}

impl Host {
    /// Opens the roots. A missing cgroup tree or sysfs is a host without one; a missing `/proc` is an error.
    ///
    /// # Errors
    /// The root that cannot be opened and why.
    pub fn open(roots: &Roots) -> Result<Self, SourceError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, &roots.procfs, flags, Mode::empty())
            .map_err(|errno| SourceError::new(roots.procfs.display().to_string(), Cause::from(errno)))?;
        let open = |root| openat(CWD, root, flags, Mode::empty()).ok();
        Ok(Self { proc, sys: open(&roots.sysfs), cgroup: open(&roots.cgroupfs) })
    }

    fn root(&self, tree: Tree) -> Option<BorrowedFd<'_>> {
        match tree {
            Tree::Proc => Some(self.proc.as_fd()),
            Tree::Sys => self.sys.as_ref().map(AsFd::as_fd),
            Tree::Cgroup => self.cgroup.as_ref().map(AsFd::as_fd),
        }
    }
}

/// A descriptor that is read again and again. Of a thread's file it answers ESRCH after exit and can never show a
/// reused id.
#[derive(Debug)]
pub struct Kept {
    fd: OwnedFd,
    row: RowId,
    subject: u32,
}

/// An open task directory: its threads are listed from it and opened below it, without a walk from the root.
#[derive(Debug)]
pub struct TaskDir {
    fd: OwnedFd,
    pid: u32,
}

/// What `statx` of `/proc/PID/task` tells (proc_task_getattr, fs/proc/base.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Effective user id of the leader.
    pub uid: u32,
    /// Threads of the process; zero where the filesystem does not count links.
    pub threads: u64,
}

/// Reads places of one host, for one thread of ours.
pub struct Reader<'a> {
    host: &'a Host,
    stamp: &'a dyn Stamp,
    side: Side,
    text: Box<[u8]>,
    entries: Box<[MaybeUninit<u8>]>,
    path: Box<[u8; PATH_MAX]>,
}

impl<'a> Reader<'a> {
    /// A reader for a probe lane.
    pub fn for_probe(host: &'a Host, stamp: &'a dyn Stamp) -> Self {
        Self::new(host, stamp, Side::Probe, ENTRIES)
    }

    /// A reader for the serving process: only rows that are SAFE and marked for front.
    pub fn for_front(host: &'a Host, stamp: &'a dyn Stamp) -> Self {
        Self::new(host, stamp, Side::Front, 0)
    }

    fn new(host: &'a Host, stamp: &'a dyn Stamp, side: Side, entries: usize) -> Self {
        Self {
            host,
            stamp,
            side,
            text: vec![0; if side == Side::Front { 4096 } else { TEXT_MAX }].into_boxed_slice(),
            entries: vec![MaybeUninit::uninit(); entries].into_boxed_slice(),
            path: Box::new([0; PATH_MAX]),
        }
    }

    /// Opens, reads once from the start, closes.
    ///
    /// # Errors
    /// What the kernel answered, or that the text did not fit.
    pub fn read(&mut self, place: &Place<'_>) -> Result<&[u8], SourceError> {
        let kept = self.keep(place)?;
        self.again(&kept)
    }

    /// Reads once a file of a thread whose task directory is open.
    ///
    /// # Errors
    /// What the kernel answered, or that the text did not fit.
    pub fn read_below(&mut self, dir: &TaskDir, tid: u32, file: ThreadFile) -> Result<&[u8], SourceError> {
        let place = Place::Thread { pid: dir.pid, tid, file };
        let fd = self.open_at(dir.fd.as_fd(), Base::Tasks, &place, OFlags::RDONLY)?;
        self.again(&Kept { fd, row: place.row(), subject: tid })
    }

    /// Opens the task directory of a process.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn tasks(&mut self, pid: u32) -> Result<TaskDir, SourceError> {
        let fd = self.open(&Place::Threads { pid }, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(TaskDir { fd, pid })
    }

    /// Opens a place to read it again and again.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn keep(&mut self, place: &Place<'_>) -> Result<Kept, SourceError> {
        let fd = self.open(place, OFlags::RDONLY)?;
        Ok(Kept { fd, row: place.row(), subject: place.subject() })
    }

    /// Reads a kept descriptor from the start, in one call that regenerates the text.
    ///
    /// # Errors
    /// What the kernel answered (ESRCH once the thread has ended), or that the text did not fit.
    pub fn again(&mut self, kept: &Kept) -> Result<&[u8], SourceError> {
        self.stamp.enter(kept.row, kept.subject);
        let fail = |cause| SourceError::at(kept.row, kept.subject, cause);
        let length = pread(&kept.fd, &mut *self.text, 0).map_err(|errno| fail(Cause::from(errno)))?;
        if length == self.text.len() {
            return Err(fail(Cause::TooLong(length)));
        }
        self.text.get(..length).ok_or_else(|| fail(Cause::TooLong(length)))
    }

    /// Opens, reads to the end in as many calls as the kernel wants (lists come a page at a time), closes.
    ///
    /// # Errors
    /// What the kernel answered, or that the text did not fit.
    pub fn whole(&mut self, place: &Place<'_>) -> Result<&[u8], SourceError> {
        let kept = self.keep(place)?;
        let fail = |cause| SourceError::at(kept.row, kept.subject, cause);
        let mut length = 0;
        loop {
            self.stamp.enter(kept.row, kept.subject);
            let rest = self.text.get_mut(length..).unwrap_or_default();
            match pread(&kept.fd, rest, u64::try_from(length).unwrap_or_default()) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(errno) => return Err(fail(Cause::from(errno))),
            }
        }
        if length == self.text.len() {
            return Err(fail(Cause::TooLong(length)));
        }
        self.text.get(..length).ok_or_else(|| fail(Cause::TooLong(length)))
    }

    /// Lists the processes into `ids`, at most `most` of them. Returns how many were left out.
    ///
    /// # Errors
    /// What the kernel answered. `ids` then holds what was listed before.
    pub fn list_processes(&mut self, most: usize, ids: &mut Vec<u32>) -> Result<u64, SourceError> {
        let fd = self.open(&Place::Processes, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.list(fd.as_fd(), &Place::Processes, most, ids)
    }

    /// Lists the threads of a process into `ids`, as [`Self::list_processes`] does.
    ///
    /// # Errors
    /// What the kernel answered. `ids` then holds what was listed before.
    pub fn list_threads(
        &mut self,
        dir: &TaskDir,
        most: usize,
        ids: &mut Vec<u32>,
    ) -> Result<u64, SourceError> {
        self.list(dir.fd.as_fd(), &Place::Threads { pid: dir.pid }, most, ids)
    }

    fn list(
        &mut self,
        fd: BorrowedFd<'_>,
        place: &Place<'_>,
        most: usize,
        ids: &mut Vec<u32>,
    ) -> Result<u64, SourceError> {
        ids.clear();
        let mut left_out = 0;
        self.entries(fd, place, |entry| {
            let id = task::number(entry.file_name().to_bytes()).and_then(|id| u32::try_from(id).ok());
            match id {
                Some(id) if ids.len() < most => ids.push(id),
                Some(_) => left_out += 1,
                None => {}
            }
        })?;
        Ok(left_out)
    }

    /// Lists the names of the groups directly below a group into `names`, at most `most` of them. Returns how many
    /// were left out.
    ///
    /// # Errors
    /// What the kernel answered. `names` then holds what was listed before.
    pub fn list_groups(
        &mut self,
        group: &[u8],
        most: usize,
        names: &mut Vec<Vec<u8>>,
    ) -> Result<u64, SourceError> {
        let place = Place::Groups { group };
        let fd = self.open(&place, OFlags::RDONLY | OFlags::DIRECTORY)?;
        names.clear();
        let mut left_out = 0;
        self.entries(fd.as_fd(), &place, |entry| {
            let name = entry.file_name().to_bytes();
            if entry.file_type() != FileType::Directory || matches!(name, b"." | b"..") {
                return;
            }
            if names.len() < most {
                names.push(name.to_vec());
            } else {
                left_out += 1;
            }
        })?;
        Ok(left_out)
    }

    fn entries(
        &mut self,
        fd: BorrowedFd<'_>,
        place: &Place<'_>,
        mut each: impl FnMut(&RawDirEntry<'_>),
    ) -> Result<(), SourceError> {
        let mut entries = RawDir::new(fd, &mut self.entries);
        loop {
            if entries.is_buffer_empty() {
                self.stamp.enter(place.row(), place.subject());
            }
            match entries.next() {
                None => return Ok(()),
                Some(Err(errno)) => {
                    return Err(SourceError::at(place.row(), place.subject(), Cause::from(errno)));
                }
                Some(Ok(entry)) => each(&entry),
            }
        }
    }

    /// Whether there may be groups below a group, without listing it: a directory has a link for each of its
    /// sub-directories and two of its own. A filesystem that does not count links gives one, which means maybe.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn has_groups(&mut self, group: &[u8]) -> Result<bool, SourceError> {
        let place = Place::Groups { group };
        let fail = |cause| SourceError::at(place.row(), 0, cause);
        let root = self.host.root(Tree::Cgroup).ok_or_else(|| fail(Cause::NoTree))?;
        let path = path(&place, Base::Root, &mut self.path)?;
        self.stamp.enter(place.row(), 0);
        let stat = statat(root, path, AtFlags::empty()).map_err(|errno| fail(Cause::from(errno)))?;
        Ok(stat.st_nlink != 2)
    }

    /// Owner and number of threads of a process, without listing them.
    ///
    /// # Errors
    /// What the kernel answered.
    #[allow(clippy::useless_conversion, reason = "st_nlink is narrower on other architectures")]
    pub fn group(&mut self, pid: u32) -> Result<Group, SourceError> {
        let place = Place::Threads { pid };
        let path = path(&place, Base::Root, &mut self.path)?;
        self.stamp.enter(place.row(), pid);
        let stat = statat(&self.host.proc, path, AtFlags::empty())
            .map_err(|errno| SourceError::at(place.row(), pid, Cause::from(errno)))?;
        // Two links are the directory's own; a filesystem that does not count gives one.
        Ok(Group { uid: stat.st_uid, threads: u64::from(stat.st_nlink).saturating_sub(2) })
    }

    fn open(&mut self, place: &Place<'_>, flags: OFlags) -> Result<OwnedFd, SourceError> {
        let host = self.host;
        let Some(root) = host.root(place.tree()) else {
            return Err(SourceError::at(place.row(), place.subject(), Cause::NoTree));
        };
        self.open_at(root, Base::Root, place, flags)
    }

    fn open_at(
        &mut self,
        dir: BorrowedFd<'_>,
        base: Base,
        place: &Place<'_>,
        flags: OFlags,
    ) -> Result<OwnedFd, SourceError> {
        let fail = |cause| SourceError::at(place.row(), place.subject(), cause);
        let row = place.row().row();
        let ours = self.side == Side::Probe || (row.reader == Side::Front && row.class == Class::Safe);
        if !ours {
            return Err(fail(Cause::Refused));
        }
        let path = path(place, base, &mut self.path)?;
        self.stamp.enter(place.row(), place.subject());
        openat(dir, path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| fail(Cause::from(errno)))
    }
}

/// Writes the path and its terminator into the reader's buffer.
fn path<'b>(place: &Place<'_>, base: Base, buffer: &'b mut [u8; PATH_MAX]) -> Result<&'b CStr, SourceError> {
    let fail = || SourceError::at(place.row(), place.subject(), Cause::TooLong(PATH_MAX));
    let mut rest = PathBuffer { rest: buffer.as_mut_slice() };
    place.write(base, &mut rest).and_then(|()| rest.write_char('\0')).map_err(|_full| fail())?;
    CStr::from_bytes_until_nul(buffer.as_slice()).map_err(|_none| fail())
}

/// Takes text until it is full.
struct PathBuffer<'b> {
    rest: &'b mut [u8],
}

impl fmt::Write for PathBuffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Out for PathBuffer<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        let (place, rest) =
            std::mem::take(&mut self.rest).split_at_mut_checked(bytes.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH | Errno::NODEV => Self::Vanished,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::OPNOTSUPP => Self::Unsupported,
            other => Self::Kernel(std::io::Error::from(other).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::place::ThreadFile;
    use std::cell::Cell;

    #[derive(Default)]
    struct Last(Cell<Option<(u16, u32)>>);

    impl Stamp for Last {
        fn enter(&self, row: RowId, subject: u32) {
            self.0.set(Some((row.number(), subject)));
        }
    }

    fn host() -> Host {
        Host::open(&crate::config::Roots {
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            cgroupfs: "/sys/fs/cgroup".into(),
        })
        .unwrap()
    }

    #[test]
    fn front_is_refused_what_is_not_safe() {
        let (host, stamp) = (host(), Last::default());
        let mut front = Reader::for_front(&host, &stamp);
        assert!(front.read(&Place::LoadAvg).is_ok());
        for file in [ThreadFile::Status, ThreadFile::Stat, ThreadFile::Wchan] {
            let refused = front.read(&Place::Thread { pid: 1, tid: 1, file }).unwrap_err();
            assert!(matches!(refused.cause, Cause::Refused), "{refused}");
        }
    }

    #[test]
    fn reads_stamp_the_row_and_the_subject_first() {
        let (host, stamp) = (host(), Last::default());
        let mut reader = Reader::for_probe(&host, &stamp);
        let place = Place::Thread { pid: 1, tid: 1, file: ThreadFile::Schedstat };
        let text = reader.read(&place).unwrap().to_vec();
        assert!(task::schedstat(&text).is_some(), "{:?}", String::from_utf8_lossy(&text));
        assert_eq!(stamp.0.get(), Some((place.row().number(), 1)));
    }

    #[test]
    fn listing_is_bounded_and_counts_what_it_left_out() {
        let (host, stamp) = (host(), Last::default());
        let mut reader = Reader::for_probe(&host, &stamp);
        let mut ids = Vec::new();
        assert_eq!(reader.list_processes(100_000, &mut ids).unwrap(), 0);
        assert!(ids.contains(&1) && ids.contains(&std::process::id()));
        let left_out = reader.list_processes(3, &mut ids).unwrap();
        assert_eq!(ids.len(), 3);
        assert!(left_out > 0);
    }

    #[test]
    fn a_process_tells_its_thread_count_without_a_listing() {
        let (host, stamp) = (host(), Last::default());
        let mut reader = Reader::for_probe(&host, &stamp);
        let pid = std::process::id();
        let mut ids = Vec::new();
        let dir = reader.tasks(pid).unwrap();
        reader.list_threads(&dir, 1000, &mut ids).unwrap();
        let group = reader.group(pid).unwrap();
        assert_eq!(group.uid, rustix::process::geteuid().as_raw());
        assert!(group.threads >= 1);
    }

    #[test]
    fn a_vanished_thread_is_told_apart_from_a_denied_one() {
        let (host, stamp) = (host(), Last::default());
        let mut reader = Reader::for_probe(&host, &stamp);
        let gone = Place::Thread { pid: u32::MAX, tid: u32::MAX, file: ThreadFile::Schedstat };
        assert!(matches!(reader.read(&gone).unwrap_err().cause, Cause::Vanished));
    }
}
