//! *suspect*: who probably holds up those who wait. The join of all other signals: threads in D by what they wait for,
//! threads that are runnable and do not run, threads that do not leave the kernel, devices that complete nothing. When
//! there is no ground for a name it says `unknown`. It also fills the report behind `/stalls`.

mod commands;
mod words;

use std::collections::HashMap;
use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind as Shape};
use crate::sample::Lane;
use crate::snapshot::Snapshot;
use crate::snapshot::stall::{KnownWait, Report, SCHEMA, STALLS_MAX};
use crate::track::findings::{Finding, On, findings};
use crate::track::kind::Kind;
use crate::track::resource::Resources;
use crate::track::scene::{Scene, Thresholds};
use crate::track::suspect::{Suspect, Who};
use crate::track::waits::Wait;

/// Most series, one for each wait channel of each finding; the longest waits first.
const SERIES_MAX: usize = 50;

/// The slice.
pub static SLICE: Slice = Slice { name: "suspect", metrics: &[&SUSPECT], show };

static SUSPECT: Desc = Desc::labelled(
    "stall_suspect_seconds",
    Shape::Gauge,
    &["comm", "cgroup", "reason", "victim_wchan"],
    SERIES_MAX,
    "Longest wait in progress of those who are held up, by who probably holds them up (comm is `unknown` without a \
     ground for a name) and by where they wait; a lower bound.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let thresholds = Thresholds {
        blocked: world.config.blocked.threshold,
        starved: world.config.starved.threshold,
        spin: world.config.spin.threshold,
        disk: world.config.blocked.threshold,
    };
    let resources = Resources(&world.config.resources);
    let fresh = |lane, at| world.fresh(lane, at);
    let scene = Scene::new(world.tracks, world.now, thresholds, resources, &fresh);
    let found = findings(&scene);
    series(&found, out);
    let left_out = found.len().saturating_sub(STALLS_MAX);
    out.report = Report {
        schema: SCHEMA.to_owned(),
        stalls: found.iter().take(STALLS_MAX).map(|finding| words::stall(finding, world.config)).collect(),
        stalls_left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
        known_waits: known_waits(world),
        ..Report::default()
    };
}

/// One series for each name of a wait channel, so that it can be joined with `stall_blocked_tasks`; those who wait for
/// the same thing under two names have the same suspect. Stalls with the same labels, as on two CPUs, are one series.
fn series(found: &[Finding<'_>], out: &mut Snapshot) {
    let mut longest: HashMap<[String; 4], Duration> = HashMap::new();
    let mut put = |suspect: Option<&Suspect<'_>>, wchan: &str, length: Duration| {
        let (comm, cgroup) = suspect.map_or(("unknown".to_owned(), ""), named);
        let reason = suspect.map_or("unknown", |suspect| suspect.reason.name());
        let labels = [comm, cgroup.to_owned(), reason.to_owned(), wchan.to_owned()];
        let entry = longest.entry(labels).or_default();
        *entry = length.max(*entry);
    };
    for finding in found {
        match finding.on {
            On::Resource(_) | On::Function(_) => {
                for (wchan, (_, longest)) in &finding.victims.wchans {
                    put(finding.suspects.first(), wchan.unwrap_or("unknown"), *longest);
                }
            }
            On::Group(_) | On::Cpu(_) => put(finding.suspects.first(), "", finding.length),
            // Whom it keeps from their CPU; without such it is told by a family of its own, as a device is.
            On::Spin(_) => {
                if let Some(longest) = finding.victims.longest() {
                    put(finding.suspects.first(), "", longest);
                }
            }
            On::Device(_) | On::Packets(_) => {}
        }
    }
    let mut series: Vec<([String; 4], Duration)> = longest.into_iter().collect();
    series.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    for (labels, length) in series {
        out.set(&SUSPECT, &labels.each_ref().map(String::as_str), length.as_secs_f64());
    }
}

/// The labels `comm` and `cgroup` of a suspect.
fn named<'a>(suspect: &Suspect<'a>) -> (String, &'a str) {
    match suspect.who {
        Who::Thread(party) => {
            (label(party.name.of_series().to_string().as_bytes(), LABEL_MAX), party.group.unwrap_or(""))
        }
        Who::Device(device) => (device.device.to_owned(), ""),
        Who::Group(group) => (String::new(), group),
    }
}

