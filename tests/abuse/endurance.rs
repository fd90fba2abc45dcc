//! An hour in short: as many walks as an hour has with the default interval, while processes are born and end by the
//! thousand, control groups come and go by the hundred and hostile clients do all they can at once. Afterwards nothing
//! is more than it was: no process, thread, descriptor, series, and no memory.
//!
//! How: the same storm twice. The first, shorter one is the warm-up, after which every table, buffer and arena has its
//! size. Looks are taken when the storm has passed: what is held within it depends on the moment.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacks::{CALM, endless, hasty, malformed_in_a_crowd, never_read, resets, silent, trickle};
use crate::client::{Scraper, Seen};
use crate::support::cgroup::{Group, ROOT};
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::{Page, Sample};
use crate::support::process::{self, Family, Pid};
use crate::support::{wait_for, wait_for_value, wait_until};

/// Walks of an hour with the default interval.
const WALKS: f64 = 3600.0 / 5.0;
const WARM_UP: Duration = Duration::from_secs(15);
/// A machine that is busy with other things needs longer for its walks; past so many times the time it fails.
const PATIENCE: u32 = 3;
/// Most that the memory behind no file may grow, all processes together: free space that the allocator keeps in one
/// place more. A leak of 32 bytes with each of the thousands of processes, groups or connections is past it in a run of
/// an hour (`STALL_ENDURANCE_SECONDS=3600`); a leak of a kilobyte with each walk is within the shortest.
const GROWTH_MAX: u64 = 1 << 20;
/// Groups that exist at once, and how long.
const GROUPS: usize = 200;
const GROUPS_STAY: Duration = Duration::from_millis(500);
const ARGS: [&str; 14] = [
    "--tasks.interval",
    "100ms",
    "--tasks.look-interval",
    "50ms",
    "--throttle.interval",
    "200ms",
    // The intervals are not stretched: what is asked for is many walks.
    "--tasks.cpu-budget",
    "1",
    "--web.write-deadline",
    "1s",
    // A probe that is late because the machine is busy is not a stuck one.
    "--probe.stuck-after",
    "60s",
    "--web.max-requests",
    "100",
];

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    pid: Pid,
    threads: usize,
    descriptors: usize,
}

/// The groups of other tests that run at the same time are not ours to count.
fn is_strange_group(text: &str) -> bool {
    text.contains("stall-test-") && !text.contains(&format!("stall-test-{}-", std::process::id()))
}

fn holdings(family: &Family) -> Vec<Holdings> {
    let of = |pid| {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        let targets =
            links.filter_map(|link| Some(fs::read_link(link.ok()?.path()).ok()?.display().to_string()));
        let descriptors = targets.filter(|target| !is_strange_group(target)).count();
        Holdings { pid, threads: process::threads(pid).len(), descriptors }
    };
    family.all().into_iter().map(of).collect()
}

fn anonymous(family: &Family) -> u64 {
    family.all().into_iter().map(process::pss_anon_bytes).sum()
}

/// The series that the host does not decide: what sleeps in which function under which name is its own affair.
fn series(page: &Page) -> BTreeSet<(String, Vec<(String, String)>)> {
    let ours =
        |sample: &&Sample| ["cgroup", "wchan", "comm"].iter().all(|label| sample.label(label).is_none());
    let samples = page.families.iter().flat_map(|family| &family.samples).filter(ours);
    samples.map(|sample| (sample.name.clone(), sample.labels.clone())).collect()
}

fn walks(page: &Page) -> f64 {
    page.expect("stall_probe_sweeps_total", &[("lane", "tasks")])
}

/// Makes groups with a quota and removes them, under ever new names, and counts them.
fn churn(parent: &Group, made: &AtomicUsize, stop: &AtomicBool) {
    let root = Path::new(ROOT).join(parent.name());
    while !stop.load(Ordering::SeqCst) {
        let first = made.load(Ordering::SeqCst);
        let groups: Vec<_> = (first..first + GROUPS).map(|number| root.join(format!("g{number}"))).collect();
        for group in &groups {
            fs::create_dir(group).expect("a group");
            fs::write(group.join("cpu.cfs_quota_us"), "50000").expect("a quota");
        }
        made.fetch_add(GROUPS, Ordering::SeqCst);
        thread::sleep(GROUPS_STAY);
        groups.iter().for_each(|group| fs::remove_dir(group).expect("an empty group"));
    }
}

/// Every kind of hostile client, so few of each that there is time for walks.
fn crowd(address: SocketAddr, stop: &AtomicBool) {
    thread::scope(|scope| {
        scope.spawn(|| silent(address, 300, stop));
        scope.spawn(|| trickle(address, 100, stop));
        scope.spawn(|| endless(address, stop));
        scope.spawn(|| hasty(address, stop));
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                resets(address, 20, stop);
                malformed_in_a_crowd(address);
                let pause = AtomicBool::new(false);
                thread::scope(|scope| {
                    scope.spawn(|| never_read(address, 20, &pause));
                    thread::sleep(Duration::from_millis(1500));
                    pause.store(true, Ordering::SeqCst);
                });
            }
        });
    });
}

