//! Support for tests that run the real binary on a real kernel.
//!
//! * [`cgroup`]: control groups made by a test, thawed and removed with it.
//! * [`exporter`]: the binary, started on a free port, its log collected, ended with the test.
//! * [`http`]: a raw client, so that no client library smooths over what the server does.
//! * [`page`]: a strict reader of the exposition; what it accepts, every Prometheus accepts.
//! * [`fault`]: the C programs of `tests/faults`, which make waits that are true.
//! * [`proc_tree`]: a directory that stands in for `/proc`, in which single files hang.
//! * [`process`]: what the kernel says of a process.
//!
//! Everything here panics with a message that says what was expected: it is called by tests only.
#![allow(dead_code, reason = "each test crate uses its part")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests start programs, read files, sleep, and fail by panic"
)]

pub mod cgroup;
pub mod exporter;
pub mod fault;
pub mod http;
pub mod page;
pub mod proc_tree;
pub mod process;

use std::time::{Duration, Instant};

/// Now on `CLOCK_MONOTONIC`, the clock of the faults and of the exporter, in ns.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Seconds from `since_ns` to `at_ns`; below zero when the order is the other way round.
pub fn seconds(since_ns: u64, at_ns: u64) -> f64 {
    (at_ns as f64 - since_ns as f64) / 1e9
}

/// Polls until `look` gives something, and returns it; panics with `what` when `timeout` has passed.
pub fn wait_until<T>(timeout: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        // The time is taken before the look: a look that ends late but finds what it wants has found it.
        let waited = start.elapsed();
        if let Some(found) = look() {
            return found;
        }
        assert!(waited < timeout, "waited {waited:.1?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// [`wait_until`] for a condition that has no value.
pub fn wait_for(timeout: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    wait_until(timeout, what, || holds().then_some(()));
}

/// [`wait_for`] for a value that becomes another; panics with the last one when it never does.
pub fn wait_for_value<T: PartialEq + std::fmt::Debug>(
    timeout: Duration,
    what: &str,
    expected: &T,
    mut look: impl FnMut() -> T,
) {
    let start = Instant::now();
    loop {
        let waited = start.elapsed();
        let last = look();
        if last == *expected {
            return;
        }
        assert!(waited < timeout, "waited {waited:.1?} in vain until {what}: {expected:?}; it is {last:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
