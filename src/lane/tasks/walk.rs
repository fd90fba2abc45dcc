//! The walk: processes, their threads, one look each, and the frame that comes out of it. Every step is linear in the
//! number of threads.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::base::clock::{self, Mono};
use crate::base::units::{Pid, State, Tid};
use crate::lane::Tools;
use crate::lane::handover::{Wanted, Why, Worth};
use crate::lane::tasks::inspect::{Files, Inspector, Outcome, Seen, Thread};
use crate::lane::tasks::marks::Marks;
use crate::lane::tasks::{STRIDE, TasksLane};
use crate::sample::{Row, ServiceTasks, Sweep, runnable};
use crate::source::error::{Cause, SourceError};
use crate::source::place::Place;
use crate::source::task;

/// Most threads in R that details are asked of. The detail lane takes them in turn.
const RUNNABLE_MAX: usize = 1024;
/// Most sleepers that details are asked of, those that ran most: their looks must leave room for those in R.
const RAN_MAX: usize = 64;

impl TasksLane {
    /// Walks over all threads.
    ///
    /// # Errors
    /// The process directory cannot be listed; nothing was learned.
    pub(super) fn walk(
        &mut self,
        inspector: &Inspector,
        tools: &mut Tools<'_>,
    ) -> Result<Sweep, SourceError> {
        let mut sweep = Sweep {
            begin: clock::now(),
            members_known: !self.lacks_members(),
            run_times: inspector.marks == Marks::Slices,
            ..Sweep::default()
        };
        self.number = self.number.wrapping_add(1);
        let running_before = running(tools);
        let mut pids = Vec::new();
        sweep.missed.over_threads = tools.reader.list_processes(self.limits.threads_max, &mut pids)?;
        let mut pass = Pass {
            inspector,
            rounds: self.rounds(),
            visited: 0,
            before: std::mem::replace(&mut self.walk_began, sweep.begin),
            busy: HashMap::new(),
            tids: Vec::new(),
            unlisted: HashSet::new(),
            sweep,
        };
        for pid in pids {
            match self.process(pid, &mut pass, tools) {
                Ok(()) => pass.sweep.processes = pass.sweep.processes.saturating_add(1),
                Err(error) => {
                    if !error.vanished() {
                        pass.unlisted.insert(pid);
                    }
                    miss(&error, &mut pass.sweep);
                }
            }
        }
        let Pass { mut sweep, unlisted, busy, .. } = pass;
        sweep.end = clock::now();
        self.forget(&unlisted, &mut sweep);
        let running = running_before.min(running(tools));
        self.bound(&mut sweep);
        let unmoved = self.remember(&sweep);
        let unwatched = self.watch.choose(&sweep.rows, &unmoved, inspector.marks, &mut tools.reader);
        sweep.missed.over_watched = unwatched.saturating_add(self.ask(&sweep, &unmoved, busy));
        // Our own thread is one of the running ones, and one more may have come and gone.
        let explained = sweep.states.first().copied().unwrap_or_default().saturating_add(1);
        self.refresh.after(running, explained);
        Ok(sweep)
    }

    /// Forgets threads that were not met. Those of a process that is there and could not be listed stay, unread.
    fn forget(&mut self, unlisted: &HashSet<Pid>, sweep: &mut Sweep) {
        let number = self.number;
        self.known.retain(|tid, known| {
            let met = known.seen == number;
            let stays = met || unlisted.contains(&known.pid);
            sweep.unread.extend((stays && !met && known.tracked).then_some(*tid));
            stays
        });
    }

    /// The threads of one process. A leader that was alone and has not run since is still alone; otherwise the link
    /// count of the task directory tells, and only a process of several threads is listed.
    fn process(&mut self, pid: Pid, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), SourceError> {
        let mut leader = Thread { pid, tid: pid, lone_root: false, files: Files::Paths };
        let visited = self.known.contains_key(&pid);
        if visited {
            let moved = match self.visit(&leader, 0, pass, tools) {
                Ok(moved) => moved,
                Err(error) if error.vanished() => return Err(error),
                // It may have threads that can be read.
                Err(error) => {
                    miss(&error, &mut pass.sweep);
                    true
                }
            };
            if !moved && self.known.get(&pid).is_some_and(|known| known.lone) {
                return Ok(());
            }
        }
        let group = tools.reader.group(pid)?;
        if group.threads == 1 {
            leader.lone_root = group.uid == 0;
            // Alone after its mark was read. Of a thread met now, the mark is read after; it is asked again next time.
            if let Some(known) = self.known.get_mut(&pid).filter(|_| visited) {
                known.lone = true;
            }
            if !visited {
                self.visit(&leader, 0, pass, tools)?;
            }
            return Ok(());
        }
        let dir = tools.reader.tasks(pid)?;
        let mut tids = std::mem::take(&mut pass.tids);
        let listed = tools.reader.list_threads(&dir, self.limits.threads_max, &mut tids);
        if let Some(known) = self.known.get_mut(&pid) {
            known.lone = false;
        }
        // The leader first: the services of the others are its own.
        if !visited {
            let _gone_or_counted =
                self.visit(&leader, 0, pass, tools).map_err(|error| miss(&error, &mut pass.sweep));
        }
        let services = self.known.get(&pid).map_or(0, |leader| leader.services);
        for tid in tids.iter().copied().filter(|tid| *tid != pid) {
            let thread = Thread { pid, tid, lone_root: false, files: Files::Below(&dir) };
            let _gone_or_counted =
                self.visit(&thread, services, pass, tools).map_err(|error| miss(&error, &mut pass.sweep));
        }
        pass.tids = tids;
        pass.sweep.missed.over_threads = pass.sweep.missed.over_threads.saturating_add(listed?);
        Ok(())
    }

