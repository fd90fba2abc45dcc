//! The long variants of `e2e`: with the default settings, on the real `/proc`, one at a time.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests start programs, read files, sleep, print what they measured, and fail by panic"
)]
#![allow(dead_code, reason = "the fast and the slow part share modules, and each uses its part")]

#[path = "../support/mod.rs"]
mod support;

mod hang;
mod harness;
mod scene;
mod starved;
mod waits;

fn main() -> std::process::ExitCode {
    harness::run(&[waits::SLOW, hang::SLOW, starved::SLOW])
}
