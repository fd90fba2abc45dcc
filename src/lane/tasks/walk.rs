//! The walk: processes, their threads, one look each, and the frame that comes out of it. Every step is linear in the
//! number of threads.

use crate::base::clock;
use crate::base::units::{Pid, State, Tid};
use crate::lane::Tools;
use crate::lane::tasks::inspect::{Inspector, Thread};
use crate::lane::tasks::marks::Marks;
use crate::lane::tasks::{STRIDE, TasksLane};
use crate::sample::{Hint, Row, Sweep};
use crate::source::error::{Cause, SourceError};
use crate::source::place::Place;
use crate::source::task;

/// A row that waits in the kernel.
pub fn blocked(row: &Row) -> bool {
    row.state == State::Uninterruptible || row.hint == Hint::WorkItem
}

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
        let mut sweep = Sweep { begin: clock::now(), ..Sweep::default() };
        self.number = self.number.wrapping_add(1);
        let running_before = running(tools);
        let mut pids = Vec::new();
        let most = self.limits.threads_max;
        sweep.missed.over_threads = tools.reader.list(&Place::Processes, most, &mut pids)?;
        let mut tids = Vec::new();
        let mut visited = 0_usize;
        for pid in pids {
            let lone_root = match self.threads(pid, &mut tids, tools) {
                Ok((lone_root, left_out)) => {
                    sweep.missed.over_threads = sweep.missed.over_threads.saturating_add(left_out);
                    lone_root
                }
                Err(error) => {
                    miss(&error, &mut sweep);
                    continue;
                }
            };
            sweep.processes = sweep.processes.saturating_add(1);
            for tid in tids.drain(..) {
                visited = visited.saturating_add(1);
                if visited > most {
                    sweep.missed.over_threads = sweep.missed.over_threads.saturating_add(1);
                    continue;
                }
                self.visit(&Thread { pid, tid, lone_root, kept: None }, inspector, tools, &mut sweep);
                if visited.is_multiple_of(STRIDE) {
                    self.breathe(inspector, tools);
                }
            }
        }
        sweep.end = clock::now();
        let number = self.number;
        self.known.retain(|_, known| known.seen == number);
        let running = running_before.min(running(tools));
        self.finish(&mut sweep, running, inspector.marks, tools);
        Ok(sweep)
    }

    /// Fills `tids` with the threads of a process. A process of one thread, which most are, is not listed: the link
    /// count of its task directory tells. Returns whether it is a lone thread of root, and how many threads past the
    /// limit were not listed.
    fn threads(
        &self,
        pid: Pid,
        tids: &mut Vec<Tid>,
        tools: &mut Tools<'_>,
    ) -> Result<(bool, u64), SourceError> {
        let group = tools.reader.group(pid)?;
        if group.threads == 1 {
            tids.push(pid);
            return Ok((group.uid == 0, 0));
        }
        Ok((false, tools.reader.list(&Place::Threads { pid }, self.limits.threads_max, tids)?))
    }

    fn visit(
        &mut self,
        thread: &Thread<'_>,
        inspector: &Inspector,
        tools: &mut Tools<'_>,
        sweep: &mut Sweep,
    ) {
        let rounds = self.rounds();
        let turn = self.number.wrapping_add(thread.tid).is_multiple_of(rounds);
        let before = self.known.get(&thread.tid);
        let mut seen = match inspector.look(thread, before, turn || self.refresh, &mut tools.reader) {
            Ok(seen) => seen,
            Err(error) => {
                miss(&error, sweep);
                // It is there and could not be read: what is known of it stays.
                if let Some(known) = self.known.get_mut(&thread.tid).filter(|_| !error.vanished()) {
                    known.seen = self.number;
                    sweep.unread.extend(known.tracked.then_some(thread.tid));
                }
                return;
            }
        };
        seen.known.seen = self.number;
        let place = State::ALL.iter().position(|state| *state == seen.known.state).unwrap_or_default();
        if let Some(count) = sweep.states.get_mut(place) {
            *count = count.saturating_add(1);
        }
        let services = self.services_of(thread.pid, &seen);
        count_services(services, &mut sweep.services);
        if seen.known.matters() && thread.pid != self.own_pid {
            sweep.rows.push(seen.row(thread.tid, services));
        }
        self.known.insert(thread.tid, seen.known);
    }

    /// A thread belongs to the services of its process: by the leader's comm, and by control group.
    fn services_of(&self, pid: Pid, seen: &super::inspect::Seen) -> u64 {
        let leader = self.known.get(&pid).map_or(0, |leader| leader.services);
        leader | seen.known.services | self.services.by_cgroup(pid)
    }

    /// Bounds the rows, remembers which were given, and decides what is watched and asked for.
    fn finish(&mut self, sweep: &mut Sweep, running: u64, marks: Marks, tools: &mut Tools<'_>) {
        let over = sweep.rows.len().saturating_sub(self.limits.rows_max);
        if over > 0 {
            // Waits that front tracks come first: an old wait must not lose its place to a new one. Then D before R: who
            // runs is a row at every walk and would keep a wait out for ever.
            let known = &self.known;
            let untracked = |row: &Row| known.get(&row.tid).is_none_or(|known| !known.tracked);
            sweep.rows.sort_by_key(|row| (untracked(row), !blocked(row)));
            sweep.rows.truncate(self.limits.rows_max);
        }
        sweep.missed.over_rows = u64::try_from(over).unwrap_or(u64::MAX);
        let unmoved: Vec<Tid> = sweep
            .rows
            .iter()
            .filter(|row| self.known.get(&row.tid).is_some_and(|known| known.tracked))
            .map(|row| row.tid)
            .collect();
        for row in &sweep.rows {
            if let Some(known) = self.known.get_mut(&row.tid) {
                known.tracked = true;
            }
        }
        sweep.missed.over_watched = self.watch.choose(&sweep.rows, &unmoved, marks, &mut tools.reader);
        self.wanted.clear();
        self.handover.want(Vec::new());
        self.want(&sweep.rows);
        // Runnable threads that no row explains are sleepers that were woken and did not run: read every letter. Our
        // own thread is one of the running ones, and one more may have come and gone.
        let explained = sweep.states.first().copied().unwrap_or_default().saturating_add(1);
        self.refresh = !self.refresh && running > explained;
    }

    /// In how many walks every letter is read once.
    fn rounds(&self) -> u32 {
        let walks = self.limits.letter_age_max.as_millis() / self.interval.as_millis().max(1);
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

fn count_services(mut bits: u64, counts: &mut Vec<u32>) {
    while bits != 0 {
        let service = usize::try_from(bits.trailing_zeros()).unwrap_or_default();
        if counts.len() <= service {
            counts.resize(service.saturating_add(1), 0);
        }
        if let Some(count) = counts.get_mut(service) {
            *count = count.saturating_add(1);
        }
        bits &= bits.wrapping_sub(1);
    }
}