    /// One thread. Returns whether it has moved since the last walk, or is new.
    fn visit(
        &mut self,
        thread: &Thread<'_>,
        services: u64,
        pass: &mut Pass<'_>,
        tools: &mut Tools<'_>,
    ) -> Result<bool, SourceError> {
        pass.visited = pass.visited.saturating_add(1);
        if pass.visited > self.limits.threads_max {
            pass.sweep.missed.over_threads = pass.sweep.missed.over_threads.saturating_add(1);
            self.unread(thread, services, pass);
            return Ok(false);
        }
        if pass.visited.is_multiple_of(STRIDE) {
            self.breathe(pass.inspector, tools);
        }
        let letter = self.refresh.due() || self.number.wrapping_add(thread.tid).is_multiple_of(pass.rounds);
        let before = self.known.get(&thread.tid);
        match pass.inspector.look(thread, before, letter, &mut tools.reader) {
            Ok(Outcome::Unmoved) => {
                if let Some(known) = self.known.get_mut(&thread.tid) {
                    known.seen = self.number;
                    let services = services | known.services | self.services.by_cgroup(thread.pid);
                    pass.count(known.state);
                    pass.member(services, known.matters_to);
                }
                Ok(false)
            }
            Ok(Outcome::Seen(seen)) => Ok(self.saw(thread, seen, services, pass)),
            Err(error) => {
                if !error.vanished() {
                    self.unread(thread, services, pass);
                }
                Err(error)
            }
        }
    }

    /// It is there and was not read: what is known of it stays. Of one that nothing is known of, every service of its
    /// process counts it as one that matters: a share of too few would be reached too early.
    fn unread(&mut self, thread: &Thread<'_>, services: u64, pass: &mut Pass<'_>) {
        let mut services = services | self.services.by_cgroup(thread.pid);
        let mut matters_to = u64::MAX;
        if let Some(known) = self.known.get_mut(&thread.tid) {
            known.seen = self.number;
            services |= known.services;
            matters_to = known.matters_to;
            pass.sweep.unread.extend(known.tracked.then_some(thread.tid));
        }
        pass.member(services, matters_to);
    }

    /// Takes a close look into the walk's counts and rows. A thread belongs to the services of its process: by the
    /// leader's comm, and by control group.
    fn saw(&mut self, thread: &Thread<'_>, mut seen: Seen, services: u64, pass: &mut Pass<'_>) -> bool {
        seen.known.seen = self.number;
        let services = services | seen.known.services | self.services.by_cgroup(thread.pid);
        pass.count(seen.known.state);
        pass.member(services, seen.known.matters_to);
        if seen.known.matters() && thread.pid != self.own_pid {
            let services = services & seen.known.matters_to;
            pass.sweep.rows.push(seen.row(thread.tid, services, pass.sweep.members_known));
        }
        let (mark, state) = (seen.known.mark, seen.known.state);
        let Some(before) = self.known.insert(thread.tid, seen.known) else { return true };
        // What it did since its mark was new, or since the walk before, which found that mark still standing.
        let time = seen.read.0.since(before.since.max(pass.before));
        let ran = mark.run_ns.saturating_sub(before.mark.run_ns);
        if thread.pid != self.own_pid && runnable::busy(ran, time) {
            let why = if state == State::Running { Why::Busy } else { Why::Ran };
            let wish = Wanted { pid: thread.pid, tid: thread.tid, mark, why, worth: Worth::Nothing };
            pass.busy.insert(thread.tid, (ran, wish));
        }
        before.mark != mark
    }

