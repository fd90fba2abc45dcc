//! *blocked*: threads in uninterruptible sleep, how long at least, and on what.
//!
//! Proof: state D at both looks and an unchanged mark (time slices and run time) between them; the length is the time
//! from the first such look to the last, never more than the truth, and at most one `tasks.interval` less at the
//! moment of the last look. Waits with a cause of their own (vfork, freezer, core dump, a file server that does not
//! answer) are set apart. It cannot see waits shorter than a look, except as counts, and not who holds what is
//! waited for.

use std::collections::BTreeMap;

use crate::base::bounded::top;
use crate::base::units::State;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind as Shape};
use crate::snapshot::Snapshot;
use crate::track::WAIT_BOUNDS;
use crate::track::kind::Kind;
use crate::track::waits::Wait;

/// Most wait channels on the page; the rest is summed under `other`.
const WCHANS_MAX: usize = 50;
/// Most groups by comm, whatever `blocked.top` says.
const TOP_MAX: usize = 100;

/// The slice.
pub static SLICE: Slice = Slice {
    name: "blocked",
    metrics: &[
        &TASKS,
        &PROCESSES,
        &BLOCKED,
        &BLOCKED_SECONDS,
        &GROUP_SECONDS,
        &KNOWN,
        &KNOWN_SECONDS,
        &DURATION,
    ],
    show,
};

static TASKS: Desc = Desc::labelled(
    "stall_tasks",
    Shape::Gauge,
    &["state"],
    State::ALL.len(),
    "Threads by the kernel's state letter at the newest walk, kernel threads included.",
);
static PROCESSES: Desc = Desc::plain("stall_processes", Shape::Gauge, "Processes at the newest walk.");
static BLOCKED: Desc = Desc::labelled(
    "stall_blocked_tasks",
    Shape::Gauge,
    &["wchan"],
    WCHANS_MAX + 1,
    "Threads in D without progress for at least blocked.threshold, by the kernel function they sleep in.",
);
static BLOCKED_SECONDS: Desc = Desc::labelled(
    "stall_blocked_seconds_max",
    Shape::Gauge,
    &["wchan"],
    WCHANS_MAX + 1,
    "Longest wait in progress of the threads in stall_blocked_tasks, a lower bound.",
);
static GROUP_SECONDS: Desc = Desc::labelled(
    "stall_blocked_group_seconds_max",
    Shape::Gauge,
    &["comm"],
    TOP_MAX,
    "Longest wait in progress by thread name, the blocked.top longest, a lower bound.",
);
static KNOWN: Desc = Desc::labelled(
    "stall_known_wait_tasks",
    Shape::Gauge,
    &["kind"],
    Kind::APART.len(),
    "Threads in D for at least blocked.threshold whose wait has a cause of its own and is not counted as blocked.",
);
static KNOWN_SECONDS: Desc = Desc::labelled(
    "stall_known_wait_seconds_max",
    Shape::Gauge,
    &["kind"],
    Kind::APART.len(),
    "Longest wait in progress with a cause of its own, of any length, a lower bound.",
);
static DURATION: Desc = Desc::plain(
    "stall_blocked_duration_seconds",
    Shape::Histogram(WAIT_BOUNDS),
    "Blocked waits that have ended and were seen at two looks or more, a lower bound of each.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    out.histogram(&DURATION, &[], &world.tracks.ended);
    let Some(census) = world.census() else { return };
    for (state, count) in State::ALL.iter().zip(census.states) {
        out.count(&TASKS, &[state.letter()], count);
    }
    out.count(&PROCESSES, &[], census.processes);
    let long = |wait: &&Wait| wait.proven() && wait.length() >= world.config.blocked.threshold;
    let hangs: Vec<&Wait> =
        world.tracks.blocked.iter().filter(|wait| wait.kind() == Kind::Hang).filter(long).collect();
    by_wchan(&hangs, out);
    by_comm(&hangs, world.config.blocked.top.min(TOP_MAX), out);
    for kind in Kind::APART {
        let of_kind = || world.tracks.blocked.iter().filter(|wait| wait.kind() == kind);
        out.set(&KNOWN, &[kind.name()], of_kind().filter(long).count() as f64);
        out.set(&KNOWN_SECONDS, &[kind.name()], seconds_max(of_kind()));
    }
}

fn by_wchan(hangs: &[&Wait], out: &mut Snapshot) {
    let mut groups: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for wait in hangs {
        let group = groups.entry(wait.wchan.as_deref().unwrap_or("unknown")).or_default();
        *group = (group.0.saturating_add(1), group.1.max(wait.length().as_secs_f64()));
    }
    let all = top(groups.into_iter().collect(), usize::MAX, |(_, (_, longest))| *longest);
    let (shown, rest) = all.split_at(all.len().min(WCHANS_MAX));
    let mut put = |wchan: &str, count: u64, longest: f64| {
        out.count(&BLOCKED, &[wchan], count);
        out.set(&BLOCKED_SECONDS, &[wchan], longest);
    };
    for (wchan, (count, longest)) in shown {
        put(wchan, *count, *longest);
    }
    if let Some((_, (_, longest))) = rest.first() {
        put("other", rest.iter().map(|(_, (count, _))| count).sum(), *longest);
    }
}

fn by_comm(hangs: &[&Wait], most: usize, out: &mut Snapshot) {
    let mut groups: BTreeMap<&str, f64> = BTreeMap::new();
    for wait in hangs {
        let longest = groups.entry(wait.comm_group()).or_default();
        *longest = longest.max(wait.length().as_secs_f64());
    }
    for (comm, longest) in top(groups.into_iter().collect(), most, |(_, longest)| *longest) {
        out.set(&GROUP_SECONDS, &[comm], longest);
    }
}

fn seconds_max<'a>(waits: impl Iterator<Item = &'a Wait>) -> f64 {
    waits.filter(|wait| wait.proven()).map(|wait| wait.length().as_secs_f64()).fold(0.0, f64::max)
}
