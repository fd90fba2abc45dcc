//! Threads that do not get a CPU, and threads that do not leave the kernel, against their own numbers.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::Case;
use crate::scene::{Busy, INTERVAL, LATE, LOOK, SWEEP, Scene, Shot, pause};
use crate::support::cgroup::Group;
use crate::support::exporter::end;
use crate::support::fault::Fault;
use crate::support::process::{self, Pid, schedstat};
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[Case::alone("starved::between_two_periods_of_a_quota", throttled)];

/// Each needs the CPUs for itself for half a minute.
pub const SLOW: &[Case] = &[
    Case::alone("starved::by_priority_in_a_group_that_throttles", starving),
    Case::alone("starved::who_is_busy_or_stopped_or_frozen_is_not", nobody_starves),
    Case::alone("kernel_spin::a_burner_shows_with_its_victim_and_others_do_not", spin),
];

const TASKS: &str = "stall_starved_tasks";
const BY_COMM: &str = "stall_starved_seconds_max";
const BY_GROUP: &str = "stall_cgroup_starved_seconds_max";
const SPIN: &str = "stall_kernel_spin_seconds_max";
const VICTIMS: &str = "stall_kernel_spin_victims";
const VICTIM_SECONDS: &str = "stall_kernel_spin_victim_seconds_max";
/// A wait is known for one from the second walk on, and comes to the page late.
const TWO_WALKS: f64 = 2.0 * INTERVAL + LOOK + LATE;

/// A thread's standstill by its own numbers, for somebody who looks now and then.
struct Still {
    tid: Pid,
    numbers: [u64; 3],
    /// The newest look.
    looked: u64,
    /// It has not moved since some moment between these two.
    since: (u64, u64),
    /// The longest standstill there can have been.
    longest: f64,
}

impl Still {
    fn of(tid: Pid) -> Self {
        let at = now_ns();
        let numbers = schedstat(tid).expect("it is there");
        Self { tid, numbers, looked: at, since: (at, now_ns()), longest: 0.0 }
    }

    fn look(&mut self) {
        let at = now_ns();
        let numbers = schedstat(self.tid).expect("it is there");
        let after = now_ns();
        // It can have stood still until this look, whether it has moved by now or not.
        self.longest = self.longest.max(seconds(self.since.0, after));
        if numbers != self.numbers {
            (self.numbers, self.since) = (numbers, (self.looked, after));
        }
        self.looked = at;
    }

    /// At least so long at a moment.
    fn least(&self, at: u64) -> f64 {
        seconds(self.since.1.min(at), at)
    }
}

fn run(words: &[&str]) {
    let done = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).status().expect(words[0]);
    assert!(done.success(), "{words:?}: {done}");
}

/// Binds a process to a CPU.
fn bind(pid: Pid, cpu: usize) {
    run(&["taskset", "-cp", &cpu.to_string(), &pid.to_string()]);
}

/// Of two that are bound to one CPU, the second has it for a thirty-thousandth of the time: `SCHED_IDLE` against nice
/// −20. It waits for minutes between two time slices, and no realtime limit comes into it.
fn rank(first: Pid, last: Pid) {
    run(&["renice", "-n", "-20", "-p", &first.to_string()]);
    run(&["chrt", "--idle", "-p", "0", &last.to_string()]);
}

fn label(group: &Group) -> String {
    format!("/{}", group.name().trim_start_matches("cpu/"))
}

fn throttling() -> Group {
    let group = Group::new("cpu");
    group.set("cpu.cfs_period_us", "1000000");
    group.set("cpu.cfs_quota_us", "2000");
    group
}