    /// Bounds the rows.
    fn bound(&self, sweep: &mut Sweep) {
        // A look in the middle of the walk may have seen a thread since; front has that newer row.
        let known = &self.known;
        sweep.rows.retain(|row| known.get(&row.tid).is_some_and(|known| known.shows(row)));
        let over = sweep.rows.len().saturating_sub(self.limits.rows_max);
        if over > 0 {
            // Waits that front tracks come first: an old wait must not lose its place to a new one. Then D before R:
            // who runs is a row at every walk and would keep a wait out for ever.
            let untracked = |row: &Row| known.get(&row.tid).is_none_or(|known| !known.tracked);
            sweep.rows.sort_by_key(|row| (untracked(row), !row.blocked()));
            sweep.rows.truncate(self.limits.rows_max);
        }
        sweep.missed.over_rows = u64::try_from(over).unwrap_or(u64::MAX);
    }

    /// Remembers which rows are given. Returns those that were given before with the same mark.
    fn remember(&mut self, sweep: &Sweep) -> HashSet<Tid> {
        let mut unmoved = HashSet::new();
        for row in &sweep.rows {
            if let Some(known) = self.known.get_mut(&row.tid)
                && std::mem::replace(&mut known.tracked, true)
            {
                unmoved.insert(row.tid);
            }
        }
        unmoved
    }

    /// Decides which threads that do not wait in the kernel are worth a closer look. Returns how many found no place.
    fn ask(&mut self, sweep: &Sweep, unmoved: &HashSet<Tid>, busy: HashMap<Tid, (u64, Wanted)>) -> u64 {
        // Without run times a busy thread stands as still as a starved one.
        let in_r = sweep.rows.iter().filter(|row| row.state == State::Running && row.mark.run_ns > 0);
        let starved = in_r.filter(|row| unmoved.contains(&row.tid)).map(|row| {
            let why = Why::Starved;
            Wanted { pid: row.pid, tid: row.tid, mark: row.mark, why, worth: Worth::Nothing }
        });
        let starved: Vec<Wanted> = starved.collect();
        let (busy, mut ran): (Vec<_>, Vec<_>) =
            busy.into_values().partition(|(_, wish)| wish.why == Why::Busy);
        ran.sort_by_key(|(ran, _)| Reverse(*ran));
        let all = starved.len().saturating_add(busy.len()).saturating_add(ran.len());
        let in_r = starved.into_iter().chain(busy.into_iter().map(|(_, wish)| wish)).take(RUNNABLE_MAX);
        self.runnable = in_r.chain(ran.into_iter().map(|(_, wish)| wish).take(RAN_MAX)).collect();
        u64::try_from(all.saturating_sub(self.runnable.len())).unwrap_or(u64::MAX)
    }

    /// In how many walks every letter is read once.
    fn rounds(&self) -> u32 {
        // By the configured interval: when the budget stretches the walks, the letters age with them. Reading more of
        // them would make the walks dearer still.
        let walks = self.limits.letter_age_max.as_millis() / self.limits.interval.as_millis().max(1);
        u32::try_from(walks).unwrap_or(u32::MAX).max(1)
    }
}

fn running(tools: &mut Tools<'_>) -> u64 {
    tools.reader.read(&Place::LoadAvg).ok().and_then(task::loadavg_running).unwrap_or_default()
}

fn miss(error: &SourceError, sweep: &mut Sweep) {
    let count = match error.cause {
        Cause::Vanished => &mut sweep.missed.vanished,
        Cause::Denied => &mut sweep.missed.denied,
        _ => &mut sweep.missed.failed,
    };
    *count = count.saturating_add(1);
}

/// One walk in progress.
struct Pass<'i> {
    inspector: &'i Inspector,
    sweep: Sweep,
    rounds: u32,
    visited: usize,
    /// When the walk before began.
    before: Mono,
    /// Threads that ran for a good part of the time, and for how long, nanoseconds.
    busy: HashMap<Tid, (u64, Wanted)>,
    /// Threads of the process at hand; kept for its memory.
    tids: Vec<Tid>,
    /// Processes that are there and could not be listed.
    unlisted: HashSet<Pid>,
}

impl Pass<'_> {
    fn count(&mut self, state: State) {
        let place = State::ALL.iter().position(|known| *known == state).unwrap_or_default();
        if let Some(count) = self.sweep.states.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// Counts a thread under the services of its process.
    fn member(&mut self, mut services: u64, matters_to: u64) {
        while services != 0 {
            let service = usize::try_from(services.trailing_zeros()).unwrap_or_default();
            if self.sweep.services.len() <= service {
                self.sweep.services.resize(service.saturating_add(1), ServiceTasks::default());
            }
            let rest = services & services.wrapping_sub(1);
            if let Some(tasks) = self.sweep.services.get_mut(service) {
                let matters = (services ^ rest) & matters_to != 0;
                tasks.all = tasks.all.saturating_add(1);
                tasks.selected = tasks.selected.saturating_add(matters.into());
            }
            services = rest;
        }
    }
}