fn known_waits(world: &World<'_>) -> Vec<KnownWait> {
    let of_kind = |kind: Kind| {
        let shown =
            |wait: &&Wait| wait.kind() == kind && wait.proven() && world.fresh(Lane::Tasks, wait.last);
        let waits = world.tracks.blocked.iter().filter(shown);
        let lengths: Vec<Duration> = waits
            .map(|wait| wait.length())
            .filter(|length| *length >= world.config.blocked.threshold)
            .collect();
        let longest = lengths.iter().max()?;
        Some(KnownWait {
            kind: kind.name().to_owned(),
            tasks: u64::try_from(lengths.len()).unwrap_or(u64::MAX),
            seconds: longest.as_secs_f64(),
            explain: words::known(kind).to_owned(),
        })
    };
    Kind::APART.into_iter().filter_map(of_kind).collect()
}

/// Whether the service of this bit is among `services`.
const fn belongs(services: u64, bit: u32) -> bool {
    match 1_u64.checked_shl(bit) {
        Some(mask) => services & mask != 0,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::base::kthread::{self, Kthread};
    use crate::base::units::State;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::{Detail, Frame, Hint, KthreadSample, KthreadSamples, Mark, Row, Step, Sweep};
    use crate::snapshot::Value;
    use crate::track::Tracks;

    const MARK: Mark = Mark { slices: 1, run_ns: 1 };

    fn row(tid: u32, second: u64) -> Row {
        let at = Mono::from_nanos(second * 1_000_000_000);
        Row {
            tid,
            pid: tid,
            begin: at,
            end: at,
            state: State::Uninterruptible,
            mark: MARK,
            comm: format!("task \"{tid}\"\n"),
            hint: Hint::None,
            services: u64::from(tid == 1),
            services_whole: true,
        }
    }

    /// `tasks` threads in D for ten seconds, each in a wait channel of `wchan`'s.
    fn page(tasks: u32, wchan: impl Fn(u32) -> Option<String>) -> Snapshot {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(1000));
        for second in [10, 20] {
            let at = Mono::from_nanos(second * 1_000_000_000);
            let rows = (1..=tasks).map(|tid| row(tid, second)).collect();
            tracks.observe(Frame::Sweep(Sweep { begin: at, end: at, rows, ..Sweep::default() }));
        }
        let details =
            (1..=tasks).map(|tid| Detail { tid, mark: MARK, wchan: wchan(tid), ..Detail::default() });
        tracks.observe(Frame::Detail(details.collect()));
        let mut out = Snapshot::default();
        let now = Mono::from_nanos(21_000_000_000);
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        out
    }

    #[test]
    fn without_a_ground_the_suspect_is_unknown_and_the_story_is_told_all_the_same() {
        let out = page(2, |tid| Some(if tid == 1 { "dev_ioctl" } else { "rtnetlink_rcv_msg" }.to_owned()));
        let [family] = out.families() else { panic!("{out:?}") };
        let labels: Vec<&[String]> = family.series.iter().map(|series| series.labels.as_slice()).collect();
        assert_eq!(
            labels,
            [["unknown", "", "unknown", "dev_ioctl"], ["unknown", "", "unknown", "rtnetlink_rcv_msg"]]
        );
        assert!(family.series.iter().all(|series| series.value == Value::Number(10.0)));
        let [stall] = out.report.stalls.as_slice() else { panic!("{:?}", out.report) };
        assert_eq!(
            stall.title,
            "2 tasks (PID 1 among them) wait for the network configuration lock (rtnl_mutex)"
        );
        assert_eq!((stall.kind.as_str(), stall.key.as_str()), ("blocked", "blocked:rtnl"));
        assert_eq!((stall.seconds, stall.tasks_total, stall.tasks.len()), (10.0, 2, 2));
        assert!(stall.suspects.is_empty() && !stall.prove.is_empty() && !stall.explain.is_empty());
        assert_eq!(stall.tasks.iter().filter(|task| task.services == ["init"]).count(), 1);
    }

    #[test]
    fn past_the_bounds_the_longest_are_told_and_the_rest_is_counted() {
        let out = page(300, |tid| Some(format!("function_{tid:03}")));
        let [family] = out.families() else { panic!("{out:?}") };
        assert_eq!(family.series.len(), SERIES_MAX);
        assert_eq!(out.dropped, 300 - u64::try_from(SERIES_MAX).unwrap());
        assert_eq!(out.report.stalls.len(), STALLS_MAX);
        assert_eq!(out.report.stalls_left_out, 300 - u64::try_from(STALLS_MAX).unwrap());

        let out = page(300, |_| None);
        let [stall] = out.report.stalls.as_slice() else { panic!("{:?}", out.report) };
        assert_eq!(stall.title, "300 tasks (PID 1 among them) wait in the kernel, which does not say where");
        assert_eq!((stall.tasks_total, stall.tasks.len()), (300, crate::snapshot::stall::TASKS_MAX));
    }

    /// On each of two CPUs a thread that does not run, for a reason that nobody knows.
    #[test]
    fn stalls_with_the_same_labels_are_one_series_and_two_stories() {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(1000));
        for second in [10, 20] {
            let at = Mono::from_nanos(second * 1_000_000_000);
            let rows = [2, 3].map(|tid| Row { state: State::Running, ..row(tid, second) }).to_vec();
            tracks.observe(Frame::Sweep(Sweep { begin: at, end: at, rows, ..Sweep::default() }));
        }
        let detail = |tid| Detail { tid, mark: MARK, cpu: Some(tid), ..Detail::default() };
        tracks.observe(Frame::Detail(vec![detail(2), detail(3)]));
        let mut out = Snapshot::default();
        let now = Mono::from_nanos(21_000_000_000);
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        let [family] = out.families() else { panic!("{out:?}") };
        let [only] = family.series.as_slice() else { panic!("{family:?}") };
        assert_eq!(
            (only.labels.clone(), &only.value),
            (["unknown", "", "unknown", ""].map(str::to_owned).to_vec(), &Value::Number(10.0))
        );
        let titles: Vec<&str> = out.report.stalls.iter().map(|stall| stall.title.as_str()).collect();
        assert_eq!(
            titles,
            ["1 task could run and must wait for CPU 2", "1 task could run and must wait for CPU 3"]
        );
    }

    #[test]
    fn packets_that_come_late_are_a_story_for_a_minute_and_no_series() {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(1000));
        let waits = [0_u64, 400, 300, 410];
        let mut wait_ns = 0;
        for (slices, ms) in (1..).zip(waits) {
            let step = Step { slices: 1, wait_ns: ms * 1_000_000 };
            wait_ns += step.wait_ns;
            let softirq = KthreadSample {
                tid: 22,
                thread: Kthread { kind: kthread::Kind::Ksoftirqd, cpu: Some(3) },
                mark: Mark { slices, run_ns: 1 },
                wait_ns,
                steps: vec![step],
                runnable: None,
            };
            // RCU is late as well, which delays no packet.
            let thread = Kthread { kind: kthread::Kind::RcuSched, cpu: None };
            let threads = vec![KthreadSample { tid: 23, thread, ..softirq.clone() }, softirq];
            let at = Mono::from_nanos(slices * 1_000_000_000);
            tracks.observe(Frame::Kthreads(KthreadSamples { at, whole: true, threads, left_out: 0 }));
        }
        let told = |second: u64| {
            let mut out = Snapshot::default();
            let now = Mono::from_nanos(second * 1_000_000_000);
            show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
            assert!(out.families().is_empty(), "a wait that has ended is none in progress");
            out.report.stalls
        };
        let stalls = told(5);
        let [stall] = stalls.as_slice() else { panic!("{stalls:?}") };
        assert_eq!((stall.kind.as_str(), stall.key.as_str(), stall.seconds), ("late", "late:cpu3", 2.0));
        assert_eq!(
            stall.title,
            "Packets of CPU 3 may come late: ksoftirqd/3 had to wait for it 3 times in the last 60 s, up to 0.41 s"
        );
        assert!(stall.prove[0].contains("/proc/22/schedstat") && stall.suspects.is_empty());
        assert!(told(100).is_empty(), "{:?}", told(100));
    }

    #[test]
    fn known_waits_are_no_stall() {
        let out = page(3, |_| Some("kernel_clone".to_owned()));
        assert!(out.families().is_empty() && out.report.stalls.is_empty());
        let [known] = out.report.known_waits.as_slice() else { panic!("{:?}", out.report) };
        assert_eq!((known.kind.as_str(), known.tasks, known.seconds), ("vfork", 3, 10.0));
    }
}
