//! What lanes saw of things that are no threads: block devices, pressure, control groups that do not go.

use serde::{Deserialize, Serialize};

use crate::base::bounded::{ROWS_MAX, list};
use crate::base::clock::Mono;
use crate::base::units::Resource;

/// The whole block devices that have done I/O, or that somebody has suspended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disks {
    /// Before the counters were read.
    pub begin: Mono,
    /// After they were read.
    pub end: Mono,
    /// These are all: of a device that is not among them nothing is to be known any more.
    pub whole: bool,
    /// The devices.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<DiskRow>,
    /// Devices that could not be read or understood.
    pub unread: u64,
    /// Devices past `disk.devices_max`.
    pub over_devices: u64,
}

/// One whole block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRow {
    /// Its name, as a label value; no two devices have the same.
    pub device: String,
    /// I/O that was begun and has not ended.
    pub inflight: u64,
    /// I/O that has ended since the device was made: reads, writes, discards, flushes.
    pub completed: u64,
    /// A device-mapper device: it is suspended, and begins no I/O.
    pub suspended: Option<bool>,
}

/// Pressure totals, all of the host or all of the groups that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressures {
    /// Before they were read.
    pub at: Mono,
    /// They are those of the groups.
    pub groups: bool,
    /// What there was.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<PressureRow>,
}

/// Pressure by one resource, in microseconds since boot or since the group was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PressureRow {
    /// The group's path below the hierarchy's root, as a label value; empty for the host.
    pub group: String,
    /// What was waited for.
    pub resource: Resource,
    /// At least one task waited.
    pub waiting_us: Option<u64>,
    /// Tasks waited and none could go on.
    pub stalled_us: Option<u64>,
}

/// Control groups that were removed and that something still holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dying {
    /// Before they were counted.
    pub at: Mono,
    /// How many, of all below the v2 root; `None` when there is no v2 or it does not say.
    pub groups: Option<u64>,
}
