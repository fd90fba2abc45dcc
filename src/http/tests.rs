//! The port under use and under abuse, over loopback.
#![expect(clippy::disallowed_methods, reason = "tests play client and engine themselves")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::sockopt;

use super::stats::Timeout;
use super::*;
use crate::base::clock::{self, Mono};
use crate::exposition::stalls::json;
use crate::runtime::board::Page;
use crate::snapshot::stall::{Report, SCHEMA, Stall};

/// No step of a test takes longer than this, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

fn limits() -> Web {
    Web {
        listen: Vec::new(),
        max_requests: 40,
        max_connections: 256,
        head_bytes_max: 8 * 1024,
        head_deadline: Duration::from_secs(2),
        write_deadline: Duration::from_secs(5),
        idle: Duration::from_secs(60),
        scrape_deadline: Duration::from_secs(5),
    }
}

/// How the engine's side of the board behaves.
enum Engine {
    /// A page with this text for each wish.
    Answers(Vec<u8>),
    /// One page at the start, none after.
    Stuck,
    /// Never a page.
    Silent,
}

impl Engine {
    fn text(text: &str) -> Self {
        Self::Answers(text.as_bytes().to_vec())
    }
}

/// Our own families for the page; panics when told to.
#[derive(Default)]
struct Own {
    panics: AtomicBool,
    /// Held by a test, it stops the loop.
    gate: Mutex<()>,
}

impl OwnMetrics for Own {
    fn append(&self, out: &mut Vec<u8>) {
        drop(self.gate.lock().unwrap());
        assert!(!self.panics.load(Ordering::SeqCst), "told to");
        out.extend_from_slice(b"own_metric 1\n");
    }
}

/// A port that is being served.
struct Port {
    addr: SocketAddr,
    board: Arc<Board>,
    stats: Arc<Stats>,
    own: Arc<Own>,
    /// Ticks of an engine that answers.
    ticks: Arc<AtomicU64>,
    stop: Arc<OwnedFd>,
    threads: Vec<JoinHandle<()>>,
}

impl Port {
    fn open(web: Web, engine: Engine) -> Self {
        let listeners = Listeners::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]).unwrap();
        let addr = listeners.addrs()[0];
        let board = Arc::new(Board::new().unwrap());
        let stats = Arc::new(Stats::new().unwrap());
        let own = Arc::new(Own::default());
        let ticks = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
        let mut threads = vec![thread::spawn({
            let (board, stats, own, stop) = (board.clone(), stats.clone(), own.clone(), stop.clone());
            move || {
                let site = Site { web: &web, board: &board, stats: &stats, own: &*own };
                serve(&listeners, site, stop.as_fd());
            }
        })];
        match engine {
            Engine::Silent => {}
            // Of long ago: a fresh page would answer by itself.
            Engine::Stuck => publish_built(&board, b"stuck_page 1\n", 0, Mono::default()),
            Engine::Answers(text) => {
                let (board, ticks, stop) = (board.clone(), ticks.clone(), stop.clone());
                threads.push(thread::spawn(move || answer_wishes(&board, &text, &ticks, &stop)));
            }
        }
        Self { addr, board, stats, own, ticks, stop, threads }
    }

    fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    fn get(&self, path: &str) -> Reply {
        self.client().get(path)
    }

    /// Stops the loop and returns when it has ended.
    fn close(&mut self) {
        rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()).unwrap();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.close();
        }
    }
}

fn publish(board: &Board, text: &[u8], answers: u64) {
    publish_built(board, text, answers, clock::now());
}

fn publish_built(board: &Board, text: &[u8], answers: u64, built: Mono) {
    board.publish(Page { text: text.to_vec(), built, answers, ..Page::default() });
}

fn answer_wishes(board: &Board, text: &[u8], ticks: &AtomicU64, stop: &OwnedFd) {
    loop {
        let mut fds =
            [PollFd::new(stop, PollFlags::IN), PollFd::from_borrowed_fd(board.engine_fd(), PollFlags::IN)];
        poll(&mut fds, None).unwrap();
        if !fds[0].revents().is_empty() {
            return;
        }
        // The time last: no wish that this tick answers is younger than its page.
        let (answers, built) = (board.engine_woken(), clock::now());
        ticks.fetch_add(1, Ordering::SeqCst);
        publish_built(board, text, answers, built);
    }
}

