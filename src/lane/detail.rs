//! The detail lane: wait channel, start time and, of kworkers, the letter of the few threads that wait in the kernel.
//! `wchan` and `stat` may wait for a lock of the very thread that is stuck (`exec_update_lock`), or for the workqueue
//! pool mutex, so they are read here, apart from the walk, and once per wait: a thread that has not run sleeps where
//! it slept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::base::clock::{self, Mono};
use crate::base::units::Tid;
use crate::lane::budget::Budget;
use crate::lane::handover::{Handover, Wanted};
use crate::lane::tasks::marks::Marks;
use crate::lane::{Tools, Work};
use crate::sample::{Detail, Frame, Mark};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Reader, cold, task};

/// Most waits whose details are read in one turn; the rest waits for the next.
const PER_TURN: usize = 256;
/// The end of a turn is told by an empty frame; of turns in which nothing was asked, this often, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// A wait channel that could not be had is asked for again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// An answer is given anew after this: the first may have met no wait in front, and the start time proves that it is
/// still the same thread.
const REPEAT: Duration = Duration::from_secs(60);

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
    mark: Mark,
    again: Mono,
}

impl Answered {
    /// Nothing more to ask about this wait at `now`.
    fn settles(&self, wish: &Wanted, now: Mono) -> bool {
        self.mark == wish.mark && self.again > now
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
        let Wanted { pid, tid, mark, .. } = *wish;
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
        let again = now.plus(if wchan.is_none() { AGAIN } else { REPEAT });
        self.answered.insert(tid, Answered { mark, again });
        Some(Detail {
            tid,
            mark,
            wchan,
            state: stat.map(|stat| stat.state),
            start_ticks: stat.map(|stat| stat.start_ticks),
            ..Detail::default()
        })
    }

    /// What is wanted and not yet answered.
    fn open(&mut self, now: Mono) -> Vec<Wanted> {
        let wanted: HashMap<Tid, Wanted> =
            self.handover.wanted().into_iter().map(|wish| (wish.tid, wish)).collect();
        self.answered.retain(|tid, answer| wanted.get(tid).is_some_and(|wish| wish.mark == answer.mark));
        let unanswered =
            |wish: &Wanted| !self.answered.get(&wish.tid).is_some_and(|answer| answer.settles(wish, now));
        let open = wanted.into_values().filter(|wish| !self.avoid.contains(&wish.tid) && unanswered(wish));
        open.take(PER_TURN).collect()
    }
}

impl Work for DetailLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let (now, cpu) = (clock::now(), clock::thread_cpu());
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
        let spent = clock::thread_cpu().saturating_sub(cpu);
        let now = clock::now();
        self.budget.spend(spent, now);
        now.plus(self.interval).max(self.budget.due(spent))
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}
