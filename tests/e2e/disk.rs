//! Block devices: the kernel's own numbers, a device that really does not answer, and a tree of invented ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, Scene, pause};
use crate::support::exporter::end;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("disk::the_page_has_the_kernels_devices", devices),
    Case::together("disk::a_device_that_completes_nothing_is_stuck_and_no_other", lost),
    Case::together("disk::a_slow_device_is_not_stuck_and_a_lost_one_is", invented),
    Case::together("disk::a_read_that_hangs_costs_only_its_lane", hung),
    Case::together("disk::switched_off_it_is_silent", switched_off),
];

const STUCK: &str = "stall_disk_stuck_seconds";
const INFLIGHT: &str = "stall_disk_inflight";
const SUSPENDED: &str = "stall_disk_suspended_seconds";
/// A look every second, and what is late.
const LOOK: f64 = 1.0 + LATE;
const SOON: Duration = Duration::from_millis((2.0 * LOOK * 1000.0) as u64);

fn stuck(page: &Page, device: &str) -> Option<f64> {
    page.value(STUCK, &[("device", device)])
}

/// Whole devices that have done I/O, as the kernel's files say it.
fn with_io() -> Vec<String> {
    let text = fs::read_to_string("/proc/diskstats").expect("a kernel with disks");
    let io = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let done = [3, 7, 14, 18].iter().filter_map(|column| fields.get(*column)).any(|count| *count != "0");
        done.then(|| fields[2].to_owned())
    });
    io.filter(|name| Path::new("/sys/block").join(name).exists()).collect()
}

fn devices() {
    let scene = Scene::new(&[]);
    wait_for(SOON, "every whole device with I/O is on the page, and no other", || {
        let page = scene.exporter.scrape();
        let shown: Vec<_> = page.samples(STUCK).filter_map(|sample| sample.label("device")).collect();
        let mut expected = with_io();
        expected.sort();
        !expected.is_empty() && shown == expected
    });
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_disk_unread_total", &[]), 0.0);
    let failures = page.expect("stall_probe_failures_total", &[("lane", "devices")]);
    assert_eq!(failures, 0.0, "{:?}", scene.exporter.log());
}

/// Runs a program to its end and gives what it printed.
fn run(program: &str, args: &[&str]) -> String {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}; the test needs root and loop devices");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A loop device whose file lies on a frozen filesystem: what is written to it is begun and does not end. The
/// filesystem lies on a loop device of its own, so nobody else waits. Dropping it thaws and removes everything.
struct LostDevice {
    directory: tempfile::TempDir,
    lower: String,
    upper: String,
    writer: Option<Child>,
}

impl LostDevice {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = |name: &str| directory.path().join(name).to_str().expect("a scratch path").to_owned();
        run("truncate", &["-s", "40M", &path("below")]);
        run("mkfs.ext4", &["-q", &path("below")]);
        fs::create_dir(path("mount")).expect("a directory");
        let lower = run("losetup", &["--find", "--show", &path("below")]);
        run("mount", &[&lower, &path("mount")]);
        run("truncate", &["-s", "8M", &path("mount/above")]);
        let upper = run("losetup", &["--find", "--show", &path("mount/above")]);
        Self { directory, lower, upper, writer: None }
    }

    fn name(device: &str) -> String {
        device.trim_start_matches("/dev/").to_owned()
    }

    fn write(&self) -> Child {
        let to = format!("of={}", self.upper);
        let args = ["if=/dev/zero", &to, "bs=4k", "count=4", "oflag=direct", "status=none"];
        Command::new("dd").args(args).spawn().expect("dd")
    }

    fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    fn freeze(&mut self, how: &str) {
        run("fsfreeze", &[how, self.mount().to_str().expect("a scratch path")]);
    }
}

impl Drop for LostDevice {
    fn drop(&mut self) {
        let mount = self.mount();
        let try_to = |program: &str, args: &[&Path]| drop(Command::new(program).args(args).output());
        try_to("fsfreeze", &[Path::new("-u"), &mount]);
        if let Some(writer) = &mut self.writer {
            end(writer, Duration::from_secs(10));
        }
        try_to("losetup", &[Path::new("-d"), Path::new(&self.upper)]);
        try_to("umount", &[&mount]);
        try_to("losetup", &[Path::new("-d"), Path::new(&self.lower)]);
    }
}

fn lost() {
    let mut device = LostDevice::new();
    assert!(device.write().wait().expect("our own child").success(), "it is well at first");
    let name = LostDevice::name(&device.upper);
    let scene = Scene::new(&[]);
    wait_for(SOON, "the device is on the page and well", || {
        stuck(&scene.exporter.scrape(), &name) == Some(0.0)
    });
    device.freeze("-f");
    let since = now_ns();
    device.writer = Some(device.write());
    let mut highest: f64 = 0.0;
    while seconds(since, now_ns()) < 8.0 {
        let page = scene.exporter.scrape();
        let truth = seconds(since, now_ns());
        let ours = stuck(&page, &name).expect("it stays on the page");
        assert!(ours <= truth, "a lower bound: {ours} s on the page, {truth} s in truth");
        // Seen a look late, and a look old.
        assert!(truth - ours <= 2.0 * LOOK, "{ours} s on the page after {truth} s");
        highest = highest.max(ours);
        pause();
    }
    let page = scene.exporter.scrape();
    assert!(page.expect(INFLIGHT, &[("device", &name)]) >= 1.0);
    let others: BTreeMap<_, _> = page
        .samples(STUCK)
        .filter(|sample| sample.label("device") != Some(&name))
        .map(|sample| (sample.label("device").unwrap_or_default().to_owned(), sample.value))
        .collect();
    // A disk of a busy machine may take long for one write, but completes others meanwhile.
    assert!(!others.is_empty() && others.values().all(|length| *length < 3.0), "{others:?}");
    device.freeze("-u");
    let back = now_ns();
    wait_for(SOON, "it has recovered", || stuck(&scene.exporter.scrape(), &name) == Some(0.0));
    println!(
        "observed: stuck for {highest:.2} s on the page, back after {:.2} s; others {others:?}",
        seconds(back, now_ns())
    );
}

