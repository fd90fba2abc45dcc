//! The waits that the evidence lane knows, and which of them is worth the next stack. Pure: wishes, answers and `now`
//! in, order out.

use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::units::Tid;
use crate::lane::handover::{Wanted, Worth};
use crate::sample::evidence::{Known, Skipped};

/// Most waits in one wait channel of which a stack is taken: the stacks of a convoy are all the same.
const PER_CHANNEL: usize = 3;
/// The same for PID 1 and the services, which get theirs whatever the others have.
const PER_CHANNEL_FIRST: usize = 16;
/// Most waits that one turn considers; the wait channel of each is read once.
const DUE_MAX: usize = 64;
/// A stack that could not be had is asked for again after this, and then after twice as long each time.
const AGAIN_FIRST: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(300);

/// What became of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Front has it.
    Taken,
    /// The thread had moved on.
    Moved,
    /// The kernel refused.
    Denied,
    /// It gave something else, or nothing.
    Failed,
}

#[derive(Debug)]
struct Case {
    wish: Wanted,
    first: Mono,
    /// `None` until it was read, then what the kernel said, if it said something.
    channel: Option<Option<String>>,
    taken: bool,
    again: Mono,
    failures: u32,
    /// It has been its turn but for the number of stacks.
    late: bool,
    /// Why it has no stack has been counted.
    counted: bool,
}

impl Case {
    /// Met now, or by an earlier probe, of which front says what it knew.
    fn new(wish: Wanted, known: &[Known], now: Mono) -> Self {
        let known = known.iter().find(|known| known.tid == wish.tid && known.mark == wish.mark);
        Self {
            wish,
            first: known.map_or(now, |known| known.since.min(now)),
            channel: None,
            taken: known.is_some_and(|known| known.taken),
            again: now,
            failures: 0,
            late: false,
            counted: false,
        }
    }

    fn due(&self, after: Duration, now: Mono) -> bool {
        !self.taken && now >= self.again && now.since(self.first) >= after
    }

    /// So many stacks are enough in its channel; of a channel that the kernel does not tell, none are.
    fn crowded(&self, taken: &HashMap<String, usize>) -> bool {
        let most = if self.wish.worth == Worth::First { PER_CHANNEL_FIRST } else { PER_CHANNEL };
        let channel = self.channel.as_ref().and_then(Option::as_ref);
        channel.and_then(|channel| taken.get(channel)).is_some_and(|taken| *taken >= most)
    }

    /// Counts a reason, once in a wait.
    fn count(&mut self, reason: &mut u64) {
        if !std::mem::replace(&mut self.counted, true) {
            *reason = reason.saturating_add(1);
        }
    }
}

/// The waits.
#[derive(Debug)]
pub struct Cases {
    after: Duration,
    avoid: Vec<Tid>,
    known: Vec<Known>,
    open: HashMap<Tid, Case>,
    /// Stacks of waits in progress, by wait channel.
    taken: HashMap<String, usize>,
    /// What was skipped since somebody took this.
    pub skipped: Skipped,
}

impl Cases {
    /// A wait is worth a stack once it was met `after` ago; threads in `avoid` never are. Some are `known` from earlier
    /// probes.
    pub fn new(after: Duration, avoid: Vec<Tid>, known: Vec<Known>) -> Self {
        Self { after, avoid, known, open: HashMap::new(), taken: HashMap::new(), skipped: Skipped::default() }
    }

    /// Takes the newest wishes. A wait that is not among them is over; one with another mark is another.
    pub fn meet(&mut self, wanted: Vec<Wanted>, now: Mono) {
        let worthy = wanted.into_iter().filter(|wish| wish.worth != Worth::Nothing);
        let wanted: HashMap<Tid, Wanted> = worthy.map(|wish| (wish.tid, wish)).collect();
        let goes_on =
            |case: &Case| wanted.get(&case.wish.tid).is_some_and(|wish| wish.mark == case.wish.mark);
        for (_, mut case) in self.open.extract_if(|_, case| !goes_on(case)) {
            if case.late && !case.taken {
                case.count(&mut self.skipped.rate);
            }
        }
        for (tid, wish) in wanted {
            self.open.entry(tid).or_insert_with(|| Case::new(wish, &self.known, now)).wish = wish;
        }
        self.taken.clear();
        for case in self.open.values().filter(|case| case.taken) {
            if let Some(Some(channel)) = &case.channel {
                let taken = self.taken.entry(channel.clone()).or_default();
                *taken = taken.saturating_add(1);
            }
        }
    }

    /// Those to consider, in this order: PID 1, services, and then whoever waits for longest.
    pub fn due(&mut self, now: Mono) -> Vec<Wanted> {
        // A heap of the most important: the least important of them is popped.
        let mut due = BinaryHeap::new();
        for (tid, case) in &mut self.open {
            if !case.due(self.after, now) {
                continue;
            }
            if self.avoid.contains(tid) {
                case.count(&mut self.skipped.avoided);
            } else if case.crowded(&self.taken) {
                case.count(&mut self.skipped.crowd);
            } else {
                case.late = true;
                due.push((*tid != 1, case.wish.worth, case.first, *tid));
                if due.len() > DUE_MAX {
                    due.pop();
                }
            }
        }
        let due = due.into_sorted_vec();
        due.iter().filter_map(|(.., tid)| self.open.get(tid)).map(|case| case.wish).collect()
    }

    /// Whether enough waits in the same wait channel have their stack; `channel` reads it when it is not known.
    pub fn crowded(&mut self, wish: &Wanted, channel: impl FnOnce() -> Option<String>) -> bool {
        let Some(case) = self.open.get_mut(&wish.tid) else { return true };
        case.channel.get_or_insert_with(channel);
        let crowded = case.crowded(&self.taken);
        if crowded {
            case.count(&mut self.skipped.crowd);
        }
        crowded
    }

    /// A wait that an earlier probe took the stack of, and of which the wait channel is not known. Where a probe hung,
    /// nothing is read again.
    pub fn unnamed(&self) -> Option<Wanted> {
        let unnamed =
            |case: &&Case| case.taken && case.channel.is_none() && !self.avoid.contains(&case.wish.tid);
        self.open.values().find(unnamed).map(|case| case.wish)
    }

    /// Takes a wait channel, so that the wait counts in it.
    pub fn name(&mut self, tid: Tid, channel: Option<String>) {
        if let Some(case) = self.open.get_mut(&tid) {
            case.channel = Some(channel);
        }
    }

    /// Takes what became of a stack.
    pub fn done(&mut self, wish: &Wanted, outcome: Outcome, now: Mono) {
        let Some(case) = self.open.get_mut(&wish.tid) else { return };
        let reason = match outcome {
            Outcome::Taken => {
                case.taken = true;
                return;
            }
            Outcome::Moved => &mut self.skipped.moved,
            Outcome::Denied => &mut self.skipped.denied,
            Outcome::Failed => &mut self.skipped.failed,
        };
        *reason = reason.saturating_add(1);
        case.counted = true;
        let times = 1_u32.checked_shl(case.failures).unwrap_or(u32::MAX);
        case.again = now.plus(AGAIN_FIRST.saturating_mul(times).min(AGAIN_MAX));
        case.failures = case.failures.saturating_add(1);
    }
}
