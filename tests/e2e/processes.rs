//! Front, warden and probe, each killed and each stopped: what goes on, what ends, and that nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::Case;
use crate::scene::{INTERVAL, LATE, LOOK, SWEEP, Scene, Shot, known, pause, vfork};
use crate::support::exporter::{Exporter, wait_until_gone};
use crate::support::process::{Family, Pid, alive, send_signal, state};
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("processes::a_killed_probe_is_replaced", killed_probe),
    Case::together("processes::a_stopped_probe_is_replaced", stopped_probe),
    Case::together("processes::a_probe_stopped_for_a_moment_stays", paused_probe),
    Case::together("processes::a_stopped_warden_is_told_and_waited_for", stopped_warden),
    Case::together("processes::a_lane_hangs_while_the_warden_is_stopped", stopped_warden_and_hang),
    Case::together("processes::a_stopped_front_blames_nobody", stopped_front),
    Case::together("processes::a_killed_warden_ends_front_with_a_line", killed_warden),
    Case::together("processes::a_killed_front_takes_the_rest_along", killed_front),
    Case::together("processes::a_killed_front_takes_stopped_ones_along", killed_front_of_stopped),
    Case::together("processes::sigterm_ends_all", terminated),
    Case::together("processes::sigint_to_the_group_ends_all", interrupted),
];

const SECOND: Duration = Duration::from_secs(1);

/// Front, its warden and its only probe.
fn family(exporter: &Exporter) -> (Family, Pid, Pid) {
    wait_until(10 * SECOND, "warden and probe are there", || {
        let family = exporter.family();
        let probe = *family.probes.first().filter(|_| family.probes.len() == 1)?;
        Some((family.clone(), family.warden?, probe))
    })
}

/// A scene in which a wait has been seen for a while.
fn with_a_wait(args: &[&str]) -> (Scene, crate::support::fault::Fault, u64) {
    let scene = Scene::new(args);
    let (fault, tid, since) = vfork(120);
    scene.show(&[tid]);
    wait_for(Duration::from_secs_f64(SWEEP + 1.0), "the wait is known", || {
        known(&scene.exporter.scrape(), "vfork") > 0.5
    });
    (scene, fault, since)
}

/// The wait goes on as if nothing had been. `visible` is when it was known.
fn assert_wait_goes_on(scene: &Scene, since: u64, visible: u64) {
    let Shot { asked, answered, page } = scene.shot();
    let said = known(&page, "vfork");
    let (least, most) = (seconds(visible, asked) - INTERVAL - LOOK - LATE, seconds(since, answered));
    assert!(said <= most && said >= least, "{said} s published; true {most} s, at least {least} s");
}

fn killed_probe() {
    let (scene, _fault, since) = with_a_wait(&[]);
    let visible = now_ns();
    let (_, _, probe) = family(&scene.exporter);
    let sweeps =
        |page: &crate::support::page::Page| page.expect("stall_probe_sweeps_total", &[("lane", "tasks")]);
    let before = sweeps(&scene.exporter.scrape());
    send_signal(probe, Signal::KILL);
    let killed = now_ns();
    let other = wait_until(4 * SECOND, "another probe is there", || {
        scene.exporter.family().probes.into_iter().find(|pid| *pid != probe)
    });
    let replaced = seconds(killed, now_ns());
    wait_for(Duration::from_secs_f64(SWEEP), "it walks", || sweeps(&scene.exporter.scrape()) > before);
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_probe_lost_total", &[]), 1.0);
    assert_eq!(page.expect("stall_probe_spawned_total", &[]), 2.0);
    assert_eq!(page.sum("stall_probe_abandoned_total", &[]), 0.0);
    assert_eq!(page.expect("stall_probe_abandoned_processes", &[]), 0.0);
    assert_wait_goes_on(&scene, since, visible);
    println!("observed: probe {probe} killed, {other} there after {replaced:.2} s");
}

