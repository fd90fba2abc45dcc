//! Few file descriptors, and none at all: the exporter goes on with what it has, and has everything back afterwards.
//!
//! How: a shell lowers the limit, hard and soft, and becomes the exporter, which then knows how many connections it can
//! afford; or the limit of a running exporter is lowered below what it counted on.

use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};

use crate::client::{Client, QuietHost, deaf};
use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::{process, wait_for, wait_for_value, wait_until};

/// All the descriptors there are. The exporter itself holds about twenty.
const FEW: usize = 64;
/// What it leaves to itself.
const SPARE: usize = 32;
const CALM: Duration = Duration::from_secs(20);

/// Starts with few descriptors.
fn start(host: &QuietHost, args: &[&str]) -> Exporter {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {FEW} && exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_stall_exporter")).args(["--web.listen-address", "127.0.0.1:0"]);
    command.args(host.args()).args(args);
    let exporter = Exporter::start_command(command);
    assert_eq!(exporter.scrape().expect("process_max_fds", &[]), FEW as f64, "the limit is in force");
    wait_for(CALM, "the first walk has ended", || exporter.get("/-/ready", &[]).status == 200);
    exporter
}

/// Starts with many, and leaves few.
fn start_and_take_away(host: &QuietHost, args: &[&str]) -> Exporter {
    let exporter = Exporter::start(&[&host.args()[..], args].concat());
    wait_for(CALM, "the first walk has ended", || exporter.get("/-/ready", &[]).status == 200);
    let few = Rlimit { current: Some(FEW as u64), maximum: Some(FEW as u64) };
    let pid = rustix::process::Pid::from_raw(exporter.pid());
    rustix::process::prlimit(pid, Resource::Nofile, few).expect("it is ours");
    exporter
}

fn all_are_back(exporter: &Exporter, held: usize) {
    wait_for_value(CALM, "all descriptors are back", &held, || process::fd_count(exporter.pid()));
}

#[test]
fn those_who_say_nothing_make_room() {
    let host = QuietHost::new();
    let exporter = start_and_take_away(&host, &["--web.head-deadline", "60s"]);
    let held = process::settled_fd_count(exporter.pid());
    // Five times as many as there are descriptors.
    let silent: Vec<Client> = (0..5 * FEW).map(|_| Client::new(exporter.address())).collect();
    let page = exporter.scrape();
    let failed = page.expect("stall_exporter_http_accept_errors_total", &[]) as usize;
    let evicted = page.expect("stall_exporter_http_evictions_total", &[]) as usize;
    assert!((4 * FEW..8 * FEW).contains(&failed), "{failed} failed attempts for {} clients", 5 * FEW);
    assert!(evicted >= 4 * FEW, "{evicted}");
    assert_eq!(
        page.expect("stall_exporter_http_turned_away_total", &[]),
        0.0,
        "nobody had asked for anything"
    );
    drop(silent);
    all_are_back(&exporter, held);
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
    eprintln!("descriptors: {failed} failed accepts, {evicted} evictions");
}

#[test]
fn when_all_are_being_answered_the_last_are_turned_away() {
    // The room for scrapes is not what runs out here.
    let host = QuietHost::new();
    let exporter = start_and_take_away(&host, &["--web.max-requests", "1024", "--web.write-deadline", "3s"]);
    let held = process::settled_fd_count(exporter.pid());
    let cpu = process::cpu_ns(exporter.pid());
    let deaf: Vec<Client> = (0..2 * FEW).map(|_| deaf(exporter.address())).collect();
    wait_for(CALM, "every one of them is cut or turned away", || deaf.iter().all(Client::is_reset_or_closed));
    let spent = Duration::from_nanos(process::cpu_ns(exporter.pid()) - cpu);
    let page = wait_until(CALM, "a scrape is answered again", || {
        Client::new(exporter.address()).ask("GET", "/metrics", "").ok().map(|_| exporter.scrape())
    });
    let turned_away = page.expect("stall_exporter_http_turned_away_total", &[]) as usize;
    let failed = page.expect("stall_exporter_http_accept_errors_total", &[]) as usize;
    assert!(turned_away > 0 && turned_away <= 2 * FEW, "{turned_away}");
    // One failure for each client that came too late, and rests in between: it does not spin.
    assert!(failed > 0 && failed <= 6 * FEW, "{failed} failed attempts for {} clients", 2 * FEW);
    drop(deaf);
    all_are_back(&exporter, held);
    eprintln!("descriptors: {turned_away} turned away, {failed} failed accepts, {spent:.1?} of CPU");
}

/// However many come, there is room for the pipe of a new probe.
#[test]
fn a_probe_that_dies_in_a_crowd_is_replaced() {
    let host = QuietHost::new();
    let exporter = start(&host, &["--web.head-deadline", "60s"]);
    exporter.wait_for_log(CALM, &format!("{FEW} descriptors leave room for {} connections", FEW - SPARE));
    let probe = exporter.family().probes[0];
    let walks = |page: &Page| page.expect("stall_probe_sweeps_total", &[("lane", "tasks")]);
    let silent: Vec<Client> = (0..5 * FEW).map(|_| Client::new(exporter.address())).collect();
    process::send_signal(probe, Signal::KILL);
    wait_until(CALM, "another probe is forked", || {
        exporter.family().probes.into_iter().find(|other| *other != probe)
    });
    let before = walks(&exporter.scrape());
    wait_for(CALM, "it walks", || walks(&exporter.scrape()) > before + 1.0);
    let page = exporter.scrape();
    // A scrape that comes while the connection of the one before still lingers takes one more place from the crowd.
    let open = page.expect("stall_exporter_http_connections", &[]) as usize;
    assert!(((FEW - SPARE) / 2..=FEW - SPARE).contains(&open), "the crowd is there: {open} connections");
    assert!(page.expect("stall_exporter_http_evictions_total", &[]) >= (5 * FEW - (FEW - SPARE)) as f64);
    assert_eq!(page.expect("stall_exporter_http_accept_errors_total", &[]), 0.0, "there was always one left");
    assert_eq!(page.expect("stall_probe_lost_total", &[]), 1.0, "the one that was killed");
    drop(silent);
}
