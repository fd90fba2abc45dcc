//! Hostile clients, one kind at a time and all at once. Whatever they do ends in bounded time, the next good scrape is
//! answered, the listener stays, and when they are gone nothing of them is left.
//!
//! A scraper that behaves runs beside every one of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::attacks::{
    CALM, endless, hasty, malformed, malformed_in_a_crowd, never_read, resets, silent, trickle,
};
use crate::client::{Client, QuietHost, Scraper, Seen, deaf};
use crate::support::exporter::{Exporter, end};
use crate::support::process::{self, Family};
use crate::support::{http, wait_for, wait_for_value, wait_until};

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    pid: process::Pid,
    threads: usize,
    descriptors: usize,
}

fn holdings(family: &Family) -> Vec<Holdings> {
    let of =
        |pid| Holdings { pid, threads: process::threads(pid).len(), descriptors: process::fd_count(pid) };
    family.all().into_iter().map(of).collect()
}

fn count(exporter: &Exporter, name: &str, labels: &[(&str, &str)]) -> f64 {
    exporter.scrape().expect(name, labels)
}

fn write_timeouts(exporter: &Exporter) -> f64 {
    count(exporter, "stall_exporter_http_timeouts_total", &[("kind", "write")])
}

/// Runs an attack beside a scraper, then waits until nothing of it is left.
fn survive(args: &[&str], attack: impl FnOnce(&Exporter)) -> Seen {
    let host = QuietHost::new();
    let exporter = Exporter::start(&[&host.args()[..], args].concat());
    let family = ready(&exporter);
    process::settled_fd_count(family.front);
    let before = holdings(&family);
    let scraper = Scraper::start(&exporter);
    attack(&exporter);
    let seen = scraper.stop();
    assert!(seen.quantile(0.5) < Duration::from_millis(250), "the scrape deadline: {}", seen.summary());
    wait_for_value(CALM, "the exporter holds what it held before", &before, || holdings(&family));
    let page = exporter.scrape();
    assert_eq!(page.expect("stall_exporter_http_panics_total", &[]), 0.0);
    assert_eq!(page.sum("stall_exporter_panics_total", &[]), 0.0);
    assert_eq!(page.expect("stall_exporter_http_connections", &[]), 1.0, "ours");
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200);
    assert_eq!(exporter.family(), family, "nobody was replaced");
    seen
}

/// Waits for the first walk, after which all processes and threads are there.
fn ready(exporter: &Exporter) -> Family {
    wait_for(CALM, "the first walk has ended", || exporter.get("/-/ready", &[]).status == 200);
    wait_until(CALM, "there is a probe with all its lanes", || {
        let family = exporter.family();
        let lanes = family.probes.first().map_or(0, |probe| process::threads(*probe).len());
        (lanes == 9).then_some(family)
    })
}

/// A real process that asks for hundreds of pages and is stopped before it has read one. It ends with the test.
struct Stopped(Child);

impl Stopped {
    fn start(address: SocketAddr) -> Self {
        let script = format!(
            "exec 3<>/dev/tcp/{}/{} || exit 1; for i in {{1..400}}; do \
             printf 'GET /metrics HTTP/1.1\\r\\n\\r\\n' >&3; done; echo sent; sleep 60",
            address.ip(),
            address.port()
        );
        let child =
            Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut stopped = Self(child.expect("bash is there"));
        let mut line = [0; 5];
        stopped.0.stdout.take().expect("piped").read_exact(&mut line).expect("the requests are sent");
        process::send_signal(stopped.pid(), Signal::STOP);
        wait_for(CALM, "the client is stopped", || process::state(stopped.pid()) == Some('T'));
        stopped
    }

    fn pid(&self) -> process::Pid {
        process::Pid::try_from(self.0.id()).expect("a pid fits")
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Its `sleep` has only been started if it was not stopped in time, and ends by itself.
        process::send_signal(self.pid(), Signal::CONT);
        end(&mut self.0, Duration::from_secs(1));
    }
}

/// Runs `attack` until `act` has ended.
fn beside<T: Send>(attack: impl FnOnce(&AtomicBool) -> T + Send, act: impl FnOnce()) -> T {
    /// Tells also when `act` panics: the attack would never end.
    struct Tell<'a>(&'a AtomicBool);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| attack(&stop));
        let tell = Tell(&stop);
        act();
        drop(tell);
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs `attack` for a while.
fn during<T: Send>(time: Duration, attack: impl FnOnce(&AtomicBool) -> T + Send) -> T {
    beside(attack, || thread::sleep(time))
}

// ---- one kind at a time

#[test]
fn five_hundred_silent_connections() {
    // No deadline ends them here: only those who come after them do.
    let seen = survive(&["--web.head-deadline", "60s"], |exporter| {
        let evicted = || count(exporter, "stall_exporter_http_evictions_total", &[]);
        beside(
            |stop| silent(exporter.address(), 500, stop),
            || {
                wait_for(CALM, "256 fit, the others have made room", || evicted() >= 500.0 - 256.0);
                thread::sleep(Duration::from_millis(500));
            },
        );
        assert_eq!(count(exporter, "stall_exporter_http_turned_away_total", &[]), 0.0);
    });
    eprintln!("silent: {}", seen.summary());
}

