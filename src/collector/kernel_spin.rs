//! *kernel_spin*: threads that burn CPU time and neither sleep nor come back to user space, and who waits for the CPU
//! that they are on.
//!
//! Proof: between two looks the run time advanced, and neither the voluntary switches nor the time in user space did.
//! It takes a thread that was busy between two walks, and counts from `spin.threshold` on. User time comes in ticks:
//! a thread that makes one huge system call after another and is in user space for less than a thousandth of its time
//! looks the same. So does a kernel thread that is meant to poll (vhost, io_uring's SQPOLL, ksoftirqd under load): it
//! holds its CPU as well. A thread with a long past in user space may be seen late, because the kernel scales its user
//! time. Nothing is shown on kernels without run times or without `sched`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::base::bounded::top;
use crate::base::units::Tid;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::scene::Name;
use crate::track::spins::Spin;

/// Most names on the page, whatever `blocked.top` says.
const TOP_MAX: usize = 64;

/// The slice.
pub static SLICE: Slice =
    Slice { name: "kernel_spin", metrics: &[&SECONDS, &VICTIMS, &VICTIM_SECONDS], show };

static SECONDS: Desc = Desc::labelled(
    "stall_kernel_spin_seconds_max",
    Kind::Gauge,
    &["comm"],
    TOP_MAX,
    "Longest spin in the kernel in progress by thread name, of a kworker by its work item, the blocked.top longest, a \
     lower bound.",
);
static VICTIMS: Desc = Desc::plain(
    "stall_kernel_spin_victims",
    Kind::Gauge,
    "Threads that have waited for at least starved.threshold for a CPU that a kernel spin is on.",
);
static VICTIM_SECONDS: Desc = Desc::plain(
    "stall_kernel_spin_victim_seconds_max",
    Kind::Gauge,
    "Longest wait in progress of the threads in stall_kernel_spin_victims, a lower bound; zero without any.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    if !world.census().is_some_and(|census| census.run_times) {
        return;
    }
    let spins = world.tracks.spins.iter().filter(|spin| spin.length() >= world.config.spin.threshold);
    let spins: Vec<&Spin> = spins.collect();
    let mut names: BTreeMap<String, f64> = BTreeMap::new();
    for spin in &spins {
        let longest =
            names.entry(Name::of_busy(&spin.comm, spin.work.as_deref()).of_series().to_string()).or_default();
        *longest = longest.max(spin.length().as_secs_f64());
    }
    let most = world.config.blocked.top.min(TOP_MAX);
    for (name, longest) in top(names.into_iter().collect(), most, |(_, longest)| *longest) {
        out.set(&SECONDS, &[&name], longest);
    }
    let victims = victims(world, &spins);
    out.set(&VICTIMS, &[], victims.len() as f64);
    let longest = victims.values().max().copied().unwrap_or_default();
    out.set(&VICTIM_SECONDS, &[], longest.as_secs_f64());
}

