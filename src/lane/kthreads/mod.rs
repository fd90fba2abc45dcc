//! The kthreads lane: a few kernel threads, twenty times a second, on descriptors that stay open.
//!
//! Each step reads the runnable count of the host and the `schedstat` of every `ksoftirqd`, `watchdog` and RCU
//! thread, and of the others for a second after they moved; while they are quiet, every fourth step does. Only a
//! thread that did not move can be waiting, and only while somebody else than us is runnable; of those, only one
//! whose wait channel reads `0`, which costs a fraction of the letter. Its `status` is then read, and again at
//! every step for as long as it stays in R and does not move. So the wait of a `ksoftirqd` or `watchdog` is found
//! at most two steps after its begin, that of another thread at most five; a realtime thread that the kernel itself
//! holds back (it leaves the count) within a second. On kernels whose wait channels say nothing (4.14 to 5.15
//! without frame pointers, or no privilege) letters are read instead, and five steps hold for all. What is found is
//! told every second, and a wait of [`LONG`] at once and then four times a second. When the lane's share of the CPU
//! budget does not suffice, the step is stretched, and the interval says so.
//!
//! A thread that runs for a whole step without a clock tick (`nohz_full`, interrupts off) looks like one that
//! waits, and so does `migration/N` in one long piece of work: the tick does not add to its run time
//! (task_tick_stop is empty).

mod discovery;
mod sampled;

use std::time::Duration;

use crate::base::clock::Mono;
use crate::lane::budget::{Budget, Turn};
use crate::lane::tasks::marks::Marks;
use crate::lane::{Tools, Work};
use crate::sample::{Frame, KTHREADS_MAX, KthreadSamples, Lane};
use crate::source::place::Place;
use crate::source::{Kept, Reader, task};
use discovery::Discovery;
use sampled::Sampled;

/// Distance between two looks at a thread.
const STEP: Duration = Duration::from_millis(50);
/// A wait of this length is told at once.
const LONG: Duration = Duration::from_millis(100);
/// Distance between two frames.
const TELL: Duration = Duration::from_secs(1);
/// The same while somebody waits long.
const TELL_LONG: Duration = Duration::from_millis(250);
/// A lane that has nothing to do says so this often.
const IDLE: Duration = Duration::from_secs(5);
/// Descriptors of each thread.
const DESCRIPTORS: u64 = 2;
/// Part of the lane's share for looking for threads; looking at them must not wait for it.
const DISCOVERY: f64 = 0.2;

/// The lane.
pub struct KthreadsLane {
    most: usize,
    interval: Duration,
    budget: Budget,
    discovery_budget: Budget,
    marks: Option<Marks>,
    loadavg: Option<Kept>,
    discovery: Discovery,
    threads: Vec<Sampled>,
    left_out: u64,
    round: u32,
    born: Mono,
    /// Newest frame with every thread.
    told: Option<Mono>,
    /// Newest frame of any sort.
    sent: Mono,
}

impl KthreadsLane {
    /// A lane that may keep that many descriptors (none: it is switched off) and looks for its threads among at most
    /// `pids_max` processes.
    pub fn new(descriptors: u64, pids_max: usize, share: f64, now: Mono) -> Self {
        Self {
            most: usize::try_from(descriptors / DESCRIPTORS).unwrap_or(KTHREADS_MAX).min(KTHREADS_MAX),
            interval: STEP,
            budget: Budget::new(share * (1.0 - DISCOVERY), now),
            discovery_budget: Budget::new(share * DISCOVERY, now),
            marks: None,
            loadavg: None,
            discovery: Discovery::new(pids_max, now),
            threads: Vec::new(),
            left_out: 0,
            round: 0,
            born: now,
            told: None,
            sent: now,
        }
    }

    /// Somebody else than us is runnable, or may be.
    fn crowd(&mut self, reader: &mut Reader<'_>) -> bool {
        if self.loadavg.is_none() {
            self.loadavg = reader.keep(&Place::LoadAvg).ok();
        }
        let text = self.loadavg.as_ref().and_then(|kept| reader.again(kept).ok());
        text.and_then(task::loadavg_running).is_none_or(|runnable| runnable > 1)
    }

