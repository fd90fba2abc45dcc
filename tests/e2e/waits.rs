//! Waits in D, made for real: what is counted, how long it is said to last, what it is called, and when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::Case;
use crate::scene::{
    INTERVAL, LATE, LOOK, SWEEP, Scene, Shot, assert_nothing_blocked, known, pause, shot, start, vfork,
};
use crate::support::cgroup::Group;
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::{now_ns, process, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("waits::a_vfork_wait_of_20_seconds", || on_a_tree(20)),
    Case::together("waits::flappers_are_never_stuck", || flappers(20)),
    Case::together("waits::a_vfork_wait_among_flappers_is_never_blocked", among_flappers),
    Case::together("waits::frozen_tasks_are_told_apart", freezer),
    Case::together("waits::a_core_dump_is_told_apart", core_dump),
    Case::together("waits::a_reused_id_is_somebody_else", reused_id),
    Case::together("waits::services_are_counted_and_not_blocked_by_a_vfork", services),
    Case::alone("waits::the_load_averages_count_it_within_a_step", active_tasks),
];

pub const SLOW: &[Case] = &[
    Case::alone("waits::a_vfork_wait_of_20_seconds_on_the_whole_host", on_the_host),
    Case::alone("waits::flappers_for_a_minute_are_never_stuck", || flappers(60)),
    Case::alone("waits::flappers_for_a_minute_on_the_whole_host", flappers_on_the_host),
];

fn on_a_tree(length: u32) {
    let scene = Scene::new(&[]);
    let (fault, tid, since) = vfork(length);
    scene.show(&[tid]);
    follow(&scene.exporter, fault, since, now_ns());
}

fn on_the_host() {
    let exporter = start(&[]);
    let (fault, _, since) = vfork(20);
    follow(&exporter, fault, since, since);
}

/// What every page must say of one vfork wait that began at `since` and can be seen from `visible` on.
///
/// Upper bound: the wait began after `since` and the page was made before `answered`, so what it says is at most
/// `answered − since`. Lower bound, once it was seen: the first look at it came at most an interval after `visible`,
/// the newest at most a look interval before the page, and the page is at most `LATE` older than the request, so it
/// says at least `asked − visible − SWEEP`, SWEEP being the sum of the three.
fn follow(exporter: &Exporter, fault: Fault, since: u64, visible: u64) {
    let (mut longest, mut shots, mut margin, mut first) = (0.0_f64, 0, f64::INFINITY, None);
    let ended = loop {
        let Shot { asked, answered, page } = shot(exporter);
        let in_d = page.expect("stall_tasks", &[("state", "D")]);
        if process::state(fault.tids()[0]) != Some('D') {
            break fault.finish();
        }
        let (age, said) = (seconds(visible, asked), known(&page, "vfork"));
        let truth = seconds(since, answered);
        assert!(said <= truth, "{said} s published, {truth} s true");
        if age > SWEEP {
            assert!(in_d >= 1.0, "not counted {age} s after it could be seen");
            assert!(said >= age - SWEEP, "{said} s published, {age} s visible");
            margin = margin.min(said - (age - SWEEP));
        }
        if in_d >= 1.0 {
            first.get_or_insert(age);
        }
        let tasks = page.expect("stall_known_wait_tasks", &[("kind", "vfork")]);
        assert_eq!(tasks, f64::from(u8::from(said >= 5.0)), "counted from blocked.threshold on: {said} s");
        assert_nothing_blocked(&page, &format!("{age} s into a vfork wait"));
        longest = longest.max(said);
        shots += 1;
        pause();
    };
    let truth = ended[0].1.number("ns") as f64 / 1e9;
    assert!(longest <= truth && longest >= truth - INTERVAL - LOOK - LATE, "{longest} s of {truth} s");
    let over = now_ns();
    wait_for(Duration::from_secs_f64(SWEEP), "it is off the page within a sweep", || {
        let page = exporter.scrape();
        known(&page, "vfork") == 0.0 && page.expect("stall_tasks", &[("state", "D")]) == 0.0
    });
    println!(
        "observed: {shots} pages; counted after {:.2} s; longest {longest:.2} s of {truth:.2} s true; least margin \
         above the lower bound {margin:.2} s; gone {:.2} s after its end",
        first.unwrap_or(f64::NAN),
        seconds(over, now_ns()),
    );
}

fn flappers(length: u32) {
    let scene = Scene::new(&[]);
    let fault = Fault::start("flapper", &[&length.to_string(), "50"]);
    scene.show(&fault.tids());
    watch_flappers(&scene.exporter, fault, true);
}

