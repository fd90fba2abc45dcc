//! Waits of a thread for its CPU that have ended, mostly too short to be called a stall, told together because they
//! come back: what the thread serves comes late all the time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::Mono;

/// A wait from which on what the thread serves is late: a retransmission timeout of TCP is twice that.
pub const LATE: Duration = Duration::from_millis(100);
/// How far back is looked.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Fewer late waits in the window are chance.
const TIMES_MIN: u64 = 3;
/// The window moves by this much.
const SLOT: Duration = Duration::from_secs(5);

/// The late waits of one thread.
#[derive(Debug, Default)]
pub struct Late {
    /// At most one for each [`SLOT`] of the [`WINDOW`] and one that begins, the oldest first.
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    begin: Mono,
    lateness: Lateness,
}

/// What a thread's late waits add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// How many.
    pub times: u64,
    /// The longest.
    pub longest: Duration,
    /// When the first was told.
    pub first: Mono,
    /// When the newest was told.
    pub last: Mono,
}

impl Late {
    /// Takes a wait that was told at `at`; one that is not late counts nothing.
    pub fn add(&mut self, wait: Duration, at: Mono) {
        if wait < LATE {
            return;
        }
        self.slots.retain(|slot| at.since(slot.begin) <= WINDOW);
        let one = Lateness { times: 1, longest: wait, first: at, last: at };
        match self.slots.back_mut().filter(|slot| at.since(slot.begin) < SLOT) {
            Some(slot) => slot.lateness = slot.lateness.and(one),
            None => self.slots.push_back(Slot { begin: at, lateness: one }),
        }
    }

    /// What the waits of the window add up to at `now`, if they come back.
    pub fn told(&self, now: Mono) -> Option<Lateness> {
        let recent = self.slots.iter().filter(|slot| now.since(slot.begin) <= WINDOW);
        let all = recent.map(|slot| slot.lateness).reduce(Lateness::and);
        all.filter(|lateness| lateness.times >= TIMES_MIN)
    }
}

impl Lateness {
    fn and(self, other: Self) -> Self {
        Self {
            times: self.times.saturating_add(other.times),
            longest: self.longest.max(other.longest),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn waits_that_come_back_are_told_until_the_window_has_left_them() {
        let mut late = Late::default();
        for (wait, ms) in [(400, 1_000), (150, 2_000), (99, 2_500)] {
            late.add(Duration::from_millis(wait), at(ms));
        }
        assert_eq!(late.told(at(3_000)), None, "two are chance, and 99 ms is not late");
        late.add(LATE, at(10_000));
        let longest = Duration::from_millis(400);
        let told = Lateness { times: 3, longest, first: at(1_000), last: at(10_000) };
        assert_eq!(late.told(at(61_000)), Some(told));
        assert_eq!(late.told(at(61_001)), None, "the first two have left");
    }

    #[test]
    fn a_storm_of_waits_takes_a_slot_for_each_few_seconds() {
        let mut late = Late::default();
        for ms in (0..200_000).step_by(100) {
            late.add(LATE, at(ms));
        }
        assert!(late.slots.len() <= 13, "{}", late.slots.len());
        let told = late.told(at(200_000)).expect("late");
        assert!((550..=600).contains(&told.times), "{told:?}");
    }
}
