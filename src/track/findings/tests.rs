//! The five incidents and their near misses as scenes: who is named, and who is not.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::base::clock::Mono;
use crate::base::kthread::{Kind, Kthread};
use crate::sample::{self, GroupUsage, QuotaRow};
use crate::track::late::Lateness;
use crate::track::quotas::Quotas;
use crate::track::resource::Resources;
use crate::track::scene::{InKernel, Name, Thresholds, meanings};
use crate::track::suspect::{NAMED_FROM, Reason, Who};

const NOW: u64 = 1000;

fn at(second: u64) -> Mono {
    Mono::from_nanos(second * 1_000_000_000)
}

/// A thread that has stood still for so many seconds.
fn party(comm: &str, seconds: u64) -> Party<'_> {
    Party {
        tid: u32::try_from(comm.len()).unwrap() * 1000 + u32::try_from(seconds).unwrap(),
        pid: 1,
        name: Name::Comm(comm),
        since: at(NOW - seconds),
        last: at(NOW),
        cpu: None,
        group: None,
        services: 0,
        wchan: None,
        resource: None,
        stack: &[],
        spins: false,
    }
}

fn asleep<'a>(comm: &'a str, wchan: &'a str, seconds: u64) -> Party<'a> {
    Party { wchan: Some(wchan), ..party(comm, seconds) }
}

fn throttled() -> Quotas {
    let mut quotas = Quotas::default();
    for (second, periods) in [(NOW - 2, 100), (NOW - 1, 110)] {
        let usage = GroupUsage { periods, throttled_periods: periods, ..GroupUsage::default() };
        let rows = vec![QuotaRow { group: "/node-exporter.service".to_owned(), quota_cores: 0.07, usage }];
        quotas.observe(sample::Quotas { at: at(second), rows, ..sample::Quotas::default() });
    }
    quotas
}

fn scene(quotas: &Quotas) -> Scene<'_> {
    let second = Duration::from_secs(1);
    Scene {
        now: at(NOW),
        throttle_keeps_locks: true,
        resources: Resources(&[]),
        waiting: Vec::new(),
        starved: Vec::new(),
        spinning: Vec::new(),
        devices: Vec::new(),
        kthreads: Vec::new(),
        in_kernel: Vec::new(),
        packets: Vec::new(),
        thresholds: Thresholds { blocked: second * 5, starved: second, spin: second * 5, disk: second * 5 },
        meanings: HashMap::new(),
        quotas,
    }
}

/// All that is stuck in a scene, whose wait channels get their meaning here.
fn told<'a>(scene: &mut Scene<'a>) -> Vec<Finding<'a>> {
    scene.meanings = meanings(&mut scene.waiting, scene.resources);
    findings(scene)
}

/// The first suspect's name and reason.
fn first(finding: &Finding<'_>) -> Option<(String, Reason)> {
    let suspect = finding.suspects.first()?;
    let who = match suspect.who {
        Who::Thread(party) => party.name.to_string(),
        Who::Device(device) => device.device.to_owned(),
        Who::Group(group) => group.to_owned(),
    };
    Some((who, suspect.reason))
}

fn of<'s>(found: &'s [Finding<'s>], resource: &str) -> &'s Finding<'s> {
    found.iter().find(|finding| matches!(finding.on, On::Resource(on) if on.name == resource)).unwrap()
}

fn exporter(seconds: u64) -> Party<'static> {
    Party { group: Some("/node-exporter.service"), cpu: Some(39), ..party("node-exporter", seconds) }
}

#[test]
fn s0_the_throttled_holder_is_named_for_all_who_wait_for_rtnl() {
    let quotas = throttled();
    let mut scene = scene(&quotas);
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80), asleep("dpvs", "dev_ioctl", 70)];
    scene.starved = vec![exporter(81), party("make", 2)];
    let found = told(&mut scene);
    let rtnl = of(&found, "rtnl");
    assert_eq!(rtnl.victims.tasks, 2, "two names of one wait");
    assert_eq!(first(rtnl), Some(("node-exporter".to_owned(), Reason::ThrottledRunnable)));
    assert!(rtnl.suspects[0].score >= 8);
    assert!(rtnl.suspects.iter().all(|suspect| suspect.because.len() >= 2));
    let group = found.iter().find(|finding| matches!(finding.on, On::Group(_))).unwrap();
    assert_eq!(first(group), Some(("/node-exporter.service".to_owned(), Reason::Quota)));
}

