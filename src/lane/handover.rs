//! What lanes of one probe tell each other. Newest wins; the locks are held for a swap, never across a read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::units::{Pid, Tid};
use crate::sample::{Hint, Mark, Row};

/// Why details are wanted. The first are served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It waits in the kernel: on what?
    Blocked,
    /// It is in R and has not moved: on which CPU, and does it not sleep after all?
    Starved,
    /// It is in R and burns CPU time: where?
    Busy,
    /// It burnt CPU time and sleeps now: where? Short work that keeps a CPU from others is hardly ever met in R.
    Ran,
}

impl Why {
    /// Asks where a thread spends its CPU time, and not about a wait.
    pub const fn of_time(self) -> bool {
        matches!(self, Self::Busy | Self::Ran)
    }
}

/// A thread about which the tasks lane wants details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The wait: the facts must belong to this mark. A busy thread's moves on.
    pub mark: Mark,
    /// What about it.
    pub why: Why,
    /// Whether it is worth a kernel stack.
    pub worth: Worth,
}

/// Whether a wait is worth a kernel stack, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// It is PID 1, or of a service.
    First,
    /// It waits in the kernel.
    Plain,
    /// It does not wait in the kernel, or was recognised without it.
    Nothing,
}

impl Worth {
    /// By what the walk saw. A wait that only its wait channel excuses (vfork, a server) is worth a stack: that costs
    /// less than to be wrong about it.
    pub fn of(row: &Row) -> Self {
        match row.hint {
            Hint::FrozenInPlace | Hint::CoreDump => Self::Nothing,
            _ if !row.blocked() => Self::Nothing,
            _ if row.services != 0 => Self::First,
            _ => Self::Plain,
        }
    }
}

/// Processes that belong to services by control group, a bit per service.
pub type Members = HashMap<Pid, u64>;

/// The slots.
#[derive(Debug, Default)]
pub struct Handover {
    wanted: Mutex<Vec<Wanted>>,
    runnable: Mutex<Vec<Pid>>,
    members: Mutex<Option<Arc<Members>>>,
}

impl Handover {
    /// Tasks lane: these threads, and no others, are worth a look.
    pub fn want(&self, threads: Vec<Wanted>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = threads;
    }

    /// Detail and evidence lane: the newest wishes.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tasks lane: processes with threads that starve or burn CPU time, and no others; each may stand there more than
    /// once.
    pub fn set_runnable(&self, pids: Vec<Pid>) {
        *self.runnable.lock().unwrap_or_else(PoisonError::into_inner) = pids;
    }

    /// Throttle lane: the newest of them.
    pub fn runnable(&self) -> Vec<Pid> {
        self.runnable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cgroups lane: the newest members.
    pub fn set_members(&self, members: Members) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(members));
    }

    /// Tasks lane: the newest members; `None` until the groups have been read once.
    pub fn members(&self) -> Option<Arc<Members>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