/// `diskstats` of these devices: name, in flight, completed.
fn counters(tree: &ProcTree, devices: &[(&str, u64, u64)]) {
    let line = |(name, inflight, completed): &(&str, u64, u64)| {
        format!("   8       0 {name} {completed} 0 0 0 0 0 0 0 {inflight} 0 0 0 0 0 0 0 0\n")
    };
    tree.text("diskstats", &devices.iter().map(line).collect::<String>());
}

fn invented() {
    let tree = ProcTree::new();
    tree.link("1").disk("slow").disk("lost").disk("dm-7").disk("idle");
    tree.dm_suspended(7, "1\n");
    counters(&tree, &[("slow", 9, 1), ("lost", 9, 1), ("lost1", 9, 1), ("dm-7", 0, 4), ("idle", 0, 0)]);
    let sysfs = tree.sysfs().to_str().expect("a scratch path").to_owned();
    let scene = Scene::on(tree, &["--path.sysfs", &sysfs]);
    let since = now_ns();
    let mut completed = 1;
    while seconds(since, now_ns()) < 6.0 {
        completed += 1;
        let devices =
            [("slow", 9, completed), ("lost", 9, 1), ("lost1", 9, 1), ("dm-7", 0, 4), ("idle", 0, 0)];
        counters(&scene.tree, &devices);
        std::thread::sleep(Duration::from_millis(400));
        assert!(stuck(&scene.exporter.scrape(), "slow").is_none_or(|length| length == 0.0));
    }
    let page = scene.exporter.scrape();
    let shown: Vec<_> = page.samples(STUCK).filter_map(|sample| sample.label("device")).collect();
    assert_eq!(shown, ["dm-7", "lost", "slow"], "no partition, and nothing that never did I/O");
    assert!(stuck(&page, "lost").expect("there") >= 6.0 - 2.0 * LOOK);
    assert!(page.expect(SUSPENDED, &[("device", "dm-7")]) >= 6.0 - 2.0 * LOOK);
    assert_eq!(stuck(&page, "dm-7"), Some(0.0), "what is held back is not in flight");
    assert_eq!(page.value(SUSPENDED, &[("device", "lost")]), None);
    // Counters that begin again, a device that is let go, lines that are cut.
    counters(&scene.tree, &[("slow", 0, completed), ("lost", 9, 0), ("dm-7", 0, 5)]);
    scene.tree.dm_suspended(7, "0\n");
    wait_until(SOON, "everything begins anew", || {
        let page = scene.exporter.scrape();
        let well = page.expect(SUSPENDED, &[("device", "dm-7")]) == 0.0;
        (well && stuck(&page, "lost").is_some_and(|length| length < LOOK)).then_some(())
    });
    scene.tree.text(
        "diskstats",
        "   8       0 slow 9 0 0 0 0 0\n   8       0 lost 1 0 0 0 0 0 0 0 4294967295 0 0\n 8",
    );
    wait_for(SOON, "what cannot be understood is counted", || {
        scene.exporter.scrape().expect("stall_disk_unread_total", &[]) >= 3.0
    });
}

fn hung() {
    let tree = ProcTree::new();
    tree.link("1").fifo("diskstats");
    let scene = Scene::on(tree, &["--probe.stuck-after", "1s"]);
    let source = [("lane", "devices"), ("source", "/proc/diskstats")];
    wait_for(Duration::from_secs(10), "the lane is stuck there", || {
        scene
            .exporter
            .scrape()
            .value("stall_probe_stuck_seconds", &source)
            .is_some_and(|length| length >= 1.0)
    });
    let page = scene.exporter.scrape();
    assert!(page.family(STUCK).is_none(), "nothing is known of disks");
    assert!(page.sum("stall_tasks", &[]) >= 1.0, "the other lanes go on");
    counters(&scene.tree, &[]);
    scene.tree.release("diskstats", "");
    wait_for(Duration::from_secs(60), "the lane is back", || {
        let page = scene.exporter.scrape();
        page.value("stall_probe_stuck_seconds", &[("lane", "devices"), ("source", "none")]) == Some(0.0)
    });
}

fn switched_off() {
    let tree = ProcTree::new();
    // It would hang if it were read.
    tree.link("1").fifo("diskstats");
    let scene = Scene::on(tree, &["--probe.stuck-after", "1s", "--no-collector.disk"]);
    std::thread::sleep(Duration::from_secs(3));
    let page = scene.exporter.scrape();
    assert!(page.samples(STUCK).next().is_none() && page.family("stall_disk_unread_total").is_none());
    assert_eq!(page.expect("stall_probe_spawned_total", &[]), 1.0, "nothing hung");
    assert!(page.expect("stall_probe_sweeps_total", &[("lane", "devices")]) >= 1.0, "the lane is alive");
}
