//! The long variants of `tests/abuse`: a hundred thousand scrapes, a minute under strace, an hour's walks in a storm.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests start programs and threads, read files, and fail by panic"
)]
#![expect(clippy::print_stderr, reason = "figures for whoever runs the test with --nocapture")]
#![allow(dead_code, reason = "the fast variants use the rest")]

mod support;

#[path = "abuse/attacks.rs"]
mod attacks;
#[path = "abuse/client.rs"]
mod client;
#[path = "abuse/endurance.rs"]
mod endurance;
#[path = "abuse/leaks.rs"]
mod leaks;
#[path = "abuse/trace.rs"]
mod trace;
#[path = "abuse/walls.rs"]
mod walls;

use std::time::Duration;

#[test]
fn a_hundred_thousand_scrapes_leave_nothing_behind() {
    leaks::nothing_is_left_behind(100_000);
}

/// `STALL_ENDURANCE_SECONDS` makes it longer.
#[test]
fn an_hour_of_walks_in_a_storm_leaves_nothing_behind() {
    let asked = std::env::var("STALL_ENDURANCE_SECONDS").ok();
    let seconds =
        asked.map_or(75, |text| text.parse().expect("STALL_ENDURANCE_SECONDS is a number of seconds"));
    endurance::nothing_grows(Duration::from_secs(seconds));
}

#[test]
fn a_minute_within_the_walls() {
    walls::nothing_but_the_table(Duration::from_secs(60));
}
