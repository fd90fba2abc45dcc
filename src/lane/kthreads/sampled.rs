//! One sampled kernel thread.

use crate::base::clock::{self, Mono};
use crate::base::kthread::Kthread;
use crate::base::units::{State, Tid};
use crate::lane::kthreads::LONG;
use crate::sample::{KthreadSample, Looks, Mark, Step};
use crate::source::error::{Cause, SourceError};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Kept, Reader, task};

/// Most steps that are told one by one; the rest is in the sums.
const STEPS_MAX: usize = 32;
/// Without wait channels the letter is read at every so many steps.
const LETTER_STRIDE: u32 = 4;
/// A wait channel that reads `0` so often in a row beside a letter that is not R says nothing on this kernel.
const STRIKES: u8 = 8;

/// The thread, with its descriptors.
#[derive(Debug)]
pub struct Sampled {
    /// The thread.
    pub tid: Tid,
    /// Its name.
    pub thread: Kthread,
    schedstat: Kept,
    hint: Hint,
    seen: task::Schedstat,
    steps: Vec<Step>,
    looks: Option<Looks>,
    /// Front was told of a long wait.
    told: bool,
}

/// What tells that a thread that did not move may be waiting.
#[derive(Debug)]
enum Hint {
    /// Its wait channel, and how often in a row that was wrong.
    Wchan(Kept, u8),
    /// The letter itself.
    Status(Kept),
}

impl Sampled {
    /// Opens the files of a thread and looks at it for the first time.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn open(tid: Tid, thread: Kthread, reader: &mut Reader<'_>) -> Result<Self, SourceError> {
        let schedstat = reader.keep(&place(tid, ThreadFile::Schedstat))?;
        let seen = numbers(&schedstat, tid, reader)?;
        let hint = match reader.keep(&place(tid, ThreadFile::Wchan)) {
            Ok(kept) => Hint::Wchan(kept, 0),
            Err(_) => Hint::Status(reader.keep(&place(tid, ThreadFile::Status))?),
        };
        Ok(Self { tid, thread, schedstat, hint, seen, steps: Vec::new(), looks: None, told: false })
    }

    /// Looks at it. `now` is before the look.
    ///
    /// # Errors
    /// The numbers cannot be read, or the letter of one that may be waiting.
    pub fn look(&mut self, now: Mono, round: u32, reader: &mut Reader<'_>) -> Result<(), SourceError> {
        let seen = numbers(&self.schedstat, self.tid, reader)?;
        if seen != self.seen {
            self.moved(seen);
            return Ok(());
        }
        let waits = self.looks.is_some();
        if !waits && !self.suspicious(round, reader) {
            return Ok(());
        }
        // A letter that cannot be read says nothing.
        let text = match &self.hint {
            Hint::Status(kept) => reader.again(kept)?,
            Hint::Wchan(..) => reader.read(&place(self.tid, ThreadFile::Status))?,
        };
        let status = task::status(text).ok_or_else(|| malformed(self.tid, ThreadFile::Status))?;
        if status.state == State::Running {
            // The wait began before the letter was read, and lasted until the mark was.
            let first = self.looks.map_or_else(clock::now, |looks| looks.first);
            self.looks = Some(Looks { first, last: first.max(now) });
        } else {
            self.looks = None;
            self.contradicted(reader);
        }
        Ok(())
    }

    /// Has something that front should hear at once.
    pub fn news(&self) -> bool {
        self.told != self.waits_long()
    }

    /// Waits for long enough to be worth a frame of its own.
    pub fn waits_long(&self) -> bool {
        self.looks.is_some_and(|looks| looks.last.since(looks.first) >= LONG)
    }

    /// What happened since the last time.
    pub fn take(&mut self) -> KthreadSample {
        self.told = self.waits_long();
        let task::Schedstat { run_ns, wait_ns, slices } = self.seen;
        KthreadSample {
            tid: self.tid,
            thread: self.thread,
            mark: Mark { slices, run_ns },
            wait_ns,
            steps: std::mem::take(&mut self.steps),
            runnable: self.looks,
        }
    }

    fn moved(&mut self, seen: task::Schedstat) {
        let step = Step {
            slices: seen.slices.saturating_sub(self.seen.slices),
            wait_ns: seen.wait_ns.saturating_sub(self.seen.wait_ns),
        };
        if step != Step::default() && self.steps.len() < STEPS_MAX {
            self.steps.push(step);
        }
        let waited_on = seen.slices == self.seen.slices && seen.run_ns == self.seen.run_ns;
        self.seen = seen;
        // Another queue, and still no CPU: the same wait goes on.
        if !waited_on {
            self.looks = None;
        }
    }

    /// It did not move and may be waiting for a CPU.
    fn suspicious(&mut self, round: u32, reader: &mut Reader<'_>) -> bool {
        match &mut self.hint {
            Hint::Status(_) => round.wrapping_add(self.tid).is_multiple_of(LETTER_STRIDE),
            Hint::Wchan(kept, strikes) => {
                let asleep = reader.again(kept).is_ok_and(|text| task::wchan(text).is_some());
                if asleep {
                    *strikes = 0;
                }
                !asleep
            }
        }
    }

    /// The wait channel said that it does not sleep, the letter that it does. When nothing moved in between, the
    /// channel was wrong; when it is always wrong, another descriptor takes its place.
    fn contradicted(&mut self, reader: &mut Reader<'_>) {
        let unmoved = numbers(&self.schedstat, self.tid, reader).is_ok_and(|seen| seen == self.seen);
        let Hint::Wchan(_, strikes) = &mut self.hint else { return };
        *strikes = if unmoved { strikes.saturating_add(1) } else { 0 };
        if *strikes >= STRIKES
            && let Ok(kept) = reader.keep(&place(self.tid, ThreadFile::Status))
        {
            self.hint = Hint::Status(kept);
        }
    }
}

/// A kernel thread is alone in its process.
const fn place(tid: Tid, file: ThreadFile) -> Place<'static> {
    Place::Thread { pid: tid, tid, file }
}

fn malformed(tid: Tid, file: ThreadFile) -> SourceError {
    SourceError::at(place(tid, file).row(), tid, Cause::Malformed)
}

fn numbers(kept: &Kept, tid: Tid, reader: &mut Reader<'_>) -> Result<task::Schedstat, SourceError> {
    task::schedstat(reader.again(kept)?).ok_or_else(|| malformed(tid, ThreadFile::Schedstat))
}
