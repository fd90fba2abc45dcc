//! Waits in progress. A wait continues only while its mark is unchanged: two looks with progress between them are two
//! waits. Its length is the time between the first and the last look that saw it, a lower bound by construction.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::units::{Pid, State, Tid};
use crate::sample::evidence::Stack;
use crate::sample::runnable::Member;
use crate::sample::{Detail, Hint, Look, Mark, Row, Sweep};
use crate::track::kind::Kind;

/// One wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The thread.
    pub tid: Tid,
    /// Its process.
    pub pid: Pid,
    /// Its name at the first look.
    pub comm: String,
    /// What the walk recognised.
    pub hint: Hint,
    /// Its services, a bit each.
    pub services: u64,
    /// What has not moved since.
    pub mark: Mark,
    /// First look that saw it.
    pub since: Mono,
    /// Last look that saw it.
    pub last: Mono,
    /// The kernel function it sleeps in.
    pub wchan: Option<String>,
    /// Its kernel stack, the innermost function first; empty when none was taken.
    pub stack: Vec<String>,
    kind: Kind,
    letter: Option<State>,
    start_ticks: Option<u64>,
    cpu: Option<u32>,
    group: Option<String>,
}

impl Wait {
    fn new(row: &Row, groups: &HashMap<Pid, String>) -> Self {
        Self {
            tid: row.tid,
            pid: row.pid,
            comm: row.comm.clone(),
            hint: row.hint,
            services: row.services,
            mark: row.mark,
            since: row.end,
            last: row.begin,
            wchan: None,
            stack: Vec::new(),
            kind: Kind::of(row.hint, None),
            letter: None,
            start_ticks: None,
            cpu: None,
            group: groups.get(&row.pid).cloned(),
        }
    }

    /// How long it has lasted, at least.
    pub fn length(&self) -> Duration {
        self.last.since(self.since)
    }

    /// Its name for a series.
    pub fn comm_group(&self) -> &str {
        comm_group(&self.comm)
    }

    /// What kind of wait it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Asked at every tick for every wait, decided when what it follows from changes.
    fn judge(&mut self) {
        self.kind = Kind::of(self.hint, self.wchan.as_deref());
    }

    /// Its letter was read. That of a kworker comes from another lane; until then it is unknown, which is never
    /// blocked.
    pub fn proven(&self) -> bool {
        self.hint != Hint::WorkItem || self.confirmed_item()
    }

    /// The CPU in whose queue it was when somebody looked, which was at this wait.
    pub const fn cpu(&self) -> Option<u32> {
        self.cpu
    }

    /// The control group whose quota throttles its process.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Nothing says that it sleeps. Some kernels (6.1 to 6.12 in part) print R for a frozen thread and for one that
    /// waits for a realtime lock; such a thread has a wait channel, which one that is runnable never has.
    pub const fn runnable(&self) -> bool {
        self.wchan.is_none()
    }

    /// A kworker inside a work item whose letter is D.
    pub fn confirmed_item(&self) -> bool {
        self.hint == Hint::WorkItem && self.letter == Some(State::Uninterruptible)
    }
}

/// A thread's name for a series: a worker is whoever the pool took; its number says nothing.
pub fn comm_group(comm: &str) -> &str {
    if comm.starts_with("kworker/") { "kworker" } else { comm }
}

/// All waits of one sort.
#[derive(Debug)]
pub struct Waits {
    holds: fn(&Row) -> bool,
    open: HashMap<Tid, Wait>,
    /// Groups of the processes that have waits.
    groups: HashMap<Pid, String>,
    most: usize,
    /// Waits that found no place.
    pub dropped: u64,
}

impl Waits {
    /// Tracks the rows for which `holds`, at most `most` of them.
    pub fn new(holds: fn(&Row) -> bool, most: usize) -> Self {
        Self { holds, open: HashMap::new(), groups: HashMap::new(), most, dropped: 0 }
    }