/// Twelve threads share two milliseconds of each second: each waits for several periods. Beside them one starves for no
/// quota's sake.
fn starving() {
    let group = throttling();
    let name = label(&group);
    let members = [(); 12].map(|()| Busy::start());
    for busy in &members {
        bind(busy.pid(), 0);
        assert!(group.add(busy.pid()));
    }
    // The hog ends first: a victim that gets no CPU cannot even die.
    let (free, hog) = (Busy::start(), Busy::start());
    bind(free.pid(), 1);
    bind(hog.pid(), 1);
    rank(hog.pid(), free.pid());
    let mut still = members.each_ref().map(|busy| Still::of(busy.pid()));
    let mut free_still = Still::of(free.pid());
    let args = ["--throttle.interval", "1s", "--tasks.interval", "1s", "--starved.threshold", "1s"];
    let scene = Scene::new(&args);
    scene.show(&members.each_ref().map(Busy::pid));
    scene.show(&[free.pid(), hog.pid()]);
    let began = now_ns();
    let (mut longest, mut longest_of_group, mut truth) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut margin, mut tasks) = (f64::MAX, 0.0_f64);
    while seconds(began, now_ns()) < 25.0 {
        let Shot { asked, page, .. } = scene.shot();
        still.iter_mut().chain([&mut free_still]).for_each(Still::look);
        let by_comm = page.value(BY_COMM, &[("comm", "sh")]).unwrap_or_default();
        let by_group = page.value(BY_GROUP, &[("cgroup", &name)]).unwrap_or_default();
        truth = still.iter().map(|still| still.longest).fold(truth, f64::max);
        assert!(by_comm <= truth.max(free_still.longest), "{by_comm} s published");
        assert!(by_group <= truth, "{by_group} s published, {truth} s true at most");
        assert!(page.samples(BY_GROUP).count() <= 1, "only one group throttles");
        let (least, late) = (free_still.least(asked).min(seconds(began, asked)), 1.0 + LOOK + LATE);
        if least > 1.0 + late {
            assert!(by_comm >= least - late, "{by_comm} s published, {least} s true at least");
            margin = margin.min(by_comm - (least - late));
        }
        tasks = tasks.max(page.expect(TASKS, &[]));
        (longest, longest_of_group) = (longest.max(by_comm), longest_of_group.max(by_group));
        pause();
    }
    println!(
        "observed: {longest:.2} s by comm, {longest_of_group:.2} s by group, {truth:.2} s true there at most; {tasks} \
         starved; least margin above the lower bound {margin:.2} s"
    );
    // So that they can end.
    group.set("cpu.cfs_quota_us", "-1");
    assert!(tasks >= 2.0, "one of the group, and one beside: {tasks}");
    assert!(longest >= 10.0 && longest_of_group >= 1.0, "{longest} s, {longest_of_group} s");
}

/// A loop alone in its group waits for the next period, again and again. To see that, one has to look often.
fn throttled() {
    let group = throttling();
    let name = label(&group);
    let (busy, free) = (Busy::start(), Busy::start());
    assert!(group.add(busy.pid()));
    let often = ["--tasks.interval", "100ms", "--tasks.look-interval", "50ms", "--tasks.cpu-budget", "1"];
    let args = ["--throttle.interval", "1s", "--starved.threshold", "100ms"];
    let scene = Scene::new(&[&often[..], &args].concat());
    let (begun, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (counts, told, pid) = (Arc::clone(&begun), Arc::clone(&stop), busy.pid());
    let watcher = std::thread::spawn(move || {
        let mut still = Still::of(pid);
        while !told.load(Ordering::SeqCst) {
            // What was over before the pages began is none of theirs; what goes on then counts from its start.
            if !counts.load(Ordering::SeqCst) {
                still.longest = 0.0;
            }
            still.look();
            std::thread::sleep(Duration::from_millis(5));
        }
        still.longest
    });
    scene.show(&[busy.pid(), free.pid()]);
    let shown = |scene: &Scene| scene.exporter.scrape().value(BY_GROUP, &[("cgroup", &name)]);
    wait_until(Duration::from_secs(10), "the group is on the page", || shown(&scene));
    begun.store(true, Ordering::SeqCst);
    let mut waits: Vec<f64> = Vec::new();
    for _look in 0..150 {
        let page = scene.exporter.scrape();
        waits.extend(page.value(BY_GROUP, &[("cgroup", &name)]));
        assert!(page.samples(BY_GROUP).count() <= 1, "only the one that throttles");
        std::thread::sleep(Duration::from_millis(50));
    }
    stop.store(true, Ordering::SeqCst);
    let truth = watcher.join().expect("the watcher");
    let longest = waits.iter().copied().fold(0.0, f64::max);
    println!(
        "observed: {longest:.3} s published, {truth:.3} s true at most, on {} of 150 pages",
        waits.len()
    );
    assert!(longest <= truth, "{longest} s published, {truth} s true at most");
    // A period, or two when it overran its part of one.
    assert!(longest >= truth - 0.4, "{longest} s published, {truth} s true at most");
    assert!(waits.len() >= 75, "most of the time it waits: {} of 150 pages", waits.len());
}

/// With the default settings, for two walks and more.
fn nobody_starves() {
    let (free, stopped, frozen) = (Busy::start(), Busy::start(), Busy::start());
    let freezer = Group::new("freezer");
    assert!(freezer.add(frozen.pid()));
    let scene = Scene::new(&[]);
    scene.show(&[free.pid(), stopped.pid(), frozen.pid()]);
    std::thread::sleep(Duration::from_secs(1));
    process::send_signal(stopped.pid(), Signal::STOP);
    freezer.freeze();
    let began = now_ns();
    let mut pages = 0;
    while seconds(began, now_ns()) < TWO_WALKS + INTERVAL {
        let page = scene.exporter.scrape();
        assert_eq!(page.expect(TASKS, &[]), 0.0);
        for name in [BY_COMM, BY_GROUP, SPIN] {
            assert_eq!(page.samples(name).count(), 0, "{name}");
        }
        assert_eq!(page.expect(VICTIMS, &[]), 0.0);
        pages += 1;
        pause();
    }
    let page = scene.exporter.scrape();
    assert!(page.expect("stall_tasks", &[("state", "R")]) >= 1.0, "the busy one was seen");
    println!("observed: nothing on {pages} pages; frozen it was {:?}", process::state(frozen.pid()));
    freezer.thaw();
}

/// Another program that burns CPU time. Dropping it ends it.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        end(&mut self.0, Duration::from_secs(5));
    }
}