#[test]
fn from_6_18_a_throttled_task_holds_no_lock() {
    let quotas = throttled();
    let mut scene = scene(&quotas);
    scene.throttle_keeps_locks = false;
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80)];
    scene.starved = vec![exporter(81)];
    let found = told(&mut scene);
    let score = of(&found, "rtnl").suspects.first().map_or(0, |suspect| suspect.score);
    assert!(score < 5, "{score}");
}

#[test]
fn who_began_to_stand_still_long_after_the_waiters_is_worth_less() {
    let quotas = throttled();
    let mut scene = scene(&quotas);
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80)];
    scene.starved = vec![exporter(81)];
    let early = of(&told(&mut scene), "rtnl").suspects[0].score;
    scene.starved = vec![exporter(20)];
    let late = of(&told(&mut scene), "rtnl").suspects.first().map_or(0, |suspect| suspect.score);
    assert!(late <= early / 2, "{late} {early}");
}

/// A holder in a throttled group may run a little in each period: it never stands still for long, and never leaves.
#[test]
fn a_holder_that_runs_a_little_in_each_period_is_named_too() {
    let quotas = throttled();
    let mut scene = scene(&quotas);
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80)];
    scene.spinning = vec![exporter(81)];
    let found = told(&mut scene);
    assert_eq!(first(of(&found, "rtnl")), Some(("node-exporter".to_owned(), Reason::ThrottledRunnable)));
}

#[test]
fn s1_a_spin_is_named_for_its_cpu_and_for_the_grace_period() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.spinning = vec![Party { cpu: Some(5), ..party("qemu", 64_000 / 100) }];
    let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(5) };
    scene.kthreads = vec![Party { name: Name::Kthread(thread), cpu: Some(5), ..party("", 600) }];
    scene.starved =
        vec![Party { cpu: Some(5), ..party("sh", 500) }, Party { cpu: Some(6), ..party("vi", 9) }];
    scene.waiting = vec![asleep("systemd", "synchronize_rcu", 590)];
    let found = told(&mut scene);
    assert_eq!(first(of(&found, "rcu")), Some(("qemu".to_owned(), Reason::KernelSpin)));
    let spin = found.iter().find(|finding| matches!(finding.on, On::Spin(_))).unwrap();
    let names: Vec<String> = spin.victims.listed.iter().map(|party| party.name.to_string()).collect();
    assert_eq!(names, ["ksoftirqd/5", "sh"], "the longest first");
    let other = found.iter().find(|finding| matches!(finding.on, On::Cpu(Some(6)))).unwrap();
    assert!(other.suspects.is_empty(), "another CPU's spin explains nothing");
}

#[test]
fn s2_the_silent_device_is_named_for_the_journal_and_the_spinning_worker_is_told() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.waiting = vec![
        asleep("jbd2/vda1-8", "jbd2_journal_commit_transaction", 300),
        asleep("postgres", "jbd2_log_wait_commit", 290),
        asleep("cat", "folio_wait_bit_common", 280),
    ];
    scene.devices = vec![StuckDevice {
        device: "vda",
        since: at(NOW - 301),
        last: at(NOW),
        inflight: 3,
        suspended: false,
    }];
    scene.spinning = vec![Party { name: Name::Worker("ext4-rsv-conversion"), ..party("", 250) }];
    let found = told(&mut scene);
    for resource in ["journal", "block_io"] {
        assert_eq!(first(of(&found, resource)), Some(("vda".to_owned(), Reason::DeviceSilent)), "{resource}");
    }
    let device = found.iter().find(|finding| matches!(finding.on, On::Device(_))).unwrap();
    assert_eq!(device.victims.tasks, 3);
    assert!(found.iter().any(|finding| matches!(finding.on, On::Spin(_))));
}