fn stopped_probe() {
    let (scene, _fault, since) = with_a_wait(&["--probe.stuck-after", "2s"]);
    let visible = now_ns();
    let (_, _, probe) = family(&scene.exporter);
    send_signal(probe, Signal::STOP);
    let mut sources = std::collections::BTreeSet::new();
    wait_for(10 * SECOND, "it is abandoned and gone", || {
        let page = scene.exporter.scrape();
        let stuck = page.samples("stall_probe_stuck_seconds").filter_map(|s| s.label("source"));
        sources.extend(stuck.map(str::to_owned));
        page.sum("stall_probe_abandoned_total", &[]) >= 1.0 && !alive(probe)
    });
    sources.remove("none");
    assert!(!sources.is_empty(), "somebody was stuck somewhere");
    assert!(
        sources.iter().all(|source| source == "wake-up" || source == "work" || source.starts_with('/')),
        "{sources:?}"
    );
    // Harmless: the id belongs to nobody any more.
    send_signal(probe, Signal::CONT);
    wait_for(Duration::from_secs_f64(SWEEP), "all lanes are well", || {
        let page = scene.exporter.scrape();
        page.sum("stall_probe_stuck_seconds", &[]) == 0.0
            && page.expect("stall_probe_abandoned_processes", &[]) == 0.0
    });
    assert_eq!(scene.exporter.scrape().expect("stall_probe_lost_total", &[]), 0.0);
    wait_for(Duration::from_secs_f64(SWEEP), "the wait goes on", || {
        known(&scene.exporter.scrape(), "vfork") > seconds(visible, now_ns()) - 1.0
    });
    assert_wait_goes_on(&scene, since, visible);
    println!("observed: stopped in {sources:?}");
}

fn paused_probe() {
    let (scene, _fault, since) = with_a_wait(&[]);
    let visible = now_ns();
    let (before, _, probe) = family(&scene.exporter);
    send_signal(probe, Signal::STOP);
    std::thread::sleep(2 * SECOND);
    assert_eq!(state(probe), Some('T'));
    send_signal(probe, Signal::CONT);
    std::thread::sleep(Duration::from_secs_f64(SWEEP));
    let page = scene.exporter.scrape();
    assert_eq!(page.sum("stall_probe_abandoned_total", &[]), 0.0);
    assert_eq!(page.expect("stall_probe_spawned_total", &[]), 1.0);
    assert_eq!(scene.exporter.family(), before);
    assert_wait_goes_on(&scene, since, visible);
}

fn stopped_warden() {
    let (scene, _fault, since) = with_a_wait(&[]);
    let visible = now_ns();
    let (before, warden, _) = family(&scene.exporter);
    let silent = |scene: &Scene| scene.exporter.scrape().expect("stall_warden_silent_seconds", &[]);
    assert!(silent(&scene) < 0.5, "a warden that answers is not silent");
    send_signal(warden, Signal::STOP);
    let stopped = now_ns();
    let mut last = 0.0;
    while seconds(stopped, now_ns()) < 7.0 {
        let Shot { answered, page, .. } = scene.shot();
        let now = page.expect("stall_warden_silent_seconds", &[]);
        assert!(now >= last, "it grows: {last}, then {now}");
        assert!(now <= seconds(stopped, answered) + 0.5, "not more than the truth and a ping under way");
        last = now;
        pause();
    }
    assert!(last >= 5.0, "silent for {last} s of 7");
    assert_wait_goes_on(&scene, since, visible);
    send_signal(warden, Signal::CONT);
    wait_for(3 * SECOND, "it answers again", || silent(&scene) < 0.5);
    assert_eq!(scene.exporter.family(), before, "nobody was replaced");
    println!("observed: silent for {last:.2} s of 7 s");
}

/// Orders to a warden that stands still are kept for it, and there are few of them.
fn stopped_warden_and_hang() {
    let scene =
        Scene::new(&["--probe.stuck-after", "1s", "--probe.backoff-max", "2s", "--tasks.interval", "1s"]);
    let (before, warden, probe) = family(&scene.exporter);
    send_signal(warden, Signal::STOP);
    scene.tree.invent(4242, 4242, "hung").fifo("4242/schedstat");
    let abandoned = |scene: &Scene| scene.exporter.scrape().sum("stall_probe_abandoned_total", &[]);
    wait_for(8 * SECOND, "the order to kill is given", || abandoned(&scene) >= 1.0);
    std::thread::sleep(5 * SECOND);
    let page = scene.exporter.scrape();
    assert_eq!(page.sum("stall_probe_abandoned_total", &[]), 1.0, "nobody else was there to be abandoned");
    assert_eq!(page.expect("stall_probe_spawned_total", &[]), 2.0);
    assert_eq!(page.expect("stall_probe_abandoned_processes", &[]), 1.0);
    assert_eq!(scene.exporter.family(), before, "nothing happens without the warden");
    send_signal(warden, Signal::CONT);
    wait_for(3 * SECOND, "the orders are carried out", || {
        let probes = scene.exporter.family().probes;
        !probes.contains(&probe) && probes.len() == 1
    });
    scene.tree.release("4242/schedstat", "1000000 1000 1\n");
    wait_for(8 * SECOND, "all is well", || {
        let page = scene.exporter.scrape();
        page.sum("stall_probe_stuck_seconds", &[]) == 0.0
            && page.expect("stall_probe_abandoned_processes", &[]) == 0.0
    });
}

