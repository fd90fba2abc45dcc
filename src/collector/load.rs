//! *load*: threads in R or D, decoded from the load averages of `sysinfo(2)` every five seconds. No file is walked, so
//! it works when the walk does not. Killable waits count; frozen threads, idle kernel threads and the runnable ones
//! of throttled groups do not, so a walk that sees more D than this is looking at a freezer.
//!
//! The runnable count is not of the same instant as the kernel's step, and a crowd that runs just then would look like
//! tasks in D. While the walk works, no more are published than it leaves room for.

use std::time::Duration;

use crate::base::units::State;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;

/// A walk that ended longer ago says nothing about the two steps that the estimate is of.
const RECENT: Duration = Duration::from_secs(10);

/// The slice.
pub static SLICE: Slice = Slice { name: "load", metrics: &[&ACTIVE, &UNINTERRUPTIBLE, &UNDECODED], show };

static ACTIVE: Desc = Desc::plain(
    "stall_active_tasks",
    Kind::Gauge,
    "Threads in R or D, solved exactly from two successive load averages (calc_load), every five seconds.",
);
static UNINTERRUPTIBLE: Desc = Desc::plain(
    "stall_uninterruptible_tasks",
    Kind::Gauge,
    "Threads in D by the load averages: active minus runnable, the smaller of the last two estimates, and no more than \
     the newest walk saw or could not read, where there is one.",
);
static UNDECODED: Desc = Desc::plain(
    "stall_load_undecoded_total",
    Kind::Counter,
    "Steps of the load averages whose count could not be solved and was not published.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let load = &world.tracks.load;
    if let Some(active) = load.active() {
        out.count(&ACTIVE, &[], active);
    }
    if let Some(tasks) = load.uninterruptible() {
        out.count(&UNINTERRUPTIBLE, &[], room(world).map_or(tasks, |room| tasks.min(room)));
    }
    out.count(&UNDECODED, &[], load.undecoded);
}

/// How many threads may be in D by the newest walk: in D, with an unknown letter, or not read.
fn room(world: &World<'_>) -> Option<u64> {
    let census = world.tracks.census.as_ref().filter(|census| world.now.since(census.end) <= RECENT)?;
    let counts = State::ALL.iter().zip(census.states);
    let may = counts.filter(|(state, _)| matches!(state, State::Uninterruptible | State::Unknown));
    Some(may.map(|(_, count)| count).fold(census.unread, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::config::Config;
    use crate::exposition::render::render;
    use crate::health::Health;
    use crate::sample::{Frame, Missed, Sweep};
    use crate::track::Tracks;

    const SECOND: u64 = 1_000_000_000;

    /// The line of the page at a second; by the load averages seven are in D, by a walk at second 20 so many.
    fn published(in_d: u64, failed: u64, now: u64) -> Option<String> {
        let mut tracks = Tracks::new(10);
        // What the kernel makes of seven active threads, step after step.
        for (step, loads) in (0..).zip([[0, 0, 0], [1148, 238, 77], [2205, 473, 154], [3177, 704, 231]]) {
            tracks.load.reading(loads, Some(0), Mono::from_nanos(step * 5 * SECOND));
        }
        let mut sweep = Sweep { end: Mono::from_nanos(20 * SECOND), ..Sweep::default() };
        sweep.states[2] = in_d;
        sweep.missed = Missed { failed, ..Missed::default() };
        tracks.observe(Frame::Sweep(sweep));
        let (config, health) = (Config::defaults(), Health::default());
        let mut out = Snapshot::default();
        show(
            &World { config: &config, tracks: &tracks, health: &health, now: Mono::from_nanos(now * SECOND) },
            &mut out,
        );
        let mut page = Vec::new();
        render(&out, &mut page);
        let page = String::from_utf8(page).unwrap();
        page.lines().find_map(|line| line.strip_prefix("stall_uninterruptible_tasks ")).map(str::to_owned)
    }

    #[test]
    fn a_walk_of_the_same_time_bounds_what_is_in_d() {
        assert_eq!(published(9, 0, 21).as_deref(), Some("7"), "frozen ones are in the walk alone");
        assert_eq!(published(2, 0, 21).as_deref(), Some("2"), "a crowd ran at the step");
        assert_eq!(published(2, 3, 21).as_deref(), Some("5"), "three could not be read");
        assert_eq!(published(2, 0, 31).as_deref(), Some("7"), "the walk hangs, and this goes on");
    }
}