#[test]
fn s3_pid_1_asleep_inside_the_lock_is_named_by_its_stack() {
    let quotas = Quotas::default();
    let stack =
        ["__wait_rcu_gp+0x1/0x2", "synchronize_rcu+0x1/0x2", "cgroup_rmdir+0x20/0x90"].map(str::to_owned);
    let mut scene = scene(&quotas);
    let mut systemd = asleep("systemd", "synchronize_rcu", 100);
    systemd.stack = &stack;
    scene.waiting =
        vec![systemd, asleep("dockerd", "cgroup_kn_lock_live", 90), asleep("runc", "proc_cgroup_show", 50)];
    let found = told(&mut scene);
    let lock = of(&found, "cgroup_mutex");
    assert_eq!(first(lock), Some(("systemd".to_owned(), Reason::AsleepInside)));
    assert!(
        lock.suspects[0].because.iter().any(|why| why.contains("it waits itself for an RCU grace period"))
    );
    assert!(of(&found, "rcu").suspects.is_empty(), "nobody is known to hold the grace period up");

    // Without the stack the order of the waits still points to it, less surely.
    let mut blind = scene;
    blind.waiting[0].stack = &[];
    let found = told(&mut blind);
    let lock = of(&found, "cgroup_mutex");
    assert_eq!(first(lock), Some(("systemd".to_owned(), Reason::AsleepElsewhere)));
    assert!(lock.suspects[0].score < 6);
}

/// As the lab plays it: who holds the lock sleeps in a module of its own, and PID 1 waits for a directory that one of
/// the waiters has. All fell asleep within one walk.
#[test]
fn s3_who_sleeps_elsewhere_is_named_and_not_who_queues_elsewhere() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.waiting = vec![
        asleep("kubelet", "cgroup_kn_lock_live", 30),
        asleep("sh", "perform", 28),
        asleep("systemd", "filename_create", 27),
    ];
    let found = told(&mut scene);
    let lock = of(&found, "cgroup_mutex");
    assert_eq!(first(lock), Some(("sh".to_owned(), Reason::AsleepElsewhere)));
    assert_eq!(lock.suspects.len(), 1);
    scene.waiting[1] = asleep("sh", "perform", 20);
    assert!(of(&told(&mut scene), "cgroup_mutex").suspects.is_empty(), "it fell asleep long after the first");
}

