//! Control groups with a CPU quota, on the kernel's own counters.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{Busy, LATE, Scene};
use crate::support::cgroup::{Group, ROOT};
use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("throttle::the_page_has_the_kernels_numbers", numbers),
    Case::together("throttle::a_quota_shows_while_it_lasts", comes_and_goes),
    Case::together("throttle::a_group_goes_with_its_descriptors", removed),
    Case::together("throttle::switched_off_it_is_silent", switched_off),
    Case::alone("throttle::five_thousand_groups", five_thousand),
];

const PERIODS: &str = "stall_cgroup_cpu_periods_total";
const THROTTLED: &str = "stall_cgroup_cpu_throttled_periods_total";
const THROTTLED_SECONDS: &str = "stall_cgroup_cpu_throttled_seconds_total";
const QUOTA: &str = "stall_cgroup_cpu_quota_cores";
const USAGE: &str = "stall_cgroup_cpu_usage_seconds_total";
const ARGS: [&str; 2] = ["--throttle.interval", "1s"];
/// A search with [`ARGS`], a sample, and what is late.
const FOUND: Duration = Duration::from_millis(1000 + 900 + (LATE * 2000.0) as u64);

fn label(group: &Group) -> String {
    format!("/{}", group.name().trim_start_matches("cpu/"))
}

fn value(page: &Page, name: &str, group: &str) -> Option<f64> {
    page.value(name, &[("cgroup", group)])
}

/// A line of the group's `cpu.stat`.
fn stat(group: &Group, key: &str) -> f64 {
    let text = fs::read_to_string(Path::new(ROOT).join(group.name()).join("cpu.stat")).expect("cpu.stat");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect(key);
    line.trim().parse().expect("a number")
}

fn limited(quota: &str) -> Group {
    let group = Group::new("cpu");
    group.set("cpu.cfs_quota_us", quota);
    group
}

fn numbers() {
    let group = limited("7000");
    let name = label(&group);
    let busy = Busy::start();
    assert!(group.add(busy.pid()));
    let scene = Scene::new(&ARGS);
    wait_until(FOUND, "the group is on the page", || value(&scene.exporter.scrape(), QUOTA, &name));
    let mut oldest: f64 = 0.0;
    let mut seen: Vec<(u64, f64, f64)> = Vec::new();
    for _look in 0..40 {
        let at = now_ns();
        let before =
            [stat(&group, "nr_periods "), stat(&group, "nr_throttled "), stat(&group, "throttled_time ")];
        let page = scene.exporter.scrape();
        let after =
            [stat(&group, "nr_periods "), stat(&group, "nr_throttled "), stat(&group, "throttled_time ")];
        let ours = [
            value(&page, PERIODS, &name).expect("there"),
            value(&page, THROTTLED, &name).expect("there"),
            value(&page, THROTTLED_SECONDS, &name).expect("there") * 1e9,
        ];
        for (ours, after) in ours.iter().zip(after) {
            assert!(*ours <= after + 1.0, "{ours} on the page, {after} in the file afterwards");
        }
        // What the file said a second ago is the least the page may say.
        seen.push((at, before[1], ours[1]));
        for (then, file, _) in seen.iter().filter(|(then, ..)| seconds(*then, at) >= 1.0 + LATE) {
            assert!(ours[1] >= *file, "{} on the page, {file} {:.1} s ago", ours[1], seconds(*then, at));
        }
        // The age of the page's value: since when the file has said more.
        let newer = seen.iter().find(|(_, file, _)| *file > ours[1]).map_or(at, |(then, ..)| *then);
        oldest = oldest.max(seconds(newer, at));
        assert_eq!(value(&page, QUOTA, &name), Some(0.07));
        std::thread::sleep(Duration::from_millis(100));
    }
    let (first, last) = (seen[0].2, seen[seen.len() - 1].2);
    assert!(last - first >= 20.0, "throttled in nearly each of forty periods: {first}, then {last}");
    if Path::new(ROOT).join("cpuacct").exists() {
        let page = scene.exporter.scrape();
        // Here cpuacct is a hierarchy of its own, in which the group does not exist.
        let same = Path::new(ROOT).join(group.name()).join("cpuacct.usage").exists();
        assert_eq!(value(&page, USAGE, &name).is_some(), same);
    }
    println!("observed: nr_throttled went from {first} to {last}; at most {oldest:.2} s behind the file");
}

