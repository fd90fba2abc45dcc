//! *pressure*: how long tasks had to wait for CPU, memory, I/O or interrupts (PSI), of the host and of the control
//! groups named in `pressure.groups`. The kernel's own totals, read every five seconds; the rate of *waiting* is the
//! share of time in which at least one task waited, that of *stalled* in which none could go on.
//!
//! PSI counts tasks that sleep in D for a page or for I/O, and those that are runnable and do not run. It does not see
//! a task that waits for a lock. A kernel without PSI, or booted with it switched off, has no series. Of the host's CPU
//! there is no *stalled*: the kernel defines none and prints zero.

use crate::base::units::Resource;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::Lane;
use crate::snapshot::Snapshot;
use crate::track::pressure::ROWS_MAX;

/// The slice.
pub static SLICE: Slice =
    Slice { name: "pressure", metrics: &[&WAITING, &STALLED, &GROUP_WAITING, &GROUP_STALLED], show };

static WAITING: Desc = Desc::labelled(
    "stall_pressure_waiting_seconds_total",
    Kind::Counter,
    &["resource"],
    Resource::ALL.len(),
    "Time in which at least one task of the host waited for the resource (PSI, some).",
);
static STALLED: Desc = Desc::labelled(
    "stall_pressure_stalled_seconds_total",
    Kind::Counter,
    &["resource"],
    Resource::ALL.len(),
    "Time in which tasks of the host waited for the resource and none could go on (PSI, full).",
);
static GROUP_WAITING: Desc = Desc::labelled(
    "stall_cgroup_pressure_waiting_seconds_total",
    Kind::Counter,
    &["cgroup", "resource"],
    ROWS_MAX,
    "Time in which at least one task of the group in pressure.groups waited for the resource (PSI, some).",
);
static GROUP_STALLED: Desc = Desc::labelled(
    "stall_cgroup_pressure_stalled_seconds_total",
    Kind::Counter,
    &["cgroup", "resource"],
    ROWS_MAX,
    "Time in which tasks of the group in pressure.groups waited for the resource and none could go on (PSI, full).",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let pressure = &world.tracks.pressure;
    let fresh = |at| world.fresh(Lane::Pressure, at);
    // Totals that nobody reads any more would say that nothing waits.
    if pressure.host.at.is_some_and(fresh) {
        for row in pressure.host.rows() {
            let labels = [row.resource.name()];
            seconds(&WAITING, &labels, row.waiting_us, out);
            seconds(&STALLED, &labels, row.stalled_us.filter(|_| row.resource != Resource::Cpu), out);
        }
    }
    if pressure.groups.at.is_some_and(fresh) {
        for row in pressure.groups.rows() {
            let labels = [row.group.as_str(), row.resource.name()];
            seconds(&GROUP_WAITING, &labels, row.waiting_us, out);
            seconds(&GROUP_STALLED, &labels, row.stalled_us, out);
        }
    }
}

fn seconds(desc: &'static Desc, labels: &[&str], micros: Option<u64>, out: &mut Snapshot) {
    if let Some(micros) = micros {
        out.set(desc, labels, micros as f64 / 1e6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::{Frame, PressureRow, Pressures};
    use crate::snapshot::Value;
    use crate::track::Tracks;

    fn page(groups: usize, now: u64) -> Snapshot {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(16));
        let rows = |group: String| {
            Resource::ALL.map(|resource| PressureRow {
                group: group.clone(),
                resource,
                waiting_us: (resource != Resource::Irq).then_some(1_500_000),
                stalled_us: Some(250_000),
            })
        };
        let host = Pressures { rows: rows(String::new()).to_vec(), ..Pressures::default() };
        let named = (0..groups).flat_map(|group| rows(format!("/{group}"))).collect();
        tracks.observe(Frame::Pressures(host));
        tracks.observe(Frame::Pressures(Pressures { groups: true, rows: named, ..Pressures::default() }));
        let mut out = Snapshot::default();
        let now = Mono::from_nanos(now * 1_000_000_000);
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        out
    }

    #[test]
    fn as_many_groups_as_can_be_named_are_shown_and_no_more() {
        let out = page(crate::config::settings::PRESSURE_GROUPS_MAX + 1, 1);
        let series = |desc: &Desc| {
            let family = out.families().iter().find(|family| family.desc.name == desc.name).unwrap();
            family.series.len()
        };
        assert_eq!([&WAITING, &STALLED, &GROUP_STALLED].map(series), [3, 3, ROWS_MAX]);
        // Interrupts have no waiting.
        assert_eq!((series(&GROUP_WAITING), out.dropped), (ROWS_MAX * 3 / 4, 0));
        assert_eq!(ROWS_MAX, 4 * crate::config::settings::PRESSURE_GROUPS_MAX);
    }

    #[test]
    fn totals_are_seconds_and_old_ones_are_not_shown() {
        let out = page(0, 1);
        assert_eq!(out.families()[0].series[0].value, Value::Number(1.5));
        assert!(page(1, 121).families().is_empty());
    }
}
