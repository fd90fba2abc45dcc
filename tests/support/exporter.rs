//! The real binary, started on a free port and ended with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::http::{self, Response};
use super::page::Page;
use super::process::{Family, Pid, send_signal};
use super::{wait_for, wait_until};

/// From exec to the line that names the port, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(20);
/// From SIGTERM to the end; then comes SIGKILL.
const STOP: Duration = Duration::from_secs(10);

/// A running exporter. Dropping it ends it: SIGTERM, then SIGKILL, and it is reaped.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Exporter {
    /// Starts the binary with these flags on a free port of the loopback, and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
        command.args(["--web.listen-address", "127.0.0.1:0"]).args(args);
        Self::start_command(command)
    }

    /// [`Exporter::start`] on an address of one's own, as leader of a process group of its own.
    pub fn start_at(address: SocketAddr, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
        command.args(["--web.listen-address", &address.to_string()]).args(args).process_group(0);
        Self::start_command(command)
    }

    /// Starts any program that logs `listening` and its address like the exporter does.
    pub fn start_command(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let log = Log::collect(child.stderr.take().expect("stderr is piped"));
        // In the guard from here on: a panic below must not leave the program behind.
        let mut exporter = Self { child, address: SocketAddr::from(([0; 4], 0)), log };
        exporter.address = wait_until(START, "the exporter says where it listens", || {
            // Looked at before the log: what a program said before it ended is in the log by the next look.
            let ended = exporter.child.try_wait().expect("our own child");
            let found = exporter.log.lines().iter().find_map(|line| listening_address(line));
            if let (None, Some(status), true) = (found, ended, exporter.log.is_complete()) {
                panic!(
                    "{command:?} ended before it listened, {status}:\n{}",
                    exporter.log.lines().join("\n")
                );
            }
            found
        });
        exporter
    }

    /// Runs the binary to its end, for subcommands and for flags that must be refused.
    pub fn run(args: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
        command.args(args).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
    }

    /// The pid of front.
    pub fn pid(&self) -> Pid {
        Pid::try_from(self.child.id()).expect("a pid fits")
    }

    /// Front, warden and probes as they are now.
    pub fn family(&self) -> Family {
        Family::of(self.pid())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET path`, one connection.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        http::get(self.address, path, headers)
    }

    /// `/metrics`, checked and taken apart.
    pub fn scrape(&self) -> Page {
        let response = self.get("/metrics", &[]);
        let text = response.text();
        assert_eq!(response.status, 200, "/metrics: {text}");
        let kind = response.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "content-type of /metrics: {kind:?}");
        Page::parse(&text).unwrap_or_else(|fault| panic!("/metrics is malformed: {fault}\n{text}"))
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a log line that holds `needle`, and returns it.
    pub fn wait_for_log(&self, timeout: Duration, needle: &str) -> String {
        wait_until(timeout, &format!("a log line holds {needle:?}"), || {
            self.log.lines().into_iter().find(|line| line.contains(needle))
        })
    }

    /// Waits for its end without asking for it; panics when it does not come in time. The log is then complete.
    pub fn wait_for_end(&mut self, timeout: Duration) -> ExitStatus {
        let child = &mut self.child;
        let ended = || child.try_wait().expect("our own child");
        let status = wait_until(timeout, "the exporter ends", ended);
        wait_for(STOP, "its stderr is closed", || self.log.is_complete());
        status
    }

    /// SIGTERM; panics when it does not end in time.
    pub fn stop(mut self) -> ExitStatus {
        send_signal(self.pid(), Signal::TERM);
        wait_until(STOP, "the exporter ends on SIGTERM", || self.child.try_wait().expect("our own child"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        end(&mut self.child, STOP);
        if std::thread::panicking() {
            eprintln!("log of the exporter:\n{}", self.log.lines().join("\n"));
        }
    }
}

/// SIGTERM, then SIGKILL, then reaped. Never panics: it runs while a test is failing.
pub fn end(child: &mut Child, patience: Duration) {
    let Ok(None) = child.try_wait() else { return };
    if let Ok(pid) = Pid::try_from(child.id()) {
        send_signal(pid, Signal::TERM);
    }
    let start = std::time::Instant::now();
    while matches!(child.try_wait(), Ok(None)) && start.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    if let Ok(None) = child.try_wait() {
        let _gone = child.kill();
        let _reaped = child.wait();
    }
}

/// The address in a log line that says `listening`: after `address=`, bare, quoted, or inside the quoted message, and
/// as the `"address"` of a JSON line.
pub fn listening_address(line: &str) -> Option<SocketAddr> {
    if !line.contains("listening") {
        return None;
    }
    let mut values = ["address=", "\"address\":"].into_iter().flat_map(|key| {
        let places = line.match_indices(key).map(move |(at, _)| (&line[..at], &line[at + key.len()..]));
        // `--web.listen-address=` in an echoed command line is somebody's wish, not the fact.
        places.filter(|(before, _)| {
            !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        })
    });
    values.find_map(|(_, value)| {
        let value = value.trim_start_matches(['"', '\\']);
        let end = value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | ','));
        value[..end.unwrap_or(value.len())].parse().ok()
    })
}

/// Lines of a program's stderr, collected in the background so that it can never block on us.
#[derive(Debug, Clone)]
struct Log(Arc<Mutex<LogInner>>);

#[derive(Debug, Default)]
struct LogInner {
    lines: Vec<String>,
    complete: bool,
}

impl Log {
    fn collect(stderr: impl std::io::Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                writer.with(|inner| inner.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            writer.with(|inner| inner.complete = true);
        });
        log
    }

    fn lines(&self) -> Vec<String> {
        self.with(|inner| inner.lines.clone())
    }

    /// Whether every holder of the other end has closed it.
    fn is_complete(&self) -> bool {
        self.with(|inner| inner.complete)
    }

    fn with<T>(&self, act: impl FnOnce(&mut LogInner) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits until every process of a family has ended: what must hold after front, warden or all of them died.
pub fn wait_until_gone(timeout: Duration, family: &Family) {
    wait_for(timeout, &format!("all of {family:?} have ended"), || {
        !family.all().into_iter().any(super::process::alive)
    });
}
