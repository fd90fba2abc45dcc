//! *load*: threads in R or D, decoded from the load averages of `sysinfo(2)` every five seconds. No file is walked, so
//! it works when the walk does not. Killable waits count; frozen threads, idle kernel threads and the runnable ones
//! of throttled groups do not, so a walk that sees more D than this is looking at a freezer.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;

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
    "Threads in D by the load averages, a lower bound: the smaller of the last two counts minus the most runnable.",
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
        out.count(&UNINTERRUPTIBLE, &[], tasks);
    }
    out.count(&UNDECODED, &[], load.undecoded);
}
