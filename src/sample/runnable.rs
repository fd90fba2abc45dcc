//! What is told of threads in R: where a busy one spends its time, and in which control group a starved one is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::{Mono, nanos};
use crate::base::units::Pid;

/// Part of the time between two looks that a thread must have run to count as busy. Low, because one that burns up a
/// small quota inside a lock is the holder that is looked for.
pub const BUSY_SHARE: f64 = 0.02;

/// Whether a thread that ran for `ran_ns` in `time` is busy.
pub fn busy(ran_ns: u64, time: Duration) -> bool {
    ran_ns > 0 && ran_ns as f64 >= nanos(time) as f64 * BUSY_SHARE
}

/// A busy thread at one moment. Its run time is the mark of the detail that this is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// Its process.
    pub pid: Pid,
    /// Its name; of a kworker without the work item.
    pub comm: String,
    /// The work item that a kworker runs, where the kernel says it (from 4.18).
    pub work: Option<String>,
    /// Before the numbers were read.
    pub begin: Mono,
    /// After they were read.
    pub end: Mono,
    /// Time in user space, in clock ticks; always zero for a kernel thread.
    pub user_ticks: u64,
    /// How often it went to sleep of its own will (`nr_voluntary_switches`). Being put off the CPU is not counted.
    pub voluntary: u64,
}

/// In which group with a quota a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The process.
    pub pid: Pid,
    /// The group, as in [`super::QuotaRow`]; `None` when it is in none of those that throttle.
    pub group: Option<String>,
}