/// Half a minute of a thread that is in the kernel all the time, with a victim on its CPU; beside it a busy loop, and a
/// copy in pieces of a mebibyte, which is in the kernel for nearly all of the time.
fn spin() {
    let dd = ["if=/dev/zero", "of=/dev/null", "bs=1M", "status=none"];
    let dd = Program(Command::new("dd").args(dd).spawn().expect("dd"));
    let dd_pid = Pid::try_from(dd.0.id()).expect("a pid fits");
    let (busy, victim) = (Busy::start(), Busy::start());
    let burner = Fault::start("kernel_burn", &["60"]);
    let (tid, since) = (burner.tids()[0], burner.since_ns()[0]);
    for pid in [busy.pid(), dd_pid] {
        bind(pid, 0);
    }
    for pid in [tid, victim.pid()] {
        bind(pid, 1);
    }
    rank(tid, victim.pid());
    let scene = Scene::new(&[]);
    scene.show(&[tid, busy.pid(), victim.pid(), dd_pid]);
    let visible = now_ns();
    let mut still = Still::of(victim.pid());
    let (mut longest, mut victims, mut waited, mut margin) = (0.0_f64, 0.0_f64, 0.0_f64, f64::MAX);
    while seconds(visible, now_ns()) < 32.0 {
        let Shot { asked, answered, page } = scene.shot();
        still.look();
        let said = page.value(SPIN, &[("comm", "kernel_burn")]).unwrap_or_default();
        assert_eq!(page.samples(SPIN).count(), usize::from(said > 0.0), "nobody else spins");
        assert!(said <= seconds(since, answered), "{said} s published, {} s true", seconds(since, answered));
        // Busy from the second walk on, then two looks, and one every two seconds.
        let late = 2.0 * INTERVAL + 2.0 * LOOK + 4.0 + LATE;
        let age = seconds(visible, asked);
        if age > late + 5.0 {
            assert!(said >= age - late, "{said} s published, {age} s visible");
            margin = margin.min(said - (age - late));
        }
        let victim = page.expect(VICTIM_SECONDS, &[]);
        assert!(victim <= still.longest, "{victim} s published, {} s true at most", still.longest);
        (longest, waited) = (longest.max(said), waited.max(victim));
        victims = victims.max(page.expect(VICTIMS, &[]));
        pause();
    }
    let ended = burner.stop();
    let over = now_ns();
    wait_for(Duration::from_secs_f64(SWEEP), "it is off the page within a sweep", || {
        let page = scene.exporter.scrape();
        page.family(SPIN).is_none() && page.expect(VICTIMS, &[]) == 0.0
    });
    println!(
        "observed: {longest:.2} s published; least margin above the lower bound {margin:.2} s; {victims} victim for \
         {waited:.2} s; longest call {:.2} s; gone {:.2} s after its end",
        ended[0].1.number("longest_ns") as f64 / 1e9,
        seconds(over, now_ns())
    );
    assert_eq!(victims, 1.0);
    assert!(waited >= 10.0, "{waited} s");
}
