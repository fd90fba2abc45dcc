//! The `process_*` families that every exporter has, from system calls alone: no file of `/proc/self` is read.

use std::io::Write as _;
use std::time::Duration;

use crate::base::clock;
use crate::exposition::desc::{Desc, Kind};

/// Families written here.
pub const METRICS: [&Desc; 3] = [&CPU, &START, &MAX_FDS];

static CPU: Desc = Desc::plain(
    "process_cpu_seconds_total",
    Kind::Counter,
    "Total user and system CPU time spent in seconds by the serving process.",
);
static START: Desc = Desc::plain(
    "process_start_time_seconds",
    Kind::Gauge,
    "Start time of the serving process since unix epoch in seconds.",
);
static MAX_FDS: Desc =
    Desc::plain("process_max_fds", Kind::Gauge, "Maximum number of open file descriptors.");

/// The process, as it was at start.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    started: Duration,
    max_fds: u64,
}

impl Process {
    /// Now is the start.
    pub fn started(max_fds: u64) -> Self {
        Self { started: clock::wall(), max_fds }
    }

    /// Appends the families.
    pub fn append(&self, out: &mut Vec<u8>) {
        let values = [clock::process_cpu().as_secs_f64(), self.started.as_secs_f64(), self.max_fds as f64];
        for (desc, value) in METRICS.iter().zip(values) {
            let (name, help, kind) = (desc.name, desc.help, desc.kind.word());
            // Writing into a vector cannot fail.
            let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    }
}
