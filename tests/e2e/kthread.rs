//! Kernel threads that do not get their CPU: a realtime hog leaves the softirqs of one CPU to a `ksoftirqd` that it
//! does not let run. Everything is compared with the kernel's own numbers of that thread, never with the clock: how
//! long it really waits is up to the kernel's limits for realtime threads and to what else the machine does.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::getpid;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

use crate::harness::Case;
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::process::{self, Pid, schedstat};
use crate::support::{wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("kthread::a_host_without_kernel_threads_shows_none", none),
    Case::together("kthread::switched_off_it_samples_nothing", switched_off),
    Case::alone("kthread::a_starved_ksoftirqd_is_pending_and_its_waits_are_the_kernels", starved),
];

const PENDING: &str = "stall_softirq_pending_seconds";
const IN_PROGRESS: &str = "stall_kthread_wait_in_progress_seconds";
const WAITS: &str = "stall_kthread_wait_seconds";
const RUN_DELAY: &str = "stall_kthread_run_delay_seconds_total";
const SLICES: &str = "stall_kthread_timeslices_total";
const COARSE: &str = "stall_kthread_coarse_steps_total";

/// The kernel thread of that name.
fn kthread(name: &str) -> Pid {
    let found = process::children(2).into_iter().find(|pid| {
        // The name in the header of `sched`: that file takes no lock.
        let sched = std::fs::read_to_string(format!("/proc/{pid}/sched")).unwrap_or_default();
        sched.starts_with(&format!("{name} ("))
    });
    found.unwrap_or_else(|| panic!("no {name} on this host"))
}

/// Waited for a CPU so far, in seconds, and put on one so often.
fn kernels(tid: Pid) -> (f64, f64) {
    let [_, wait_ns, slices] = schedstat(tid).expect("a kernel thread stays");
    (wait_ns as f64 / 1e9, slices as f64)
}

/// The same by the page.
fn said(page: &Page, cpu: &str) -> (f64, f64) {
    let labels = [("kthread", "ksoftirqd"), ("cpu", cpu)];
    (page.expect(RUN_DELAY, &labels), page.expect(SLICES, &labels))
}

/// Finished waits longer than 100 ms.
fn long_waits(page: &Page) -> f64 {
    let of = |name: &str, labels: &[(&str, &str)]| page.expect(name, labels);
    of(&format!("{WAITS}_count"), &[("kthread", "ksoftirqd")])
        - of(&format!("{WAITS}_bucket"), &[("kthread", "ksoftirqd"), ("le", "0.1")])
}

/// The last CPU, and the first, both of this thread.
fn cpus() -> (usize, usize) {
    let set = sched_getaffinity(None).expect("our own CPUs");
    let mut ours = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
    let first = ours.next().expect("a CPU");
    (ours.next_back().expect("a second CPU"), first)
}

/// An exporter on one CPU, so that the hog on another starves the kernel thread and not the one who watches. So is
/// this thread from here on.
fn beside(cpu: usize) -> Exporter {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(Some(gettid()), &only).expect("our own thread");
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string(), env!("CARGO_BIN_EXE_stall_exporter")]);
    command.args(["--web.listen-address", "127.0.0.1:0"]);
    Exporter::start_command(command)
}

/// Longest single wait of a thread by its own numbers, for somebody who looks every 10 ms: at least, and at most. They
/// differ when several waits ended between two looks.
fn longest_wait(tid: Pid, stop: &AtomicBool) -> (f64, f64) {
    let (mut before, mut least, mut most) = (kernels(tid), 0.0_f64, 0.0_f64);
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(10));
        let now = kernels(tid);
        let (wait, slices) = (now.0 - before.0, now.1 - before.1);
        least = least.max(wait / slices.max(1.0));
        most = most.max(wait);
        before = now;
    }
    (least, most)
}

