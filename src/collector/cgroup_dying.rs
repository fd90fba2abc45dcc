//! *cgroup_dying*: control groups that were removed and cannot go, because a page, a socket or a reader still holds
//! them. They cost memory and make every walk over groups in the kernel longer; a number that only grows ends in reads
//! of `memory.stat` that take seconds.
//!
//! The kernel's own counter at the root of the v2 hierarchy, read every five seconds. Groups of v1 hierarchies are not
//! in it, nor those above the root of the cgroup namespace that we run in.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::Lane;
use crate::snapshot::Snapshot;

/// The slice.
pub static SLICE: Slice = Slice { name: "cgroup_dying", metrics: &[&DYING], show };

static DYING: Desc = Desc::plain(
    "stall_cgroup_dying",
    Kind::Gauge,
    "Control groups of the v2 hierarchy that were removed and that something still holds (nr_dying_descendants).",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let dying = &world.tracks.dying;
    if let Some(groups) = dying.groups.filter(|_| world.fresh(Lane::Cgroups, dying.at)) {
        out.count(&DYING, &[], groups);
    }
}
