//! Ten thousand threads, and every limit reached: what is counted, what is dropped, and that it is said.

use std::time::Duration;

use crate::harness::Case;
use crate::scene::{INTERVAL, LATE, SWEEP, Scene, Shot, assert_nothing_blocked, known, pause};
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::process;
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("scale::a_full_table_keeps_its_old_waits", rows_full),
    Case::together("scale::threads_past_the_limit_are_counted", threads_full),
    Case::together("scale::a_crowd_in_d_does_not_end_the_walks", looks_within_the_budget),
    Case::alone("scale::ten_thousand_threads", ten_thousand),
];

fn dropped(page: &Page, limit: &str) -> f64 {
    page.expect("stall_exporter_dropped_total", &[("limit", limit)])
}

fn sweeps(page: &Page) -> f64 {
    page.expect("stall_probe_sweeps_total", &[("lane", "tasks")])
}

/// Rows are 16 at least; of 40 waits in D the 10 that were there first stay.
fn rows_full() {
    let args = [
        "--tasks.cpu-budget",
        "0.5",
        "--tasks.rows-max",
        "16",
        "--blocked.threshold",
        "1s",
        "--tasks.interval",
        "1s",
    ];
    let scene = Scene::new(&args);
    let old = Fault::start("vfork_parent", &["60", "10"]);
    scene.show(&old.tids());
    let shown = now_ns();
    let waits = |page: &Page| page.expect("stall_known_wait_tasks", &[("kind", "vfork")]);
    wait_for(Duration::from_secs_f64(3.0 + LATE), "the old ones are known", || {
        waits(&scene.exporter.scrape()) == 10.0
    });
    let young = Fault::start("vfork_parent", &["60", "30"]);
    scene.show(&young.tids());
    wait_for(Duration::from_secs_f64(1.0 + LATE), "a limit is reached", || {
        dropped(&scene.exporter.scrape(), "tasks.rows_max") > 0.0
    });
    let until = now_ns() + 5_000_000_000;
    let mut last = 0.0;
    while now_ns() < until {
        let Shot { asked, page, .. } = scene.shot();
        assert_nothing_blocked(&page, "a full table");
        assert!(waits(&page) >= 10.0 && waits(&page) <= 16.0, "{}", waits(&page));
        let said = known(&page, "vfork");
        assert!(said >= last, "the oldest kept its place: {last}, then {said}");
        assert!(said >= seconds(shown, asked) - 1.0 - 2.0 * LATE, "{said}");
        last = said;
        pause();
    }
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_tasks", &[("state", "D")]), 40.0, "counts are of all");
    assert_eq!(waits(&page), 16.0, "and the table is full");
    let gone = old.tids();
    drop(old);
    // A busy machine gives their ids to others within seconds.
    for tid in gone {
        scene.tree.remove(&tid.to_string());
    }
    // A thread of PID 1 that runs is a row too, and takes none of these places.
    let freed = now_ns();
    loop {
        let page = scene.exporter.scrape();
        if page.expect("stall_tasks", &[("state", "D")]) == 30.0 && waits(&page) == 16.0 {
            break;
        }
        let families =
            ["stall_tasks", "stall_known_wait_tasks", "stall_probe_interval_seconds", "stall_blocked_tasks"];
        let there: Vec<_> = families.iter().flat_map(|name| page.samples(name)).collect();
        assert!(
            seconds(freed, now_ns()) < 2.0 + 3.0 * LATE,
            "places that came free are not taken: {there:?}"
        );
        pause();
    }
    drop(young);
}

fn threads_full() {
    let scene =
        Scene::new(&["--tasks.threads-max", "100", "--tasks.rows-max", "64", "--tasks.interval", "1s"]);
    assert_eq!(dropped(&scene.exporter.scrape(), "tasks.threads_max"), 0.0);
    let crowd = Fault::start("sleepers", &["300", "threads", "60"]);
    scene.show(&[crowd.pid()]);
    wait_for(Duration::from_secs_f64(1.0 + LATE), "the limit is reached", || {
        dropped(&scene.exporter.scrape(), "tasks.threads_max") > 0.0
    });
    let page = scene.exporter.scrape();
    assert!(page.sum("stall_tasks", &[]) <= 100.0, "{}", page.sum("stall_tasks", &[]));
    assert!(page.sum("stall_tasks", &[]) >= 90.0, "{}", page.sum("stall_tasks", &[]));
    // Every walk drops what is past the limit: all of 300 and PID 1's own, but 100.
    let (first, then) = (page, now_ns());
    wait_for(Duration::from_secs_f64(3.0 + LATE), "three walks later", || {
        sweeps(&scene.exporter.scrape()) >= sweeps(&first) + 3.0
    });
    let more = dropped(&scene.exporter.scrape(), "tasks.threads_max") - dropped(&first, "tasks.threads_max");
    assert!(more >= 3.0 * 200.0, "{more} dropped by three walks in {} s", seconds(then, now_ns()));
    drop(crowd);
}