/// The CPU usage, where cpuacct is a hierarchy of its own, is that of the group with the same path.
fn comes_and_goes() {
    let group = Group::new("cpu");
    let twin = Path::new(ROOT).join("cpuacct").join(group.name().trim_start_matches("cpu/"));
    let made = Path::new(ROOT).join("cpuacct/cpuacct.usage").exists() && fs::create_dir(&twin).is_ok();
    let name = label(&group);
    let scene = Scene::new(&ARGS);
    std::thread::sleep(FOUND);
    assert_eq!(value(&scene.exporter.scrape(), QUOTA, &name), None, "no quota, no series");
    group.set("cpu.cfs_quota_us", "150000");
    let set = now_ns();
    wait_for(FOUND, "the quota is on the page", || {
        value(&scene.exporter.scrape(), QUOTA, &name) == Some(1.5)
    });
    println!("observed: a new quota was on the page after {:.2} s", seconds(set, now_ns()));
    assert_eq!(value(&scene.exporter.scrape(), THROTTLED, &name), Some(0.0));
    if made {
        assert_eq!(value(&scene.exporter.scrape(), USAGE, &name), Some(0.0));
    }
    group.set("cpu.cfs_quota_us", "-1");
    wait_for(FOUND, "its series end with the quota", || {
        value(&scene.exporter.scrape(), QUOTA, &name).is_none()
    });
    if made {
        fs::remove_dir(&twin).expect("an empty group");
    }
}

/// What the probes hold open of a group.
fn held(exporter: &Exporter, group: &str) -> Vec<String> {
    let probes = exporter.family().probes;
    let links =
        probes.iter().flat_map(|probe| fs::read_dir(format!("/proc/{probe}/fd")).into_iter().flatten());
    let targets = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    targets.map(|target| target.display().to_string()).filter(|target| target.contains(group)).collect()
}

fn removed() {
    let group = limited("7000");
    let name = label(&group);
    let scene = Scene::new(&["--throttle.interval", "600s"]);
    wait_until(FOUND, "the group is on the page", || value(&scene.exporter.scrape(), QUOTA, &name));
    let open = held(&scene.exporter, &name);
    assert!(!open.is_empty() && open.len() <= 2, "{open:?}");
    let began = now_ns();
    drop(group);
    println!("observed: removed in {:.3} s with {} open descriptors", seconds(began, now_ns()), open.len());
    // No search is due for ten minutes: the descriptor itself tells that the group is gone.
    wait_for(Duration::from_secs_f64(1.0 + LATE), "its series end", || {
        value(&scene.exporter.scrape(), THROTTLED, &name).is_none()
    });
    assert!(held(&scene.exporter, &name).is_empty());
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_cgroup_unread_total", &[]), 0.0, "an end is no fault");
}

fn switched_off() {
    let group = limited("7000");
    let scene = Scene::new(&[&ARGS[..], &["--no-collector.throttle"]].concat());
    std::thread::sleep(FOUND);
    let page = scene.exporter.scrape();
    assert!(page.family(QUOTA).is_none() && page.family("stall_cgroup_unread_total").is_none());
    assert!(held(&scene.exporter, &label(&group)).is_empty());
    assert!(page.expect("stall_probe_sweeps_total", &[("lane", "throttle")]) >= 1.0, "the lane is alive");
}

/// Removes groups at the end, however that comes.
struct Children<'a>(&'a [PathBuf]);

impl Drop for Children<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
}

fn five_thousand() {
    let parent = Group::new("cpu");
    let root = Path::new(ROOT).join(parent.name());
    let groups: Vec<_> = (0..5000).map(|number| root.join(format!("g{number}"))).collect();
    let _children = Children(&groups);
    groups.iter().for_each(|path| fs::create_dir(path).expect("a group"));
    let cost = || {
        // Far from the budget, which would spread the search.
        let exporter = Scene::new(&["--throttle.interval", "600s", "--tasks.cpu-budget", "1"]);
        let lane = [("lane", "throttle")];
        let page = wait_until(Duration::from_secs(60), "the first search is over", || {
            let page = exporter.exporter.scrape();
            (page.expect("stall_probe_sweeps_total", &lane) >= 1.0).then_some(page)
        });
        let groups = page.samples(QUOTA).filter_map(|sample| sample.label("cgroup"));
        // The host may have quotas of its own.
        let (ours, foreign): (Vec<_>, Vec<_>) = groups.partition(|group| group.starts_with(&label(&parent)));
        (page.expect("stall_probe_cpu_seconds_total", &lane), ours.len(), foreign.len())
    };
    let (without, shown, _) = cost();
    assert_eq!(shown, 0, "no quota, no series");
    groups
        .iter()
        .step_by(5)
        .for_each(|path| fs::write(path.join("cpu.cfs_quota_us"), "50000").expect("a quota"));
    let (with, shown, foreign) = cost();
    println!(
        "observed: one search of 5000 groups took {without:.3} s of CPU; {with:.3} s with {shown} quotas found"
    );
    assert!(without < 1.0 && with < 2.0, "{without} s, {with} s");
    assert_eq!(shown + foreign, 1000, "as many as are kept");
}
