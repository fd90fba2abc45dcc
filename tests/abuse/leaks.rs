//! What scrapes leave behind: no thread, no descriptor, no memory.
//!
//! How: the exporter watches a small tree of its own, so that nothing but the scrapes differs between the two looks.
//! Four kept connections, half of them with gzip, share the scrapes with connections that are made for one scrape.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, QuietHost};
use crate::support::exporter::Exporter;
use crate::support::process::{self, Family, Pid};
use crate::support::{wait_for, wait_for_value};

const CALM: Duration = Duration::from_secs(20);
const KEPT: usize = 4;
/// Of so many scrapes one has a connection of its own.
const NEW_EVERY: usize = 20;
/// Scrapes before the first look: buffers have their size, the allocator its arenas.
const WARM_UP: usize = 2_000;
/// Most that the memory behind no file may grow, all processes together. A page is about 20 KiB and a few of them may
/// be alive at the second look that were not at the first, and the allocator may keep some free space; a leak of a
/// single allocation (32 bytes with its header) for each of 100 000 scrapes is three times as much.
const GROWTH_MAX: u64 = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
struct Process {
    role: &'static str,
    pid: Pid,
    threads: usize,
    descriptors: usize,
}

fn look(family: &Family) -> Vec<Process> {
    let roles = ["front", "warden", "probe"];
    let all = family.all();
    assert_eq!(all.len(), roles.len(), "{family:?}");
    let of = |(pid, role): (Pid, &'static str)| {
        let (threads, descriptors) = (process::threads(pid).len(), process::fd_count(pid));
        Process { role, pid, threads, descriptors }
    };
    all.into_iter().zip(roles).map(of).collect()
}

fn memory(family: &Family) -> (u64, u64) {
    let sum = |of: fn(Pid) -> u64| family.all().into_iter().map(of).sum();
    (sum(process::pss_anon_bytes), sum(process::pss_bytes))
}

/// `scrapes` in all, over all connections. Each one is read to its end and is a whole page.
fn scrape(address: SocketAddr, scrapes: usize) {
    let each = scrapes / KEPT;
    thread::scope(|scope| {
        for worker in 0..KEPT {
            scope.spawn(move || {
                let mut kept = Client::new(address);
                let headers = if worker % 2 == 0 { "Accept-Encoding: gzip\r\n" } else { "" };
                for number in 0..each {
                    let mut fresh = (number % NEW_EVERY == 0).then(|| Client::new(address));
                    let response = fresh.as_mut().unwrap_or(&mut kept).get("/metrics", headers);
                    assert_eq!(response.status, 200);
                    assert_eq!(response.header("content-encoding").is_some(), worker % 2 == 0);
                    assert!(response.body.len() > 1000, "{}", response.body.len());
                }
            });
        }
    });
}

/// Scrapes so often, and compares what the processes hold before and after.
pub fn nothing_is_left_behind(scrapes: usize) {
    let host = QuietHost::new();
    let exporter = Exporter::start(&host.args());
    wait_for(CALM, "the first walk has ended", || exporter.get("/-/ready", &[]).status == 200);
    scrape(exporter.address(), WARM_UP);
    let family = exporter.family();
    wait_for(CALM, "the warm-up's connections are gone", || {
        exporter.scrape().expect("stall_exporter_http_connections", &[]) == 1.0
    });
    process::settled_fd_count(family.front);
    let before = look(&family);
    let (anon, pss) = memory(&family);

    let (begun, cpu) = (Instant::now(), process::cpu_ns(family.front));
    scrape(exporter.address(), scrapes);
    let took = begun.elapsed();
    let cpu = Duration::from_nanos(process::cpu_ns(family.front) - cpu);

    wait_for_value(CALM, "threads and descriptors are as many as before", &before, || look(&family));
    let (anon_after, pss_after) = memory(&family);
    eprintln!(
        "leaks: {scrapes} scrapes in {took:.1?}, {:.0} us of CPU each; {before:?}; anonymous {anon} -> {anon_after} \
         bytes, all {pss} -> {pss_after} bytes",
        cpu.as_secs_f64() * 1e6 / scrapes as f64
    );
    assert!(anon_after <= anon + GROWTH_MAX, "{anon} -> {anon_after} bytes after {scrapes} scrapes");
    let page = exporter.scrape();
    assert!(page.expect("stall_exporter_http_requests_total", &[("code", "200")]) >= scrapes as f64);
    assert_eq!(page.expect("stall_exporter_http_panics_total", &[]), 0.0);
}
