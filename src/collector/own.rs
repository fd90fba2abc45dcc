//! *own*: the exporter watches itself first: which path each lane is in and since when, what it cost, what was left
//! out, and whether a CPU quota can stop it while it holds a kernel lock.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::Lane;
use crate::snapshot::Snapshot;

/// The slice. It cannot be switched off.
pub static SLICE: Slice = Slice {
    name: "own",
    metrics: &[
        &BUILD,
        &STUCK,
        &DOWN,
        &AGE,
        &INTERVAL,
        &CPU,
        &PASSES,
        &LANE_PANICS,
        &FAILURES,
        &ABANDONED,
        &ABANDONED_NOW,
        &SPAWNED,
        &LOST,
        &WARDEN,
        &SANDBOX,
        &LAG,
        &QUOTA_LIMITED,
        &QUOTA,
        &THROTTLED,
        &MISSED,
        &DROPPED,
        &PANICS,
        &FAILED_READS,
    ],
    show,
};

const LANES: usize = Lane::ALL.len();
/// Limits and places are constants of the program; this bounds them on the page.
const NAMES_MAX: usize = 32;

static BUILD: Desc = Desc::labelled(
    "stall_exporter_build_info",
    Kind::Gauge,
    &["version"],
    1,
    "Always 1; the label says which exporter this is.",
);
static STUCK: Desc = Desc::labelled(
    "stall_probe_stuck_seconds",
    Kind::Gauge,
    &["lane", "source"],
    LANES,
    "How long a lane has delivered nothing because it hangs, and in which path; 0 with source none when it is well.",
);
static DOWN: Desc = Desc::labelled(
    "stall_probe_down",
    Kind::Gauge,
    &["lane"],
    LANES,
    "1 when the lane is stuck and probe.abandoned_max forbids another probe process.",
);
static AGE: Desc = Desc::labelled(
    "stall_probe_age_seconds",
    Kind::Gauge,
    &["lane"],
    LANES,
    "Age of the lane's newest finished pass; of the lane tasks, of its newest walk.",
);
static INTERVAL: Desc = Desc::labelled(
    "stall_probe_interval_seconds",
    Kind::Gauge,
    &["lane"],
    LANES,
    "Time between two passes as the CPU budget allows it; above the configured one it was stretched.",
);
static CPU: Desc = Desc::labelled(
    "stall_probe_cpu_seconds_total",
    Kind::Counter,
    &["lane"],
    LANES,
    "CPU time of the lane's threads, user and system, over all probe processes.",
);
static PASSES: Desc = Desc::labelled(
    "stall_probe_sweeps_total",
    Kind::Counter,
    &["lane"],
    LANES,
    "Finished passes of the lane; of the lane tasks, walks over all threads.",
);
static LANE_PANICS: Desc = Desc::labelled(
    "stall_probe_panics_total",
    Kind::Counter,
    &["lane"],
    LANES,
    "Panics caught in the lane; each one is a defect of ours.",
);
static FAILURES: Desc = Desc::labelled(
    "stall_probe_failures_total",
    Kind::Counter,
    &["lane"],
    LANES,
    "Times the lane could not do its work, or a part of it; the log says why.",
);
static ABANDONED: Desc = Desc::labelled(
    "stall_probe_abandoned_total",
    Kind::Counter,
    &["lane"],
    LANES,
    "Probe processes that were killed and abandoned because this lane hung.",
);
static ABANDONED_NOW: Desc = Desc::plain(
    "stall_probe_abandoned_processes",
    Kind::Gauge,
    "Abandoned probe processes that have not ended: the kernel does not let them go.",
);
static SPAWNED: Desc = Desc::plain(
    "stall_probe_spawned_total",
    Kind::Counter,
    "Probe processes that were ordered from the warden.",
);
static LOST: Desc = Desc::plain(
    "stall_probe_lost_total",
    Kind::Counter,
    "Probe processes that ended by themselves or could not be forked.",
);
static WARDEN: Desc = Desc::plain(
    "stall_warden_silent_seconds",
    Kind::Gauge,
    "How long the process that forks probes has not answered; while it is silent no probe is replaced.",
);
static SANDBOX: Desc = Desc::labelled(
    "stall_exporter_sandbox",
    Kind::Gauge,
    &["process", "wall"],
    4,
    "1 when this wall stands around this process, 0 when the kernel has none or it is switched off.",
);
static LAG: Desc = Desc::plain(
    "stall_exporter_loop_lag_seconds",
    Kind::Gauge,
    "Worst lateness of a tick of the serving process in the last minute: it was runnable and did not run.",
);
static QUOTA_LIMITED: Desc = Desc::plain(
    "stall_exporter_quota_limited",
    Kind::Gauge,
    "1 when the exporter's control group or an ancestor has a CPU quota, which can stop it inside the kernel.",
);
static QUOTA: Desc = Desc::plain(
    "stall_exporter_quota_cores",
    Kind::Gauge,
    "The smallest CPU quota at the exporter's control group or an ancestor, in cores.",
);
static THROTTLED: Desc = Desc::plain(
    "stall_exporter_self_throttled_periods_total",
    Kind::Counter,
    "Throttled periods of the group with that quota.",
);
static MISSED: Desc = Desc::labelled(
    "stall_exporter_missed_total",
    Kind::Counter,
    &["reason"],
    3,
    "Threads that a walk listed and did not read: ended meanwhile, denied, or failed.",
);
static DROPPED: Desc = Desc::labelled(
    "stall_exporter_dropped_total",
    Kind::Counter,
    &["limit"],
    NAMES_MAX,
    "What was left out because a limit was reached, by limit.",
);
static PANICS: Desc = Desc::labelled(
    "stall_exporter_panics_total",
    Kind::Counter,
    &["place"],
    NAMES_MAX,
    "Panics caught in the serving process, by place; each one is a defect of ours.",
);
static FAILED_READS: Desc = Desc::plain(
    "stall_exporter_failed_reads_total",
    Kind::Counter,
    "Reads of SAFE sources by the serving process that failed.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    out.count(&BUILD, &[env!("CARGO_PKG_VERSION")], 1);
    lanes(world, out);
    let health = world.health;
    out.count(&ABANDONED_NOW, &[], health.abandoned_now);
    out.count(&SPAWNED, &[], health.spawned);
    out.count(&LOST, &[], health.lost);
    out.set(&WARDEN, &[], health.warden_silent.as_secs_f64());
    for (process, wall, stands) in &health.walls {
        out.count(&SANDBOX, &[process, wall], (*stands).into());
    }
    out.set(&LAG, &[], health.loop_lag.as_secs_f64());
    quota(world, out);
    let missed = &world.tracks.missed;
    for (reason, count) in
        [("vanished", missed.vanished), ("denied", missed.denied), ("failed", missed.failed)]
    {
        out.count(&MISSED, &[reason], count);
    }
    for (limit, count) in &health.dropped {
        out.count(&DROPPED, &[limit], *count);
    }
    for (place, count) in &health.panics {
        out.count(&PANICS, &[place], *count);
    }
    out.count(&FAILED_READS, &[], health.failed_reads);
}