    /// One look at each thread.
    fn look(&mut self, now: Mono, reader: &mut Reader<'_>) {
        let crowd = self.crowd(reader);
        self.round = self.round.wrapping_add(1);
        let (round, discovery) = (self.round, &mut self.discovery);
        self.threads.retain_mut(|thread| {
            match thread.due(round).then(|| thread.look(now, round, crowd, reader)) {
                Some(Err(error)) if error.vanished() => {
                    discovery.vanished(thread.tid, now);
                    false
                }
                // Anything else may pass; what is known of it stands.
                _ => true,
            }
        });
    }

    /// Looks for threads. When there are too many, the less important ones give way.
    fn discover(&mut self, now: Mono, reader: &mut Reader<'_>) {
        for (tid, thread) in self.discovery.step(now, reader) {
            if self.threads.iter().any(|sampled| sampled.tid == tid) {
                continue;
            }
            if self.threads.len() >= self.most {
                self.left_out = self.left_out.saturating_add(1);
                let least = (0_usize..).zip(&self.threads).max_by_key(|(_, sampled)| sampled.thread.kind);
                match least {
                    Some((place, least)) if least.thread.kind > thread.kind => {
                        self.threads.swap_remove(place);
                    }
                    _ => continue,
                }
            }
            match Sampled::open(tid, thread, reader) {
                Ok(sampled) => self.threads.push(sampled),
                Err(error) if error.vanished() => {}
                Err(_no_descriptor) => self.left_out = self.left_out.saturating_add(1),
            }
        }
    }

    /// Sends what is due.
    fn tell(&mut self, now: Mono, tools: &mut Tools<'_>) {
        let complete = self.discovery.complete();
        let all = match self.told {
            Some(at) => now.since(at) >= TELL,
            None => complete || now.since(self.born) >= TELL,
        };
        let urgent = self.threads.iter().any(Sampled::news);
        let long = now.since(self.sent) >= TELL_LONG && self.threads.iter().any(Sampled::waits_long);
        if !all && !urgent && !long {
            return;
        }
        let worth = self.threads.iter_mut().filter(|thread| all || thread.news() || thread.waits_long());
        let threads = worth.map(Sampled::take).collect();
        let left_out = std::mem::take(&mut self.left_out);
        (tools.send)(&Frame::Kthreads(KthreadSamples { at: now, whole: all && complete, threads, left_out }));
        self.sent = now;
        if all {
            self.told = Some(now);
        }
    }

    /// Without time slices there is nothing to sample.
    fn blind(&mut self, tools: &mut Tools<'_>) -> bool {
        let marks = *self.marks.get_or_insert_with(|| Marks::of_this_kernel(&mut tools.reader));
        if marks == Marks::Switches {
            let why =
                "the kernel keeps no schedstat (CONFIG_SCHED_INFO); no kernel thread is sampled".to_owned();
            (tools.send)(&Frame::Failed { lane: Lane::Kthreads, why });
        }
        marks == Marks::Switches
    }
}

impl Work for KthreadsLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        let now = turn.began;
        if self.most == 0 || self.blind(tools) {
            (tools.send)(&Frame::Kthreads(KthreadSamples {
                at: now,
                whole: true,
                ..KthreadSamples::default()
            }));
            return now.plus(IDLE);
        }
        self.look(now, &mut tools.reader);
        let mut searched = Duration::ZERO;
        if self.discovery.due(now) && self.discovery_budget.due(Duration::ZERO) <= now {
            let search = Turn::begin();
            self.discover(now, &mut tools.reader);
            searched = search.cost();
            self.discovery_budget.spend(searched, now);
        }
        self.tell(now, tools);
        let spent = turn.cost().saturating_sub(searched);
        self.budget.spend(spent, now);
        let due = now.plus(STEP).max(self.budget.due(spent));
        self.interval = due.since(now);
        due
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}
