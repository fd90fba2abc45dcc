//! What lanes of one probe tell each other. Newest wins; the locks are held for a swap, never across a read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::units::{Pid, Tid};
use crate::sample::{Hint, Mark, Row};

/// A wait about which the tasks lane wants details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The wait: the facts must belong to this mark.
    pub mark: Mark,
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

/// The two slots.
#[derive(Debug, Default)]
pub struct Handover {
    wanted: Mutex<Vec<Wanted>>,
    members: Mutex<Option<Arc<Members>>>,
}

impl Handover {
    /// Tasks lane: these waits, and no others, are worth a look.
    pub fn want(&self, waits: Vec<Wanted>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = waits;
    }

    /// Detail and evidence lane: the newest wishes.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
