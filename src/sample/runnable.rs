//! What is told of threads in R: where a busy one spends its time, and in which control group a starved one is.

use serde::{Deserialize, Serialize};

use crate::base::clock::Mono;
use crate::base::units::Pid;

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

/// What control groups say of starved processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// An answer for each process that there is an answer for.
    pub rows: Vec<Member>,
    /// Groups whose members could not be read, or only in part.
    pub unread: u64,
    /// Groups that were not looked at because there were too many.
    pub over_groups: u64,
}

/// Where a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The process.
    pub pid: Pid,
    /// The group with a quota, as in [`super::QuotaRow`]; `None` when it is in none of those that throttle.
    pub group: Option<String>,
}
