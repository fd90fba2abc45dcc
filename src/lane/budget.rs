//! The CPU budget of a lane: a bucket of CPU time that fills at the lane's share and holds one minute of it, so that
//! a first, expensive walk is allowed and a steady expense is not.

use std::time::Duration;

use crate::base::clock::{self, Mono, nanos};

/// How much unspent budget is kept.
const DEPTH: Duration = Duration::from_secs(60);

/// The CPU time of this thread since a turn began.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// When it began.
    pub began: Mono,
    cpu: Duration,
}

impl Turn {
    /// Begins now.
    pub fn begin() -> Self {
        Self { began: clock::now(), cpu: clock::thread_cpu() }
    }

    /// What it has cost so far.
    pub fn cost(&self) -> Duration {
        clock::thread_cpu().saturating_sub(self.cpu)
    }
}

/// A bucket of CPU time.
#[derive(Debug, Clone)]
pub struct Budget {
    share: f64,
    /// Nanoseconds that may be spent now; negative after an expense that was not foreseen.
    tokens: f64,
    filled: Mono,
}

/// Nanoseconds of minutes are far below 2^52, so nothing is lost.
fn float(duration: Duration) -> f64 {
    nanos(duration) as f64
}

impl Budget {
    /// A full bucket that fills at `share` of one CPU (0.01 is one percent).
    pub fn new(share: f64, now: Mono) -> Self {
        Self { share, tokens: share * float(DEPTH), filled: now }
    }

    /// Takes `spent` out of the bucket.
    pub fn spend(&mut self, spent: Duration, now: Mono) {
        let filled = self.share * float(now.since(self.filled));
        self.tokens = (self.tokens + filled).min(self.share * float(DEPTH)) - float(spent);
        self.filled = now;
    }

    /// Ends a turn: takes its cost, and says when the next one may begin, `interval` after this one began or, when the
    /// budget does not allow that, later.
    pub fn next(&mut self, turn: &Turn, interval: Duration) -> Mono {
        let cost = turn.cost();
        self.spend(cost, clock::now());
        turn.began.plus(interval).max(self.due(cost))
    }

    /// The earliest moment at which an expense like `expected` fits.
    pub fn due(&self, expected: Duration) -> Mono {
        // An expense larger than the bucket waits for a full one and then leaves a debt.
        let needed = float(expected).min(self.share * float(DEPTH));
        let wait = ((needed - self.tokens) / self.share).clamp(0.0, float(Duration::from_secs(86_400)));
        self.filled.plus(Duration::from_secs_f64(wait / 1e9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_cheap_walk_is_never_delayed_and_a_dear_one_is() {
        let start = Mono::from_nanos(0);
        let mut budget = Budget::new(0.01, start);
        assert_eq!(budget.due(600 * MS), start, "a minute's worth is there at the start");
        budget.spend(600 * MS, start);
        // Empty now: 50 ms of CPU at one percent take five seconds.
        assert_eq!(budget.due(50 * MS), start.plus(Duration::from_secs(5)));
    }

    #[test]
    fn an_expense_past_the_bucket_still_gets_its_turn() {
        let start = Mono::from_nanos(0);
        let mut budget = Budget::new(0.01, start);
        budget.spend(2000 * MS, start);
        assert_eq!(budget.due(2000 * MS), start.plus(Duration::from_secs(200)));
    }

    proptest! {
        #[test]
        fn the_share_holds_over_any_run(costs in proptest::collection::vec(1_u64..2_000, 1..200)) {
            let mut now = Mono::from_nanos(0);
            let mut budget = Budget::new(0.01, now);
            let mut total = Duration::ZERO;
            for cost in costs {
                let cost = Duration::from_millis(cost);
                now = now.max(budget.due(cost));
                // What is spent is at most the share of the time so far, one bucket, and this one expense.
                let allowed = now.since(Mono::from_nanos(0)).mul_f64(0.01) + Duration::from_millis(601);
                prop_assert!(total <= allowed + cost, "{total:?} of {allowed:?}");
                total += cost;
                budget.spend(cost, now);
            }
        }
    }
}
