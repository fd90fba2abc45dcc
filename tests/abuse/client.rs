//! Clients: one that keeps its connection, one that never reads, and one that behaves while others do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use crate::support::exporter::Exporter;
use crate::support::http::{self, Response};
use crate::support::proc_tree::ProcTree;

/// Half of Prometheus's default timeout: who waits longer has lost the scrape.
pub const SCRAPE_MAX: Duration = Duration::from_secs(5);

/// Requests that a deaf client sends at once. Their answers are several times what the kernel keeps for it, and they
/// themselves fit into what the kernel keeps for the exporter.
const PIPELINED: usize = 400;

/// A host on which nothing happens, so that neither the first walk nor what the probe holds depends on anybody else.
pub struct QuietHost(ProcTree);

impl QuietHost {
    /// Two processes, both asleep.
    pub fn new() -> Self {
        let tree = ProcTree::new();
        tree.link("1").invent(4242, 4242, "sleeper");
        Self(tree)
    }

    /// The flags that show it to an exporter, which looks at it every second.
    pub fn args(&self) -> [&str; 4] {
        ["--path.procfs", self.0.path().to_str().expect("UTF-8"), "--tasks.interval", "1s"]
    }
}

/// A connection that is used again and again.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn new(address: SocketAddr) -> Self {
        Self { stream: http::connect(address), input: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// `GET path`; the connection stays.
    pub fn get(&mut self, path: &str, headers: &str) -> Response {
        self.ask("GET", path, headers).unwrap_or_else(|fault| panic!("GET {path}: {fault}"))
    }

    /// One request, one response.
    ///
    /// # Errors
    /// What was there instead of a response.
    pub fn ask(&mut self, method: &str, path: &str, headers: &str) -> Result<Response, String> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        self.send(head.as_bytes()).map_err(|error| format!("send: {error}"))?;
        self.reply(method != "HEAD")
    }

    /// The next response.
    ///
    /// # Errors
    /// What was there instead.
    pub fn reply(&mut self, body: bool) -> Result<Response, String> {
        let end = loop {
            match self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.receive()?,
            }
        };
        let head: Vec<u8> = self.input.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|length| length.parse().ok()).ok_or("no Content-Length")?;
        if !body {
            let mut lines = head.split(|byte| *byte == b'\n');
            let status =
                lines.next().and_then(|line| std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok());
            let headers = text.lines().filter_map(|line| line.split_once(": "));
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            return Ok(Response { status: status.ok_or("no status")?, headers, body: Vec::new() });
        }
        while self.input.len() < length {
            self.receive()?;
        }
        let body: Vec<u8> = self.input.drain(..length).collect();
        Response::parse(&[head, body].concat())
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut bytes = [0; 65536];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(format!("closed, {} bytes into an answer", self.input.len())),
            Ok(taken) => {
                self.input.extend_from_slice(&bytes[..taken]);
                Ok(())
            }
            Err(error) => Err(format!("receive: {error}")),
        }
    }

    /// Whether the other end has reset or closed the connection; nothing is read from it.
    pub fn is_reset_or_closed(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll one descriptor");
        fds[0].revents().intersects(PollFlags::HUP | PollFlags::RDHUP)
    }
}

/// A client that asks for hundreds of pages and reads none, with next to no room of its own: the answers fill what
/// the kernel keeps on the exporter's side, and then the exporter's write would wait.
pub fn deaf(address: SocketAddr) -> Client {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    // Not for the programs that other tests start meanwhile.
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, None).expect("a socket");
    // Before the connect, because the window is agreed on there.
    sockopt::set_socket_recv_buffer_size(&socket, 1).expect("the smallest buffer there is");
    rustix::net::connect(&socket, &address).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
    let stream = TcpStream::from(socket);
    // A server that has had enough of us closes its window too.
    stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout above zero");
    let mut client = Client { stream, input: Vec::new() };
    let _refused = client.send(&b"GET /metrics HTTP/1.1\r\n\r\n".repeat(PIPELINED));
    client
}

/// Ends a connection with a reset instead of an orderly close.
pub fn reset(client: Client) {
    sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
    drop(client);
}

/// What a well-behaved scraper saw.
#[derive(Debug)]
pub struct Seen {
    /// One for each scrape, ascending.
    pub took: Vec<Duration>,
    /// Kept connections that were given up by the other end between two scrapes.
    pub reconnects: usize,
}

impl Seen {
    /// The latency below which this share of the scrapes lies.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.took.len().saturating_sub(1);
        self.took[(last as f64 * share).round() as usize]
    }

    /// In one line.
    pub fn summary(&self) -> String {
        format!(
            "{} scrapes, p50 {:.1?}, p99 {:.1?}, max {:.1?}, {} reconnects",
            self.took.len(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0),
            self.reconnects
        )
    }
}

/// Scrapes ten times a second, as Prometheus does: the connection is kept, and one that was closed while it was idle
/// is replaced without a word. Anything but a 200 in time is a panic, which [`Scraper::stop`] passes on.
pub struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Scraper {
    /// Starts scraping.
    pub fn start(exporter: &Exporter) -> Self {
        let (address, stop) = (exporter.address(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        Self { stop, thread: thread::spawn(move || scrape_until(address, &told)) }
    }

    /// Stops, and gives what was seen.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn scrape_until(address: SocketAddr, stop: &AtomicBool) -> Seen {
    const DISTANCE: Duration = Duration::from_millis(100);
    let mut seen = Seen { took: Vec::new(), reconnects: 0 };
    let mut kept: Option<Client> = None;
    let mut due = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let response = match kept.as_mut().map(|client| client.ask("GET", "/metrics", "")) {
            Some(Ok(response)) => response,
            other => {
                seen.reconnects += usize::from(other.is_some());
                let client = kept.insert(Client::new(address));
                client.get("/metrics", "")
            }
        };
        let took = begun.elapsed();
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(took < SCRAPE_MAX, "a scrape took {took:?}");
        seen.took.push(took);
        due += DISTANCE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    seen.took.sort_unstable();
    seen
}
