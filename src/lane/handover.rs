//! What lanes of one probe tell each other. Newest wins; the locks are held for a swap, never across a read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::units::{Pid, Tid};
use crate::sample::Mark;

/// A wait about which the tasks lane wants details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The wait: the facts must belong to this mark.
    pub mark: Mark,
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

    /// Detail lane: the newest wishes.
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
