//! *softirq*: softirqs that were left to `ksoftirqd/N` and wait because it does not get its CPU: packets, timers and
//! RCU of that CPU stand still meanwhile.
//!
//! Proof: `ksoftirqd/N` in R at two looks, and neither a time slice nor run time between them. The length is the time
//! from the first such look to the newest, never more than the truth; the kthreads lane says how far it may be behind.
//! It cannot see softirqs that no thread was woken for: a CPU whose interrupts are off shows in *kthread*
//! (`migration/N`) instead.

use crate::base::kthread::Kind as Thread;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::kthreads::SUMS_MAX;

/// The slice.
pub static SLICE: Slice = Slice { name: "softirq", metrics: &[&PENDING], show };

static PENDING: Desc = Desc::labelled(
    "stall_softirq_pending_seconds",
    Kind::Gauge,
    &["cpu"],
    SUMS_MAX,
    "How long ksoftirqd of this CPU has been runnable without having run, a lower bound; 0 when it is not waiting.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    for (thread, length) in world.tracks.kthreads.in_progress() {
        if thread.kind == Thread::Ksoftirqd {
            out.set(&PENDING, &[&thread.cpu_label()], length.as_secs_f64());
        }
    }
}
