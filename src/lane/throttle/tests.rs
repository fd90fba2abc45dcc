//! The lane on a tree of ordinary files: both versions, odd names, bad texts, thousands of groups. What only a kernel
//! does (a removed group's descriptor says so) is in the end-to-end tests.
#![expect(clippy::disallowed_methods, reason = "builds a tree of files and waits")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::base::units::Pid;
use crate::config::Roots;
use crate::sample::{GroupUsage, QuotaRow};
use crate::source::paths::RowId;
use crate::source::{Host, Reader, Stamp};

/// Counts entries into the kernel.
#[derive(Default)]
struct Entered(RefCell<u64>);

impl Stamp for Entered {
    fn enter(&self, _row: RowId, _subject: u32) {
        *self.0.borrow_mut() += 1;
    }
}

struct Tree(tempfile::TempDir);

impl Tree {
    /// v2 without groups beside v1 without groups.
    fn hybrid() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write(b"unified/cgroup.procs", "");
        tree.v1(b"", "-1", 0);
        tree
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.0.path().join(OsStr::from_bytes(name))
    }

    fn write(&self, name: &[u8], text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn v1(&self, group: &[u8], quota: &str, throttled: u64) {
        let at = |file: &str| [b"cpu/", group, b"/", file.as_bytes()].concat();
        self.write(&at("cpu.cfs_quota_us"), &format!("{quota}\n"));
        self.write(&at("cpu.cfs_period_us"), "100000\n");
        let stat = format!("nr_periods 100\nnr_throttled {throttled}\nthrottled_time 5000\n");
        self.write(&at("cpu.stat"), &stat);
        self.write(&[b"cpuacct/", group, b"/cpuacct.usage"].concat(), "70\n");
    }

    fn v2(&self, group: &[u8], max: &str, local: Option<&str>) {
        let at = |file: &str| [b"unified/", group, b"/", file.as_bytes()].concat();
        self.write(&at("cpu.max"), &format!("{max} 100000\n"));
        let stat =
            "usage_usec 9\nuser_usec 9\nsystem_usec 0\nnr_periods 100\nnr_throttled 3\nthrottled_usec 5\n";
        self.write(&at("cpu.stat"), stat);
        if let Some(local) = local {
            self.write(&at("cpu.stat.local"), local);
        }
    }

    fn host(&self) -> Host {
        let roots =
            Roots { procfs: "/proc".into(), sysfs: "/sys".into(), cgroupfs: self.0.path().to_owned() };
        Host::open(&roots).unwrap()
    }
}

fn config() -> Config {
    let mut config = Config::defaults();
    config.throttle.interval = Duration::from_millis(1);
    config
}

fn lane(config: &Config) -> ThrottleLane {
    let mut lane = ThrottleLane::new(config, Arc::default(), 2 * 3500, 1.0, clock::now());
    lane.reopen = false;
    lane
}

/// What front would know.
#[derive(Default)]
struct Front {
    rows: BTreeMap<String, QuotaRow>,
    members: BTreeMap<Pid, Option<String>>,
    missed: QuotasMissed,
    whole: u64,
    entered: u64,
}

impl Front {
    fn take(&mut self, frame: &Frame) {
        let quotas = match frame {
            Frame::Quotas(quotas) => quotas,
            Frame::Members(members) => {
                self.members.extend(members.iter().map(|member| (member.pid, member.group.clone())));
                return;
            }
            other => panic!("{other:?}"),
        };
        if quotas.whole {
            self.rows.clear();
            self.whole += 1;
        }
        quotas.ended.iter().for_each(|label| drop(self.rows.remove(label)));
        for row in &quotas.rows {
            self.rows.insert(row.group.clone(), row.clone());
        }
        self.missed.add(&quotas.missed);
    }

    fn turn(&mut self, lane: &mut ThrottleLane, host: &Host) -> Mono {
        let stamp = Entered::default();
        let mut send = |frame: &Frame| self.take(frame);
        let reader = Reader::for_probe(host, &stamp);
        let due = lane.turn(&mut Tools { reader, send: &mut send, pause: &|_| () });
        self.entered += *stamp.0.borrow();
        due
    }

    /// One whole search.
    fn search(&mut self, lane: &mut ThrottleLane, host: &Host) {
        let whole = self.whole;
        while self.whole == whole {
            let due = self.turn(lane, host);
            std::thread::sleep(due.since(clock::now()));
        }
    }

    fn groups(&self) -> Vec<&str> {
        self.rows.keys().map(String::as_str).collect()
    }
}

