//! Nobody takes the log: standard error is a full pipe, and the exporter goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::client::Client;
use crate::support::exporter::{end, listening_address};
use crate::support::page::Page;
use crate::support::{process, wait_until};

const REQUESTS: usize = 2_000;

/// Ends with the test, whatever becomes of it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        end(&mut self.0, Duration::from_secs(5));
    }
}

/// How: the pipe holds one page, every request is a line of the log, and after the line that names the port nobody
/// reads any more.
#[test]
fn a_full_standard_error_costs_log_lines_and_nothing_else() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
    command.args(["--web.listen-address", "127.0.0.1:0", "--log.level", "debug", "--log.queue", "64"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut exporter = Guard(command.spawn().expect("the binary is there"));
    let stderr = exporter.0.stderr.take().expect("piped");
    rustix::pipe::fcntl_setpipe_size(&stderr, 4096).expect("a small pipe");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let address = lines.find_map(|line| listening_address(&line)).expect("it says where it listens");

    let mut client = Client::new(address);
    let dropped = |client: &mut Client| {
        let page = Page::parse(&client.get("/metrics", "").text()).expect("a strict page");
        page.expect("stall_exporter_dropped_total", &[("limit", "log.queue")])
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..REQUESTS {
        let begun = Instant::now();
        assert_eq!(client.get("/-/healthy", "").status, 200);
        slowest = slowest.max(begun.elapsed());
    }
    let lost = wait_until(Duration::from_secs(10), "the loss is counted", || {
        // Every request is a line; a page and a queue of lines of a hundred bytes are not lost.
        let lost = dropped(&mut client);
        (lost > REQUESTS as f64 / 2.0).then_some(lost)
    });
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    eprintln!("full pipe: {lost} of {REQUESTS} lines dropped, slowest answer {slowest:.1?}");

    let pid = process::Pid::try_from(exporter.0.id()).expect("a pid fits");
    let begun = Instant::now();
    process::send_signal(pid, Signal::TERM);
    let status =
        wait_until(Duration::from_secs(10), "it ends", || exporter.0.try_wait().expect("our own child"));
    assert!(status.success(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(lines);
}
