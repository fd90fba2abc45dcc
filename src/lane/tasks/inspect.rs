//! One look at one thread: which files are read, in which order, and what they prove.
//!
//! The mark is read before the letter. If the thread ran in between, the mark is older than the letter and the next
//! look finds another one, so a wait may seem to begin later than it did and never earlier.

use crate::base::bounded::{LABEL_MAX, label};
use crate::base::clock::{self, Mono};
use crate::base::units::{Pid, State, Tid};
use crate::lane::tasks::marks::Marks;
use crate::lane::tasks::services::Services;
use crate::sample::{Hint, Mark, Row};
use crate::source::error::{Cause, SourceError};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Kept, Reader, TaskDir, task};

/// Kernel functions in which a kworker waits for work.
const KWORKER_IDLE: [&str; 2] = ["worker_thread", "rescuer_thread"];
/// The kernel's priority of a thread at nice −20, which rescuers run at (RESCUER_NICE_LEVEL, kernel/workqueue.c).
const PRIO_NICE_MIN: u64 = 100;

/// What the lane remembers of a thread.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its process.
    pub pid: Pid,
    /// Mark at the last look.
    pub mark: Mark,
    /// Before that mark was read for the first time.
    pub since: Mono,
    /// Letter at the last look at which it was read.
    pub state: State,
    /// What was recognised then.
    pub hint: Hint,
    /// Number of the walk that last saw it.
    pub seen: u32,
    /// Services by comm; of leaders only.
    pub services: u64,
    /// Services to which it matters if it is theirs, by its name when its letter was read: a thread that takes a name
    /// runs, unless another one writes it into `comm`.
    pub matters_to: u64,
    /// Its row was in a frame, for this mark.
    pub tracked: bool,
    /// Of leaders: it was the only thread of its process after this mark was read. Threads are made by threads that
    /// run, so it is alone for as long as the mark stands.
    pub lone: bool,
    /// The name, for kworkers only: their `status` takes a global mutex, so they are told apart first.
    pub kworker: Option<Box<str>>,
}

impl Known {
    /// Waits, or may wait, in the kernel without a proof of progress.
    pub fn blocked(&self) -> bool {
        self.hint.blocks(self.state)
    }

    /// The row is what is known now.
    pub fn shows(&self, row: &Row) -> bool {
        self.mark == row.mark && self.state == row.state && self.hint == row.hint
    }

    /// Must have a row in the frame.
    pub fn matters(&self) -> bool {
        self.blocked() || self.state == State::Running
    }

    /// A letter that cannot change unless the thread runs, and a thread that runs changes its mark. D is not among
    /// them: it is looked at every time because it is what we are here for.
    fn settled(&self) -> bool {
        !self.matters() && self.state != State::Unknown
    }
}

/// A thread, and the descriptors kept open on its files if it is watched.
#[derive(Debug, Clone, Copy)]
pub struct Thread<'k> {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The only thread of a process of root: may be a kworker.
    pub lone_root: bool,
    /// Where its files are.
    pub files: Files<'k>,
}

/// Where a thread's files are.
#[derive(Debug, Clone, Copy)]
pub enum Files<'k> {
    /// By their paths.
    Paths,
    /// Below the open task directory of the process.
    Below(&'k TaskDir),
    /// Open already.
    Kept(&'k KeptFiles),
}

/// Descriptors kept open on a watched thread.
#[derive(Debug)]
pub struct KeptFiles {
    /// The file of the mark.
    pub mark: Kept,
    /// `status`, of threads that are no kworkers.
    pub status: Option<Kept>,
}

impl Thread<'_> {
    fn read<'r>(
        &self,
        file: ThreadFile,
        marks: Marks,
        reader: &'r mut Reader<'_>,
    ) -> Result<&'r [u8], SourceError> {
        match self.files {
            Files::Kept(kept) if file == marks.file() => reader.again(&kept.mark),
            Files::Kept(KeptFiles { status: Some(status), .. }) if file == ThreadFile::Status => {
                reader.again(status)
            }
            Files::Below(dir) => reader.read_below(dir, self.tid, file),
            _ => reader.read(&Place::Thread { pid: self.pid, tid: self.tid, file }),
        }
    }

    fn malformed(&self, file: ThreadFile) -> SourceError {
        let place = Place::Thread { pid: self.pid, tid: self.tid, file };
        SourceError::at(place.row(), self.tid, Cause::Malformed)
    }
}

/// The outcome of a look.
#[derive(Debug)]
pub enum Outcome {
    /// It sleeps as it slept; what is known of it stands.
    Unmoved,
    /// It was looked at closely.
    Seen(Seen),
}

/// What a close look found.
#[derive(Debug)]
pub struct Seen {
    /// To be remembered.
    pub known: Known,
    /// Before and after the mark was read.
    pub read: (Mono, Mono),
    /// The name, where it was read and the thread matters.
    pub comm: String,
}

impl Seen {
    /// The row for the frame.
    pub fn row(&self, tid: Tid, services: u64, services_whole: bool) -> Row {
        Row {
            tid,
            pid: self.known.pid,
            begin: self.read.0,
            end: self.read.1,
            state: self.known.state,
            mark: self.known.mark,
            comm: self.comm.clone(),
            hint: self.known.hint,
            services,
            services_whole,
        }
    }
}

/// What does not change between looks.
#[derive(Debug, Clone)]
pub struct Inspector {
    /// How progress is read.
    pub marks: Marks,
    /// Whether wait channels are shown to us at all; without the privilege they all read `0`.
    pub wchan_works: bool,
    /// Service selectors.
    pub services: Services,
}