/// Looks at a crowd in D cost more than this budget. The walks go on all the same, rarer, and say so.
fn looks_within_the_budget() {
    let scene = Scene::new(&[
        "--tasks.cpu-budget",
        "0.001",
        "--tasks.look-interval",
        "10ms",
        "--tasks.interval",
        "1s",
    ]);
    let crowd = Fault::start("vfork_parent", &["60", "60"]);
    scene.show(&crowd.tids());
    let begun = now_ns();
    wait_for(Duration::from_secs(20), "they are seen", || {
        scene.exporter.scrape().expect("stall_tasks", &[("state", "D")]) >= 60.0
    });
    let seen = now_ns();
    let cpu = |page: &Page| page.expect("stall_probe_cpu_seconds_total", &[("lane", "tasks")]);
    let before = scene.exporter.scrape();
    std::thread::sleep(Duration::from_secs(14));
    let page = scene.exporter.scrape();
    let walks = sweeps(&page) - sweeps(&before);
    let share = (cpu(&page) - cpu(&before)) / seconds(seen, now_ns());
    let interval = page.expect("stall_probe_interval_seconds", &[("lane", "tasks")]);
    println!(
        "observed: seen after {:.2} s; then {walks} walks in 14 s, interval {interval:.2} s, {:.3} % of a CPU",
        seconds(begun, seen),
        share * 100.0,
    );
    assert!(walks >= 2.0, "{walks} walks in 14 s, the next one in {interval} s");
    assert!(interval < 40.0, "{interval}: the walks pay for the looks");
}

fn ten_thousand() {
    // A budget with which the walks of a build without optimisation are not stretched.
    let scene = Scene::new(&["--tasks.cpu-budget", "0.5"]);
    let root = scene.tree.path().to_str().expect("a scratch path").to_owned();
    let tight = Exporter::start(&["--path.procfs", &root, "--tasks.cpu-budget", "0.0005"]);
    let exporter = &scene.exporter;
    let before = exporter.scrape().sum("stall_tasks", &[]);
    let crowd = Fault::start("sleepers", &["5000", "both", "120"]);
    assert_eq!(crowd.ready().number("count"), 10_000);
    scene.show(&[crowd.pid()]);
    scene.show(&process::children(crowd.pid()));
    let there = now_ns();
    // Threads of PID 1 come and go; nobody else is in the tree.
    let page = wait_until(Duration::from_secs_f64(SWEEP + INTERVAL), "all are counted", || {
        let page = exporter.scrape();
        (page.sum("stall_tasks", &[]) >= before + 9_995.0).then_some(page)
    });
    let counted = seconds(there, now_ns());
    let (all, sleeping) = (page.sum("stall_tasks", &[]), page.expect("stall_tasks", &[("state", "S")]));
    assert!((all - before - 10_000.0).abs() <= 5.0, "{all} counted, {before} before");
    assert!(sleeping >= 9_995.0, "{sleeping} asleep");
    let processes = page.expect("stall_processes", &[]);
    assert_eq!(processes, 5_002.0, "PID 1, 5 000 alone and one of 5 000 threads");
    for limit in ["tasks.threads_max", "tasks.rows_max", "watched", "series", "log.queue"] {
        assert_eq!(dropped(&page, limit), 0.0, "{limit}");
    }
    for reason in ["denied", "failed"] {
        assert_eq!(page.expect("stall_exporter_missed_total", &[("reason", reason)]), 0.0, "{reason}");
    }
    assert_eq!(page.sum("stall_probe_stuck_seconds", &[]), 0.0);
    wait_for(Duration::from_secs_f64(2.0 * SWEEP), "another walk ends", || {
        sweeps(&exporter.scrape()) > sweeps(&page)
    });
    let stretched = wait_until(Duration::from_secs(30), "a small budget stretches the interval", || {
        let interval = tight.scrape().expect("stall_probe_interval_seconds", &[("lane", "tasks")]);
        (interval > INTERVAL).then_some(interval)
    });
    let page = exporter.scrape();
    println!(
        "observed: counted after {counted:.2} s; {} s of CPU in {} walks, interval {} s; with 0.05 % of a CPU \
         {stretched:.0} s",
        page.expect("stall_probe_cpu_seconds_total", &[("lane", "tasks")]),
        sweeps(&page),
        page.expect("stall_probe_interval_seconds", &[("lane", "tasks")]),
    );
    assert_nothing_blocked(&page, "ten thousand sleepers");
    drop(crowd);
}
