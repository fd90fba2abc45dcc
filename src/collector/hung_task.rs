//! *hung_task*: how often the kernel's own detector, khungtaskd, has found a task that waited for longer than
//! `kernel.hung_task_timeout_secs` (120 s) in D, killable waits left out. It goes on counting when its warnings in the
//! log have run out (`kernel.hung_task_warnings`). It needs no walk of ours, so it works when the walk does not.
//!
//! A kernel that does not count (6.12 and older), or that has the detector not built in, has no series.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;

/// The slice.
pub static SLICE: Slice = Slice { name: "hung_task", metrics: &[&DETECTIONS], show };

static DETECTIONS: Desc = Desc::plain(
    "stall_hung_task_detections_total",
    Kind::Counter,
    "Tasks that the kernel itself has called hung since boot (hung_task_detect_count); not on every kernel.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    if let Some(detections) = world.tracks.hung_tasks {
        out.count(&DETECTIONS, &[], detections);
    }
}
