//! How many threads are in R or D, decoded from the kernel's load averages without walking anything. It works when
//! the walk does not.
//!
//! Every five seconds the kernel folds the exact count into three averages with different decay (calc_load,
//! kernel/sched/loadavg.c). From two successive readings the count is solved, and it is published only if it
//! reproduces all three averages to the last bit: proof, not estimate.

use std::time::Duration;

use crate::base::clock::Mono;

/// Fixed point of the averages: 11 bits.
const ONE: u64 = 1 << 11;
/// Decay of the one, five and fifteen minute averages per step.
const DECAY: [u64; 3] = [1884, 2014, 2037];
/// A step is 5 s and a tick; when nothing changed for this long, a step has passed and changed nothing.
const STEP_AND_SLACK: Duration = Duration::from_millis(6500);
/// After so many steps in a row that could not be solved, the last count says nothing about now.
const MISSES_MAX: u32 = 3;
/// Steps that may lie between two readings: on an idle host the kernel makes up for late ones.
const STEPS_MAX: u32 = 3;

/// The decoder and its newest result.
#[derive(Debug, Default)]
pub struct Load {
    before: Option<([u64; 3], Mono)>,
    active: Option<u64>,
    uninterruptible: Option<u64>,
    estimate: Option<u64>,
    misses: u32,
    /// Steps whose count could not be solved: two steps with different counts lay between two readings.
    pub undecoded: u64,
}

impl Load {
    /// Threads in R or D at the last step; `None` until a step was decoded.
    pub const fn active(&self) -> Option<u64> {
        self.active
    }

    /// Threads in D by the load averages: active minus runnable, the smaller of the last two estimates, because the
    /// two numbers are not of the same instant.
    pub const fn uninterruptible(&self) -> Option<u64> {
        self.uninterruptible
    }

    /// Takes a reading: the averages in 11-bit fixed point, and the runnable count read right after it, without the
    /// reader itself.
    pub fn reading(&mut self, loads: [u64; 3], runnable: Option<u64>, now: Mono) {
        let Some((before, at)) = self.before else {
            self.before = Some((loads, now));
            return;
        };
        if loads == before && now.since(at) < STEP_AND_SLACK {
            return;
        }
        self.before = Some((loads, now));
        match solve(before, loads) {
            Some(active) => {
                self.misses = 0;
                self.active = Some(active);
                let estimate = runnable.map(|runnable| active.saturating_sub(runnable));
                self.uninterruptible =
                    estimate.map(|now| self.estimate.map_or(now, |before| now.min(before)));
                self.estimate = estimate;
            }
            None => {
                self.undecoded = self.undecoded.saturating_add(1);
                self.misses = self.misses.saturating_add(1);
                if self.misses >= MISSES_MAX {
                    (self.active, self.uninterruptible, self.estimate) = (None, None, None);
                }
            }
        }
    }
}

/// One step of an average, as the kernel computes it; `nearest` is the rounding of 3.10.
fn step(load: u64, decay: u64, active: u64, nearest: bool) -> u64 {
    let active = active.saturating_mul(ONE);
    let sum = load.saturating_mul(decay).saturating_add(active.saturating_mul(ONE.saturating_sub(decay)));
    let rounding = match (nearest, active >= load) {
        (true, _) => ONE / 2,
        (false, true) => ONE.saturating_sub(1),
        (false, false) => 0,
    };
    sum.saturating_add(rounding) / ONE
}

/// The one count that turns `before` into `after` in all three averages.
fn solve(before: [u64; 3], after: [u64; 3]) -> Option<u64> {
    (1..=STEPS_MAX).find_map(|steps| {
        [false, true].into_iter().find_map(|nearest| {
            let reach = |load: u64, decay: u64, active: u64| {
                (0..steps).fold(load, |load, _| step(load, decay, active, nearest))
            };
            let guess = guess(before.first().copied()?, after.first().copied()?, steps);
            let candidates = guess.saturating_sub(1)..=guess.saturating_add(1);
            let fits = |active: &u64| {
                before
                    .iter()
                    .zip(after)
                    .zip(DECAY)
                    .all(|((old, new), decay)| reach(*old, decay, *active) == new)
            };
            candidates.into_iter().find(fits)
        })
    })
}

/// The count by real arithmetic on the fastest average: right to within one.
fn guess(before: u64, after: u64, steps: u32) -> u64 {
    let one = ONE as f64;
    let kept = (DECAY[0] as f64 / one).powi(steps.try_into().unwrap_or(1));
    let active = (after as f64 - before as f64 * kept) / (1.0 - kept) / one;
    active.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn advance(loads: [u64; 3], active: u64, nearest: bool) -> [u64; 3] {
        let [one, five, fifteen] = loads;
        let [a, b, c] = DECAY;
        [step(one, a, active, nearest), step(five, b, active, nearest), step(fifteen, c, active, nearest)]
    }

    #[test]
    fn an_idle_host_has_none() {
        let mut load = Load::default();
        load.reading([0; 3], Some(0), at(0));
        load.reading([0; 3], Some(0), at(5));
        assert_eq!(load.active(), None, "no step is proven yet");
        load.reading([0; 3], Some(0), at(7));
        assert_eq!(load.active(), Some(0));
    }

    #[test]
    fn d_is_active_minus_runnable_the_smaller_of_two() {
        let mut load = Load::default();
        let mut loads = [100, 100, 100];
        load.reading(loads, Some(0), at(0));
        for (seconds, runnable, expected) in [(5, 1, 6), (10, 2, 5), (15, 0, 5), (20, 0, 7)] {
            loads = advance(loads, 7, false);
            load.reading(loads, Some(runnable), at(seconds));
            assert_eq!(load.active(), Some(7));
            assert_eq!(load.uninterruptible(), Some(expected), "at {seconds}");
        }
    }

    #[test]
    fn two_steps_with_different_counts_are_counted_and_not_guessed() {
        let mut load = Load::default();
        let loads = [5000, 4000, 3000];
        load.reading(loads, Some(0), at(0));
        load.reading(advance(advance(loads, 3, false), 90, false), Some(0), at(10));
        assert_eq!((load.active(), load.undecoded), (None, 1));
    }

    #[test]
    fn a_count_is_not_shown_for_ever() {
        let mut load = Load::default();
        let mut loads = advance([5000, 4000, 3000], 3, false);
        load.reading([5000, 4000, 3000], Some(0), at(0));
        load.reading(loads, Some(0), at(5));
        for miss in 1..=3 {
            loads = advance(advance(loads, 3, false), 90 * miss, false);
            load.reading(loads, Some(0), at(5 + 10 * miss));
            assert_eq!(load.active(), (miss < 3).then_some(3), "after {miss}");
        }
    }

    proptest! {
        #[test]
        fn any_history_is_decoded_exactly(counts in proptest::collection::vec(0_u64..20_000, 1..60), nearest: bool) {
            let mut load = Load::default();
            let mut loads = [0; 3];
            load.reading(loads, Some(0), at(0));
            for (number, count) in counts.into_iter().enumerate() {
                loads = advance(loads, count, nearest);
                load.reading(loads, Some(0), at((number as u64 + 1) * 7));
                prop_assert_eq!(load.active(), Some(count));
            }
            prop_assert_eq!(load.undecoded, 0);
        }

        #[test]
        fn no_reading_breaks_it(readings in proptest::collection::vec(any::<[u64; 3]>(), 1..20)) {
            let mut load = Load::default();
            for (number, loads) in readings.into_iter().enumerate() {
                load.reading(loads, None, at(number as u64 * 3));
            }
        }
    }
}
