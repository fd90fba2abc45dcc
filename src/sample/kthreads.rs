//! What the kthreads lane tells: how often a few kernel threads ran, and how long they waited for it.

use serde::{Deserialize, Serialize};

use crate::base::bounded::list;
use crate::base::clock::Mono;
use crate::base::kthread::Kthread;
use crate::base::units::Tid;
use crate::sample::Mark;

/// What became of the sampled kernel threads since the last frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KthreadSamples {
    /// When they were told.
    pub at: Mono,
    /// All that are sampled are here; those that are not have ended or are no longer sampled.
    pub whole: bool,
    /// The threads.
    #[serde(deserialize_with = "list::<KTHREADS_MAX, _, _>")]
    pub threads: Vec<KthreadSample>,
    /// Threads that were found since the last frame and not taken, because there were too many.
    pub left_out: u64,
}

/// Most kernel threads that are sampled, two descriptors each: half of what a process may open by default. Enough for
/// 120 CPUs; above, `migration/N` gives way to `ksoftirqd/N`.
pub const KTHREADS_MAX: usize = 256;
/// Most steps of a thread that are told one by one; the rest is in the sums.
pub const STEPS_MAX: usize = 32;

/// One kernel thread since the last frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KthreadSample {
    /// The thread.
    pub tid: Tid,
    /// Its name.
    pub thread: Kthread,
    /// Its progress at the newest look.
    pub mark: Mark,
    /// Nanoseconds waited for a CPU in all, waits that have ended only, at the newest look.
    pub wait_ns: u64,
    /// The looks that found it moved, oldest first. There may have been more than are told; `mark` and `wait_ns` hold
    /// them all.
    #[serde(deserialize_with = "list::<STEPS_MAX, _, _>")]
    pub steps: Vec<Step>,
    /// In R at every look at which its letter was read since its mark is this one.
    pub runnable: Option<Looks>,
}

/// What happened to a thread between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How often it was put on a CPU.
    pub slices: u64,
    /// What the waits that ended add up to, nanoseconds. Without a slice: it was moved to another CPU's queue.
    pub wait_ns: u64,
}

/// The first and the last of several looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// The first.
    pub first: Mono,
    /// The last.
    pub last: Mono,
}