fn starved() {
    let (hogged, free) = cpus();
    let (victim, other) = (kthread(&format!("ksoftirqd/{hogged}")), kthread(&format!("ksoftirqd/{free}")));
    let (hogged_label, free_label) = (hogged.to_string(), free.to_string());
    let exporter = beside(free);
    wait_for(Duration::from_secs(20), "both are sampled", || {
        let page = exporter.scrape();
        [victim, other].len() <= page.samples(PENDING).count()
    });
    // The page is behind the kernel by a frame and a tick; two of each, and the idle second before is on it.
    std::thread::sleep(Duration::from_secs(2));
    let (kernel_before, before) = (kernels(victim), exporter.scrape());
    let said_before = said(&before, &hogged_label);

    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let watcher = std::thread::spawn(move || longest_wait(victim, &told));
    let mut hog = Some(Fault::start("softirq_hog", &["3", &hogged_label]));
    let (mut pending, mut pending_other, mut shots) = (0.0_f64, 0.0_f64, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let page = exporter.scrape();
        pending = pending.max(page.expect(PENDING, &[("cpu", &hogged_label)]));
        pending_other = pending_other.max(page.expect(PENDING, &[("cpu", &free_label)]));
        shots += 1;
        if start.elapsed() > Duration::from_secs(3) {
            hog.take().map(Fault::finish);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stop.store(true, Ordering::SeqCst);
    let (longest, most) = watcher.join().expect("the watcher");

    // What the kernel counted is on the page, all of it, as soon as nothing moves any more.
    let (page, waited, sampled) =
        wait_until(Duration::from_secs(10), "the page holds what the kernel counted", || {
            let page = exporter.scrape();
            let (kernel, page_says) = (kernels(victim), said(&page, &hogged_label));
            let waited = (kernel.0 - kernel_before.0, kernel.1 - kernel_before.1);
            let sampled = (page_says.0 - said_before.0, page_says.1 - said_before.1);
            let close = (waited.0 - sampled.0).abs() <= 0.02 + waited.0 * 0.02;
            close.then_some((page, waited, sampled))
        });
    println!(
        "observed: {shots} pages; ksoftirqd/{hogged} waited {:.3} s in {:.0} slices by the kernel, {:.3} s in {:.0} by \
         the page; longest wait {longest:.3} s by the kernel, {pending:.3} s pending on a page; ksoftirqd/{free} \
         pending {pending_other:.3} s",
        waited.0, waited.1, sampled.0, sampled.1,
    );
    assert!(longest > 0.2, "the hog made no wait worth the name: {longest} s");
    assert!(pending <= most + 0.02, "{pending} s published, {most} s true: never more than the truth");
    assert!(pending >= longest * 0.3, "{pending} s published of {longest} s");
    assert!(pending_other < pending / 2.0, "the other CPU: {pending_other} s of {pending} s");
    assert!(long_waits(&page) > long_waits(&before), "the finished wait is in its bucket");
    let sum = |page: &Page| page.expect(&format!("{WAITS}_sum"), &[("kthread", "ksoftirqd")]);
    assert!(sum(&page) - sum(&before) >= sampled.0 * 0.99, "the sum of the histogram is the run delay");
    assert!(page.expect(COARSE, &[("kthread", "ksoftirqd")]) >= 0.0);
    assert_eq!(
        page.value(IN_PROGRESS, &[("kthread", "ksoftirqd"), ("cpu", &hogged_label)]),
        None,
        "one fact once"
    );
    let migration = page.value(IN_PROGRESS, &[("kthread", "migration"), ("cpu", &free_label)]);
    assert!(migration.is_some_and(|wait| wait < 1.0), "migration/{free}: {migration:?}");
    wait_for(Duration::from_secs(5), "nothing is pending any more", || {
        exporter.scrape().expect(PENDING, &[("cpu", &hogged_label)]) == 0.0
    });
}

/// Nobody of these names, as in a container: the families are empty and the lane is well.
fn none() {
    let tree = ProcTree::new();
    tree.link("1");
    tree.link(&getpid().as_raw_nonzero().to_string());
    let exporter = Exporter::start(&["--path.procfs", tree.path().to_str().expect("a scratch path")]);
    wait_for(Duration::from_secs(20), "the lane delivers", || passes(&exporter) >= 2.0);
    let page = exporter.scrape();
    assert_eq!(page.samples(PENDING).count() + page.samples(IN_PROGRESS).count(), 0);
    assert_eq!(page.expect("stall_probe_panics_total", &[("lane", "kthreads")]), 0.0);
}

/// The lane says that it is well and nothing else.
fn switched_off() {
    let exporter = Exporter::start(&["--no-collector.softirq", "--no-collector.kthread"]);
    wait_for(Duration::from_secs(20), "the lane delivers", || passes(&exporter) >= 1.0);
    let page = exporter.scrape();
    for name in [PENDING, IN_PROGRESS, RUN_DELAY, SLICES, COARSE] {
        assert_eq!(page.samples(name).count(), 0, "{name}");
    }
    let spent = page.expect("stall_probe_cpu_seconds_total", &[("lane", "kthreads")]);
    assert!(spent < 0.02, "{spent} s of CPU for nothing");
}

fn passes(exporter: &Exporter) -> f64 {
    exporter.scrape().expect("stall_probe_sweeps_total", &[("lane", "kthreads")])
}
