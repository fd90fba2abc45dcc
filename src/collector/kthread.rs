//! *kthread*: kernel threads that wait for a CPU, by name and CPU: those waits in progress, and how long finished ones
//! were. The label `cpu` is `none` for threads that are bound to no CPU by their name; of several such threads with
//! one name (`kswapdN`, `jbd2/DEVICE`) the waits in progress show the longest, and the counters their sum.
//!
//! Proof and limits of a wait in progress as in *softirq*, which shows those of `ksoftirqd`. The histogram is made of
//! the kernel's own sums, sampled twenty times a second: a step with one time slice is one exact wait, a step with
//! several is booked as one long wait and short ones, and counted as coarse. It cannot see who ran instead, and takes a
//! `migration/N` that works for long at a stretch for one that waits.

use crate::base::kthread::Kind as Thread;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::kthreads::{RUN_DELAY_BOUNDS, SUMS_MAX};

/// The slice.
pub static SLICE: Slice =
    Slice { name: "kthread", metrics: &[&IN_PROGRESS, &WAITS, &COARSE, &RUN_DELAY, &TIMESLICES], show };

const KINDS: usize = Thread::ALL.len();

static IN_PROGRESS: Desc = Desc::labelled(
    "stall_kthread_wait_in_progress_seconds",
    Kind::Gauge,
    &["kthread", "cpu"],
    SUMS_MAX,
    "How long this kernel thread has been runnable without having run, a lower bound; 0 when it is not waiting.",
);
static WAITS: Desc = Desc::labelled(
    "stall_kthread_wait_seconds",
    Kind::Histogram(RUN_DELAY_BOUNDS),
    &["kthread"],
    KINDS,
    "Waits of kernel threads for a CPU that have ended; the sum is exact, see stall_kthread_coarse_steps_total.",
);
static COARSE: Desc = Desc::labelled(
    "stall_kthread_coarse_steps_total",
    Kind::Counter,
    &["kthread"],
    KINDS,
    "Sampling steps with several waits of one thread, of which only the sum is known: booked as one and short ones.",
);
static RUN_DELAY: Desc = Desc::labelled(
    "stall_kthread_run_delay_seconds_total",
    Kind::Counter,
    &["kthread", "cpu"],
    SUMS_MAX,
    "Time for which the kernel thread waited for a CPU, waits that have ended only, since the exporter met it.",
);
static TIMESLICES: Desc = Desc::labelled(
    "stall_kthread_timeslices_total",
    Kind::Counter,
    &["kthread", "cpu"],
    SUMS_MAX,
    "How often the kernel thread was put on a CPU since the exporter met it.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let kthreads = &world.tracks.kthreads;
    for (thread, length) in kthreads.in_progress() {
        if thread.kind != Thread::Ksoftirqd {
            out.set(&IN_PROGRESS, &[thread.kind.name(), &thread.cpu_label()], length.as_secs_f64());
        }
    }
    for (kind, finished) in kthreads.finished() {
        out.histogram(&WAITS, &[kind.name()], &finished.waits);
        out.count(&COARSE, &[kind.name()], finished.coarse);
    }
    for (thread, sums) in kthreads.sums() {
        let labels = [thread.kind.name(), &thread.cpu_label()];
        out.set(&RUN_DELAY, &labels, sums.wait_ns as f64 / 1e9);
        out.count(&TIMESLICES, &labels, sums.slices);
    }
}
