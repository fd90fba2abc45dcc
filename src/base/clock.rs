//! The only clock of the crate.
//!
//! Everything that measures reads `CLOCK_MONOTONIC` through [`now`], once, at the edge, and passes the value on:
//! trackers receive time as an argument. The clock is the same in all our processes, so a probe's stamp and
//! front's tick can be subtracted. It stands still while the machine is suspended, which is what a wait wants.
#![expect(clippy::disallowed_methods, reason = "this file is the owner of the clock")]

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point on `CLOCK_MONOTONIC`, in nanoseconds since the kernel's boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mono(u64);

impl Mono {
    /// A point from its nanoseconds; recorded samples and tests make time this way.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`; zero when the order is the other way round, never a wrap.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point `by` later; stays at the end of the range instead of wrapping.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }
}

/// A duration in whole nanoseconds, at most `u64::MAX` (584 years).
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, on `CLOCK_MONOTONIC` (vDSO, no system call on ordinary clock sources).
pub fn now() -> Mono {
    Mono(nanos(read(ClockId::Monotonic)))
}

/// Now, in seconds since the Unix epoch. For people and for log lines; no duration is ever computed from it.
pub fn wall() -> Duration {
    read(ClockId::Realtime)
}

/// CPU time this thread has used, user and system.
pub fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// CPU time this process has used, all threads, user and system.
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_runs_below_zero_or_past_its_end() {
        let early = Mono::from_nanos(5);
        let late = Mono::from_nanos(9);
        assert_eq!(late.since(early), Duration::from_nanos(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(Mono::from_nanos(u64::MAX).plus(Duration::from_secs(1)).as_nanos(), u64::MAX);
    }

    #[test]
    fn the_clock_goes_forward() {
        let first = now();
        assert!(now() >= first);
        assert!(first.as_nanos() > 0);
    }
}
