//! How the exporter itself is, as plain data: filled by the engine, shown by the slice `own`.

use std::time::Duration;

use crate::sample::Lane;

/// Where a lane does not come back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StuckAt {
    /// A pattern of the path table, or what else the lane was doing.
    pub source: &'static str,
    /// The thread or process it was reading, or zero.
    pub subject: u32,
    /// For how long.
    pub time: Duration,
}

/// One lane, over all probes that ran it.
#[derive(Debug, Clone, Copy)]
pub struct LaneState {
    /// Which.
    pub lane: Lane,
    /// It delivers nothing, since when and where.
    pub stuck: Option<StuckAt>,
    /// It cannot be replaced any more: too many abandoned probes.
    pub down: bool,
    /// Age of its newest finished pass.
    pub age: Option<Duration>,
    /// Distance of its passes as the CPU budget allows it.
    pub interval: Duration,
    /// CPU time of its threads.
    pub cpu: Duration,
    /// Finished passes.
    pub passes: u64,
    /// Panics caught.
    pub panics: u64,
    /// Work it could not do; each one tells why, and is logged once a minute.
    pub failures: u64,
    /// Probes abandoned because of it.
    pub abandoned: u64,
}

/// The exporter.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Every lane.
    pub lanes: Vec<LaneState>,
    /// Probe processes that were killed and have not ended.
    pub abandoned_now: u64,
    /// Probe processes forked.
    pub spawned: u64,
    /// Probe processes that ended by themselves.
    pub lost: u64,
    /// How long the warden has not answered.
    pub warden_silent: Duration,
    /// The walls of the sandbox that are known: process, kind, whether it stands.
    pub walls: Vec<(&'static str, &'static str, bool)>,
    /// Worst lateness of a tick of the engine in the last minute.
    pub loop_lag: Duration,
    /// What was refused, by limit.
    pub dropped: Vec<(&'static str, u64)>,
    /// Panics caught in front, by place.
    pub panics: Vec<(&'static str, u64)>,
    /// Front's own SAFE reads that failed.
    pub failed_reads: u64,
}