#[test]
fn both_versions_are_found_at_every_level_and_read_from_the_right_files() {
    let tree = Tree::hybrid();
    tree.v1(b"a", "-1", 0);
    tree.v1(b"a/b", "7000", 40);
    tree.v1(b"a/b/c", "-1", 0);
    tree.v1(b"a/b/c/d", "250000", 1);
    tree.v2(b"s", "max", None);
    tree.v2(b"s/new", "150000", Some("throttled_usec 8\n"));
    tree.v2(b"s/old", "50000", None);
    tree.write(b"unified/none/cpu.stat", "usage_usec 1\n");
    tree.v2(b"none/below", "50000", None);
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert_eq!(
        front.groups(),
        ["/a/b", "/a/b/c/d", "/s/new", "/s/old"],
        "below a group without cpu there is none"
    );
    let usage = |group: &str| front.rows[group].usage;
    let v1 = GroupUsage { periods: 100, throttled_periods: 40, throttled_ns: 5000, usage_ns: Some(70) };
    assert_eq!(usage("/a/b"), v1);
    let old = GroupUsage { periods: 100, throttled_periods: 3, throttled_ns: 5000, usage_ns: Some(9000) };
    assert_eq!(usage("/s/old"), old);
    assert_eq!(usage("/s/new"), GroupUsage { throttled_ns: 8000, ..old });
    let quotas: Vec<f64> = front.rows.values().map(|row| row.quota_cores).collect();
    assert_eq!(quotas, [0.07, 2.5, 1.5, 0.5]);
    assert_eq!(front.missed, QuotasMissed::default());
}

#[test]
fn on_a_host_with_v2_alone_its_root_is_the_cgroup_root() {
    let tree = Tree(tempfile::tempdir().unwrap());
    tree.write(b"cgroup.procs", "");
    for group in ["cpu", "unified/x"] {
        tree.write(format!("{group}/cpu.max").as_bytes(), "50000 100000\n");
        tree.write(
            format!("{group}/cpu.stat").as_bytes(),
            "nr_periods 1\nnr_throttled 1\nthrottled_usec 1\n",
        );
    }
    tree.write(b"unified/cpu.max", "max 100000\n");
    tree.write(b"unified/cgroup.procs", "");
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert_eq!(front.groups(), ["/cpu", "/unified/x"], "a group may be called like a mount");
}

#[test]
fn a_host_without_groups_is_no_fault() {
    let tree = Tree(tempfile::tempdir().unwrap());
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert!(front.groups().is_empty());
    assert_eq!(front.missed, QuotasMissed::default());
}

#[test]
fn switched_off_it_enters_no_file() {
    let tree = Tree::hybrid();
    tree.v1(b"a", "7000", 1);
    let mut config = config();
    config.disabled = vec!["throttle".to_owned()];
    let (host, mut lane, mut front) = (tree.host(), lane(&config), Front::default());
    front.search(&mut lane, &host);
    assert!(front.groups().is_empty());
    assert_eq!(front.entered, 0);
}

#[test]
fn names_of_any_bytes_become_labels_and_two_groups_never_share_one() {
    let tree = Tree::hybrid();
    let long = "x".repeat(250);
    let other = "x".repeat(249) + "y";
    let odd: [&[u8]; 7] =
        [b"\xff\xfe", b"a b\"{}", b"tab\there", b"tab\\x09here", b"-1", long.as_bytes(), other.as_bytes()];
    for name in odd {
        tree.v1(&[b"deep/", long.as_bytes(), b"/", name].concat(), "7000", 1);
        tree.v1(name, "7000", 1);
    }
    tree.v1(b"deep", "-1", 0);
    tree.v1(&[b"deep/", long.as_bytes()].concat(), "-1", 0);
    std::os::unix::fs::symlink("..", tree.path(b"cpu/deep/loop")).unwrap();
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert!(front.rows.keys().all(|label| label.len() <= 256 && label.starts_with('/')));
    assert!(front.groups().contains(&"/\\xff\\xfe") && front.groups().contains(&"/a b\"{}"));
    // The tab and its stand-in, below the root and below `deep`.
    assert_eq!((front.rows.len(), front.missed.unread), (2 * odd.len() - 2, 2));
}

#[test]
fn quotas_come_and_go_and_so_do_groups() {
    let tree = Tree::hybrid();
    tree.v1(b"a", "-1", 1);
    tree.v1(b"b", "7000", 1);
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert_eq!(front.groups(), ["/b"]);
    tree.v1(b"a", "5000", 1);
    tree.v1(b"b", "-1", 1);
    tree.v1(b"a/new", "9000", 1);
    front.search(&mut lane, &host);
    assert_eq!(front.groups(), ["/a", "/a/new"]);
    fs::remove_dir_all(tree.path(b"cpu/a/new")).unwrap();
    tree.v1(b"a", "20000", 1);
    front.search(&mut lane, &host);
    assert_eq!(front.groups(), ["/a"]);
    assert_eq!(front.rows["/a"].quota_cores, 0.2);
    assert_eq!(lane.kept.len(), 1, "its descriptors are closed");
}

