//! *disk*: block devices on which I/O is in flight and none completes, and those that device mapper holds back.
//!
//! Proof: I/O in flight at both looks and the same count of completions; a device that completes anything, however
//! slowly, is never stuck. It says neither which I/O it is nor who waits for it. A device of devices (dm, md) is stuck
//! together with the one below it that does not answer. A suspended device-mapper device is not stuck, because what it
//! holds back is not counted as in flight; two suspensions between which no I/O completed look like one. Partitions,
//! and devices that have never done I/O, have no series.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::Lane;
use crate::snapshot::Snapshot;
use crate::track::disks::DEVICES_MAX;

/// The slice.
pub static SLICE: Slice = Slice { name: "disk", metrics: &[&STUCK, &INFLIGHT, &SUSPENDED, &UNREAD], show };

static STUCK: Desc = Desc::labelled(
    "stall_disk_stuck_seconds",
    Kind::Gauge,
    &["device"],
    DEVICES_MAX,
    "How long I/O has been in flight on the whole device and none has completed, a lower bound; 0 when it is well.",
);
static INFLIGHT: Desc = Desc::labelled(
    "stall_disk_inflight",
    Kind::Gauge,
    &["device"],
    DEVICES_MAX,
    "I/O that the device has begun and not ended.",
);
static SUSPENDED: Desc = Desc::labelled(
    "stall_disk_suspended_seconds",
    Kind::Gauge,
    &["device"],
    DEVICES_MAX,
    "How long the device-mapper device has been suspended, a lower bound; its I/O is held back and not in flight.",
);
static UNREAD: Desc =
    Desc::plain("stall_disk_unread_total", Kind::Counter, "Lines of diskstats that could not be understood.");

fn show(world: &World<'_>, out: &mut Snapshot) {
    let disks = &world.tracks.disks;
    out.count(&UNREAD, &[], disks.unread);
    // A device whose reader hangs must not look as if it had recovered, or stayed as it was.
    if !disks.at.is_some_and(|at| world.fresh(Lane::Devices, at)) {
        return;
    }
    for (device, state) in disks.iter() {
        out.set(&STUCK, &[device], state.stuck().as_secs_f64());
        out.count(&INFLIGHT, &[device], state.inflight);
        if let Some(length) = state.suspended() {
            out.set(&SUSPENDED, &[device], length.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::{DiskRow, Disks, Frame};
    use crate::track::Tracks;

    fn page(devices: usize, now: Mono) -> (Tracks, Snapshot) {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(16));
        let row = |number| DiskRow {
            device: format!("dm-{number}"),
            inflight: 1,
            completed: 1,
            suspended: Some(false),
        };
        let rows = (0..devices).map(row).collect();
        tracks.observe(Frame::Disks(Disks { whole: true, rows, ..Disks::default() }));
        let mut out = Snapshot::default();
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        (tracks, out)
    }

    #[test]
    fn the_bound_holds_and_what_is_past_it_is_counted() {
        let (tracks, out) = page(DEVICES_MAX + 7, Mono::from_nanos(1));
        for desc in [&STUCK, &INFLIGHT, &SUSPENDED] {
            let family = out.families().iter().find(|family| family.desc.name == desc.name).unwrap();
            assert_eq!(family.series.len(), DEVICES_MAX, "{}", desc.name);
        }
        assert_eq!((tracks.disks.dropped, out.dropped), (7, 0));
    }

    #[test]
    fn what_nobody_has_looked_at_for_long_is_not_shown() {
        let (_, out) = page(3, Mono::from_nanos(121_000_000_000));
        let names: Vec<&str> = out.families().iter().map(|family| family.desc.name).collect();
        assert_eq!(names, [UNREAD.name]);
    }
}
