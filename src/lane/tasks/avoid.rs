//! Threads at which an earlier lane hung. This one does not read them again: a file that hangs once hangs the next
//! time as well, and each time it may cost a process that the kernel does not let go.

use std::collections::HashSet;

use crate::base::ids::ByTid;
use crate::base::units::{Pid, Tid};

/// The list. A process is on it by the id of its first thread.
#[derive(Debug)]
pub struct Avoid {
    threads: ByTid<Met>,
}

/// Where and when an id was met last.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    pid: Option<Pid>,
    walk: u32,
}

impl Avoid {
    /// None of them was met yet.
    pub fn new(tids: Vec<Tid>) -> Self {
        Self { threads: tids.into_iter().map(|tid| (tid, Met::default())).collect() }
    }

    /// Whether it is on the list.
    pub fn contains(&self, tid: Tid) -> bool {
        self.threads.contains_key(&tid)
    }

    /// A walk meets a thread of a process; the walks are numbered from one. Returns whether it is on the list.
    pub fn meet(&mut self, tid: Tid, pid: Pid, walk: u32) -> bool {
        let Some(met) = self.threads.get_mut(&tid) else { return false };
        *met = Met { pid: Some(pid), walk };
        true
    }

    /// After a walk: an id that was not met is nobody's, and next time somebody else's. One that may be of a process
    /// that was not listed stays, and so do all if there were more threads than the walk saw (it was not `whole`).
    pub fn forget(&mut self, walk: u32, unlisted: &HashSet<Pid>, whole: bool) {
        self.threads.retain(|_, met| {
            let hidden = met.pid.map_or(!unlisted.is_empty(), |pid| unlisted.contains(&pid));
            met.walk == walk || !whole || hidden
        });
    }

    /// All of them, in no order.
    pub fn tids(&self) -> Vec<Tid> {
        self.threads.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(avoid: &Avoid) -> Vec<Tid> {
        let mut tids = avoid.tids();
        tids.sort_unstable();
        tids
    }

    #[test]
    fn an_id_that_was_not_met_is_forgotten() {
        let mut avoid = Avoid::new(vec![7, 8]);
        assert!(avoid.meet(7, 7, 1) && !avoid.meet(9, 9, 1));
        avoid.forget(1, &HashSet::new(), true);
        assert_eq!(left(&avoid), [7]);
        avoid.forget(2, &HashSet::new(), true);
        assert!(!avoid.contains(7), "it has ended since");
    }

    #[test]
    fn what_the_walk_could_not_see_stays() {
        let mut avoid = Avoid::new(vec![7, 8, 9]);
        avoid.forget(1, &HashSet::new(), false);
        assert_eq!(left(&avoid), [7, 8, 9], "there were more threads than it saw");
        assert!(avoid.meet(7, 70, 2) && avoid.meet(8, 80, 2));
        avoid.forget(2, &HashSet::from([100]), true);
        assert_eq!(left(&avoid), [7, 8, 9], "the third may be of that process");
        avoid.forget(3, &HashSet::from([70]), true);
        assert_eq!(left(&avoid), [7, 9], "the second is of another one");
        avoid.forget(4, &HashSet::new(), true);
        assert!(left(&avoid).is_empty());
    }
}