fn lanes(world: &World<'_>, out: &mut Snapshot) {
    for state in &world.health.lanes {
        let lane = state.lane.name();
        match state.stuck {
            Some(stuck) => out.set(&STUCK, &[lane, stuck.source], stuck.time.as_secs_f64()),
            None => out.count(&STUCK, &[lane, "none"], 0),
        }
        out.count(&DOWN, &[lane], state.down.into());
        if let Some(age) = state.age {
            out.set(&AGE, &[lane], age.as_secs_f64());
        }
        out.set(&INTERVAL, &[lane], state.interval.as_secs_f64());
        out.set(&CPU, &[lane], state.cpu.as_secs_f64());
        out.count(&PASSES, &[lane], state.passes);
        out.count(&LANE_PANICS, &[lane], state.panics);
        out.count(&FAILURES, &[lane], state.failures);
        out.count(&ABANDONED, &[lane], state.abandoned);
    }
}

fn quota(world: &World<'_>, out: &mut Snapshot) {
    let own = &world.tracks.own;
    if !own.known {
        return;
    }
    out.count(&QUOTA_LIMITED, &[], own.quota_cores.is_some().into());
    if let Some(cores) = own.quota_cores {
        out.notice(&format!(
            "the exporter runs under a CPU quota of {cores} cores (its control group or an ancestor), which can stop \
             it, up to Linux 6.17 while it holds kernel locks; remove CPUQuota=, or cpu.max and cpu.cfs_quota_us, \
             from its unit and from the slices above"
        ));
        out.set(&QUOTA, &[], cores);
    }
    if let Some(periods) = own.throttled_periods {
        out.count(&THROTTLED, &[], periods);
    }
}
