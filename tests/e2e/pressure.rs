//! Pressure totals: the kernel's own, of the host and of a group that was asked for.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, Scene};
use crate::support::cgroup::{Group, ROOT};
use crate::support::exporter::end;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::process::Pid;
use crate::support::wait_for;

pub const CASES: &[Case] = &[
    Case::together("pressure::the_page_has_the_kernels_totals", totals),
    Case::together("pressure::a_group_that_is_asked_for_is_shown_while_it_exists", group),
    Case::together("pressure::a_kernel_without_it_is_no_fault", without),
    Case::together("pressure::a_read_that_hangs_costs_only_its_lane", hung),
];

const WAITING: &str = "stall_pressure_waiting_seconds_total";
const STALLED: &str = "stall_pressure_stalled_seconds_total";
const GROUP_WAITING: &str = "stall_cgroup_pressure_waiting_seconds_total";
const GROUP_STALLED: &str = "stall_cgroup_pressure_stalled_seconds_total";
/// A turn of the lane, and what is late.
const TURN: Duration = Duration::from_millis(5000 + (LATE * 1000.0) as u64);

/// Seconds in the line `some` or `full` of a pressure file; `None` where the kernel has none.
fn kernel(path: &Path, line: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|text| text.starts_with(line))?;
    let total: f64 = line.split_once("total=")?.1.parse().expect("a number");
    Some(total / 1e6)
}

fn totals() {
    let file = |resource: &str| Path::new("/proc/pressure").join(resource);
    assert!(file("cpu").exists(), "the test needs a kernel with PSI");
    let resources = ["cpu", "io", "memory", "irq"];
    let before = resources.map(|resource| [kernel(&file(resource), "some"), kernel(&file(resource), "full")]);
    let scene = Scene::new(&[]);
    wait_for(TURN, "the totals are on the page", || scene.exporter.scrape().family(WAITING).is_some());
    let page = scene.exporter.scrape();
    for (resource, [some, full]) in resources.into_iter().zip(before) {
        // The kernel defines no full for the host's CPU and prints zero.
        let full = full.filter(|_| resource != "cpu");
        for (family, line, before) in [(WAITING, "some", some), (STALLED, "full", full)] {
            let ours = page.value(family, &[("resource", resource)]);
            assert_eq!(ours.is_some(), before.is_some(), "{family} {resource}");
            let Some((ours, before)) = ours.zip(before) else { continue };
            let after = kernel(&file(resource), line).expect("it was there before");
            assert!(before <= ours && ours <= after, "{resource}: {ours} not within {before} and {after}");
        }
    }
    assert!(page.family(GROUP_WAITING).is_none(), "nobody asked for a group");
}

/// Processes that want more CPU than there is. Dropping it ends them.
struct Crowd(Vec<Child>);

impl Crowd {
    fn within(group: &Group) -> Self {
        let busy = |_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        let crowd = Self((0..4).map(busy).collect());
        for child in &crowd.0 {
            assert!(group.add(Pid::try_from(child.id()).expect("a pid fits")));
        }
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|child| end(child, Duration::from_secs(5)));
    }
}

fn cpu(page: &Page, family: &str, label: &str) -> Option<f64> {
    page.value(family, &[("cgroup", label), ("resource", "cpu")])
}

fn group() {
    let group = Group::new("unified");
    let file = Path::new(ROOT).join(group.name()).join("cpu.pressure");
    // The group's name as the host with v2 alone would know it; the same as is found beside v1.
    let name = group.name().trim_start_matches("unified/").to_owned();
    let label = format!("/{name}");
    let crowd = Crowd::within(&group);
    let scene = Scene::new(&["--pressure.groups", &name, "--pressure.groups", "no.slice/such.service"]);
    wait_for(TURN * 2, "the group is on the page, and waits", || {
        cpu(&scene.exporter.scrape(), GROUP_WAITING, &label).is_some_and(|waiting| waiting > 0.5)
    });
    let page = scene.exporter.scrape();
    let (ours, after) =
        (cpu(&page, GROUP_WAITING, &label).expect("there"), kernel(&file, "some").expect("there"));
    assert!(
        ours <= after && after - ours <= 2.0 * TURN.as_secs_f64(),
        "{ours} s on the page, {after} s in the file"
    );
    assert!(cpu(&page, GROUP_STALLED, &label).is_some());
    let groups = page.samples(GROUP_WAITING).filter(|sample| sample.label("cgroup") != Some(&label)).count();
    assert_eq!(groups, 0, "a group that is not there has no series");
    println!("observed: {ours:.2} s on the page, {after:.2} s in the file");
    drop(crowd);
    drop(group);
    wait_for(TURN * 2, "its series end with it", || {
        cpu(&scene.exporter.scrape(), GROUP_WAITING, &label).is_none()
    });
    assert_eq!(scene.exporter.scrape().expect("stall_probe_failures_total", &[("lane", "pressure")]), 0.0);
}

fn without() {
    let tree = ProcTree::new();
    tree.link("1").remove("pressure");
    let scene = Scene::on(tree, &[]);
    wait_for(TURN, "the lane has had its turn", || {
        scene.exporter.scrape().expect("stall_probe_sweeps_total", &[("lane", "pressure")]) >= 1.0
    });
    let page = scene.exporter.scrape();
    assert!(page.family(WAITING).is_none() && page.family(STALLED).is_none());
    assert_eq!(page.expect("stall_probe_failures_total", &[("lane", "pressure")]), 0.0);
}

fn hung() {
    let tree = ProcTree::new();
    // A group's file hangs, in a tree of groups of our own; the host's are the kernel's.
    tree.link("1").fifo("groups/a/cpu.pressure");
    let groups = tree.path().join("groups").to_str().expect("a scratch path").to_owned();
    let args = ["--probe.stuck-after", "1s", "--path.cgroupfs", &groups, "--pressure.groups", "a"];
    let scene = Scene::on(tree, &args);
    let source = [("lane", "pressure"), ("source", "CGROUP/{cpu,io,memory,irq}.pressure")];
    // Longer than the probe that hung first has lived: each one after it reads the host before it hangs again.
    wait_for(Duration::from_secs(20), "the lane has been stuck there through several probes", || {
        let page = scene.exporter.scrape();
        let stuck = page.value("stall_probe_stuck_seconds", &source).is_some_and(|length| length >= 5.0);
        stuck && page.expect("stall_probe_abandoned_total", &[("lane", "pressure")]) >= 2.0
    });
    let page = scene.exporter.scrape();
    assert!(page.family(WAITING).is_some(), "the host's were read before");
    assert!(page.family(GROUP_WAITING).is_none());
    assert!(page.sum("stall_tasks", &[]) >= 1.0, "the other lanes go on");
    scene.tree.release("groups/a/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000000\n");
    wait_for(Duration::from_secs(60), "the lane is back", || {
        let page = scene.exporter.scrape();
        let well = page.value("stall_probe_stuck_seconds", &[("lane", "pressure"), ("source", "none")]);
        well == Some(0.0) && cpu(&page, GROUP_WAITING, "/a") == Some(5.0)
    });
}