fn flappers_on_the_host() {
    let exporter = start(&[]);
    watch_flappers(&exporter, Fault::start("flapper", &["60", "50"]), false);
}

/// No page shows a wait longer than the longest that there was, which is a few milliseconds on a machine at rest and
/// far below a sweep on any. `alone`: nobody else is in sight whose vfork may be a long one.
fn watch_flappers(exporter: &Exporter, fault: Fault, alone: bool) {
    let (mut most_d, mut longest, mut pages) = (0.0_f64, 0.0_f64, 0);
    while process::alive(fault.pid()) && process::state(fault.tids()[0]).is_some() {
        let page = exporter.scrape();
        most_d = most_d.max(page.expect("stall_tasks", &[("state", "D")]));
        longest = page.samples("stall_known_wait_seconds_max").map(|s| s.value).fold(longest, f64::max);
        assert_nothing_blocked(&page, "flappers");
        assert!(!alone || page.sum("stall_known_wait_tasks", &[]) == 0.0, "a known wait above the threshold");
        pages += 1;
        pause();
    }
    let ended = fault.finish();
    let truth = ended[0].1.number("longest_ns") as f64 / 1e9;
    let page = exporter.scrape();
    let (all, short) = (
        page.expect("stall_blocked_duration_seconds_count", &[]),
        page.expect("stall_blocked_duration_seconds_bucket", &[("le", "5")]),
    );
    println!(
        "observed: {pages} pages, up to {most_d} of 50 in D, longest published {longest:.4} s, true {truth:.4} s, \
         {} waits, {all} ended ones booked",
        ended[0].1.number("waits"),
    );
    assert!(most_d >= 10.0, "they were seen in D: {most_d}");
    assert!(truth < INTERVAL, "the fault itself was stuck for {truth} s; the machine is too busy");
    assert!(!alone || longest <= truth, "{longest} s published, {truth} s true");
    assert_eq!(all, short, "no ended wait above one sweep");
}

/// The label of a wait comes from another lane, which a crowd keeps busy. It must come before the threshold.
fn among_flappers() {
    let scene = Scene::new(&[]);
    let crowd = Fault::start("flapper", &["60", "50"]);
    scene.show(&crowd.tids());
    std::thread::sleep(Duration::from_secs(8));
    let (fault, tid, since) = vfork(14);
    scene.show(&[tid]);
    let mut labelled = None;
    while process::state(tid) == Some('D') {
        let Shot { asked, answered, page } = scene.shot();
        assert_nothing_blocked(&page, "a vfork wait among flappers");
        let said = known(&page, "vfork");
        assert!(said <= seconds(since, answered));
        if said > 1.0 {
            labelled.get_or_insert(seconds(since, asked));
        }
        pause();
    }
    println!("observed: labelled {labelled:?} s after its begin");
    assert!(labelled.is_some(), "it was labelled at all");
    drop((fault, crowd));
}

/// Runnable threads of the host, by the kernel's own word.
fn runnable() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").expect("always there");
    let field = text.split(' ').nth(3).and_then(|field| field.split('/').next());
    field.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// The exact count of the load averages, and what the walk has to do with it: nothing.
fn active_tasks() {
    let exporter = start(&[]);
    let before = exporter.scrape().value("stall_active_tasks", &[]);
    let fault = Fault::start("vfork_parent", &["40", "60"]);
    let begun = now_ns();
    // The kernel's step comes every 5 s; one more second until a tick has read it.
    let first = wait_until(Duration::from_secs(7), "a step after the begin has counted them", || {
        let page = exporter.scrape();
        page.value("stall_active_tasks", &[]).filter(|active| *active >= 60.0)
    });
    let after = seconds(begun, now_ns());
    let mut values = vec![first];
    // The count is the kernel's at its step, the runnable ones are those of our own reading a moment later: the two may
    // differ by as many as come and go, which on a machine that builds something else is as many as it has runnable.
    // So do tasks of others that wait in D; the walk counts them.
    let (mut noise, mut in_d) = (2.0_f64, 60.0_f64);
    let d = wait_until(Duration::from_secs(25), "the count of D has reached them", || {
        noise = noise.max(runnable());
        let page = exporter.scrape();
        in_d = in_d.max(page.expect("stall_tasks", &[("state", "D")]));
        values.extend(page.value("stall_active_tasks", &[]));
        page.value("stall_uninterruptible_tasks", &[]).filter(|tasks| *tasks >= 60.0 - noise)
    });
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    println!(
        "observed: active {before:?}, then {first} after {after:.2} s, least {least}; D {d}; noise {noise}"
    );
    assert!(least <= in_d + noise + 8.0, "{in_d} in D and {noise} in R at most: {values:?}");
    assert!(d <= in_d + noise + 8.0, "{in_d} in D and {noise} in R at most: {d}");
    assert!(fault.stop().is_empty(), "none of them had ended");
}

