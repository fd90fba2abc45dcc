//! Waits of kernel threads for a CPU: those in progress, and those that the kernel has counted since.
//!
//! The kernel adds a wait to `run_delay` when it ends, so its sums and our histogram are exact and blind to the wait
//! that has not ended; that one is a thread in R whose mark stands still. Of a step in which a thread was put on a CPU
//! n times only the sum S of the waits is known: one wait of S is booked and n − 1 in the lowest bucket, which is right
//! for stalls (rare and large) and says the tail as it was; the mean would hide it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::kthread::{Kind, Kthread};
use crate::base::units::Tid;
use crate::sample::{KthreadSample, KthreadSamples, Mark, Step};
use crate::track::histogram::Histogram;
use crate::track::late::{Late, Lateness};

/// Upper bounds of the histogram, seconds. The lowest takes what is no stall.
pub const RUN_DELAY_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Most pairs of name and CPU that sums are kept of. Sums outlive their threads: a counter must not go back when a
/// CPU is switched off and on again.
pub const SUMS_MAX: usize = 512;

/// What is known of one thread.
#[derive(Debug)]
struct Known {
    thread: Kthread,
    mark: Mark,
    wait_ns: u64,
    wait: Option<(Mono, Mono)>,
    /// Part of a wait that ended on one CPU's queue and goes on in another's.
    carried_ns: u64,
    /// Its waits that were long enough to be felt.
    late: Late,
}

impl Known {
    /// Numbers only grow; smaller ones under the same id are somebody else's.
    fn continues(&self, sample: &KthreadSample) -> bool {
        self.thread == sample.thread
            && self.mark.slices <= sample.mark.slices
            && self.mark.run_ns <= sample.mark.run_ns
            && self.wait_ns <= sample.wait_ns
    }
}

/// Sums over the life of the exporter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Times put on a CPU.
    pub slices: u64,
    /// Nanoseconds waited for one.
    pub wait_ns: u64,
}

impl Sums {
    fn add(&mut self, step: Step) {
        self.slices = self.slices.saturating_add(step.slices);
        self.wait_ns = self.wait_ns.saturating_add(step.wait_ns);
    }
}

/// Finished waits of one kind of thread.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The waits.
    pub waits: Histogram,
    /// Steps of more than one time slice: how often the rule had to guess.
    pub coarse: u64,
}

/// All sampled kernel threads.
#[derive(Debug, Default)]
pub struct Kthreads {
    known: BTreeMap<Tid, Known>,
    sums: BTreeMap<Kthread, Sums>,
    finished: BTreeMap<Kind, Finished>,
    /// Threads that found no place: not sampled, or not summed.
    pub dropped: u64,
}

impl Kthreads {
    /// Takes a frame.
    pub fn observe(&mut self, samples: &KthreadSamples) {
        self.dropped = self.dropped.saturating_add(samples.left_out);
        if samples.whole {
            let there: HashSet<Tid> = samples.threads.iter().map(|sample| sample.tid).collect();
            self.known.retain(|tid, _| there.contains(tid));
        }
        for sample in &samples.threads {
            self.sample(sample, samples.at);
        }
    }

    /// Longest wait in progress by name and CPU, zero where none waits, a lower bound of each.
    pub fn in_progress(&self) -> BTreeMap<Kthread, Duration> {
        let mut longest: BTreeMap<Kthread, Duration> = BTreeMap::new();
        for (_, thread, length) in self.waits() {
            let entry = longest.entry(thread).or_default();
            *entry = (*entry).max(length);
        }
        longest
    }