impl Inspector {
    /// Looks at a thread. `before` is what was known; `letter` asks for the state letter even if nothing moved.
    ///
    /// # Errors
    /// The read that failed, or the text that was not what the kernel prints.
    pub fn look(
        &self,
        thread: &Thread<'_>,
        before: Option<&Known>,
        letter: bool,
        reader: &mut Reader<'_>,
    ) -> Result<Outcome, SourceError> {
        let begin = clock::now();
        let text = thread.read(self.marks.file(), self.marks, reader)?;
        let mark = self.marks.parse(text).ok_or_else(|| thread.malformed(self.marks.file()))?;
        // A mark never goes back: smaller numbers under the same id are another thread's.
        let before = before.filter(|known| known.pid == thread.pid && known.mark <= mark);
        let unmoved = before.filter(|known| known.mark == mark);
        if unmoved.is_some_and(|known| known.settled() && !letter) {
            return Ok(Outcome::Unmoved);
        }
        let read = (begin, clock::now());
        let kworker = match before {
            Some(Known { kworker: None, .. }) => None,
            Some(known) if unmoved.is_some() => known.kworker.clone(),
            // One that has run may have made place for somebody else.
            Some(known) => self.kworker(thread, known.kworker.as_deref(), reader),
            None if thread.lone_root => self.kworker(thread, None, reader),
            None => None,
        };
        let fresh = Known {
            pid: thread.pid,
            mark,
            since: unmoved.map_or(begin, |known| known.since),
            state: State::Unknown,
            hint: Hint::None,
            seen: before.map_or(0, |known| known.seen),
            services: before.map_or(0, |known| known.services),
            matters_to: 0,
            tracked: unmoved.is_some_and(|known| known.tracked),
            lone: unmoved.is_some_and(|known| known.lone),
            kworker,
        };
        let mut seen = match &fresh.kworker {
            Some(name) => {
                let comm = name.to_string();
                Seen { known: self.kworker_state(thread, fresh, reader), read, comm }
            }
            None => self.letter(thread, fresh, read, reader)?,
        };
        if self.frozen_in_place(thread, unmoved, &seen.known, reader) {
            seen.known.hint = Hint::FrozenInPlace;
        }
        Ok(Outcome::Seen(seen))
    }

    /// Name, letter and services from `status`.
    fn letter(
        &self,
        thread: &Thread<'_>,
        mut known: Known,
        read: (Mono, Mono),
        reader: &mut Reader<'_>,
    ) -> Result<Seen, SourceError> {
        let text = thread.read(ThreadFile::Status, self.marks, reader)?;
        let status = task::status(text).ok_or_else(|| thread.malformed(ThreadFile::Status))?;
        known.state = status.state;
        known.hint = if status.core_dumping && status.state == State::Uninterruptible {
            Hint::CoreDump
        } else {
            Hint::None
        };
        let first = thread.pid == thread.tid;
        if first {
            known.services = self.services.by_comm(thread.pid, status.name);
        }
        known.matters_to = self.services.matters_to(first, status.name);
        let comm = if known.matters() { label(status.name, LABEL_MAX) } else { String::new() };
        Ok(Seen { known, read, comm })
    }

    /// The name of a worker of a workqueue, `None` for everybody else. Before 6.9 a rescuer does not carry the name of
    /// a kworker; it is told by its nice value and the function it idles in. A kernel without `sched` cannot tell; its
    /// workers are then read like other threads.
    fn kworker(
        &self,
        thread: &Thread<'_>,
        before: Option<&str>,
        reader: &mut Reader<'_>,
    ) -> Option<Box<str>> {
        let text = thread.read(ThreadFile::Sched, self.marks, reader).ok()?;
        let comm = task::sched_comm(text)?;
        let named = comm.starts_with(b"kworker/");
        let hurried = task::sched_prio(text) == Some(PRIO_NICE_MIN);
        let name = label(comm, LABEL_MAX).into_boxed_str();
        let worker = named
            || (hurried && before == Some(&*name))
            || (hurried && {
                let wchan = thread.read(ThreadFile::Wchan, self.marks, reader).ok().and_then(task::wchan);
                wchan == Some("rescuer_thread")
            });
        worker.then_some(name)
    }

    /// A kworker's state by its wait channel, which for a kernel thread takes no sleeping lock.
    fn kworker_state(&self, thread: &Thread<'_>, mut known: Known, reader: &mut Reader<'_>) -> Known {
        let name = known.kworker.as_deref().unwrap_or_default();
        known.matters_to = self.services.matters_to(thread.pid == thread.tid, name.as_bytes());
        let wchan = thread.read(ThreadFile::Wchan, self.marks, reader).ok().map(task::wchan);
        (known.state, known.hint) = match wchan {
            Some(Some(symbol)) if KWORKER_IDLE.contains(&symbol) => (State::Idle, Hint::None),
            Some(Some(_)) => (State::Unknown, Hint::WorkItem),
            Some(None) if self.wchan_works => (State::Running, Hint::None),
            _ => (State::Unknown, Hint::None),
        };
        known
    }

    /// From 6.1 the freezer turns a sleep into D where it stands. A thread that went from S to D without having run
    /// can have got there in no other way; the mark is read once more because the letter is younger than the first.
    fn frozen_in_place(
        &self,
        thread: &Thread<'_>,
        unmoved: Option<&Known>,
        now: &Known,
        reader: &mut Reader<'_>,
    ) -> bool {
        let Some(before) = unmoved.filter(|_| now.state == State::Uninterruptible) else { return false };
        if before.hint == Hint::FrozenInPlace {
            return true;
        }
        before.state == State::Sleeping
            && thread.read(self.marks.file(), self.marks, reader).ok().and_then(|text| self.marks.parse(text))
                == Some(now.mark)
    }
}