fn freezer() {
    let group = Group::new("freezer");
    let scene = Scene::new(&[]);
    let fault = Fault::start("freezable", &["60"]);
    let tids = fault.tids();
    scene.show(&tids);
    // Seen asleep before: that one of them never ran again is then the proof that it was frozen.
    std::thread::sleep(Duration::from_secs_f64(INTERVAL));
    tids.iter().for_each(|tid| assert!(group.add(*tid)));
    group.freeze();
    let frozen = now_ns();
    tids.iter().for_each(|tid| assert_eq!(process::state(*tid), Some('D'), "the kernel shows frozen as D"));
    let mut last = 0.0;
    wait_for(Duration::from_secs(30), "all three are frozen for the threshold", || {
        let Shot { answered, page, .. } = scene.shot();
        assert_nothing_blocked(&page, "frozen");
        last = known(&page, "freezer");
        assert!(last <= seconds(frozen, answered) + 1.0, "frozen while we waited for the state: {last}");
        page.expect("stall_known_wait_tasks", &[("kind", "freezer")]) == 3.0
    });
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_tasks", &[("state", "D")]), 3.0);
    assert_eq!(page.expect("stall_service_blocked_seconds", &[("service", "init")]), 0.0);
    println!("observed: 3 frozen for {last:.2} s, true {:.2} s", seconds(frozen, now_ns()));
    group.thaw();
    wait_for(Duration::from_secs_f64(SWEEP), "thawed and gone within a sweep", || {
        let page = scene.exporter.scrape();
        assert_nothing_blocked(&page, "thawed");
        known(&page, "freezer") == 0.0 && page.expect("stall_tasks", &[("state", "D")]) == 0.0
    });
    assert_eq!(
        scene.exporter.scrape().expect("stall_blocked_duration_seconds_count", &[]),
        0.0,
        "a frozen wait is no blocked wait when it ends either"
    );
    drop(fault);
}

/// From 6.11 the kernel shows the threads that wait for a dump as idle (TASK_IDLE), so a true one is no D here. Before,
/// they are in D, and `status` says so and why; that text is invented.
fn core_dump() {
    let tree = ProcTree::new();
    let status = "Name:\tbig\nState:\tD (disk sleep)\nTgid:\t4242\nPid:\t4242\nCoreDumping:\t1\n\
                  voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n";
    tree.link("1").invent(4242, 4242, "big").text("4242/status", status);
    let scene = Scene::on(tree, &["--tasks.interval", "1s", "--blocked.threshold", "2s"]);
    wait_for(Duration::from_secs_f64(SWEEP), "it dumps for the threshold", || {
        let page = scene.exporter.scrape();
        assert_nothing_blocked(&page, "a core dump");
        page.expect("stall_known_wait_tasks", &[("kind", "core_dump")]) == 1.0
    });
    assert!(known(&scene.exporter.scrape(), "core_dump") >= 2.0);
}

fn reused_id() {
    let scene = Scene::new(&[]);
    let fault = Fault::start("reborn", &["9", "9"]);
    let (tid, begun) = (fault.tids()[0], fault.since_ns()[0]);
    scene.show(&[tid]);
    let mut said: BTreeMap<u64, f64> = BTreeMap::new();
    while seconds(begun, now_ns()) < 17.5 {
        let Shot { answered, page, .. } = scene.shot();
        said.insert(answered, known(&page, "vfork"));
        assert_nothing_blocked(&page, "a vfork wait under a reused id");
        pause();
    }
    let lives = fault.finish();
    let [first, second] = [&lives[0].1, &lives[1].1];
    assert_eq!(first.list::<i32>("tid"), second.list::<i32>("tid"), "one id");
    let second_since = second.number("since_ns");
    let longest = |from: u64, to: u64| said.range(from..to).map(|(_, said)| *said).fold(0.0, f64::max);
    let first_end = begun + first.number("ns");
    let (one, two) = (longest(begun, first_end), longest(second_since, u64::MAX));
    println!("observed: one id, {one:.2} s published of 9 s, then {two:.2} s of 9 s");
    assert!(one > 9.0 - SWEEP && two > 1.0, "both were seen: {one} s, {two} s");
    // A page may still tell of the first life until the look that finds its end; afterwards the second starts from
    // zero and never says more than its own truth.
    let settled = second_since + ((LOOK + LATE) * 1e9) as u64;
    for (answered, said) in said.range(settled..) {
        let truth = seconds(second_since, *answered);
        assert!(*said <= truth, "{said} s published, {truth} s true: the first life's time was counted");
    }
}