/// What a storm did.
struct Storm {
    walks: f64,
    took: Duration,
    forks: u64,
    groups: usize,
    shown: usize,
    seen: Seen,
}

/// Everything at once, for so long, and until so many walks have been made.
fn storm(exporter: &Exporter, time: Duration, wanted: f64) -> Storm {
    let (begun, before) = (Instant::now(), walks(&exporter.scrape()));
    let faults = [
        Fault::start("storm", &["3600", "400"]),
        Fault::start("storm", &["3600", "100", "exec"]),
        Fault::start("flapper", &["3600", "20"]),
    ];
    let parent = Group::new("cpu");
    let (stop, made, mut shown) = (AtomicBool::new(false), AtomicUsize::new(0), 0);
    let scraper = Scraper::start(exporter);
    let mut done = before;
    thread::scope(|scope| {
        scope.spawn(|| churn(&parent, &made, &stop));
        scope.spawn(|| crowd(exporter.address(), &stop));
        while begun.elapsed() < time || (done - before < wanted && begun.elapsed() < time * PATIENCE) {
            thread::sleep(Duration::from_millis(300));
            // A panic here would leave the others without an end: an answer that never came is told below.
            let answer = exporter.get("/metrics", &[]);
            let Ok(page) = Page::parse(&answer.text()) else { break };
            done = walks(&page);
            let name = parent.name().trim_start_matches("cpu/");
            let of_ours = |sample: &&Sample| sample.label("cgroup").is_some_and(|group| group.contains(name));
            shown = shown.max(page.samples("stall_cgroup_cpu_quota_cores").filter(of_ours).count());
        }
        stop.store(true, Ordering::SeqCst);
    });
    let took = begun.elapsed();
    let ended = faults.map(Fault::stop);
    let forks = ended.iter().flatten().filter(|(word, _)| word == "ended").take(2);
    let forks = forks.map(|(_, facts)| facts.number("forks")).sum();
    Storm {
        walks: done - before,
        took,
        forks,
        groups: made.load(Ordering::SeqCst),
        shown,
        seen: scraper.stop(),
    }
}

/// The page when nobody is connected but us, and none of the storm's groups is known any more.
fn calm(exporter: &Exporter) -> Page {
    wait_until(2 * CALM, "the storm's connections and groups are gone", || {
        let page = exporter.scrape();
        let ours = format!("stall-test-{}-", std::process::id());
        let gone = page.families.iter().flat_map(|family| &family.samples);
        let gone = gone.filter_map(|sample| sample.label("cgroup")).all(|group| !group.contains(&ours));
        (gone && page.expect("stall_exporter_http_connections", &[]) == 1.0).then_some(page)
    })
}

/// The whole story; `time` is that of the second storm.
pub fn nothing_grows(time: Duration) {
    let exporter = Exporter::start(&ARGS);
    wait_for(CALM, "the first walk has ended", || exporter.get("/-/ready", &[]).status == 200);
    storm(&exporter, WARM_UP, 0.0);
    let page = calm(&exporter);
    let family = exporter.family();
    process::settled_fd_count(family.front);
    let (before, shown, memory) = (holdings(&family), series(&page), anonymous(&family));

    let storm = storm(&exporter, time, WALKS);
    let page = calm(&exporter);
    // Fewer is well: a group or a thread of the host that was watched before may have gone.
    wait_for(CALM, "threads and descriptors are no more than before", || {
        let now = holdings(&family);
        let no_more = |(then, now): (&Holdings, &Holdings)| {
            (then.pid, then.threads) == (now.pid, now.threads) && now.descriptors <= then.descriptors
        };
        now.len() == before.len() && before.iter().zip(&now).all(no_more)
    });
    let after = anonymous(&family);
    eprintln!(
        "endurance: {} walks in {:.0?}, {} forks, {} groups, {} of them on one page; {}; anonymous {memory} -> {after} \
         bytes; {before:?}",
        storm.walks,
        storm.took,
        storm.forks,
        storm.groups,
        storm.shown,
        storm.seen.summary()
    );
    assert!(storm.walks >= WALKS, "{} walks in {:?}", storm.walks, storm.took);
    assert!(storm.forks as f64 > 100.0 * storm.took.as_secs_f64(), "{} forks", storm.forks);
    assert!(storm.groups >= 1000 && storm.shown > 0, "{} groups, {} shown", storm.groups, storm.shown);
    assert!(page.sum("stall_exporter_http_timeouts_total", &[]) > 0.0, "nobody was slow");
    assert!(page.expect("stall_exporter_http_evictions_total", &[]) > 0.0, "nobody was silent");
    assert_eq!(exporter.family(), family, "nobody was replaced");
    for panics in
        ["stall_exporter_panics_total", "stall_exporter_http_panics_total", "stall_probe_panics_total"]
    {
        assert_eq!(page.sum(panics, &[]), 0.0, "{panics}");
    }
    let after_series = series(&page);
    let new: Vec<_> = after_series.difference(&shown).collect();
    assert!(new.is_empty(), "series that were not there before: {new:?}");
    assert!(after <= memory + GROWTH_MAX, "{memory} -> {after} bytes after {} walks", storm.walks);
}
