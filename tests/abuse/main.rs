//! Everything that strangers, clients and the host can do to the running exporter: the real binary on a real kernel.
//!
//! * [`hostile`]: clients that are silent, slow, deaf, endless or broken, one kind at a time and all at once.
//! * [`descriptors`]: no file descriptor left.
//! * [`leaks`]: what thousands of scrapes leave behind.
//! * [`walls`]: what the processes open, execute and connect to, as the kernel sees it.
//! * [`sandbox`]: what the kernel refuses them.
//! * [`page`]: the page as Prometheus's own tools judge it.
//! * [`protocol`]: methods, codings, status codes.
//! * [`stderr`]: nobody takes the log.
//!
//! Each test has an exporter of its own on a free port of the loopback.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests start programs and threads, read files, and fail by panic"
)]
#![expect(clippy::print_stderr, reason = "figures for whoever runs the test with --nocapture")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod client;
mod descriptors;
mod hostile;
mod leaks;
mod page;
mod protocol;
mod sandbox;
mod stderr;
mod trace;
mod walls;

use std::time::Duration;

#[test]
fn five_thousand_scrapes_leave_nothing_behind() {
    leaks::nothing_is_left_behind(5_000);
}

#[test]
fn the_processes_open_what_the_table_says_and_make_nothing_else() {
    walls::nothing_but_the_table(Duration::from_secs(12));
}
