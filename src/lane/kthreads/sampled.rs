//! One sampled kernel thread.

use crate::base::clock::{self, Mono};
use crate::base::kthread::{Kind, Kthread};
use crate::base::units::{State, Tid};
use crate::lane::kthreads::LONG;
use crate::sample::{KthreadSample, Looks, Mark, STEPS_MAX, Step};
use crate::source::error::{Cause, SourceError};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Kept, Reader, task};

/// Threads that matter less, and letters where there are no wait channels, are asked at every so many steps.
const STRIDE: u32 = 4;
/// While nobody but us is runnable, at every so many: realtime threads that the kernel has throttled do not count.
const CALM_STRIDE: u32 = 20;
/// A thread that matters less is looked at in every round for so many rounds after it moved.
const LIVELY: u32 = 20;
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
    /// Rounds since it moved.
    quiet: u32,
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
        Ok(Self {
            tid,
            thread,
            schedstat,
            hint,
            seen,
            steps: Vec::new(),
            looks: None,
            quiet: LIVELY,
            told: false,
        })
    }

    /// Is looked at in this round. A thread that matters less, sleeps, and has not moved for a while is let be.
    pub fn due(&mut self, round: u32) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        let matters = self.thread.kind <= Kind::RcuBh || self.looks.is_some() || self.quiet <= LIVELY;
        matters || round.wrapping_add(self.tid).is_multiple_of(STRIDE)
    }

    /// Looks at it. `now` is before the look; `crowd`: somebody else than us is runnable on this host.
    ///
    /// # Errors
    /// The numbers cannot be read, or the letter of one that may be waiting.
    pub fn look(
        &mut self,
        now: Mono,
        round: u32,
        crowd: bool,
        reader: &mut Reader<'_>,
    ) -> Result<(), SourceError> {
        let seen = numbers(&self.schedstat, self.tid, reader)?;
        if seen != self.seen {
            self.moved(seen);
            return Ok(());
        }
        let waits = self.looks.is_some();
        let asked = waits || (self.turn(round, crowd) && self.suspicious(reader));
        if !asked {
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
        self.quiet = 0;
        // Another queue, and still no CPU: the same wait goes on.
        if !waited_on {
            self.looks = None;
        }
    }

    /// Whether it is asked in this round what it does.
    fn turn(&self, round: u32, crowd: bool) -> bool {
        let often = matches!(self.hint, Hint::Wchan(..)) && self.thread.kind <= Kind::Watchdog;
        let stride = match (crowd, often) {
            (true, true) => 1,
            (true, false) => STRIDE,
            (false, _) => CALM_STRIDE,
        };
        round.wrapping_add(self.tid).is_multiple_of(stride)
    }

    /// It did not move and may be waiting for a CPU.
    fn suspicious(&mut self, reader: &mut Reader<'_>) -> bool {
        let Hint::Wchan(kept, strikes) = &mut self.hint else { return true };
        let asleep = reader.again(kept).is_ok_and(|text| task::wchan(text).is_some());
        if asleep {
            *strikes = 0;
        }
        !asleep
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Roots;
    use crate::source::paths::RowId;
    use crate::source::{Host, Stamp};
    use std::cell::RefCell;
    use std::time::Duration;

    const SOFT: Kthread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(0) };

    /// What was entered, by file name.
    #[derive(Default)]
    struct Entered(RefCell<Vec<&'static str>>);

    impl Stamp for Entered {
        fn enter(&self, row: RowId, _subject: u32) {
            self.0.borrow_mut().push(row.row().pattern.rsplit('/').next().unwrap());
        }
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(tree.0.path().join("14")).unwrap();
            tree.set("70 30 5", "smpboot_thread_fn", 'S');
            tree
        }

        fn set(&self, schedstat: &str, wchan: &str, letter: char) {
            let put =
                |name: &str, text: &str| std::fs::write(self.0.path().join("14").join(name), text).unwrap();
            put("schedstat", &format!("{schedstat}\n"));
            put("wchan", wchan);
            put("status", &format!("Name:\tksoftirqd/0\nState:\t{letter} (x)\n"));
        }

        fn host(&self) -> Host {
            let root = self.0.path().to_path_buf();
            Host::open(&Roots { procfs: root.clone(), sysfs: root.clone(), cgroupfs: root }).unwrap()
        }
    }

    /// So many steps later than some moment.
    fn at(start: Mono, steps: u32) -> Mono {
        start.plus(Duration::from_millis(50) * steps)
    }

    #[test]
    fn a_sleeper_costs_two_short_reads_and_never_a_letter() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut thread = Sampled::open(14, SOFT, &mut reader).unwrap();
        entered.0.borrow_mut().clear();
        thread.look(clock::now(), 1, true, &mut reader).unwrap();
        assert_eq!(*entered.0.borrow(), ["schedstat", "wchan"]);
        tree.set("80 35 6", "0", 'R');
        entered.0.borrow_mut().clear();
        thread.look(clock::now(), 2, true, &mut reader).unwrap();
        assert_eq!(*entered.0.borrow(), ["schedstat"], "it moved, so it does not wait");
        assert_eq!(thread.take().steps, [Step { slices: 1, wait_ns: 5 }]);
        assert!(thread.take().steps.is_empty(), "told once");
    }

    #[test]
    fn while_nobody_else_runs_hardly_anybody_is_asked() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut thread = Sampled::open(14, SOFT, &mut reader).unwrap();
        entered.0.borrow_mut().clear();
        for round in 0..40 {
            thread.look(clock::now(), round, false, &mut reader).unwrap();
        }
        let of = |name| entered.0.borrow().iter().filter(|entered| **entered == name).count();
        assert_eq!((of("schedstat"), of("wchan")), (40, 2));
    }

    #[test]
    fn a_quiet_thread_that_matters_less_is_let_be_until_it_moves() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut due = |kind| {
            tree.set("70 30 5", "kjournald2", 'S');
            let mut thread = Sampled::open(14, Kthread { kind, cpu: None }, &mut reader).unwrap();
            let quiet = (0..40).filter(|round| thread.due(*round)).count();
            tree.set("71 30 6", "kjournald2", 'S');
            thread.look(clock::now(), 0, true, &mut reader).unwrap();
            (quiet, (0..20).filter(|round| thread.due(*round)).count())
        };
        assert_eq!(due(Kind::RcuSched), (40, 20));
        assert_eq!(due(Kind::Jbd2), (10, 20));
    }

    #[test]
    fn a_wait_is_news_from_a_tenth_of_a_second_on_and_when_it_ends() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut thread = Sampled::open(14, SOFT, &mut reader).unwrap();
        tree.set("70 30 5", "0", 'R');
        let mut news = Vec::new();
        let start = clock::now();
        thread.look(start, 0, true, &mut reader).unwrap();
        // The first look is dated after its letter was read; real time passes a little in this test.
        let start = thread.take().runnable.unwrap().first;
        for step in 1..4 {
            thread.look(at(start, step), step, true, &mut reader).unwrap();
            news.push(thread.news());
        }
        assert_eq!(news, [false, true, true]);
        let told = thread.take();
        assert_eq!(told.runnable, Some(Looks { first: start, last: at(start, 3) }));
        assert!(!thread.news() && thread.waits_long());
        // Moved to another queue: it still waits.
        tree.set("70 90 5", "0", 'R');
        thread.look(at(start, 4), 4, true, &mut reader).unwrap();
        assert!(thread.waits_long());
        tree.set("71 95 6", "smpboot_thread_fn", 'S');
        thread.look(at(start, 5), 5, true, &mut reader).unwrap();
        assert!(thread.news(), "it has ended");
        let steps = [Step { slices: 0, wait_ns: 60 }, Step { slices: 1, wait_ns: 5 }];
        let told = thread.take();
        assert_eq!((told.runnable, told.steps.as_slice()), (None, steps.as_slice()));
    }

    #[test]
    fn a_kernel_without_wait_channels_has_its_letters_read_now_and_then() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut thread = Sampled::open(14, SOFT, &mut reader).unwrap();
        tree.set("70 30 5", "0", 'S');
        for round in 0..u32::from(STRIKES) {
            thread.look(clock::now(), round, true, &mut reader).unwrap();
        }
        entered.0.borrow_mut().clear();
        for round in 0..STRIDE * 2 {
            thread.look(clock::now(), round, true, &mut reader).unwrap();
        }
        let of = |name| entered.0.borrow().iter().filter(|entered| **entered == name).count();
        assert_eq!(of("wchan"), 0);
        assert_eq!(of("status"), 2);
        assert!(thread.take().runnable.is_none());
    }

    #[test]
    fn more_steps_than_are_told_are_in_the_sums() {
        let (tree, entered) = (Tree::new(), Entered::default());
        let host = tree.host();
        let mut reader = Reader::for_probe(&host, &entered);
        let mut thread = Sampled::open(14, SOFT, &mut reader).unwrap();
        for step in 0..50_u64 {
            tree.set(&format!("{} {} {}", 71 + step, 30 + step, 6 + step), "0", 'R');
            thread.look(clock::now(), 0, true, &mut reader).unwrap();
        }
        let told = thread.take();
        assert_eq!(told.steps.len(), STEPS_MAX);
        assert_eq!((told.mark.slices, told.wait_ns), (55, 79));
    }
}