#[test]
fn where_a_descriptor_does_not_tell_a_removal_it_is_opened_anew() {
    let tree = Tree::hybrid();
    tree.v1(b"a", "7000", 900);
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    lane.reopen = true;
    front.search(&mut lane, &host);
    fs::remove_dir_all(tree.path(b"cpu/a")).unwrap();
    tree.v1(b"a", "7000", 2);
    front.search(&mut lane, &host);
    assert_eq!(front.rows["/a"].usage.throttled_periods, 2, "a group made again begins again");
}

#[test]
fn what_cannot_be_understood_is_not_shown_and_counted() {
    let tree = Tree::hybrid();
    tree.v1(b"a", "7000", 1);
    tree.v1(b"b", "7000", 1);
    tree.v1(b"bad", "many", 1);
    tree.v1(b"zero", "7000", 1);
    tree.write(b"cpu/zero/cpu.cfs_period_us", "0\n");
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    assert_eq!((front.groups(), front.missed.unread), (vec!["/a", "/b"], 2));
    for text in
        ["nr_periods 100\nnr_thro", "", "nr_periods 9\nnr_throttled 99999999999999999999\nthrottled_time 1\n"]
    {
        tree.write(b"cpu/a/cpu.stat", text);
        let before = front.missed.unread;
        lane.sample_due = clock::now();
        front.turn(&mut lane, &host);
        assert_eq!(front.groups(), ["/b"], "{text}");
        assert!(front.missed.unread > before);
    }
    tree.v1(b"a", "7000", 2);
    lane.sample_due = clock::now();
    front.turn(&mut lane, &host);
    assert_eq!(front.rows["/a"].usage.throttled_periods, 2, "it is back when it can be read");
}

#[test]
fn limits_hold_and_are_counted() {
    let tree = Tree::hybrid();
    for number in 0..40 {
        tree.v1(format!("g{number}").as_bytes(), "7000", 1);
    }
    let mut config = config();
    config.throttle.groups_max = 10;
    let (host, mut narrow, mut front) = (tree.host(), lane(&config), Front::default());
    front.search(&mut narrow, &host);
    assert_eq!((front.rows.len(), front.missed.over_groups, front.missed.over_walk), (10, 30, 0));
    config.throttle.groups_max = 1000;
    config.throttle.walk_max = 25;
    let (mut short, mut front) = (lane(&config), Front::default());
    front.search(&mut short, &host);
    assert_eq!((front.rows.len(), front.missed.over_groups, front.missed.over_walk), (25, 0, 15));
    let few = ThrottleLane::new(&config, Arc::default(), 7, 1.0, clock::now());
    let (mut few, mut front) = (few, Front::default());
    front.search(&mut few, &host);
    assert_eq!(front.rows.len(), 3, "two descriptors each, of seven");
}

#[test]
fn five_thousand_groups_without_a_quota_cost_nothing_between_searches() {
    let tree = Tree::hybrid();
    for slice in 0..50 {
        tree.v1(format!("s{slice}").as_bytes(), "-1", 0);
        for group in 0..99 {
            let at = format!("cpu/s{slice}/g{group}/cpu.cfs_quota_us");
            tree.write(at.as_bytes(), "-1\n");
        }
    }
    tree.v1(b"s7/limited", "7000", 11);
    let mut config = config();
    config.throttle.interval = Duration::from_secs(600);
    let (host, mut lane, mut front) = (tree.host(), lane(&config), Front::default());
    front.search(&mut lane, &host);
    assert_eq!((front.groups(), lane.kept.len()), (vec!["/s7/limited"], 1));
    let searched = front.entered;
    assert!(searched < 5000 * 5, "{searched} entries into the kernel");
    front.entered = 0;
    for _second in 0..10 {
        lane.sample_due = clock::now();
        front.turn(&mut lane, &host);
    }
    assert_eq!(front.entered, 10, "one read each, no open");
    println!("observed: 5000 groups, {searched} entries, {:?} of CPU", lane.cost);
}

