//! Finds the kernel threads by name: all processes once, afterwards those that are new in the list. A few at each
//! step, so that nobody is sampled late because of a search.
//!
//! Names come from the header of `sched`, which takes no lock of a kworker's pool; `status` is read only of a thread
//! whose name says that it is none. Kernels without `sched` (no `CONFIG_SCHED_DEBUG`) have no thread found.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::kthread::Kthread;
use crate::base::units::{Pid, Tid};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Reader, task};

/// Distance between two listings: CPUs and filesystems come and go.
const EVERY: Duration = Duration::from_secs(30);
/// After so many listings everybody is asked again: a process id may have changed hands between two listings.
const FRESH_EVERY: u32 = 20;
/// Processes asked in one step.
const PER_STEP: usize = 32;
/// The parent of all kernel threads, and the root of them.
const KTHREADD: Pid = 2;

/// The search.
#[derive(Debug)]
pub struct Discovery {
    pids_max: usize,
    /// The newest list, ascending.
    listed: Vec<Pid>,
    /// Still to be asked, the next one last.
    open: Vec<Pid>,
    due: Mono,
    listings: u32,
}

impl Discovery {
    /// Nothing is known; the first step begins.
    pub fn new(pids_max: usize, now: Mono) -> Self {
        Self { pids_max, listed: Vec::new(), open: Vec::new(), due: now, listings: 0 }
    }

    /// There is somebody to ask, or a list to make.
    pub fn due(&self, now: Mono) -> bool {
        !self.open.is_empty() || now >= self.due
    }

    /// Everybody has been asked at least once.
    pub fn complete(&self) -> bool {
        self.listings > 1 || (self.listings == 1 && self.open.is_empty())
    }

    /// A thread has ended; what took its place comes soon.
    pub fn vanished(&mut self, tid: Tid, now: Mono) {
        self.listed.retain(|pid| *pid != tid);
        self.due = self.due.min(now);
    }

    /// Asks a few more; returns those that should be sampled. They may be sampled already.
    pub fn step(&mut self, now: Mono, reader: &mut Reader<'_>) -> Vec<(Tid, Kthread)> {
        if self.open.is_empty() && now >= self.due {
            self.list(now, reader);
        }
        let most = self.open.len().saturating_sub(PER_STEP);
        let asked = self.open.split_off(most);
        asked.into_iter().rev().filter_map(|pid| Some((pid, identify(pid, reader)?))).collect()
    }

    fn list(&mut self, now: Mono, reader: &mut Reader<'_>) {
        self.due = now.plus(EVERY);
        let mut pids = Vec::new();
        if reader.list_processes(self.pids_max, &mut pids).is_err() {
            return;
        }
        pids.sort_unstable();
        if self.listings.is_multiple_of(FRESH_EVERY) {
            self.listed.clear();
        }
        self.listings = self.listings.saturating_add(1);
        self.open = pids.iter().copied().filter(|pid| self.listed.binary_search(pid).is_err()).collect();
        self.open.reverse();
        self.listed = pids;
    }
}

/// The name of a kernel thread that is to be sampled.
fn identify(pid: Pid, reader: &mut Reader<'_>) -> Option<Kthread> {
    let group = reader.group(pid).ok()?;
    if group.uid != 0 || group.threads != 1 {
        return None;
    }
    let place = |file| Place::Thread { pid, tid: pid, file };
    let thread = Kthread::named(task::sched_comm(reader.read(&place(ThreadFile::Sched)).ok()?)?)?;
    let parent = task::parent(reader.read(&place(ThreadFile::Status)).ok()?)?;
    (parent == KTHREADD).then_some(thread)
}