#[test]
fn s4_packets_that_come_late_are_told_with_who_spins_there_unless_ksoftirqd_stands_still_for_good() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    let longest = Duration::from_millis(410);
    let lateness = Lateness { times: 40, longest, first: at(NOW - 20), last: at(NOW) };
    scene.packets = vec![LatePackets { cpu: 7, tid: 71, lateness }];
    let found = told(&mut scene);
    let On::Packets(packets) = found[0].on else { panic!("{found:?}") };
    assert_eq!((packets.cpu, found[0].length, found.len()), (7, Duration::from_secs(20), 1));
    assert_eq!(first(&found[0]), None, "nobody is seen there");

    let reader = Party { cpu: Some(7), spins: true, ..party("cadvisor", 4) };
    let elsewhere = Party { cpu: Some(6), ..reader };
    let before = Party { since: at(NOW - 30), last: at(NOW - 21), ..reader };
    let itself = Party { tid: 71, ..reader };
    let short = |party, part| InKernel { party, part, at_a_time: Duration::from_millis(4) };
    scene.in_kernel = [(elsewhere, 0.99), (before, 0.97), (itself, 0.9), (reader, 0.8)]
        .map(|(party, part)| short(party, part))
        .to_vec();
    let found = told(&mut scene);
    assert_eq!(first(&found[0]), Some(("cadvisor".to_owned(), Reason::KernelTime)));
    let why = "it was in the kernel for 80 % of 4.0 s, and on that CPU at both ends of them";
    assert_eq!((found[0].suspects[0].because[0].as_str(), found[0].suspects.len()), (why, 1));

    // Of two, who was there for longer than a preemptible thread can comes first, however seldom it did.
    let seldom = Party { tid: 8, name: Name::Comm("seldom"), ..reader };
    scene.in_kernel.push(InKernel { at_a_time: Duration::from_millis(410), ..short(seldom, 0.05) });
    // And who was there for a little, in short stays, is not accused.
    scene.in_kernel.push(short(Party { tid: 9, ..reader }, 0.2));
    let found = told(&mut scene);
    let scores: Vec<u32> = found[0].suspects.iter().map(|suspect| suspect.score).collect();
    assert_eq!((first(&found[0]), scores), (Some(("seldom".to_owned(), Reason::KernelTime)), vec![6, 5]));
    scene.in_kernel.truncate(4);

    // A poller that hardly runs is none, whatever it does; a spin that takes the CPU is named before others.
    let poller = Party { tid: 5, cpu: Some(7), spins: true, ..party("vhost", 4) };
    scene.spinning = vec![poller, Party { tid: 71, ..poller }];
    assert_eq!(first(&told(&mut scene)[0]), Some(("cadvisor".to_owned(), Reason::KernelTime)));
    scene.in_kernel.push(short(poller, 0.3));
    let found = told(&mut scene);
    assert_eq!(first(&found[0]), Some(("vhost".to_owned(), Reason::KernelSpin)));
    assert_eq!(found[0].suspects.len(), 2);
    let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(7) };
    scene.kthreads = vec![Party { tid: 71, name: Name::Kthread(thread), cpu: Some(7), ..party("", 9) }];
    let found = told(&mut scene);
    assert!(!found.iter().any(|finding| matches!(finding.on, On::Packets(_))), "{found:?}");
}

#[test]
fn without_a_ground_nobody_is_named() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80), asleep("ip", "dev_ioctl", 20)];
    scene.starved = vec![party("make", 0)];
    assert!(of(&told(&mut scene), "rtnl").suspects.is_empty(), "who waits for the same is no holder");
}

#[test]
fn whatever_the_scene_scores_are_ordered_and_bounded_and_every_victim_is_told_once() {
    let quotas = throttled();
    let mut scene = scene(&quotas);
    for number in 0..60 {
        let wchan = ["rtnl_dumpit", "cgroup_rmdir", "io_schedule", "somebodys_own"][number % 4];
        scene.waiting.push(asleep("x", wchan, 400 - u64::try_from(number).unwrap()));
        scene.starved.push(Party { cpu: Some(1), ..exporter(300 - u64::try_from(number).unwrap()) });
    }
    scene.spinning = vec![Party { cpu: Some(1), ..party("loop", 380) }];
    let found = told(&mut scene);
    let blocked = found.iter().filter(|finding| matches!(finding.on, On::Resource(_) | On::Function(_)));
    assert_eq!(blocked.map(|finding| finding.victims.tasks).sum::<u64>(), 60);
    for finding in &found {
        assert!(finding.suspects.is_sorted_by(|a, b| a.score >= b.score));
        assert!(finding.suspects.iter().all(|suspect| (NAMED_FROM..=9).contains(&suspect.score)));
    }
    assert!(found.is_sorted_by(|a, b| a.length >= b.length));
}

/// A scene in which bird waits for rtnl since 80 s, and what is said of its holder.
fn suspects_beside(quotas: &Quotas, change: impl FnOnce(&mut Scene<'_>)) -> Vec<(String, Reason, u32)> {
    let mut scene = scene(quotas);
    scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80)];
    change(&mut scene);
    let found = told(&mut scene);
    let suspects = of(&found, "rtnl").suspects.iter();
    suspects
        .map(|suspect| match suspect.who {
            Who::Thread(party) => (party.name.to_string(), suspect.reason, suspect.score),
            _ => panic!("{suspect:?}"),
        })
        .collect()
}