/// Groups that throttle from the second sample on, with their members.
fn throttled(tree: &Tree, members: &[(&str, &str)]) -> (Host, ThrottleLane, Front) {
    let quotas = |throttled| {
        for (group, _) in members.iter().filter(|(group, _)| !group.ends_with("free")) {
            tree.v1(group.as_bytes(), "7000", throttled);
        }
    };
    quotas(1);
    for (group, pids) in members {
        tree.write(format!("cpu/{group}/cgroup.procs").as_bytes(), pids);
        if group.ends_with("free") {
            tree.v1(group.as_bytes(), "-1", 0);
        }
    }
    let (host, mut lane, mut front) = (tree.host(), lane(&config()), Front::default());
    front.search(&mut lane, &host);
    quotas(2);
    front.search(&mut lane, &host);
    (host, lane, front)
}

#[test]
fn starved_processes_are_found_in_groups_that_throttle_and_below_them() {
    let tree = Tree::hybrid();
    tree.v1(b"calm", "7000", 1);
    tree.write(b"cpu/calm/cgroup.procs", "7\n");
    let members = [("a", "1\n5\n"), ("a/free", "6\n"), ("a/free/own", "8\n"), ("free", "9\n")];
    let (host, mut lane, mut front) = throttled(&tree, &members);
    assert!(front.members.is_empty(), "nobody was asked for");
    lane.handover.set_runnable(vec![5, 6, 7, 8, 9, 5]);
    front.search(&mut lane, &host);
    let group = |name: &str| Some(name.to_owned());
    let expect = [(5, group("/a")), (6, group("/a")), (7, None), (8, group("/a/free/own")), (9, None)];
    assert_eq!(front.members, BTreeMap::from(expect), "the nearest group that throttles");
    front.members.clear();
    front.search(&mut lane, &host);
    assert!(front.members.is_empty(), "answered for a while");
    assert_eq!(front.missed, QuotasMissed::default());
}

#[test]
fn when_nothing_throttles_any_more_nobody_is_in_such_a_group() {
    let tree = Tree::hybrid();
    let (host, lane, _) = throttled(&tree, &[("a", "5\n")]);
    let stamp = Entered::default();
    let (mut reader, mut missed) = (Reader::for_probe(&host, &stamp), QuotasMissed::default());
    let mut membership = Membership::default();
    let now = clock::now();
    let mut search = |after| {
        let now = now.plus(Duration::from_secs(after));
        let found = membership.search(vec![5], &lane.kept, now, &mut reader, &mut missed);
        found.into_iter().map(|member| member.group).collect::<Vec<_>>()
    };
    assert_eq!(search(0), [Some("/a".to_owned())]);
    assert_eq!(search(5), [], "answered");
    assert_eq!(search(12), [None], "the group has not throttled for ten seconds");
    assert_eq!(search(13), [], "answered");
}

#[test]
fn a_list_that_is_too_long_is_counted_and_says_nothing_of_who_is_not_found() {
    let tree = Tree::hybrid();
    let long = "1234567\n".repeat(10_000);
    let (host, mut lane, mut front) = throttled(&tree, &[("a", "5\n"), ("b", long.as_str())]);
    lane.handover.set_runnable(vec![5, 6]);
    front.search(&mut lane, &host);
    assert_eq!(front.members, BTreeMap::from([(5, Some("/a".to_owned()))]));
    front.search(&mut lane, &host);
    assert_eq!((front.missed.unread, front.missed.over_members), (1, 0));
}

/// A hundred groups throttle, and one search reads 64: what it did not come to is next.
#[test]
fn many_groups_are_searched_in_turn() {
    let tree = Tree::hybrid();
    let names: Vec<(String, String)> =
        (0..100).map(|number| (format!("g{number:02}"), format!("{}\n", number + 500))).collect();
    let members: Vec<(&str, &str)> = names.iter().map(|(name, pid)| (name.as_str(), pid.as_str())).collect();
    let (host, lane, _) = throttled(&tree, &members);
    let stamp = Entered::default();
    let (mut reader, mut missed) = (Reader::for_probe(&host, &stamp), QuotasMissed::default());
    let mut membership = Membership::default();
    let now = clock::now();
    let mut search = |starved, after| {
        let now = now.plus(Duration::from_secs(after));
        membership.search(starved, &lane.kept, now, &mut reader, &mut missed)
    };
    assert_eq!(search(vec![599], 0), [], "not found, and not known to be nowhere");
    assert_eq!(search(vec![599], 1), [], "not asked again yet");
    let found = search(vec![599], 5);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].group.as_deref(), Some("/g99"));
    assert_eq!(search(vec![599], 8), [], "answered");
    assert_eq!(search(vec![], 9), [], "nobody starves");
    assert_eq!(missed.over_members, 36);
}