/// After a pause of its own front does not take the lanes' silence for a hang.
fn stopped_front() {
    let (scene, _fault, since) = with_a_wait(&["--probe.stuck-after", "3s"]);
    let visible = now_ns();
    let (before, ..) = family(&scene.exporter);
    send_signal(scene.exporter.pid(), Signal::STOP);
    std::thread::sleep(8 * SECOND);
    send_signal(scene.exporter.pid(), Signal::CONT);
    assert_wait_goes_on(&scene, since, visible);
    std::thread::sleep(5 * SECOND);
    let page = scene.exporter.scrape();
    assert_eq!(page.sum("stall_probe_abandoned_total", &[]), 0.0);
    assert_eq!(page.expect("stall_probe_spawned_total", &[]), 1.0);
    assert_eq!(scene.exporter.family(), before);
    assert!(page.expect("stall_exporter_loop_lag_seconds", &[]) >= 6.0, "the pause is on the page");
    assert_wait_goes_on(&scene, since, visible);
}

/// Everything of a family ends, and another exporter can listen where it did.
fn assert_all_gone(gone: &Family, address: SocketAddr, within: Duration) {
    wait_until_gone(within, gone);
    let next = Exporter::start_at(address, &[]);
    assert_eq!(next.address(), address, "the port was free at once");
    assert!(next.stop().success());
}

fn killed_warden() {
    let mut exporter = Exporter::start(&[]);
    let address = exporter.address();
    let (before, warden, _) = family(&exporter);
    send_signal(warden, Signal::KILL);
    let status = exporter.wait_for_end(3 * SECOND);
    assert_eq!(status.code(), Some(1), "{status}");
    let log = exporter.log();
    let said: Vec<&String> = log.iter().filter(|line| line.starts_with("stall_exporter: ")).collect();
    assert_eq!(said.len(), 1, "one line: {log:?}");
    assert!(said[0].starts_with("stall_exporter: the warden process has ended"), "{said:?}");
    assert!(!log.iter().any(|line| line.contains("panic")), "{log:?}");
    assert_all_gone(&before, address, SECOND);
}

fn killed_front() {
    let mut exporter = Exporter::start(&[]);
    let (before, ..) = family(&exporter);
    send_signal(exporter.pid(), Signal::KILL);
    exporter.wait_for_end(3 * SECOND);
    assert_all_gone(&before, exporter.address(), SECOND);
}

fn killed_front_of_stopped() {
    let mut exporter = Exporter::start(&[]);
    let (before, warden, probe) = family(&exporter);
    send_signal(warden, Signal::STOP);
    send_signal(probe, Signal::STOP);
    send_signal(exporter.pid(), Signal::KILL);
    exporter.wait_for_end(3 * SECOND);
    assert_all_gone(&before, exporter.address(), SECOND);
}

fn terminated() {
    let exporter = Exporter::start(&[]);
    let (before, ..) = family(&exporter);
    let address = exporter.address();
    let asked = now_ns();
    let status = exporter.stop();
    let took = seconds(asked, now_ns());
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < 2.0, "it took {took} s to end");
    assert_all_gone(&before, address, SECOND);
}

fn interrupted() {
    let mut exporter = Exporter::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), &[]);
    let (before, ..) = family(&exporter);
    let group = rustix::process::Pid::from_raw(exporter.pid()).expect("a pid is above zero");
    rustix::process::kill_process_group(group, Signal::INT).expect("our own group");
    let status = exporter.wait_for_end(2 * SECOND);
    assert_eq!(status.code(), Some(0), "{status}");
    assert_all_gone(&before, exporter.address(), SECOND);
}