#[test]
fn five_hundred_connections_with_a_byte_a_second() {
    let seen = survive(&["--web.max-connections", "600"], |exporter| {
        // All of them fit, so it is the deadline of their heads that must end them.
        let kind = &[("kind", "head")];
        beside(
            |stop| trickle(exporter.address(), 500, stop),
            || {
                let cut = || count(exporter, "stall_exporter_http_timeouts_total", kind);
                wait_for(CALM, "all of them are cut", || cut() >= 500.0);
            },
        );
        let page = exporter.scrape();
        assert_eq!(page.expect("stall_exporter_http_evictions_total", &[]), 0.0);
    });
    eprintln!("a byte a second: {}", seen.summary());
}

#[test]
fn requests_that_end_in_a_reset() {
    let seen = survive(&[], |exporter| {
        resets(exporter.address(), 3_000, &AtomicBool::new(false));
    });
    eprintln!("resets: {}", seen.summary());
}

#[test]
fn heads_without_an_end() {
    let seen = survive(&[], |exporter| {
        let (cut, most) = during(Duration::from_secs(1), |stop| endless(exporter.address(), stop));
        assert!(cut > 1, "{cut}");
        // 8 KiB of head, a megabyte that is thrown away so that the answer arrives, and the kernel's buffers.
        assert!(most < 16 << 20, "{most} bytes were taken");
        eprintln!("endless heads: {cut} cut, the longest after {most} bytes");
    });
    eprintln!("endless heads: {}", seen.summary());
}

#[test]
fn a_hundred_clients_that_never_read() {
    let args = ["--web.max-requests", "256", "--web.write-deadline", "1s"];
    let seen = survive(&args, |exporter| {
        // Each waits at a write, so each must be cut, by a deadline of its own.
        beside(
            |stop| never_read(exporter.address(), 100, stop),
            || {
                wait_for(CALM, "all of them are cut", || write_timeouts(exporter) >= 100.0);
            },
        );
    });
    eprintln!("deaf: {}", seen.summary());
}

#[test]
fn a_hundred_clients_that_never_read_and_little_room() {
    let host = QuietHost::new();
    let args = ["--web.max-requests", "4", "--web.write-deadline", "20s"];
    let exporter = Exporter::start(&[&host.args()[..], &args].concat());
    ready(&exporter);
    let deaf: Vec<Client> = (0..100).map(|_| deaf(exporter.address())).collect();
    // The room is taken by those who read nothing; they lose it a quarter of a second later, not in twenty.
    let begun = Instant::now();
    wait_for(CALM, "a good scrape is answered", || exporter.get("/metrics", &[]).status == 200);
    wait_for(CALM, "and another", || exporter.get("/metrics", &[]).status == 200);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "long before the write deadline: {:?}",
        begun.elapsed()
    );
    wait_for(CALM, "somebody was cut", || {
        let cut = exporter.get("/metrics", &[]).text().contains("timeouts_total{kind=\"write\"} 0\n");
        !cut
    });
    drop(deaf);
}

#[test]
fn fifty_hasty_clients_that_keep_their_connections() {
    let mut answered = 0;
    let seen = survive(&["--web.max-requests", "64"], |exporter| {
        let address = exporter.address();
        let all = during(Duration::from_secs(2), |stop| {
            thread::scope(|scope| {
                let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| hasty(address, stop))).collect();
                clients.into_iter().map(|client| client.join().expect("a hasty client")).collect::<Vec<_>>()
            })
        });
        assert_eq!(all.len(), 50);
        assert!(all.iter().all(|answers| *answers > 0), "somebody was never answered: {all:?}");
        answered = all.iter().sum();
    });
    eprintln!("hasty: {answered} answers; {}", seen.summary());
}

#[test]
fn what_is_no_request() {
    let seen = survive(&[], |exporter| {
        malformed(exporter.address());
        // Half a request and a half-closed connection: the answer cannot come, and the end does.
        let mut half = http::connect(exporter.address());
        half.write_all(b"GET /metrics HTTP/1.1\r\nX: ").expect("a new connection takes half a request");
        half.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(half.read_to_end(&mut Vec::new()).expect("an orderly end"), 0);
    });
    eprintln!("no request: {}", seen.summary());
}

#[test]
fn a_stopped_process_at_the_other_end() {
    let seen = survive(&["--web.write-deadline", "1s"], |exporter| {
        let client = Stopped::start(exporter.address());
        wait_for(CALM, "the exporter gives it up", || write_timeouts(exporter) >= 1.0);
        assert_eq!(process::state(client.pid()), Some('T'), "and it never moved");
    });
    eprintln!("stopped: {}", seen.summary());
}

// ---- all at once

#[test]
fn all_of_them_at_once() {
    // Room for all that ask at once: who is refused for want of room is in a test of its own.
    let args = ["--web.max-requests", "512", "--web.max-connections", "512", "--web.write-deadline", "1s"];
    let seen = survive(&args, |exporter| {
        let address = exporter.address();
        let stopped = Stopped::start(address);
        during(Duration::from_secs(6), |stop| {
            thread::scope(|scope| {
                scope.spawn(|| silent(address, 500, stop));
                scope.spawn(|| trickle(address, 500, stop));
                scope.spawn(|| resets(address, usize::MAX, stop));
                scope.spawn(|| endless(address, stop));
                scope.spawn(|| never_read(address, 100, stop));
                for _ in 0..50 {
                    scope.spawn(|| hasty(address, stop));
                }
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        malformed_in_a_crowd(address);
                    }
                });
            });
        });
        drop(stopped);
    });
    eprintln!("all at once: {}", seen.summary());
}