#[test]
fn near_misses_are_not_named() {
    let quotas = Quotas::default();
    let nobody = |why: &str, change: &dyn Fn(&mut Scene<'_>)| {
        assert_eq!(suspects_beside(&quotas, |scene| change(scene)), [], "{why}");
    };
    nobody("in D for a day", &|scene| scene.waiting.push(asleep("old", "broken_driver", 900)));
    nobody("runnable long after", &|scene| scene.starved.push(party("nice", 70)));
    nobody("a thread that polls all day", &|scene| scene.spinning.push(party("vhost", 900)));
    nobody("a task in D that came later", &|scene| scene.waiting.push(asleep("late", "driver", 60)));
    nobody("no device holds rtnl", &|scene| {
        scene.devices = vec![StuckDevice {
            device: "sda",
            since: at(NOW - 90),
            last: at(NOW),
            inflight: 1,
            suspended: false,
        }];
    });
}

#[test]
fn unrelated_hangs_do_not_accuse_each_other_and_io_is_held_by_no_thread() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.waiting = vec![
        asleep("a", "driver_one", 50),
        asleep("b", "driver_two", 49),
        asleep("c", "folio_wait_bit_common", 48),
    ];
    scene.starved = vec![party("make", 55)];
    scene.spinning = vec![Party { cpu: Some(1), spins: true, ..party("vhost", 60) }];
    let found = told(&mut scene);
    let mut others = found.iter().filter(|finding| !matches!(finding.on, On::Spin(_)));
    assert!(others.all(|finding| finding.suspects.is_empty()), "{found:?}");
}

#[test]
fn who_waits_for_a_lock_inside_is_hardly_a_holder() {
    let quotas = Quotas::default();
    let frames = |names: &[&str]| names.iter().map(|name| format!("{name}+0x1/0x2")).collect::<Vec<_>>();
    let holder = frames(&["msleep", "mlx5_cmd_exec", "dev_ethtool"]);
    let waiter = frames(&["__mutex_lock.constprop.0", "kni_ioctl", "dev_ioctl"]);
    let score = |stack: &[String]| {
        let mut scene = scene(&quotas);
        let sleeper = Party { stack, ..asleep("x", "kni_ioctl", 70) };
        scene.waiting = vec![asleep("bird", "rtnetlink_rcv_msg", 80), sleeper];
        let found = told(&mut scene);
        of(&found, "rtnl").suspects.first().map_or(0, |suspect| suspect.score)
    };
    assert!(score(&holder) >= 2 * score(&waiter), "{} {}", score(&holder), score(&waiter));
}

#[test]
fn of_a_crowd_all_are_counted_some_are_listed_and_services_among_them() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    scene.waiting = (0..3000_u32)
        .map(|number| Party { tid: number + 10, ..asleep("ip", "rtnetlink_rcv_msg", 90) })
        .chain([Party { services: 1, ..asleep("systemd", "cgroup_kn_lock_live", 60) }])
        .chain([Party { tid: 7, services: 2, ..asleep("bird", "dev_ioctl", 50) }])
        .collect();
    let found = told(&mut scene);
    let rtnl = of(&found, "rtnl");
    assert_eq!((rtnl.victims.tasks, rtnl.victims.listed.len()), (3001, VICTIMS_MAX + 1));
    assert_eq!(rtnl.victims.listed.last().map(|party| party.tid), Some(7));
    assert_eq!(of(&found, "cgroup_mutex").victims.tasks, 1, "a crowd hides nobody");
}

#[test]
fn a_kernel_thread_that_two_lanes_know_is_told_once() {
    let quotas = Quotas::default();
    let mut scene = scene(&quotas);
    let thread = Kthread { kind: Kind::Ksoftirqd, cpu: Some(0) };
    scene.starved = vec![Party { tid: 14, cpu: Some(0), ..party("ksoftirqd/0", 10) }];
    scene.kthreads = vec![Party { tid: 14, name: Name::Kthread(thread), cpu: Some(0), ..party("", 12) }];
    let found = told(&mut scene);
    let lengths: Vec<u64> = found[0].victims.listed.iter().map(|party| party.length().as_secs()).collect();
    assert_eq!((found.len(), lengths), (1, vec![12]));
}