struct Client {
    stream: TcpStream,
    /// Received and not yet taken.
    input: Vec<u8>,
}

#[derive(Debug)]
struct Reply {
    code: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(of, _)| *of == name)
            .map(|(_, value)| value)
    }
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: Vec::new() }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).reply()
    }

    fn reply(&mut self) -> Reply {
        self.reply_with_body(true)
    }

    fn reply_with_body(&mut self, body: bool) -> Reply {
        let end = loop {
            match self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.receive(),
            }
        };
        let head = String::from_utf8(self.input.drain(..end).collect()).unwrap();
        let code = head[9..12].parse().unwrap();
        let mut reply = Reply { code, head, body: Vec::new() };
        let length = reply.header("Content-Length").unwrap().parse().unwrap();
        if body {
            while self.input.len() < length {
                self.receive();
            }
            reply.body = self.input.drain(..length).collect();
        }
        reply
    }

    fn receive(&mut self) {
        let mut bytes = [0; 65536];
        let taken = self.stream.read(&mut bytes).expect("an answer");
        assert!(taken > 0, "closed, after {:?}", String::from_utf8_lossy(&self.input));
        self.input.extend_from_slice(&bytes[..taken]);
    }

    /// Waits until the other end closes or resets the connection; what it says before is thrown away.
    fn wait_closed(&mut self) {
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("still open: {error}"),
            }
        }
    }
}

/// Waits for something that another thread brings about.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

// ---- use

#[test]
fn a_scrape_gets_a_fresh_page_and_our_own_metrics() {
    let port = Port::open(limits(), Engine::text("snapshot 1\n"));
    let reply = port.get("/metrics");
    assert_eq!(reply.code, 200);
    assert_eq!(reply.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(reply.header("Vary"), Some("Accept-Encoding"));
    assert_eq!(reply.header("Content-Encoding"), None);
    assert!(reply.text().starts_with("snapshot 1\n"));
    assert!(reply.text().contains("\nstall_exporter_http_connections 1\n"));
    assert!(reply.text().ends_with("own_metric 1\n"));
    assert_eq!(port.stats.stale_scrapes.get(), 0);
    assert_eq!(port.stats.scrapes(), 1);
}

#[test]
fn gzip_and_head_agree_with_the_plain_answer() {
    let port = Port::open(limits(), Engine::Answers(b"snapshot 1\n".repeat(10_000)));
    let mut client = port.client();
    let zipped = client.send("GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n").reply();
    assert_eq!(zipped.header("Content-Encoding"), Some("gzip"));
    assert!(zipped.body.len() < 10_000);
    let mut text = String::new();
    flate2::read::GzDecoder::new(zipped.body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("snapshot 1\n") && text.ends_with("own_metric 1\n"));

    let head = client.send("HEAD /metrics HTTP/1.1\r\n\r\n").reply_with_body(false);
    assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 110_000);
    // The next answer follows directly: HEAD had no body.
    assert_eq!(client.get("/-/healthy").code, 200);
}

