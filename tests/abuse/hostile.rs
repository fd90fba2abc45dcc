//! Hostile clients, one kind at a time and all at once. Whatever they do ends in bounded time, the next good scrape is
//! answered, the listener stays, and when they are gone nothing of them is left.
//!
//! How: each attack is a function that runs until it is told to stop, so that the same code serves alone and in the
//! crowd. A scraper that behaves runs beside every one of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::{Client, QuietHost, Scraper, Seen, deaf, reset};
use crate::support::exporter::{Exporter, end};
use crate::support::process::{self, Family};
use crate::support::{http, wait_for, wait_for_value, wait_until};

/// Longest time until the exporter is as it was: the deadlines for heads (2 s), writes (5 s) and lingering (1 s), and
/// a machine that is busy with other tests.
const CALM: Duration = Duration::from_secs(15);

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

// ---- the attacks

/// Connects and says nothing.
fn silent(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let silent: Vec<Client> = (0..clients).map(|_| Client::new(address)).collect();
    until_told(stop);
    drop(silent);
}

/// Sends a byte a second on each connection, and opens a new one for each that was cut.
fn trickle(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let connect = || (Client::new(address), 0_usize);
    let mut slow: Vec<_> = (0..clients).map(|_| connect()).collect();
    let head = b"GET /metrics HTTP/1.1\r\nX-Slow: ";
    while !stop.load(Ordering::SeqCst) {
        let round = Instant::now();
        for (client, sent) in &mut slow {
            let byte = head.get(*sent).copied().unwrap_or(b'x');
            *sent += 1;
            if client.send(&[byte]).is_err() {
                (*client, *sent) = connect();
            }
        }
        while round.elapsed() < Duration::from_secs(1) && !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Asks and resets at once, in the middle of whatever the exporter does about it, so many times at most.
fn resets(address: SocketAddr, most: usize, stop: &AtomicBool) {
    let mut done = 0;
    while done < most && !stop.load(Ordering::SeqCst) {
        let mut client = Client::new(address);
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n").expect("a new connection takes a request");
        // Some before the request is read, some while the answer is written.
        if done % 3 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        reset(client);
        done += 1;
    }
}

/// Sends header lines without an end, again and again. Returns how many connections were cut, and the most bytes that
/// one of them got rid of.
fn endless(address: SocketAddr, stop: &AtomicBool) -> (usize, usize) {
    let lines = b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n".repeat(400);
    let (mut cut, mut most) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let mut client = Client::new(address);
        client.send(b"GET /metrics HTTP/1.1\r\n").expect("a new connection takes a line");
        let mut sent = 0;
        while client.send(&lines).is_ok() {
            sent += lines.len();
            assert!(sent < 256 << 20, "256 MiB of head were taken");
        }
        (cut, most) = (cut + 1, sent.max(most));
    }
    (cut, most)
}

/// Asks for far more than it has room for and reads nothing.
fn never_read(address: SocketAddr, clients: usize, stop: &AtomicBool) {
    let deaf: Vec<Client> = (0..clients).map(|_| deaf(address)).collect();
    until_told(stop);
    drop(deaf);
}

/// Keeps a connection and asks as fast as it is answered. Returns how many answers came.
fn hasty(address: SocketAddr, stop: &AtomicBool) -> usize {
    let mut client = Client::new(address);
    let mut answered = 0;
    while !stop.load(Ordering::SeqCst) {
        let headers = if answered % 2 == 0 { "Accept-Encoding: gzip\r\n" } else { "" };
        let path = match answered % 4 {
            2 => "/stalls",
            3 => "/stalls.json",
            _ => "/metrics",
        };
        match client.ask("GET", path, headers) {
            Ok(response) => {
                assert_eq!(response.status, 200, "{}", response.text());
                answered += 1;
            }
            // A kept connection may be given up for a newcomer between two requests.
            Err(_given_up) => client = Client::new(address),
        }
    }
    answered
}

/// What is no request, and the status that is answered.
fn garbage() -> Vec<(Vec<u8>, u16)> {
    let tls = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    let noise: Vec<u8> = (0_u32..4096).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    vec![
        (tls, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        (vec![0; 1000], 400),
        (b"GET /metrics\0 HTTP/1.1\r\n\r\n".to_vec(), 400),
        (noise, 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n".to_vec(), 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), 400),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), 400),
        (b"\r\n\r\n\r\n\r\n:\r\n\r\n".to_vec(), 400),
        ([&b"GET /"[..], &b"a".repeat(20_000), b" HTTP/1.1\r\n\r\n"].concat(), 431),
        ([&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(100), b"\r\n"].concat(), 431),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec(), 405),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(), 413),
    ]
}

/// Sends every kind of garbage and reads the answer, then ten megabytes of it at once.
fn malformed(address: SocketAddr) {
    for (bytes, status) in garbage() {
        let mut client = Client::new(address);
        // The answer may be there, and the connection closed, before the last byte is sent.
        let _cut = client.send(&bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let reply = client.reply(true).unwrap_or_else(|fault| panic!("{shown:?}: {fault}"));
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{shown:?}");
        assert_eq!(reply.text().lines().count(), 1, "{shown:?}");
    }
    let mut client = Client::new(address);
    let begun = Instant::now();
    let taken = client.send(&vec![0xff; 10 << 20]);
    taken.expect_err("ten megabytes of garbage were taken to the end");
    assert!(begun.elapsed() < CALM, "{:?}", begun.elapsed());
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

fn until_told(stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(10));
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

/// As [`malformed`], but whoever has not sent a whole head may be evicted before it is heard, so only the end of each
/// connection is waited for.
fn malformed_in_a_crowd(address: SocketAddr) {
    for (bytes, _status) in garbage() {
        let mut stream = http::connect(address);
        let _cut = stream.write_all(&bytes);
        let _nobody_there = stream.shutdown(Shutdown::Write);
        let ended = stream.read_to_end(&mut Vec::new());
        let timed_out = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(!ended.is_err_and(timed_out), "garbage was never answered nor cut");
    }
}
