//! How a thread's progress is read on this kernel.

use crate::base::units::{Pid, Tid};
use crate::sample::Mark;
use crate::source::place::{Place, ThreadFile};
use crate::source::{Reader, task};

/// The file that proves progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `schedstat`: run time and time slices.
    Slices,
    /// Context switches of `status`, where schedstat reads `0 0 0` (no `CONFIG_SCHED_INFO`, or switched off).
    Switches,
}

impl Marks {
    /// Asks PID 1, which has run on every kernel: if its schedstat is all zero, the kernel does not keep it.
    pub fn of_this_kernel(reader: &mut Reader<'_>) -> Self {
        let place = Place::Thread { pid: 1, tid: 1, file: ThreadFile::Schedstat };
        match reader.read(&place).ok().and_then(task::schedstat) {
            Some(numbers) if numbers == task::Schedstat::default() => Self::Switches,
            _ => Self::Slices,
        }
    }

    /// The file to read.
    pub const fn file(self) -> ThreadFile {
        match self {
            Self::Slices => ThreadFile::Schedstat,
            Self::Switches => ThreadFile::Status,
        }
    }

    /// The mark in that file's text; `None` when it is malformed.
    pub fn parse(self, text: &[u8]) -> Option<Mark> {
        match self {
            Self::Slices => {
                task::schedstat(text).map(|read| Mark { slices: read.slices, run_ns: read.run_ns })
            }
            Self::Switches => {
                task::status(text)?.switches.map(|switches| Mark { slices: switches, run_ns: 0 })
            }
        }
    }

    /// Reads one thread's mark; `None` when it has ended or cannot be read.
    pub fn read(self, reader: &mut Reader<'_>, pid: Pid, tid: Tid) -> Option<Mark> {
        self.parse(reader.read(&Place::Thread { pid, tid, file: self.file() }).ok()?)
    }
}