#[test]
fn what_is_stuck_is_told_to_people_and_to_programs() {
    let port = Port::open(limits(), Engine::Silent);
    let mut client = port.client();
    let stall = Stall { title: "a\u{1b}[2J</h2><script>".to_owned(), ..Stall::default() };
    let report = Report { schema: SCHEMA.to_owned(), stalls: vec![stall], ..Report::default() };
    let publish = |built| {
        let text = b"a 1\n".to_vec();
        port.board.publish(Page {
            text,
            report: report.clone(),
            built,
            answers: u64::MAX,
            ..Page::default()
        });
    };
    publish(clock::now().plus(Duration::from_secs(3600)));

    let html = client.get("/stalls");
    assert_eq!((html.code, html.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!((html.header("Cache-Control"), html.header("Refresh")), (Some("no-store"), None));
    assert!(html.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    assert!(html.text().contains("a\\x1b[2J&lt;/h2&gt;&lt;script&gt;"), "{}", html.text());
    assert_eq!(client.get("/stalls?refresh=5").header("Refresh"), Some("5"));
    assert_eq!(client.get("/stalls?refresh=0").header("Refresh"), None);

    let plain = client.get("/stalls.json");
    assert_eq!((plain.code, plain.header("Content-Type")), (200, Some("application/json")));
    assert_eq!(json::decode(&plain.body).unwrap(), report);
    for path in ["/stalls", "/stalls.json"] {
        let whole = client.get(path);
        let zipped = client.send(format!("GET {path} HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n")).reply();
        assert_eq!(zipped.header("Content-Encoding"), Some("gzip"));
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(zipped.body.as_slice()).read_to_end(&mut text).unwrap();
        assert_eq!(text, whole.body);
        let head = client.send(format!("HEAD {path} HTTP/1.1\r\n\r\n")).reply_with_body(false);
        assert_eq!(head.header("Content-Length"), whole.header("Content-Length"));
    }

    // Of long ago, as from an engine that is stuck: it says so itself.
    publish(Mono::default());
    assert!(client.get("/stalls").text().contains("old: the exporter has not come to a newer look."));
    assert_eq!(json::decode(&client.get("/stalls.json").body).unwrap().notices.len(), 1);
    assert_eq!(port.stats.scrapes(), 0, "only /metrics is counted as a scrape");
}

#[test]
fn what_is_stuck_is_as_fresh_as_a_scrape() {
    let port = Port::open(limits(), Engine::Stuck);
    let mut waiting = port.client();
    waiting.send("GET /stalls HTTP/1.1\r\n\r\n");
    until("it asks for a tick", || port.board.engine_woken() == 1);
    publish(&port.board, b"now 1\n", 1);
    assert_eq!(waiting.reply().code, 200);
    let empty = Port::open(Web { scrape_deadline: Duration::from_millis(20), ..limits() }, Engine::Silent);
    assert_eq!(empty.get("/stalls").code, 503);
}

#[test]
fn every_path_and_method_has_its_answer() {
    let port = Port::open(limits(), Engine::Silent);
    let mut client = port.client();
    assert_eq!(client.get("/-/healthy").code, 200);
    let ready = client.get("/-/ready");
    assert_eq!((ready.code, ready.text()), (503, "not ready: the first tick has not ended yet\n"));
    publish(&port.board, b"a 1\n", 0);
    assert_eq!(client.get("/-/ready").code, 200);
    let landing = client.get("/?x");
    assert_eq!(landing.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(landing.text().starts_with("<!DOCTYPE html>"));
    assert_eq!(client.get("/metric").code, 404);
    assert_eq!(client.send("DELETE /metrics HTTP/1.1\r\n\r\n").reply().header("Allow"), Some("GET, HEAD"));
    assert_eq!(client.send("GET http://h/-/healthy HTTP/1.1\r\n\r\n").reply().code, 200);
}

#[test]
fn the_connection_is_closed_when_the_client_says_so() {
    let port = Port::open(limits(), Engine::text("a 1\n"));
    for head in ["GET /metrics HTTP/1.0\r\n\r\n", "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"] {
        let mut client = port.client();
        assert_eq!(client.send(head).reply().header("Connection"), Some("close"));
        client.wait_closed();
    }
    let mut old = port.client();
    for _ in 0..2 {
        let reply = old.send("GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").reply();
        assert_eq!(reply.header("Connection"), Some("keep-alive"));
    }
}

#[test]
fn fifty_kept_connections_at_once() {
    let port = Port::open(Web { max_requests: 50, ..limits() }, Engine::text("a 1\n"));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = port.client();
            thread::spawn(move || (0..20).all(|_| client.get("/metrics").code == 200))
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    assert_eq!(port.stats.scrapes(), 1000);
    assert_eq!(port.stats.evictions.get(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let port = Port::open(limits(), Engine::text("a 1\n"));
    let mut client = port.client();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n\r\n");
    client.send(
        [get("/-/healthy"), get("/metrics"), get("/nowhere"), get("/metrics"), "GET /-/rea".into()].concat(),
    );
    for code in [200, 200, 404, 200] {
        assert_eq!(client.reply().code, code);
    }
    assert_eq!(client.send("dy HTTP/1.1\r\n\r\n").reply().text(), "ready\n");
}

/// How: the loop is stopped while a heap of requests and a single one arrive, so that it finds both in one turn; the
/// number of scrapes so far is on the page.
#[test]
fn a_heap_of_requests_does_not_keep_others_waiting() {
    let port = Port::open(limits(), Engine::Silent);
    publish_built(&port.board, b"fresh 1\n", 0, clock::now().plus(Duration::from_secs(3600)));
    let (mut single, mut heap) = (port.client(), port.client());
    for client in [&mut single, &mut heap] {
        assert_eq!(client.get("/-/healthy").code, 200);
    }
    let stopped = port.own.gate.lock().unwrap();
    port.client().send("GET /metrics HTTP/1.1\r\n\r\n");
    until("the loop has stopped in a scrape", || port.stats.scrapes() == 1);
    heap.send("GET /metrics HTTP/1.1\r\n\r\n".repeat(100));
    single.send("GET /metrics HTTP/1.1\r\n\r\n");
    drop(stopped);
    let count = "stall_exporter_http_scrape_duration_seconds_count ";
    let reply = single.reply();
    let line = reply.text().lines().find_map(|line| line.strip_prefix(count)).unwrap();
    assert!(line.parse::<u64>().unwrap() <= 3, "it was number {line}");
    (0..100).for_each(|_| assert_eq!(heap.reply().code, 200));
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let port = Port::open(limits(), Engine::Silent);
    let mut client = port.client();
    client.send("GET /metrics HTTP/1.1\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    // Its end of input was there before the page was.
    publish(&port.board, b"late 1\n", u64::MAX);
    assert!(client.reply().text().starts_with("late 1\n"));
    client.wait_closed();
}

#[test]
fn stopping_drops_open_connections_and_frees_the_port() {
    let mut port = Port::open(limits(), Engine::Stuck);
    let mut waiting = port.client();
    waiting.send("GET /metrics HTTP/1.1\r\n\r\n");
    port.close();
    waiting.wait_closed();
    assert!(TcpStream::connect(port.addr).is_err());
}

// ---- fresh enough

#[test]
fn a_fresh_page_answers_without_a_wish() {
    let port = Port::open(limits(), Engine::Silent);
    // However slow the test is, this page stays fresh.
    publish_built(&port.board, b"fresh 1\n", 0, clock::now().plus(Duration::from_secs(3600)));
    let begun = Instant::now();
    assert!(port.get("/metrics").text().starts_with("fresh 1\n"));
    assert!(begun.elapsed() < limits().scrape_deadline, "nobody answers wishes here");
    assert_eq!(port.board.engine_woken(), 0, "no ticket was taken");
    assert_eq!(port.stats.stale_scrapes.get(), 0);
}

#[test]
fn a_storm_of_scrapes_is_not_a_storm_of_ticks() {
    const CLIENTS: u32 = 4;
    const EACH: u32 = 500;
    let port = Port::open(limits(), Engine::text("a 1\n"));
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = port.client();
            thread::spawn(move || (0..EACH).all(|_| client.get("/metrics").code == 200))
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    assert_eq!(port.stats.scrapes(), u64::from(CLIENTS * EACH));
    // Whenever a page stops being fresh each client makes one wish, and at worst each wish gets its own tick.
    let windows = begun.elapsed().as_millis() / 50 + 1;
    let ticks = u128::from(port.ticks.load(Ordering::SeqCst));
    assert!(ticks <= windows * u128::from(CLIENTS), "{ticks} ticks in {windows} windows");
}

// ---- the scrape deadline

#[test]
fn a_stuck_engine_costs_freshness_and_nothing_else() {
    let web = Web { scrape_deadline: Duration::from_millis(80), ..limits() };
    let port = Port::open(web, Engine::Stuck);
    let begun = Instant::now();
    let mut client = port.client();
    for stale in 1..=2 {
        let reply = client.get("/metrics");
        assert!(reply.text().starts_with("stuck_page 1\n"));
        // Our own numbers are never as old as the page.
        let line = format!("\nstall_exporter_http_stale_scrapes_total {stale}\n");
        assert!(reply.text().contains(&line), "{}", reply.text());
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(160) && took < limits().scrape_deadline, "{took:?}");
}

#[test]
fn half_of_the_scrape_timeout_is_the_longest_wait() {
    let port = Port::open(limits(), Engine::Stuck);
    let mut client = port.client();
    let begun = Instant::now();
    let head = "GET /metrics HTTP/1.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.2\r\n\r\n";
    assert_eq!(client.send(head).reply().code, 200);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100) && took < limits().scrape_deadline, "{took:?}");
}

#[test]
fn without_any_page_the_answer_says_so() {
    let port = Port::open(Web { scrape_deadline: Duration::from_millis(20), ..limits() }, Engine::Silent);
    let reply = port.get("/metrics");
    assert_eq!(reply.code, 503);
    assert!(reply.text().starts_with("no page has been built yet"));
}

#[test]
fn scrapes_above_the_limit_are_told_to_come_back() {
    let port = Port::open(Web { max_requests: 3, ..limits() }, Engine::Stuck);
    let mut waiting: Vec<_> = (0..3).map(|_| port.client()).collect();
    for client in &mut waiting {
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
    }
    // All three must be waiting before the fourth asks. The counter is the board's: a ticket each.
    until("three tickets", || port.board.engine_woken() == 3);
    let refused = port.get("/metrics");
    assert_eq!((refused.code, refused.header("Retry-After")), (503, Some("1")));
    assert_eq!(refused.text(), "3 requests like this are being answered already\n");
    assert_eq!(port.get("/-/healthy").code, 200);
    publish(&port.board, b"now 1\n", 3);
    for client in &mut waiting {
        assert!(client.reply().text().starts_with("now 1\n"));
    }
    publish(&port.board, b"now 1\n", u64::MAX);
    assert_eq!(waiting[0].get("/metrics").code, 200, "their room is free again");
}

#[test]
fn people_who_read_take_no_room_from_scrapes_nor_scrapes_from_them() {
    let port = Port::open(Web { max_requests: 1, ..limits() }, Engine::Stuck);
    let mut reader = port.client();
    reader.send("GET /stalls HTTP/1.1\r\n\r\n");
    until("a ticket for the reader", || port.board.engine_woken() == 1);
    let refused = port.get("/stalls.json");
    assert_eq!((refused.code, refused.header("Retry-After")), (503, Some("1")), "the people's room is full");
    let mut scrape = port.client();
    scrape.send("GET /metrics HTTP/1.1\r\n\r\n");
    until("a ticket for the scrape", || port.board.engine_woken() == 2);
    assert_eq!(port.get("/metrics").code, 503, "and so is the scrapes'");
    publish(&port.board, b"now 1\n", u64::MAX);
    assert_eq!(scrape.reply().code, 200);
    assert_eq!(reader.reply().code, 200);
}

// ---- abuse

#[test]
fn silent_connections_make_room_for_those_who_speak() {
    let mut port = Port::open(Web { head_deadline: PATIENCE, ..limits() }, Engine::text("a 1\n"));
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.extend((0..50).map(|_| port.client()));
        let begun = Instant::now();
        assert_eq!(port.get("/metrics").code, 200);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // 500 came and 256 fit; the ten that spoke left by themselves.
    until("evictions", || port.stats.evictions.get() >= 500 - 256);
    assert!(port.stats.connections.get() <= 256);
    assert_eq!(port.stats.turned_away.get(), 0);
    port.close();
    silent.iter_mut().for_each(Client::wait_closed);
}

#[test]
fn trickling_connections_end_at_the_head_deadline() {
    let web = Web { max_connections: 600, head_deadline: Duration::from_millis(300), ..limits() };
    let port = Port::open(web, Engine::text("a 1\n"));
    let mut slow: Vec<_> = (0..500).map(|_| port.client()).collect();
    let begun = Instant::now();
    let mut bytes = b"GET /metrics HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    while port.stats.timeouts(Timeout::Head) < 500 {
        let byte = [*bytes.next().unwrap()];
        // Those that were cut already answer with a reset; that is what is waited for.
        slow.iter_mut().for_each(|client| drop(client.stream.write(&byte)));
        assert!(begun.elapsed() < PATIENCE);
        assert_eq!(port.get("/metrics").code, 200);
        thread::sleep(Duration::from_millis(20));
    }
    slow.iter_mut().for_each(Client::wait_closed);
    assert_eq!(port.stats.evictions.get(), 0);
}

#[test]
fn a_client_cut_at_the_head_deadline_is_told() {
    let port = Port::open(Web { head_deadline: Duration::from_millis(30), ..limits() }, Engine::Silent);
    let mut client = port.client();
    assert_eq!(client.send("GET /").reply().code, 408);
    client.wait_closed();
    // Who said nothing is told nothing.
    let mut silent = port.client();
    assert_eq!(silent.stream.read(&mut [0]).unwrap(), 0);
    assert_eq!(port.stats.timeouts(Timeout::Head), 2);
}

#[test]
fn a_kept_connection_has_its_own_deadline() {
    let web = Web { head_deadline: Duration::from_secs(60), idle: Duration::from_millis(30), ..limits() };
    let port = Port::open(web, Engine::Silent);
    let mut client = port.client();
    client.get("/-/healthy");
    client.wait_closed();
    assert_eq!(port.stats.timeouts(Timeout::Idle), 1);
    assert_eq!(port.stats.timeouts(Timeout::Head), 0);
}

#[test]
fn resets_are_survived() {
    let port = Port::open(limits(), Engine::text("a 1\n"));
    for _ in 0..200 {
        let mut client = port.client();
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
        sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(port.get("/-/healthy").code, 200);
    until("the dead are noticed", || port.stats.connections.get() <= 1);
    assert_eq!(port.get("/metrics").code, 200, "their room is free again");
    assert_eq!(port.stats.panics.get(), 0);
}

#[test]
fn an_endless_head_is_cut() {
    let port = Port::open(limits(), Engine::Silent);
    let mut client = port.client();
    client.send("GET / HTTP/1.1\r\n");
    let line = b"X-Filler: abcdefghijklmnopqrstuvwxyz\r\n".repeat(100);
    let mut sent = 0;
    // Sending goes on until the other end has had enough and resets.
    while let Ok(taken) = client.stream.write(&line) {
        sent += taken;
        assert!(sent < 64 << 20, "64 MiB of head were taken");
    }
    // One that stops in time reads why.
    let mut client = port.client();
    let reply = client.send("GET / HTTP/1.1\r\nA: ").send(b"b".repeat(20_000)).reply();
    assert_eq!(reply.code, 431);
    assert_eq!(reply.text(), "the request head is longer than 8192 bytes\n");
}

#[test]
fn what_is_no_request_is_answered_in_one_line() {
    let port = Port::open(limits(), Engine::Silent);
    for (bytes, code) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
        (b"\0\0\0\0", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400),
    ] {
        let mut client = port.client();
        let reply = client.send(bytes).reply();
        assert_eq!(reply.code, code, "{bytes:?}");
        assert_eq!(reply.text().matches('\n').count(), 1);
        client.stream.shutdown(Shutdown::Write).unwrap();
        client.wait_closed();
    }
    assert_eq!(port.get("/-/healthy").code, 200);
}

#[test]
fn a_body_is_refused_and_the_refusal_arrives() {
    let port = Port::open(limits(), Engine::Silent);
    let body = vec![b'x'; 256 * 1024];
    for (head, code) in [
        (format!("GET /metrics HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()), 413),
        (
            "GET /metrics HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            413,
        ),
        (format!("POST /metrics HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()), 405),
    ] {
        let mut client = port.client();
        let reply = client.send(head).send(&body).reply();
        assert_eq!((reply.code, reply.header("Connection")), (code, Some("close")));
        client.stream.shutdown(Shutdown::Write).unwrap();
        client.wait_closed();
    }
}

#[test]
fn clients_that_never_read_share_one_page_and_are_cut() {
    let web = Web { max_requests: 200, write_deadline: Duration::from_secs(3), ..limits() };
    let port = Port::open(web, Engine::Silent);
    let text = b"metric_with_a_name 1\n".repeat(8 * 1024 * 1024 / 21);
    publish(&port.board, &text, u64::MAX);
    let page = port.board.newest();
    let mut deaf: Vec<_> = (0..100).map(|_| port.client()).collect();
    for client in &mut deaf {
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
    }
    // Each response holds the page itself: 100 clients, one copy.
    until("all are being written", || Arc::strong_count(&page) > 100);
    let begun = Instant::now();
    assert!(port.get("/metrics").text().starts_with("metric_with_a_name 1\n"));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    until("all are cut", || port.stats.timeouts(Timeout::Write) == 100);
    until("the page is let go", || Arc::strong_count(&page) <= 3);
    deaf.iter_mut().for_each(Client::wait_closed);
}

#[test]
fn clients_that_never_read_do_not_keep_others_out() {
    let port = Port::open(Web { max_requests: 3, write_deadline: PATIENCE, ..limits() }, Engine::Silent);
    publish(&port.board, &b"a 1\n".repeat(2 * 1024 * 1024), u64::MAX);
    let mut deaf: Vec<_> = (0..3).map(|_| port.client()).collect();
    for client in &mut deaf {
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
    }
    until("all room is taken", || port.stats.scrapes() == 3);
    let begun = Instant::now();
    until("there is room again", || port.get("/metrics").code == 200);
    // Each is judged by its own last byte, so the first cut may spare one that was being written to a moment ago. It
    // goes as soon as room is wanted again, which it is while a newcomer as deaf takes what gets free.
    let mut newcomers = Vec::new();
    until("every one of them has made room", || {
        if deaf.iter().all(is_reset) {
            return true;
        }
        let mut newcomer = port.client();
        newcomer.send("GET /metrics HTTP/1.1\r\n\r\n");
        newcomers.push(newcomer);
        thread::sleep(Duration::from_millis(20));
        false
    });
    assert!(begun.elapsed() < PATIENCE / 2, "long before the write deadline: {:?}", begun.elapsed());
    assert!(port.stats.timeouts(Timeout::Write) >= 3);
    deaf.iter_mut().for_each(Client::wait_closed);
}

#[test]
fn a_crowd_of_readers_cuts_no_scrape_that_is_slow() {
    let web = Web { max_requests: 2, write_deadline: PATIENCE, scrape_deadline: PATIENCE, ..limits() };
    let port = Port::open(web, Engine::Stuck);
    publish(&port.board, &b"a 1\n".repeat(2 * 1024 * 1024), u64::MAX);
    let mut slow = port.client();
    slow.send("GET /metrics HTTP/1.1\r\n\r\n");
    until("it is being answered", || port.stats.scrapes() == 1);
    // The readers wait for a newer page than this one.
    publish(&port.board, b"a 1\n", 0);
    thread::sleep(Duration::from_millis(60));
    let tickets = port.board.engine_woken();
    let mut readers: Vec<_> = (0..2).map(|_| port.client()).collect();
    for reader in &mut readers {
        reader.send("GET /stalls HTTP/1.1\r\n\r\n");
    }
    until("the readers' room is full", || port.board.engine_woken() == tickets + 2);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(port.get("/stalls").code, 503, "and the one who asks makes the server look for stalled ones");
    assert!(!is_reset(&slow), "it takes no room from readers");
    assert_eq!(slow.reply().code, 200);
}

/// Whether the other end has reset the connection, without reading from it.
fn is_reset(client: &Client) -> bool {
    let mut fds = [PollFd::new(&client.stream, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
    fds[0].revents().contains(PollFlags::HUP)
}

#[test]
fn when_all_are_being_answered_a_newcomer_is_turned_away() {
    let port = Port::open(Web { max_connections: 2, ..limits() }, Engine::Stuck);
    let mut waiting = [port.client(), port.client()];
    for client in &mut waiting {
        client.send("GET /metrics HTTP/1.1\r\n\r\n");
    }
    until("two tickets", || port.board.engine_woken() == 2);
    port.client().wait_closed();
    assert_eq!(port.stats.turned_away.get(), 1);
    publish(&port.board, b"now 1\n", 2);
    for client in &mut waiting {
        assert_eq!(client.reply().code, 200);
    }
}

#[test]
fn a_panic_costs_the_connection_that_caused_it() {
    let port = Port::open(limits(), Engine::text("a 1\n"));
    let mut bystander = port.client();
    assert_eq!(bystander.get("/-/healthy").code, 200);
    port.own.panics.store(true, Ordering::SeqCst);
    port.client().send("GET /metrics HTTP/1.1\r\n\r\n").wait_closed();
    port.own.panics.store(false, Ordering::SeqCst);
    assert_eq!(port.stats.panics.get(), 1);
    assert_eq!(bystander.get("/metrics").code, 200, "kept through the panic");
    assert_eq!(port.get("/metrics").code, 200);
}
