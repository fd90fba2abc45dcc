//! The detail lane: wait channel, start time, CPU and, of kworkers, the letter of the few threads that wait, in the
//! kernel or for a CPU. `wchan` and `stat` may wait for a lock of the very thread that is stuck (`exec_update_lock`),
//! or for the workqueue pool mutex, so they are read here, apart from the walk, and once per wait: a thread that has
//! not run sleeps where it slept.
//!
//! Of busy threads it reads how often they slept and how long they were in user space, again and again while neither
//! moves: that is what proves a spin in the kernel.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::base::clock::{self, Mono};
use crate::base::units::Tid;
use crate::lane::budget::{Budget, Turn};
use crate::lane::handover::{Handover, Wanted, Why};
use crate::lane::tasks::marks::Marks;
use crate::lane::{Tools, Work};
use crate::sample::runnable::Busy;
use crate::sample::{Detail, Frame, Mark};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Reader, cold, task};

/// Most waits whose details are read in one turn; the rest waits for the next.
const PER_TURN: usize = 256;
/// Most threads in R of one turn. Each is four reads.
const RUNNABLE_PER_TURN: usize = 32;
/// The end of a turn is told by an empty frame; of turns in which nothing was asked, this often, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// A wait channel that could not be had is asked for again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// An answer is given anew after this: the first may have met no wait in front, and the start time proves that it is
/// still the same thread.
const REPEAT: Duration = Duration::from_secs(60);
/// A busy thread that has neither slept nor been in user space is looked at again after this.
const SPIN_AGAIN: Duration = Duration::from_secs(2);
/// And one that has.
const BUSY_AGAIN: Duration = Duration::from_secs(10);

/// The lane.
pub struct DetailLane {
    handover: Arc<Handover>,
    interval: Duration,
    budget: Budget,
    marks: Option<Marks>,
    avoid: Vec<Tid>,
    answered: HashMap<Tid, Answered>,
    sent: Option<Mono>,
}

struct Answered {
    why: Why,
    mark: Mark,
    again: Mono,
    /// Of a busy thread: time in user space, and voluntary switches.
    spent: Option<(u64, u64)>,
}

impl Answered {
    /// Belongs to what is asked: the same wait, or a thread that is busy still.
    fn answers(&self, wish: &Wanted) -> bool {
        let of_time = self.why.of_time() && wish.why.of_time();
        of_time || (self.why == wish.why && self.mark == wish.mark)
    }
}

impl DetailLane {
    /// A lane that answers what is wanted, at most every `interval`, and leaves `avoid` alone: an earlier one hung
    /// there.
    pub fn new(handover: Arc<Handover>, interval: Duration, share: f64, avoid: Vec<Tid>, now: Mono) -> Self {
        let budget = Budget::new(share, now);
        Self { handover, interval, budget, marks: None, avoid, answered: HashMap::new(), sent: None }
    }

    fn detail(&mut self, wish: &Wanted, marks: Marks, reader: &mut Reader<'_>, now: Mono) -> Option<Detail> {
        match wish.why {
            Why::Blocked | Why::Starved => self.wait(wish, marks, reader, now),
            Why::Busy | Why::Ran => self.busy(wish, marks, reader, now),
        }
    }

    fn wait(&mut self, wish: &Wanted, marks: Marks, reader: &mut Reader<'_>, now: Mono) -> Option<Detail> {
        let Wanted { pid, tid, mark, why, .. } = *wish;
        let place = |file| Place::Thread { pid, tid, file };
        let wchan = reader
            .read(&place(ThreadFile::Wchan))
            .ok()
            .and_then(task::wchan)
            .map(|symbol| label(symbol.as_bytes(), LABEL_MAX));
        let stat = reader.read(&place(ThreadFile::Stat)).ok().and_then(cold::stat);
        // Unchanged after the reads: they belong to this wait. Changed: the wait is over, and so is the wish.
        if marks.read(reader, pid, tid)? != mark {
            return None;
        }
        // Of a thread that is runnable there is no wait channel to be had.
        let again = now.plus(if wchan.is_none() && why == Why::Blocked { AGAIN } else { REPEAT });
        self.answered.insert(tid, Answered { why, mark, again, spent: None });
        Some(Detail {
            tid,
            mark,
            wchan,
            state: stat.map(|stat| stat.state),
            start_ticks: stat.map(|stat| stat.start_ticks),
            cpu: stat.and_then(|stat| stat.cpu),
            busy: None,
        })
    }

