//! *throttle*: control groups with a CPU quota, v1 and v2, at any level: how often and how long the quota stopped
//! them. A group without a quota has no series.
//!
//! `nr_throttled` counts each period in which any CPU of the group was stopped, while it is stopped. Throttled time is
//! added by the kernel only when a CPU is let go again, so it cannot see a stop that has not ended: a group whose
//! throttled periods grow with every period while its throttled time stands still is the one to look at, and the proof
//! is a thread of it that is runnable and does not run. It cannot tell CPUs of a group apart, nor a group that was
//! made and removed between two searches (`throttle.interval`); a quota shows from the next search on. Counters begin
//! again when a group is made again under the same name.
//!
//! Read every second, while the lane's share of `tasks.cpu_budget` allows: on v1 periods and stops; on v2 the stopped
//! time of `cpu.stat.local` (from 6.6). Read every five seconds: v1's CPU usage, and v2's `cpu.stat`, whose read
//! flushes statistics under a lock that the whole host shares.

use crate::base::bounded::top;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::QuotaRow;
use crate::snapshot::Snapshot;

/// Most groups on the page. Past it the most throttled ones are shown.
const SHOWN_MAX: usize = 1000;

/// The slice.
pub static SLICE: Slice = Slice {
    name: "throttle",
    metrics: &[&PERIODS, &THROTTLED, &THROTTLED_SECONDS, &QUOTA, &USAGE, &UNREAD],
    show,
};

static PERIODS: Desc = Desc::labelled(
    "stall_cgroup_cpu_periods_total",
    Kind::Counter,
    &["cgroup"],
    SHOWN_MAX,
    "Quota periods that have passed while the group had something to run (nr_periods).",
);
static THROTTLED: Desc = Desc::labelled(
    "stall_cgroup_cpu_throttled_periods_total",
    Kind::Counter,
    &["cgroup"],
    SHOWN_MAX,
    "Periods in which the quota stopped the group on any CPU (nr_throttled).",
);
static THROTTLED_SECONDS: Desc = Desc::labelled(
    "stall_cgroup_cpu_throttled_seconds_total",
    Kind::Counter,
    &["cgroup"],
    SHOWN_MAX,
    "Stops that have ended, summed over CPUs; on v2, from 6.6, those by the quota of an ancestor are included.",
);
static QUOTA: Desc = Desc::labelled(
    "stall_cgroup_cpu_quota_cores",
    Kind::Gauge,
    &["cgroup"],
    SHOWN_MAX,
    "The group's own CPU quota in cores.",
);
static USAGE: Desc = Desc::labelled(
    "stall_cgroup_cpu_usage_seconds_total",
    Kind::Counter,
    &["cgroup"],
    SHOWN_MAX,
    "CPU time of the group with a quota and of the groups below it, user and system.",
);
static UNREAD: Desc = Desc::plain(
    "stall_cgroup_unread_total",
    Kind::Counter,
    "Reads of control groups that were there and could not be read or understood.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let quotas = &world.tracks.quotas;
    out.count(&UNREAD, &[], quotas.missed.unread);
    let mut rows: Vec<&QuotaRow> = quotas.iter(world.now).collect();
    if rows.len() > SHOWN_MAX {
        // All are given: what is past the bound is counted there.
        let all = rows.len();
        rows = top(rows, all, |row| row.usage.throttled_periods);
    }
    for row in rows {
        let labels = &[row.group.as_str()];
        out.count(&PERIODS, labels, row.usage.periods);
        out.count(&THROTTLED, labels, row.usage.throttled_periods);
        out.set(&THROTTLED_SECONDS, labels, seconds(row.usage.throttled_ns));
        out.set(&QUOTA, labels, row.quota_cores);
        if let Some(usage) = row.usage.usage_ns {
            out.set(&USAGE, labels, seconds(usage));
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::{Frame, GroupUsage, Quotas};
    use crate::snapshot::Value;
    use crate::track::Tracks;

    fn page(rows: Vec<QuotaRow>) -> Snapshot {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(16));
        tracks.observe(Frame::Quotas(Quotas { whole: true, rows, ..Quotas::default() }));
        let now = Mono::from_nanos(1);
        let mut out = Snapshot::default();
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        out
    }

    fn row(number: u64) -> QuotaRow {
        let usage = GroupUsage {
            periods: number,
            throttled_periods: number,
            throttled_ns: 1_500_000_000,
            usage_ns: None,
        };
        QuotaRow { group: format!("/{number:05}"), quota_cores: 0.07, usage }
    }

    #[test]
    fn past_the_bound_the_most_throttled_are_shown_and_the_rest_is_counted() {
        let more = 7;
        let groups = u64::try_from(SHOWN_MAX).unwrap() + more;
        let out = page((0..groups).map(row).collect());
        let family = out.families().iter().find(|family| family.desc.name == THROTTLED.name).unwrap();
        assert_eq!(family.series.len(), SHOWN_MAX);
        assert_eq!(family.series[0].labels, [format!("/{:05}", groups - 1)]);
        assert!(family.series.iter().all(|series| series.labels[0] >= format!("/{more:05}")));
        assert_eq!(out.dropped, more * 4, "in each of the four families that all groups have");
    }

    #[test]
    fn time_is_in_seconds_and_a_usage_that_is_not_known_is_not_zero() {
        let out = page(vec![row(3)]);
        let names: Vec<&str> = out.families().iter().map(|family| family.desc.name).collect();
        assert!(!names.contains(&USAGE.name));
        let time = out.families().iter().find(|family| family.desc.name == THROTTLED_SECONDS.name).unwrap();
        assert_eq!(time.series[0].value, Value::Number(1.5));
    }
}