fn services() {
    let (v1, v2) = (Group::new("freezer"), Group::new("unified"));
    let (sleepers, fault) =
        (Fault::start("sleepers", &["3", "procs", "60"]), Fault::start("vfork_parent", &["60", "2"]));
    let members = process::children(sleepers.pid());
    members.iter().for_each(|pid| assert!(v1.add(*pid) && v2.add(*pid)));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("services.toml");
    let text = format!(
        "[[service]]\nname = \"forking\"\ncomm = \"vfork_paren.*\"\n\
         [[service]]\nname = \"v1\"\ncgroup = \"{}\"\n[[service]]\nname = \"v2\"\ncgroup = \"{}\"\n\
         [[service]]\nname = \"absent\"\ncomm = \"no such thing\"\n\
         [[service]]\nname = \"no_group\"\ncgroup = \"unified/no/such/group\"\n",
        v1.name(),
        v2.name()
    );
    std::fs::write(&file, text).expect("a scratch file");
    let scene = Scene::new(&["--config.file", file.to_str().expect("a scratch path")]);
    scene.show(&members);
    scene.show(&fault.tids());
    scene.show(&[fault.pid(), sleepers.pid()]);
    let tasks = |page: &Page, service: &str| page.expect("stall_service_tasks", &[("service", service)]);
    let blocked =
        |page: &Page, service: &str| page.value("stall_service_blocked_seconds", &[("service", service)]);
    // They were shown after the first walk, and their members come at the pace of another lane.
    wait_for(Duration::from_secs_f64(SWEEP + INTERVAL), "the services have their threads", || {
        let page = scene.exporter.scrape();
        (tasks(&page, "forking"), tasks(&page, "v1"), tasks(&page, "v2")) == (3.0, 2.0, 2.0)
    });
    wait_for(
        Duration::from_secs_f64(SWEEP + 6.0),
        "the forking one waits for longer than the threshold",
        || {
            let page = scene.exporter.scrape();
            assert_eq!(blocked(&page, "forking"), Some(0.0), "a vfork is not a hang");
            assert_eq!((blocked(&page, "v1"), blocked(&page, "v2")), (Some(0.0), Some(0.0)));
            assert_eq!((tasks(&page, "absent"), blocked(&page, "absent")), (0.0, None));
            assert_eq!((tasks(&page, "no_group"), blocked(&page, "no_group")), (0.0, None));
            assert!(tasks(&page, "init") > 0.0);
            assert_eq!(blocked(&page, "init"), Some(0.0));
            page.expect("stall_known_wait_tasks", &[("kind", "vfork")]) == 2.0
        },
    );
    // A new probe knows no members until it has read the groups. Not known is not absent.
    for lost in 1..=4 {
        let found = || scene.exporter.family().probes.first().copied();
        let probe = wait_until(Duration::from_secs(10), "there is a probe", found);
        let killed = now_ns();
        process::send_signal(probe, Signal::KILL);
        wait_for(Duration::from_secs(10), "it is gone", || !scene.exporter.family().probes.contains(&probe));
        while seconds(killed, now_ns()) < 2.5 {
            let page = scene.exporter.scrape();
            assert_eq!((tasks(&page, "forking"), tasks(&page, "v1"), tasks(&page, "v2")), (3.0, 2.0, 2.0));
            pause();
        }
        assert_eq!(scene.exporter.scrape().expect("stall_probe_lost_total", &[]), f64::from(lost));
    }
    members.iter().for_each(|pid| process::send_signal(*pid, Signal::KILL));
    // Nobody reaps them, so they stay in /proc, and leave with the next reading of the groups and the walk after it.
    wait_for(Duration::from_secs_f64(SWEEP + INTERVAL), "the groups are empty", || {
        let page = scene.exporter.scrape();
        tasks(&page, "v1") == 0.0 && tasks(&page, "v2") == 0.0 && blocked(&page, "v2").is_none()
    });
    drop((fault, sleepers));
}