    /// Every sampled thread with its wait in progress, zero where it does not wait, a lower bound of each.
    pub fn waits(&self) -> impl Iterator<Item = (Tid, Kthread, Duration)> + '_ {
        let length = |known: &Known| known.wait.map_or(Duration::ZERO, |(since, last)| last.since(since));
        self.known.iter().map(move |(tid, known)| (*tid, known.thread, length(known)))
    }

    /// The threads that wait for a CPU: the first and the last look that saw it.
    pub fn waiting(&self) -> impl Iterator<Item = (Tid, Kthread, (Mono, Mono))> + '_ {
        self.known.iter().filter_map(|(tid, known)| Some((*tid, known.thread, known.wait?)))
    }

    /// The threads whose waits come back, at `now`.
    pub fn late(&self, now: Mono) -> impl Iterator<Item = (Tid, Kthread, Lateness)> + '_ {
        self.known.iter().filter_map(move |(tid, known)| Some((*tid, known.thread, known.late.told(now)?)))
    }

    /// Sums by name and CPU.
    pub fn sums(&self) -> impl Iterator<Item = (Kthread, Sums)> + '_ {
        self.sums.iter().map(|(thread, sums)| (*thread, *sums))
    }

    /// Finished waits by name.
    pub fn finished(&self) -> impl Iterator<Item = (Kind, &Finished)> {
        self.finished.iter().map(|(kind, finished)| (*kind, finished))
    }

    fn sample(&mut self, sample: &KthreadSample, at: Mono) {
        let mut before = self.known.remove(&sample.tid).filter(|known| known.continues(sample));
        let told = sample.steps.iter().fold(Sums::default(), |mut sum, step| {
            sum.add(*step);
            sum
        });
        // Of a thread met for the first time, what it did before is not ours to count.
        let moved =
            before.as_ref().map_or(Step { slices: told.slices, wait_ns: told.wait_ns }, |known| Step {
                slices: sample.mark.slices.saturating_sub(known.mark.slices),
                wait_ns: sample.wait_ns.saturating_sub(known.wait_ns),
            });
        let mut known = Known {
            thread: sample.thread,
            mark: sample.mark,
            wait_ns: sample.wait_ns,
            wait: None,
            carried_ns: before.as_ref().map_or(0, |known| known.carried_ns),
            late: before.as_mut().map(|known| std::mem::take(&mut known.late)).unwrap_or_default(),
        };
        known.wait = sample.runnable.map(|looks| {
            // The same thread that has not moved since is in the same wait, whoever looked at it before.
            let earlier =
                before.as_ref().filter(|known| known.mark == sample.mark).and_then(|known| known.wait);
            earlier.map_or((looks.first, looks.last), |(since, last)| {
                (since.min(looks.first), last.max(looks.last))
            })
        });
        self.add(sample.thread, moved);
        // What happened while nobody looked, between two probes, is one more step. Steps that add up to more than the
        // kernel's own numbers cannot be; the numbers are believed.
        let rest = moved.slices.checked_sub(told.slices).zip(moved.wait_ns.checked_sub(told.wait_ns));
        let (rest, steps) = match rest {
            Some((slices, wait_ns)) => (Step { slices, wait_ns }, sample.steps.as_slice()),
            None => (moved, [].as_slice()),
        };
        // What was seen of the wait in progress is known of the first that ended.
        let mut seen = before.and_then(|known| known.wait).map(|(since, last)| last.since(since));
        for step in std::iter::once(&rest).chain(steps) {
            let of_first = seen.take_if(|_| step.slices > 0).unwrap_or_default();
            self.book(&mut known, *step, of_first, at);
        }
        self.known.insert(sample.tid, known);
    }

    fn add(&mut self, thread: Kthread, moved: Step) {
        if self.sums.len() >= SUMS_MAX && !self.sums.contains_key(&thread) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.sums.entry(thread).or_default().add(moved);
    }

    /// The histogram rule.
    fn book(&mut self, known: &mut Known, step: Step, of_first: Duration, at: Mono) {
        let finished = self
            .finished
            .entry(known.thread.kind)
            .or_insert_with(|| Finished { waits: Histogram::new(RUN_DELAY_BOUNDS), coarse: 0 });
        let wait_ns = known.carried_ns.saturating_add(step.wait_ns);
        let Some(others) = step.slices.checked_sub(1) else {
            known.carried_ns = wait_ns;
            return;
        };
        known.carried_ns = 0;
        let wait = Duration::from_nanos(wait_ns);
        // Of several waits the longest had the mean at least: nobody is called late for their sum.
        let mean = wait.checked_div(u32::try_from(step.slices).unwrap_or(u32::MAX)).unwrap_or_default();
        known.late.add(mean.max(of_first.min(wait)), at);
        finished.waits.observe(wait.as_secs_f64());
        finished.waits.observe_times(0.0, others);
        finished.coarse = finished.coarse.saturating_add(u64::from(others > 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Looks;
    use proptest::prelude::*;

    const SOFT: Kthread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(1) };
    const MS: u64 = 1_000_000;

    fn sample(slices: u64, wait_ns: u64, steps: &[(u64, u64)]) -> KthreadSample {
        let steps =
            steps.iter().map(|(slices, wait_ns)| Step { slices: *slices, wait_ns: *wait_ns }).collect();
        let mark = Mark { slices, run_ns: slices * 10 };
        KthreadSample { tid: 14, thread: SOFT, mark, wait_ns, steps, runnable: None }
    }

    fn waiting(slices: u64, first: u64, last: u64) -> KthreadSample {
        let looks = Looks { first: Mono::from_nanos(first), last: Mono::from_nanos(last) };
        KthreadSample { runnable: Some(looks), ..sample(slices, 0, &[]) }
    }

    fn frame(threads: Vec<KthreadSample>) -> KthreadSamples {
        KthreadSamples { whole: true, threads, ..KthreadSamples::default() }
    }

    fn buckets(tracker: &Kthreads) -> Vec<u64> {
        tracker.finished().next().unwrap().1.waits.cumulative().map(|(_, count)| count).collect()
    }

    fn sums(tracker: &Kthreads) -> (u64, u64) {
        tracker.sums().next().map(|(_, sums)| (sums.slices, sums.wait_ns)).unwrap()
    }

    fn longest(tracker: &Kthreads) -> u64 {
        u64::try_from(tracker.in_progress()[&SOFT].as_nanos()).unwrap()
    }

    #[test]
    fn one_slice_is_an_exact_wait_and_several_are_one_wait_and_the_lowest_bucket() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![sample(100, 70 * MS, &[])]));
        assert_eq!(sums(&tracker), (0, 0), "what it did before is not counted");
        tracker.observe(&frame(vec![sample(104, 370 * MS, &[(1, 200 * MS), (3, 100 * MS)])]));
        assert_eq!(sums(&tracker), (4, 300 * MS));
        let counts = buckets(&tracker);
        assert_eq!(counts[0], 2, "two of the three");
        assert_eq!((counts[6], counts[7], counts[14]), (3, 4, 4), "100 ms, then 200 ms");
        assert_eq!(tracker.finished().next().unwrap().1.coarse, 1);
    }

    #[test]
    fn a_wait_that_moved_to_another_queue_is_one_wait() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![sample(1, 0, &[])]));
        tracker.observe(&frame(vec![sample(1, 90 * MS, &[(0, 90 * MS)])]));
        tracker.observe(&frame(vec![sample(2, 110 * MS, &[(1, 20 * MS)])]));
        let counts = buckets(&tracker);
        assert_eq!((counts[6], counts[7]), (0, 1), "110 ms, not 20");
        assert_eq!(sums(&tracker), (1, 110 * MS));
    }

    #[test]
    fn a_replaced_probe_loses_nothing() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![sample(10, 0, &[])]));
        // The next probe begins at 14 and 300 ms, and has seen one step since.
        tracker.observe(&frame(vec![sample(15, 320 * MS, &[(1, 20 * MS)])]));
        assert_eq!(sums(&tracker), (5, 320 * MS));
        assert_eq!(buckets(&tracker), [3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn a_wait_in_progress_lasts_while_nothing_moves() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![waiting(7, 100, 100)]));
        assert_eq!(longest(&tracker), 0, "one look is no wait");
        tracker.observe(&frame(vec![waiting(7, 100, 350)]));
        assert_eq!(longest(&tracker), 250);
        // Another probe met it later; it is the same wait.
        tracker.observe(&KthreadSamples { whole: false, ..frame(vec![waiting(7, 500, 600)]) });
        assert_eq!(longest(&tracker), 500);
        tracker.observe(&frame(vec![waiting(8, 700, 710)]));
        assert_eq!(longest(&tracker), 10, "it ran in between");
        tracker.observe(&frame(vec![sample(8, 0, &[])]));
        assert_eq!(longest(&tracker), 0);
    }

    #[test]
    fn only_waits_that_were_long_each_make_a_thread_late() {
        let mut tracker = Kthreads::default();
        let at = Mono::from_nanos(1_000 * MS);
        tracker.observe(&frame(vec![sample(10, 0, &[])]));
        let many = sample(30, 900 * MS, &[(20, 900 * MS)]);
        tracker.observe(&KthreadSamples { at, ..frame(vec![many]) });
        assert_eq!(tracker.late(at).count(), 0, "twenty waits of 45 ms");
        let three = sample(34, 1700 * MS, &[(1, 200 * MS), (2, 400 * MS), (1, 200 * MS)]);
        tracker.observe(&KthreadSamples { at, ..frame(vec![three]) });
        let (tid, thread, lateness) = tracker.late(at).next().unwrap();
        assert_eq!((tid, thread), (14, SOFT));
        assert_eq!((lateness.times, lateness.longest), (3, Duration::from_millis(200)));
    }

    #[test]
    fn what_was_seen_of_a_wait_in_progress_is_known_of_the_first_that_ended() {
        let mut tracker = Kthreads::default();
        let mut wait_ns = 0;
        for slices in [7, 17, 27] {
            let waits = KthreadSample { wait_ns, ..waiting(slices, 0, 390 * MS) };
            tracker.observe(&frame(vec![waits]));
            wait_ns += 410 * MS;
            tracker.observe(&frame(vec![sample(slices + 5, wait_ns, &[(5, 410 * MS)])]));
        }
        let (.., lateness) = tracker.late(Mono::from_nanos(0)).next().unwrap();
        assert_eq!((lateness.times, lateness.longest), (3, Duration::from_millis(390)));
    }

    #[test]
    fn an_id_that_was_reused_is_somebody_else() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![waiting(7, 100, 900)]));
        let other = Kthread { kind: Kind::Migration, cpu: Some(0) };
        tracker.observe(&frame(vec![KthreadSample { thread: other, ..waiting(7, 1000, 1005) }]));
        assert_eq!(tracker.in_progress().into_iter().collect::<Vec<_>>(), [(other, Duration::from_nanos(5))]);
        // The same name with smaller numbers: born again.
        let reborn = KthreadSample { thread: other, ..sample(2, 5, &[(1, 3)]) };
        tracker.observe(&frame(vec![reborn]));
        let of_other = tracker.sums().find(|(thread, _)| *thread == other).unwrap().1;
        assert_eq!(of_other, Sums { slices: 1, wait_ns: 3 });
    }

    #[test]
    fn a_thread_that_is_gone_leaves_its_sums() {
        let mut tracker = Kthreads::default();
        tracker.observe(&frame(vec![sample(3, 9, &[(1, 4)])]));
        tracker.observe(&KthreadSamples { whole: false, ..frame(vec![]) });
        assert_eq!(tracker.in_progress().len(), 1, "a part says nothing of the rest");
        tracker.observe(&frame(vec![]));
        assert!(tracker.in_progress().is_empty());
        assert_eq!(sums(&tracker), (1, 4));
    }

    #[test]
    fn the_limit_is_reached_and_counted() {
        let mut tracker = Kthreads::default();
        let threads = (0..600_u16).map(|cpu| {
            let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(cpu) };
            KthreadSample { tid: u32::from(cpu) + 1, thread, ..sample(1, 0, &[]) }
        });
        tracker.observe(&KthreadSamples { left_out: 5, ..frame(threads.collect()) });
        assert_eq!(tracker.sums().count(), SUMS_MAX);
        assert_eq!(tracker.dropped, 5 + 88);
    }

    proptest! {
        /// However the steps are cut into frames and however many of them are lost, the sums are the kernel's, every
        /// slice is one observation, and the observations add up to the waits.
        #[test]
        fn nothing_is_lost_and_nothing_is_invented(
            steps in proptest::collection::vec((0_u64..5, 0_u64..3_000_000_000), 1..60),
            cuts in proptest::collection::vec((1_usize..8, any::<bool>()), 1..60),
        ) {
            let mut tracker = Kthreads::default();
            let (mut slices, mut wait_ns) = (1000, 5);
            tracker.observe(&frame(vec![sample(slices, wait_ns, &[])]));
            let mut rest = steps.as_slice();
            for (length, lost) in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at((*length).min(rest.len()));
                rest = later;
                slices += now.iter().map(|step| step.0).sum::<u64>();
                wait_ns += now.iter().map(|step| step.1).sum::<u64>();
                let told = if *lost { &now[now.len() / 2..] } else { now };
                tracker.observe(&frame(vec![sample(slices, wait_ns, told)]));
            }
            prop_assert_eq!(sums(&tracker), (slices - 1000, wait_ns - 5));
            let (_, finished) = tracker.finished().next().unwrap();
            prop_assert_eq!(finished.waits.count(), slices - 1000);
            let carried = tracker.known[&14].carried_ns as f64 / 1e9;
            let booked = finished.waits.sum() + carried;
            prop_assert!((booked - (wait_ns - 5) as f64 / 1e9).abs() < 1e-6, "{booked}");
        }

        /// Whatever comes, counters never go back and no wait is longer than the looks at it.
        #[test]
        fn counters_never_go_back(
            samples in proptest::collection::vec((1_u32..4, 0_u16..3, 0_u64..9, 0_u64..9, any::<bool>()), 1..80),
        ) {
            let mut tracker = Kthreads::default();
            let mut before: BTreeMap<Kthread, Sums> = BTreeMap::new();
            for (now, (tid, cpu, slices, wait_ns, runnable)) in (0_u64..).zip(samples) {
                let looks = Looks { first: Mono::from_nanos(now), last: Mono::from_nanos(now) };
                let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(cpu) };
                let runnable = runnable.then_some(looks);
                tracker.observe(&KthreadSamples {
                    whole: false,
                    ..frame(vec![KthreadSample { tid, thread, runnable, ..sample(slices, wait_ns, &[(1, 1)]) }])
                });
                for (thread, sums) in tracker.sums() {
                    let old = before.insert(thread, sums).unwrap_or_default();
                    prop_assert!(old.slices <= sums.slices && old.wait_ns <= sums.wait_ns);
                }
                for length in tracker.in_progress().values() {
                    prop_assert!(length.as_nanos() <= u128::from(now));
                }
            }
        }
    }
}
