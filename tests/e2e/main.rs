//! The whole pipeline from outside: the real binary on the real kernel, from a wait that is true to the text a scraper
//! gets.
//!
//! Most cases give the exporter a tree of links in place of `/proc`, which shows it the processes of this case and no
//! others; every file in it is the kernel's own. Needs root and control groups, and fails without them.
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

mod counted;
mod disk;
mod evidence;
mod hang;
mod harness;
mod kthread;
mod modes;
mod notices;
mod pressure;
mod processes;
mod scale;
mod scene;
mod service;
mod stalls;
mod starved;
mod throttle;
mod waits;

fn main() -> std::process::ExitCode {
    harness::run(&[
        waits::CASES,
        hang::CASES,
        evidence::CASES,
        processes::CASES,
        modes::CASES,
        scale::CASES,
        throttle::CASES,
        kthread::CASES,
        disk::CASES,
        service::CASES,
        starved::CASES,
        stalls::CASES,
        pressure::CASES,
        counted::CASES,
        notices::CASES,
    ])
}