    fn busy(&mut self, wish: &Wanted, marks: Marks, reader: &mut Reader<'_>, now: Mono) -> Option<Detail> {
        let Wanted { pid, tid, why, .. } = *wish;
        let place = |file| Place::Thread { pid, tid, file };
        let before = self.answered.get(&tid).and_then(|answered| answered.spent);
        // A kernel without `sched` is not asked at every turn.
        let later = now.plus(BUSY_AGAIN);
        self.answered.insert(tid, Answered { why, mark: wish.mark, again: later, spent: before });
        let begin = clock::now();
        let voluntary = task::sched_voluntary(reader.read(&place(ThreadFile::Sched)).ok()?)?;
        let text = reader.read(&place(ThreadFile::Stat)).ok()?;
        let (name, work) = task::stat_name(text)?;
        let (comm, work) = (label(name, LABEL_MAX), work.map(|work| label(work, LABEL_MAX)));
        let stat = cold::stat(text)?;
        let mark = marks.read(reader, pid, tid)?;
        let spent = Some((stat.user_ticks, voluntary));
        let again = if before.is_none() || before == spent { now.plus(SPIN_AGAIN) } else { later };
        self.answered.insert(tid, Answered { why, mark, again, spent });
        let user_ticks = stat.user_ticks;
        Some(Detail {
            tid,
            mark,
            wchan: None,
            state: Some(stat.state),
            start_ticks: Some(stat.start_ticks),
            cpu: stat.cpu,
            busy: Some(Busy { pid, comm, work, begin, end: clock::now(), user_ticks, voluntary }),
        })
    }

    /// What is wanted and not yet answered. Who waits in the kernel comes first, then who was asked about longest ago.
    fn open(&mut self, now: Mono) -> Vec<Wanted> {
        let wanted: HashMap<Tid, Wanted> =
            self.handover.wanted().into_iter().map(|wish| (wish.tid, wish)).collect();
        self.answered.retain(|tid, answer| wanted.get(tid).is_some_and(|wish| answer.answers(wish)));
        let again = |wish: &Wanted| self.answered.get(&wish.tid).map(|answer| answer.again);
        let open = wanted.into_values().filter(|wish| !self.avoid.contains(&wish.tid));
        let open = open.filter(|wish| again(wish).is_none_or(|again| again <= now));
        let (mut open, mut runnable): (Vec<_>, Vec<_>) = open.partition(|wish| wish.why == Why::Blocked);
        open.truncate(PER_TURN);
        // Who was never asked about has no claim before those whose second look is due: one look proves nothing.
        runnable.sort_by_key(|wish| (wish.why, again(wish).unwrap_or(now)));
        runnable.truncate(RUNNABLE_PER_TURN);
        open.append(&mut runnable);
        open
    }
}

impl Work for DetailLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        let now = turn.began;
        let marks = *self.marks.get_or_insert_with(|| Marks::of_this_kernel(&mut tools.reader));
        let open = self.open(now);
        // One by one: what was read before the lane hangs in the next wish is not lost with it.
        for wish in &open {
            if let Some(detail) = self.detail(wish, marks, &mut tools.reader, now) {
                (tools.send)(&Frame::Detail(vec![detail]));
            }
        }
        if !open.is_empty() || self.sent.is_none_or(|sent| now.since(sent) >= SIGN_OF_LIFE) {
            (tools.send)(&Frame::Detail(Vec::new()));
            self.sent = Some(now);
        }
        self.budget.next(&turn, self.interval)
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}