/// Who waits for the CPUs of the spins, and how long. A kernel thread may be known by two lanes.
fn victims(world: &World<'_>, spins: &[&Spin]) -> HashMap<Tid, Duration> {
    let cpus: BTreeSet<u32> = spins.iter().filter_map(|spin| spin.cpu).collect();
    let starved = world.tracks.starved.iter().filter(|wait| wait.runnable());
    let starved = starved.map(|wait| (wait.tid, wait.cpu(), wait.length()));
    let kthreads = world.tracks.kthreads.waits();
    let kthreads = kthreads.map(|(tid, thread, length)| (tid, thread.cpu.map(u32::from), length));
    let mut victims: HashMap<Tid, Duration> = HashMap::new();
    for (tid, cpu, length) in starved.chain(kthreads) {
        let here = cpu.is_some_and(|cpu| cpus.contains(&cpu));
        if here && length >= world.config.starved.threshold && spins.iter().all(|spin| spin.tid != tid) {
            let longest = victims.entry(tid).or_default();
            *longest = length.max(*longest);
        }
    }
    victims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::base::kthread::{Kind as Thread, Kthread};
    use crate::base::units::State;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::runnable::Busy;
    use crate::sample::{Detail, Frame, Hint, KthreadSample, KthreadSamples, Looks, Mark, Row, Sweep};
    use crate::snapshot::Value;
    use crate::track::Tracks;

    const S: u64 = 1_000_000_000;

    fn at(second: u64) -> Mono {
        Mono::from_nanos(second * S)
    }

    /// Ran since second 0 on a CPU.
    fn busy(tid: u32, comm: &str, work: Option<&str>, cpu: u32, second: u64) -> Detail {
        let (comm, work) = (comm.to_owned(), work.map(str::to_owned));
        let (begin, end) = (at(second), at(second));
        Detail {
            tid,
            mark: Mark { slices: 1, run_ns: second * S },
            state: Some(State::Running),
            cpu: Some(cpu),
            busy: Some(Busy { pid: tid, comm, work, begin, end, user_ticks: 0, voluntary: 0 }),
            ..Detail::default()
        }
    }

    /// In R since second 1.
    fn row(tid: u32, second: u64) -> Row {
        Row {
            tid,
            pid: tid,
            begin: at(second),
            end: at(second),
            state: State::Running,
            mark: Mark { slices: 1, run_ns: 1 },
            comm: "victim".to_owned(),
            hint: Hint::None,
            services: 0,
            services_whole: true,
        }
    }

    fn sweep(tracks: &mut Tracks, second: u64, tids: &[u32]) {
        let rows = tids.iter().map(|tid| row(*tid, second)).collect();
        let sweep = Sweep { begin: at(second), end: at(second), rows, run_times: true, ..Sweep::default() };
        tracks.observe(Frame::Sweep(sweep));
    }

    fn page(tracks: &Tracks, config: &Config) -> Vec<(String, f64)> {
        let mut out = Snapshot::default();
        show(&World { now: at(30), config, tracks, health: &Health::default() }, &mut out);
        assert_eq!(out.dropped, 0);
        let series = out.families().iter().flat_map(|family| {
            family.series.iter().map(|series| {
                let Value::Number(value) = series.value else { panic!("a gauge") };
                (format!("{} {}", family.desc.name, series.labels.join(",")), value)
            })
        });
        series.collect()
    }

    #[test]
    fn a_worker_is_named_by_its_work_and_victims_are_those_on_the_same_cpu() {
        let mut tracks = Tracks::new(100);
        sweep(&mut tracks, 1, &[20, 21, 22]);
        let looks = |second| {
            vec![
                busy(7, "kworker/1:2", Some("flush-8:0"), 1, second),
                busy(8, "kworker/2:2", None, 2, second),
                busy(9, "short", None, 3, second.max(8)),
            ]
        };
        tracks.observe(Frame::Detail(looks(2)));
        tracks.observe(Frame::Detail(looks(12)));
        sweep(&mut tracks, 11, &[7, 8, 9, 20, 21, 22]);
        let mark = Mark { slices: 1, run_ns: 1 };
        // Threads 20 and 21 wait where the spins are, 22 where the short one is; 14 is a kernel thread in two lanes.
        let on = |tid, cpu| Detail { tid, mark, cpu: Some(cpu), ..Detail::default() };
        tracks.observe(Frame::Detail(vec![on(20, 1), on(21, 2), on(22, 3)]));
        let kthread = |tid, cpu, last| KthreadSample {
            tid,
            thread: Kthread { kind: Thread::Ksoftirqd, cpu: Some(cpu) },
            mark,
            wait_ns: 0,
            steps: vec![],
            runnable: Some(Looks { first: at(1), last: at(last) }),
        };
        let threads = vec![kthread(14, 1, 15), kthread(15, 2, 2), kthread(16, 3, 15), kthread(20, 1, 4)];
        tracks.observe(Frame::Kthreads(KthreadSamples { whole: true, threads, ..KthreadSamples::default() }));
        let expect = [
            ("stall_kernel_spin_seconds_max kworker", 10.0),
            ("stall_kernel_spin_seconds_max kworker+flush-8:0", 10.0),
            ("stall_kernel_spin_victims ", 3.0),
            ("stall_kernel_spin_victim_seconds_max ", 14.0),
        ];
        assert_eq!(page(&tracks, &Config::defaults()), expect.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn the_bound_is_reached() {
        let mut tracks = Tracks::new(100);
        sweep(&mut tracks, 1, &[]);
        for (second, tids) in [(2, 1..=90), (12, 1..=90), (20, 77..=77)] {
            let busy = |tid| busy(tid, &format!("n{tid}"), None, 0, second);
            tracks.observe(Frame::Detail(tids.map(busy).collect()));
        }
        let mut config = Config::defaults();
        config.blocked.top = 10_000;
        let mut series = page(&tracks, &config);
        series.retain(|(name, _)| name.starts_with(SECONDS.name));
        assert_eq!(series.len(), TOP_MAX);
        assert_eq!(series[0], (format!("{} n77", SECONDS.name), 18.0), "the longest");
    }
}
