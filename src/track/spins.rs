//! Kernel spins: threads that burn CPU time, do not sleep and do not come back to user space.
//!
//! Proof: between two looks the thread's run time advanced, while the number of its voluntary switches and its time in
//! user space stood still. Being put off the CPU ends nothing, so a spin that yields when asked (`cond_resched`), or
//! shares its CPU, is one spin. Its length is the time from the first such look to the last, a lower bound. User time
//! comes in clock ticks: a thread that is in user space for a thousandth of its time shows none for seconds, so only a
//! spin that lasts says something.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::base::clock::{Mono, nanos};
use crate::base::units::{Pid, State, Tid};
use crate::sample::runnable::{Busy, Member, busy};
use crate::sample::{Detail, Look, Sweep};

/// Most threads that are followed.
const FOLLOWED_MAX: usize = 1024;
/// A spin whose progress has not been seen for this long is one no more: it has no CPU, or nobody looks.
const PATIENCE: Duration = Duration::from_secs(30);

/// One spin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spin {
    /// The thread.
    pub tid: Tid,
    /// Its process.
    pub pid: Pid,
    /// Its name; of a kworker without the work item.
    pub comm: String,
    /// The work item that a kworker runs, where the kernel says it.
    pub work: Option<String>,
    /// The CPU that it was on at the last look.
    pub cpu: Option<u32>,
    /// The control group whose quota throttles its process.
    pub group: Option<String>,
    /// First look after which it neither slept nor came back to user space.
    pub since: Mono,
    /// Last look that proved it.
    pub last: Mono,
    /// Run time since then.
    ran_ns: u64,
}

impl Spin {
    /// How long it has lasted, at least.
    pub fn length(&self) -> Duration {
        self.last.since(self.since)
    }

    /// Part of that time that it ran, 0 to 1.
    pub fn run_share(&self) -> f64 {
        let length = nanos(self.length());
        if length == 0 { 0.0 } else { (self.ran_ns as f64 / length as f64).min(1.0) }
    }
}

/// A thread that is followed.
#[derive(Debug)]
struct Followed {
    spin: Spin,
    start_ticks: Option<u64>,
    user_ticks: u64,
    voluntary: u64,
    /// At the newest look.
    begin: Mono,
    run_ns: u64,
    /// Run time at the first look.
    first_ns: u64,
}

impl Followed {
    fn new(detail: &Detail, busy: &Busy) -> Self {
        Self {
            spin: Spin {
                tid: detail.tid,
                pid: busy.pid,
                comm: busy.comm.clone(),
                work: busy.work.clone(),
                cpu: detail.cpu,
                group: None,
                since: busy.end,
                last: busy.end,
                ran_ns: 0,
            },
            start_ticks: detail.start_ticks,
            user_ticks: busy.user_ticks,
            voluntary: busy.voluntary,
            begin: busy.begin,
            run_ns: detail.mark.run_ns,
            first_ns: detail.mark.run_ns,
        }
    }

    /// It is the same thread, and has neither slept nor left the kernel since the first look.
    fn goes_on(&self, detail: &Detail, busy: &Busy) -> bool {
        self.spin.pid == busy.pid
            && self.start_ticks == detail.start_ticks
            && self.user_ticks == busy.user_ticks
            && self.voluntary == busy.voluntary
            && self.run_ns <= detail.mark.run_ns
            && busy.begin.since(self.spin.last) <= PATIENCE
    }

    /// Lasts until this look if it ran since the one before. If it did not, it may yet.
    fn extend(&mut self, detail: &Detail, now: &Busy) {
        let (time, ran) = (now.begin.since(self.begin), detail.mark.run_ns.saturating_sub(self.run_ns));
        if busy(ran, time) {
            self.spin.last = self.spin.last.max(now.begin);
            self.spin.ran_ns = detail.mark.run_ns.saturating_sub(self.first_ns);
        }
        self.spin.cpu = detail.cpu.or(self.spin.cpu);
        if now.work.is_some() {
            self.spin.work.clone_from(&now.work);
        }
        (self.begin, self.run_ns) = (now.begin, detail.mark.run_ns);
    }
}

/// All threads that may spin.
#[derive(Debug, Default)]
pub struct Spins {
    followed: HashMap<Tid, Followed>,
    /// Threads that found no place.
    pub dropped: u64,
}