    /// The waits in progress, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Wait> {
        self.open.values()
    }

    /// Takes a walk; returns the waits that ended. What the walk did not see has ended, unless it could not be read.
    pub fn sweep(&mut self, sweep: &Sweep) -> Vec<Wait> {
        // What goes on first, then what is gone, then what is new: nothing new is refused a place that is about to be
        // free.
        let (old, new): (Vec<&Row>, Vec<&Row>) =
            sweep.rows.iter().partition(|row| self.open.contains_key(&row.tid));
        let mut ended: Vec<Wait> = old.into_iter().filter_map(|row| self.row(row)).collect();
        let unread: HashSet<Tid> = sweep.unread.iter().copied().collect();
        let gone = self.open.extract_if(|tid, wait| wait.last < sweep.begin && !unread.contains(tid));
        ended.extend(gone.map(|(_, wait)| wait));
        ended.extend(new.into_iter().filter_map(|row| self.row(row)));
        if !self.groups.is_empty() {
            let pids: HashSet<Pid> = self.open.values().map(|wait| wait.pid).collect();
            self.groups.retain(|pid, _| pids.contains(pid));
        }
        ended
    }

    /// Takes what is known of the groups of processes.
    pub fn members(&mut self, members: &[Member]) {
        let answers: HashMap<Pid, &Option<String>> =
            members.iter().map(|member| (member.pid, &member.group)).collect();
        for wait in self.open.values_mut() {
            if let Some(group) = answers.get(&wait.pid) {
                wait.group.clone_from(group);
                // For waits of this process that are yet to come.
                match group {
                    Some(group) => drop(self.groups.insert(wait.pid, group.clone())),
                    None => drop(self.groups.remove(&wait.pid)),
                }
            }
        }
    }

    /// Takes a look at some threads; returns the waits that ended.
    pub fn look(&mut self, look: &Look) -> Vec<Wait> {
        let mut ended: Vec<Wait> = look.rows.iter().filter_map(|row| self.row(row)).collect();
        ended.extend(look.ended.iter().filter_map(|tid| self.open.remove(tid)));
        ended
    }

    /// Takes what another lane found out about a wait, if it still is that wait.
    pub fn detail(&mut self, detail: &Detail) {
        let Some(wait) = self.open.get_mut(&detail.tid).filter(|wait| wait.mark == detail.mark) else {
            return;
        };
        if wait.start_ticks.is_some()
            && detail.start_ticks.is_some()
            && wait.start_ticks != detail.start_ticks
        {
            // The same id, the same numbers, another birth: somebody else, met for the first time.
            wait.since = wait.since.max(wait.last);
            wait.stack.clear();
        }
        wait.start_ticks = detail.start_ticks.or(wait.start_ticks);
        wait.letter = detail.state.or(wait.letter);
        wait.cpu = detail.cpu.or(wait.cpu);
        if detail.wchan.is_some() {
            wait.wchan.clone_from(&detail.wchan);
            wait.judge();
        }
    }

    /// Takes the kernel stack of a wait, if it still is that wait. Returns whether it is.
    pub fn stack(&mut self, stack: Stack) -> bool {
        let wait = self.open.get_mut(&stack.tid).filter(|wait| wait.mark == stack.mark);
        wait.map(|wait| wait.stack = stack.frames).is_some()
    }

    /// One row: continues, begins or ends a wait. Returns the one that ended.
    fn row(&mut self, row: &Row) -> Option<Wait> {
        if !(self.holds)(row) {
            // A letter that could not be read says nothing, unless the thread has moved.
            let unknown = row.state == State::Unknown;
            let same = self.open.get(&row.tid).is_some_and(|wait| wait.mark == row.mark);
            return if unknown && same { None } else { self.open.remove(&row.tid) };
        }
        match self.open.get_mut(&row.tid) {
            Some(wait) if wait.mark == row.mark && wait.pid == row.pid => {
                wait.last = wait.last.max(row.begin);
                wait.since = wait.since.min(row.end);
                // A part only: until the groups are read again, what was known stays.
                wait.services = if row.services_whole { row.services } else { wait.services | row.services };
                if row.hint != Hint::None {
                    wait.hint = row.hint;
                    wait.judge();
                }
                None
            }
            Some(wait) => Some(std::mem::replace(wait, Wait::new(row, &self.groups))),
            None => {
                if self.open.len() < self.most {
                    self.open.insert(row.tid, Wait::new(row, &self.groups));
                } else {
                    self.dropped = self.dropped.saturating_add(1);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waits() -> Waits {
        Waits::new(|row| row.state == State::Uninterruptible, 100)
    }

    fn row(tid: Tid, at: u64, state: State, slices: u64) -> Row {
        Row {
            tid,
            pid: tid,
            begin: Mono::from_nanos(at),
            end: Mono::from_nanos(at),
            state,
            mark: Mark { slices, run_ns: slices * 10 },
            comm: "x".to_owned(),
            hint: Hint::None,
            services: 0,
            services_whole: true,
        }
    }

    fn sweep(begin: u64, rows: Vec<Row>) -> Sweep {
        Sweep { begin: Mono::from_nanos(begin), rows, ..Sweep::default() }
    }

    use State::{Running, Sleeping, Uninterruptible};

    #[test]
    fn a_wait_lasts_from_its_first_look_to_its_last() {
        let mut waits = waits();
        assert!(waits.sweep(&sweep(10, vec![row(7, 11, Uninterruptible, 1)])).is_empty());
        assert!(waits.look(&Look { rows: vec![row(7, 15, Uninterruptible, 1)], ended: vec![] }).is_empty());
        assert_eq!(waits.iter().next().unwrap().length(), Duration::from_nanos(4));
        let ended = waits.sweep(&sweep(20, vec![]));
        assert_eq!(ended.iter().map(Wait::length).collect::<Vec<_>>(), [Duration::from_nanos(4)]);
    }

    /// The lane may lose the CPU between the clock and the read: only what lies between the end of the first look and
    /// the beginning of the last is proven.
    #[test]
    fn a_look_that_took_long_lengthens_nothing() {
        let mut waits = waits();
        let slow = |begin, end| Row {
            begin: Mono::from_nanos(begin),
            end: Mono::from_nanos(end),
            ..row(7, 0, Uninterruptible, 1)
        };
        waits.sweep(&sweep(10, vec![slow(10, 50)]));
        assert_eq!(waits.iter().next().unwrap().length(), Duration::ZERO);
        waits.sweep(&sweep(60, vec![slow(60, 500)]));
        assert_eq!(waits.iter().next().unwrap().length(), Duration::from_nanos(10));
    }

    #[test]
    fn progress_between_two_looks_makes_two_waits() {
        let mut waits = waits();
        waits.sweep(&sweep(10, vec![row(7, 11, Uninterruptible, 1)]));
        let ended = waits.sweep(&sweep(20, vec![row(7, 21, Uninterruptible, 2)]));
        assert_eq!(ended.len(), 1);
        assert_eq!(waits.iter().next().unwrap().length(), Duration::ZERO);
    }

    #[test]
    fn another_process_under_the_same_id_is_somebody_else() {
        let mut waits = waits();
        waits.sweep(&sweep(10, vec![row(7, 11, Uninterruptible, 1)]));
        let other = Row { pid: 6, ..row(7, 21, Uninterruptible, 1) };
        assert_eq!(waits.sweep(&sweep(20, vec![other])).len(), 1);
        assert_eq!(waits.iter().next().unwrap().length(), Duration::ZERO);

        let mut waits = super::tests::waits();
        let mark = Mark { slices: 1, run_ns: 10 };
        let detail = |start| Detail { tid: 7, mark, start_ticks: Some(start), ..Detail::default() };
        waits.sweep(&sweep(10, vec![row(7, 11, Uninterruptible, 1)]));
        waits.detail(&detail(100));
        waits.sweep(&sweep(20, vec![row(7, 21, Uninterruptible, 1)]));
        waits.detail(&detail(200));
        assert_eq!(waits.iter().next().unwrap().length(), Duration::ZERO, "the same numbers, another birth");
    }

    #[test]
    fn a_starved_thread_learns_its_cpu_and_its_group_and_what_sleeps_is_not_starved() {
        let mut waits = Waits::new(|row| row.state == Running, 100);
        let mark = Mark { slices: 1, run_ns: 10 };
        waits.sweep(&sweep(10, vec![row(7, 11, Running, 1)]));
        waits.detail(&Detail { tid: 7, mark, cpu: Some(3), ..Detail::default() });
        let member = |pid, group: Option<&str>| Member { pid, group: group.map(str::to_owned) };
        waits.members(&[member(7, Some("/a")), member(8, Some("/b"))]);
        let only = |waits: &Waits| waits.iter().next().cloned().unwrap();
        assert_eq!((only(&waits).cpu(), only(&waits).group()), (Some(3), Some("/a")));
        assert!(only(&waits).runnable());
        // It got a slice: another wait, of the same process.
        waits.sweep(&sweep(20, vec![row(7, 21, Running, 2)]));
        assert_eq!((only(&waits).cpu(), only(&waits).group()), (None, Some("/a")));
        waits.members(&[member(8, None)]);
        assert_eq!(only(&waits).group(), Some("/a"), "no answer changes nothing");
        waits.members(&[member(7, None)]);
        assert_eq!(only(&waits).group(), None);
        waits.members(&[member(7, Some("/a"))]);
        waits.sweep(&sweep(30, vec![]));
        waits.sweep(&sweep(40, vec![row(7, 41, Running, 2)]));
        assert_eq!(only(&waits).group(), None, "what is not needed is forgotten");
        let frozen = Detail { tid: 7, mark: Mark { slices: 2, run_ns: 20 }, ..Detail::default() };
        waits.detail(&Detail { wchan: Some("__refrigerator".to_owned()), ..frozen });
        assert!(!only(&waits).runnable());
    }

    #[test]
    fn what_could_not_be_read_neither_grows_nor_ends() {
        let mut waits = waits();
        waits.sweep(&sweep(10, vec![row(7, 11, Uninterruptible, 1)]));
        let unread = Sweep { unread: vec![7], ..sweep(20, vec![]) };
        assert!(waits.sweep(&unread).is_empty());
        assert!(waits.look(&Look { rows: vec![row(7, 25, State::Unknown, 1)], ended: vec![] }).is_empty());
        assert_eq!(waits.iter().next().unwrap().length(), Duration::ZERO);
        waits.sweep(&sweep(30, vec![row(7, 31, Uninterruptible, 1)]));
        assert_eq!(waits.iter().next().unwrap().length(), Duration::from_nanos(20));
        assert_eq!(waits.look(&Look { rows: vec![row(7, 35, State::Unknown, 2)], ended: vec![] }).len(), 1);
    }

    #[test]
    fn services_that_are_not_known_for_a_while_are_not_lost() {
        let mut waits = waits();
        waits.sweep(&sweep(10, vec![Row { services: 4, ..row(7, 11, Uninterruptible, 1) }]));
        let part = Row { services: 2, services_whole: false, ..row(7, 21, Uninterruptible, 1) };
        waits.sweep(&sweep(20, vec![part]));
        assert_eq!(waits.iter().next().unwrap().services, 6);
        waits.sweep(&sweep(30, vec![Row { services: 2, ..row(7, 31, Uninterruptible, 1) }]));
        assert_eq!(waits.iter().next().unwrap().services, 2);
    }

    #[test]
    fn a_new_crowd_takes_the_places_of_the_old_one() {
        let mut waits = waits();
        waits.sweep(&sweep(10, (0..100).map(|tid| row(tid, 11, Uninterruptible, 1)).collect()));
        waits.sweep(&sweep(20, (100..200).map(|tid| row(tid, 21, Uninterruptible, 1)).collect()));
        assert_eq!((waits.iter().count(), waits.dropped), (100, 0));
    }

    #[test]
    fn the_limit_is_reached_and_counted() {
        let mut waits = waits();
        waits.sweep(&sweep(10, (0..130).map(|tid| row(tid, 11, Uninterruptible, 1)).collect()));
        assert_eq!((waits.iter().count(), waits.dropped), (100, 30));
    }

    #[test]
    fn a_kworker_is_blocked_only_once_its_letter_is_known() {
        let mut waits = Waits::new(|row| row.hint == Hint::WorkItem, 10);
        let item = Row { hint: Hint::WorkItem, ..row(7, 11, State::Unknown, 1) };
        waits.sweep(&sweep(10, vec![item]));
        assert!(!waits.iter().next().unwrap().proven());
        let mark = Mark { slices: 1, run_ns: 10 };
        let state = Some(Uninterruptible);
        let wchan = Some("io_schedule".into());
        waits.detail(&Detail { tid: 7, mark, wchan, state, ..Detail::default() });
        assert!(waits.iter().next().unwrap().proven());
    }

    /// One thread's true life, sampled at any moments: (state, how long it stays in it).
    fn life() -> impl Strategy<Value = Vec<(State, u64)>> {
        let state = prop_oneof![Just(Uninterruptible), Just(Sleeping), Just(Running)];
        proptest::collection::vec((state, 1_u64..50), 1..40)
    }

    proptest! {
        /// Whatever is sampled whenever, no published length is longer than the true wait it belongs to.
        #[test]
        fn a_length_is_never_more_than_the_truth(life in life(), looks in proptest::collection::vec(1_u64..60, 1..60)) {
            let mut waits = waits();
            let mut now = 0;
            for (number, gap) in looks.into_iter().enumerate() {
                now += gap;
                // Every change of state is a time slice: the thread had to run to get there.
                let mut begin = 0;
                let Some((slices, (state, begin))) = life.iter().enumerate().find_map(|(index, (state, length))| {
                    let mine = begin;
                    begin += length;
                    (now < begin).then_some((index as u64, (*state, mine)))
                }) else { break };
                let seen = row(7, now, state, slices);
                let rows = if state == Sleeping { vec![] } else { vec![seen.clone()] };
                if number % 2 == 0 {
                    waits.sweep(&sweep(now, rows));
                } else {
                    waits.look(&Look { rows: vec![seen], ended: vec![] });
                }
                let truth = now - begin;
                for wait in waits.iter() {
                    prop_assert!(wait.length().as_nanos() <= u128::from(truth), "{wait:?}, truth {truth}");
                    prop_assert_eq!(state, Uninterruptible);
                }
            }
        }
    }
}
