//! What became of the stacks: how many met their wait, and why there are not more.

use crate::sample::evidence::{KNOWN_MAX, Known, Skipped, Stack};
use crate::track::kind::Kind;
use crate::track::waits::{Wait, Waits};

/// Most stacks that are kept at once, those of waits in progress. A stack takes 4 KiB at most, mostly a tenth of it.
pub const STACKS_MAX: usize = 1024;

/// What the next probe need not learn anew, the most important first.
pub fn known(waits: &Waits) -> Vec<Known> {
    let hangs = waits.iter().filter(|wait| wait.proven() && wait.kind() == Kind::Hang);
    let mut hangs: Vec<&Wait> = hangs.collect();
    hangs.sort_by_key(|wait| (wait.tid != 1, wait.services == 0, wait.since, wait.tid));
    let told = |wait: &Wait| Known {
        tid: wait.tid,
        mark: wait.mark,
        since: wait.since,
        taken: !wait.stack.is_empty(),
    };
    hangs.into_iter().take(KNOWN_MAX).map(told).collect()
}

/// The counts.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Stacks that belong to a wait in progress.
    pub stacks: u64,
    /// Why there are not more.
    pub skipped: Skipped,
}

impl Evidence {
    /// Gives a stack to its wait, if that goes on and there is room.
    pub fn stack(&mut self, stack: Stack, waits: &mut Waits) {
        let others = waits.iter().filter(|wait| wait.tid != stack.tid && !wait.stack.is_empty()).count();
        let sum = if others >= STACKS_MAX {
            &mut self.skipped.full
        } else if waits.stack(stack) {
            &mut self.stacks
        } else {
            &mut self.skipped.moved
        };
        *sum = sum.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::base::units::{State, Tid};
    use crate::sample::{Hint, Look, Mark, Row};

    fn mark(slices: u64) -> Mark {
        Mark { slices, run_ns: 5 }
    }

    fn row(tid: Tid, slices: u64) -> Row {
        Row {
            tid,
            pid: tid,
            begin: Mono::from_nanos(10),
            end: Mono::from_nanos(10),
            state: State::Uninterruptible,
            mark: mark(slices),
            comm: "x".to_owned(),
            hint: Hint::None,
            services: 0,
            services_whole: true,
        }
    }

    fn stack(tid: Tid, slices: u64) -> Stack {
        Stack { tid, mark: mark(slices), frames: vec!["msleep+0x2d/0x40".to_owned()] }
    }

    fn waits(rows: Vec<Row>) -> Waits {
        let mut waits = Waits::new(Row::blocked, 4096);
        waits.look(&Look { rows, ended: vec![] });
        waits
    }

    #[test]
    fn a_stack_belongs_to_the_wait_with_its_mark_and_ends_with_it() {
        let (mut evidence, mut waits) = (Evidence::default(), waits(vec![row(7, 1)]));
        evidence.stack(stack(7, 2), &mut waits);
        evidence.stack(stack(8, 1), &mut waits);
        assert!(waits.iter().all(|wait| wait.stack.is_empty()));
        assert_eq!((evidence.stacks, evidence.skipped.moved), (0, 2));
        evidence.stack(stack(7, 1), &mut waits);
        waits.look(&Look { rows: vec![row(7, 1)], ended: vec![] });
        assert_eq!(waits.iter().next().unwrap().stack, ["msleep+0x2d/0x40"]);
        assert_eq!(evidence.stacks, 1);
        waits.look(&Look { rows: vec![row(7, 2)], ended: vec![] });
        assert!(waits.iter().next().unwrap().stack.is_empty(), "another wait");
    }

    #[test]
    fn past_the_bound_no_stack_is_kept_and_each_is_counted() {
        let more = 9;
        let tids = 1..=u32::try_from(STACKS_MAX).unwrap() + more;
        let (mut evidence, mut waits) =
            (Evidence::default(), waits(tids.clone().map(|tid| row(tid, 1)).collect()));
        tids.for_each(|tid| evidence.stack(stack(tid, 1), &mut waits));
        assert_eq!(waits.iter().filter(|wait| !wait.stack.is_empty()).count(), STACKS_MAX);
        assert_eq!((evidence.stacks, evidence.skipped.full), (STACKS_MAX as u64, u64::from(more)));
        evidence.stack(stack(1, 1), &mut waits);
        assert_eq!(evidence.skipped.full, u64::from(more), "one that has a place keeps it");
    }

    #[test]
    fn a_new_probe_is_told_of_pid_1_of_services_and_then_of_the_longest() {
        let early = Mono::from_nanos(5);
        let old = |tid| Row { begin: early, end: early, ..row(tid, 1) };
        let service = Row { services: 2, ..row(900, 1) };
        let excused = Row { hint: Hint::CoreDump, ..old(50) };
        let mut rows: Vec<Row> = (100..120).map(|tid| row(tid, 1)).collect();
        rows.extend([service, excused, old(800), row(1, 1)]);
        let mut waits = waits(rows);
        Evidence::default().stack(stack(1, 1), &mut waits);
        let known = known(&waits);
        let tids: Vec<Tid> = known.iter().map(|known| known.tid).collect();
        assert_eq!(tids[..5], [1, 900, 800, 100, 101]);
        assert_eq!(known.len(), KNOWN_MAX);
        let first = Known { tid: 1, mark: mark(1), since: Mono::from_nanos(10), taken: true };
        assert_eq!((known[0], known[1].taken), (first, false));
    }
}