impl Spins {
    /// The spins in progress that two looks at least have proved, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Spin> {
        self.followed.values().map(|followed| &followed.spin).filter(|spin| !spin.length().is_zero())
    }

    /// Takes a look at a busy thread.
    pub fn detail(&mut self, detail: &Detail) {
        let Some(busy) = &detail.busy else { return };
        if detail.state != Some(State::Running) {
            self.followed.remove(&detail.tid);
            return;
        }
        let full = self.followed.len() >= FOLLOWED_MAX;
        match self.followed.get_mut(&detail.tid) {
            Some(followed) if followed.goes_on(detail, busy) => followed.extend(detail, busy),
            Some(followed) => {
                // Another spin of the same thread is still in the group that it was found in.
                let same = followed.spin.pid == busy.pid && followed.start_ticks == detail.start_ticks;
                let group = followed.spin.group.take().filter(|_| same);
                *followed = Followed::new(detail, busy);
                followed.spin.group = group;
            }
            None if full => self.dropped = self.dropped.saturating_add(1),
            None => drop(self.followed.insert(detail.tid, Followed::new(detail, busy))),
        }
    }

    /// Takes what is known of the groups of processes.
    pub fn members(&mut self, members: &[Member]) {
        for member in members {
            let of_process = self.followed.values_mut().filter(|followed| followed.spin.pid == member.pid);
            of_process.for_each(|followed| followed.spin.group.clone_from(&member.group));
        }
    }

    /// Takes a walk: who was not met in R spins no more, unless it could not be read or found no room in the frame.
    pub fn sweep(&mut self, sweep: &Sweep) {
        let in_r = sweep.rows.iter().filter(|row| row.state == State::Running).map(|row| row.tid);
        let there: HashSet<Tid> = in_r.chain(sweep.unread.iter().copied()).collect();
        self.followed.retain(|tid, followed| {
            let met = there.contains(tid) || sweep.missed.over_rows > 0 || followed.begin >= sweep.begin;
            met && sweep.begin.since(followed.spin.last) <= PATIENCE
        });
    }

    /// Takes a look at some threads.
    pub fn look(&mut self, look: &Look) {
        let sleeps = |state| !matches!(state, State::Running | State::Unknown);
        for row in look.rows.iter().filter(|row| sleeps(row.state)) {
            self.followed.remove(&row.tid);
        }
        for tid in &look.ended {
            self.followed.remove(tid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::State::{Running, Sleeping};
    use crate::sample::{Mark, Missed, Row};
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    /// Thread 7 at a second: so much run time, user ticks and voluntary switches.
    fn at(second: u64, ran: u64, user_ticks: u64, voluntary: u64) -> Detail {
        let (begin, end) = (Mono::from_nanos(second * S), Mono::from_nanos(second * S + S / 10));
        let busy = Busy { pid: 7, comm: "x".to_owned(), work: None, begin, end, user_ticks, voluntary };
        Detail {
            tid: 7,
            mark: Mark { slices: 1, run_ns: ran * S },
            state: Some(Running),
            start_ticks: Some(5),
            cpu: Some(1),
            busy: Some(busy),
            ..Detail::default()
        }
    }

    fn spins(details: &[Detail]) -> Spins {
        let mut spins = Spins::default();
        details.iter().for_each(|detail| spins.detail(detail));
        spins
    }

    /// Tenths of seconds.
    fn length(spins: &Spins) -> Option<u128> {
        spins.iter().next().map(|spin| spin.length().as_millis() / 100)
    }

    fn row(at: u64, state: State) -> Row {
        let at = Mono::from_nanos(at * S);
        Row {
            tid: 7,
            pid: 7,
            begin: at,
            end: at,
            state,
            mark: Mark::default(),
            comm: "x".to_owned(),
            hint: crate::sample::Hint::None,
            services: 0,
            services_whole: true,
        }
    }

    fn sweep(begin: u64, rows: Vec<Row>) -> Sweep {
        Sweep { begin: Mono::from_nanos(begin * S), rows, ..Sweep::default() }
    }

    #[test]
    fn it_lasts_from_the_end_of_the_first_look_to_the_beginning_of_the_last() {
        assert_eq!(length(&spins(&[at(10, 3, 4, 5)])), None, "one look proves nothing");
        let two = spins(&[at(10, 3, 4, 5), at(12, 5, 4, 5), at(14, 7, 4, 5)]);
        assert_eq!(length(&two), Some(39));
        let spin = two.iter().next().unwrap();
        assert_eq!((spin.tid, spin.pid, spin.comm.as_str(), spin.cpu), (7, 7, "x", Some(1)));
        assert!((spin.run_share() - 1.0).abs() < f64::EPSILON, "{}", spin.run_share());
        let half = spins(&[at(10, 3, 4, 5), at(14, 5, 4, 5)]);
        assert!((half.iter().next().unwrap().run_share() - 2.0 / 3.9).abs() < 1e-9);
    }

    #[test]
    fn who_came_to_user_space_or_slept_begins_again() {
        assert_eq!(length(&spins(&[at(10, 3, 4, 5), at(20, 13, 5, 5)])), None, "a busy loop");
        assert_eq!(length(&spins(&[at(10, 3, 4, 5), at(20, 13, 4, 6)])), None, "a worker between two jobs");
        let again = spins(&[at(10, 3, 4, 5), at(20, 13, 5, 5), at(22, 15, 5, 5)]);
        assert_eq!(length(&again), Some(19));
    }

    #[test]
    fn who_gets_no_cpu_neither_grows_nor_ends_until_it_runs_again() {
        let mut spins = spins(&[at(10, 3, 0, 5), at(12, 5, 0, 5), at(22, 5, 0, 5)]);
        assert_eq!(length(&spins), Some(19));
        spins.detail(&at(24, 6, 0, 5));
        assert_eq!(length(&spins), Some(139));
        for second in 25..=54 {
            spins.detail(&at(second, 6, 0, 5));
            assert_eq!(length(&spins), Some(139));
        }
        spins.detail(&at(55, 7, 0, 5));
        assert_eq!(length(&spins), None, "patience is over");
    }

    #[test]
    fn somebody_else_under_the_same_id_begins_anew() {
        let mut spins = spins(&[at(10, 3, 0, 5), at(12, 5, 0, 5)]);
        spins.detail(&Detail { start_ticks: Some(6), ..at(14, 7, 0, 5) });
        assert_eq!(length(&spins), None);
        spins.detail(&Detail { start_ticks: Some(6), ..at(16, 1, 0, 5) });
        assert_eq!(length(&spins), None, "a run time never goes back");
    }

    #[test]
    fn walks_and_looks_end_it() {
        let begun = || spins(&[at(10, 3, 0, 5), at(12, 5, 0, 5)]);
        let mut spins = begun();
        spins.sweep(&sweep(15, vec![row(16, Running)]));
        spins.sweep(&Sweep { unread: vec![7], ..sweep(20, vec![]) });
        let missed = Missed { over_rows: 1, ..Missed::default() };
        spins.sweep(&Sweep { missed, ..sweep(25, vec![]) });
        spins.look(&Look { rows: vec![row(26, State::Unknown)], ended: vec![] });
        assert_eq!(length(&spins), Some(19), "nothing says that it has ended");
        spins.sweep(&sweep(30, vec![row(31, Sleeping)]));
        assert_eq!(length(&spins), None);

        let mut spins = begun();
        spins.sweep(&sweep(43, vec![row(44, Running)]));
        assert_eq!(length(&spins), None, "nobody looks any more");
        let mut spins = begun();
        spins.look(&Look { rows: vec![row(13, Sleeping)], ended: vec![] });
        assert_eq!(length(&spins), None);
        let mut spins = begun();
        spins.look(&Look { rows: vec![], ended: vec![7] });
        assert_eq!(length(&spins), None);
        let mut spins = begun();
        spins.detail(&Detail { state: Some(Sleeping), ..at(13, 6, 0, 5) });
        assert_eq!(length(&spins), None);
    }

    #[test]
    fn a_kworker_tells_its_newest_work() {
        let doing = |second, work: Option<&str>| {
            let mut detail = at(second, second, 0, 5);
            detail.busy.as_mut().unwrap().work = work.map(str::to_owned);
            detail
        };
        let spins = spins(&[doing(1, Some("old")), doing(2, Some("flush-8:0")), doing(3, None)]);
        assert_eq!(spins.iter().next().unwrap().work.as_deref(), Some("flush-8:0"));
    }

    #[test]
    fn the_limit_is_reached_and_counted() {
        let mut spins = Spins::default();
        for tid in 0..u32::try_from(FOLLOWED_MAX).unwrap() + 3 {
            spins.detail(&Detail { tid, ..at(1, 1, 0, 0) });
        }
        assert_eq!((spins.followed.len(), spins.dropped), (FOLLOWED_MAX, 3));
    }

    proptest! {
        /// Whatever a thread does, a spin is never longer than the time since it last slept or was in user space.
        #[test]
        fn a_spin_is_never_longer_than_the_truth(
            steps in proptest::collection::vec((1_u64..20, 0_u64..3, 0_u64..2, 0_u64..2), 1..60),
        ) {
            let (mut now, mut ran, mut user, mut slept) = (100, 0, 0, 0);
            let (mut spins, mut truth) = (Spins::default(), 100);
            for (wait, run, to_user, sleep) in steps {
                now += wait;
                // It slept or was in user space some time before this look.
                if to_user + sleep > 0 { truth = now }
                ran += run;
                user += to_user;
                slept += sleep;
                spins.detail(&at(now, ran, user, slept));
                for spin in spins.iter() {
                    prop_assert!(spin.since >= Mono::from_nanos(truth * S));
                    prop_assert!(spin.last <= Mono::from_nanos(now * S));
                    prop_assert!((0.0..=1.0).contains(&spin.run_share()));
                }
            }
        }
    }
}
