//! The support code's own tests: a judge that cannot refuse proves nothing.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of test support starts threads and programs, and fails by panic"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use support::exporter::{Exporter, listening_address};
use support::fault::Fault;
use support::http::Response;
use support::page::Page;
use support::proc_tree::ProcTree;
use support::process;
use support::{wait_for, wait_until};

const SOON: Duration = Duration::from_secs(10);

const PAGE: &str = r#"# HELP stall_tasks Tasks by state.
# TYPE stall_tasks gauge
stall_tasks{state="R"} 2
stall_tasks{state="a\"b\\c\nd,}= "} 1e+06
# HELP stall_wait_seconds Ended waits: a \\ and a \n end.
# TYPE stall_wait_seconds histogram
stall_wait_seconds_bucket{le="0.5"} 1
stall_wait_seconds_bucket{le="+Inf"} 3
stall_wait_seconds_sum 7.25
stall_wait_seconds_count 3
# HELP stall_up Whether it is up.
# TYPE stall_up gauge
stall_up NaN
"#;

#[test]
fn a_page_is_taken_apart() {
    let page = Page::parse(PAGE).unwrap();
    assert_eq!(page.names(), ["stall_tasks", "stall_wait_seconds", "stall_up"]);
    assert_eq!(page.value("stall_tasks", &[("state", "R")]), Some(2.0));
    assert_eq!(page.value("stall_tasks", &[("state", "a\"b\\c\nd,}= ")]), Some(1e6));
    assert_eq!(page.value("stall_tasks", &[]), None, "labels are matched as a whole");
    assert_eq!(page.sum("stall_tasks", &[]), 1_000_002.0);
    assert_eq!(page.expect("stall_wait_seconds_sum", &[]), 7.25);
    assert_eq!(page.family("stall_wait_seconds").unwrap().help, "Ended waits: a \\ and a \n end.");
    assert!(page.expect("stall_up", &[]).is_nan());
    assert_eq!(page.series(), 7);
}

#[test]
fn a_malformed_page_is_refused() {
    let family = "# HELP m Help.\n# TYPE m gauge\n";
    let histogram = "# HELP h Help.\n# TYPE h histogram\n";
    let cases: &[(&str, String)] = &[
        ("cut", format!("{family}m 1")),
        ("before any TYPE", "m 1\n".to_owned()),
        ("no HELP", "# TYPE m gauge\nm 1\n".to_owned()),
        ("not followed by its TYPE", "# HELP m Help.\nm 1\n".to_owned()),
        ("stands before TYPE", "# HELP n Help.\n# TYPE m gauge\nm 1\n".to_owned()),
        ("HELP without text", "# HELP m \n# TYPE m gauge\nm 1\n".to_owned()),
        ("TYPE already", format!("{family}m 1\n{family}m{{a=\"b\"}} 1\n")),
        ("no sample", format!("{family}{histogram}")),
        ("no sample", family.to_owned()),
        ("not a kind", "# HELP m Help.\n# TYPE m gouge\nm 1\n".to_owned()),
        ("neither HELP nor TYPE", format!("{family}m 1\n# EOF\n")),
        ("no part of gauge m", format!("{family}n 1\n")),
        ("no part of gauge m", format!("{family}m_sum 1\n")),
        ("on the page already", format!("{family}m 1\nm 2\n")),
        ("on the page already", format!("{family}m{{a=\"1\",b=\"2\"}} 1\nm{{b=\"2\",a=\"1\"}} 1\n")),
        ("stands twice", format!("{family}m{{a=\"1\",a=\"2\"}} 1\n")),
        ("not a label name", format!("{family}m{{0a=\"1\"}} 1\n")),
        ("not a label name", format!("{family}m{{__a=\"1\"}} 1\n")),
        ("a label without", format!("{family}m{{}} 1\n")),
        ("a label without", format!("{family}m{{a=\"1\",}} 1\n")),
        ("closing quote", format!("{family}m{{a=\"1\\\"}} 1\n")),
        ("closing brace", format!("{family}m{{a=\"1\" 1\n")),
        ("not an escape", format!("{family}m{{a=\"\\t\"}} 1\n")),
        ("not a value", format!("{family}m inf\n")),
        ("not a value", format!("{family}m 1 1700000000000\n")),
        ("not a value", format!("{family}m 1 \n")),
        ("not a value", format!("{family}m \n")),
        ("neither labels nor", format!("{family}\nm 1\n")),
        ("below zero", "# HELP c Help.\n# TYPE c counter\nc -1\n".to_owned()),
        ("below zero", "# HELP c Help.\n# TYPE c counter\nc NaN\n".to_owned()),
        ("not +Inf", format!("{histogram}h_bucket{{le=\"1\"}} 1\nh_sum 1\nh_count 1\n")),
        ("_count is not", format!("{histogram}h_bucket{{le=\"+Inf\"}} 1\nh_sum 1\nh_count 2\n")),
        ("no _sum", format!("{histogram}h_bucket{{le=\"+Inf\"}} 1\nh_count 1\n")),
        ("counts fall", format!("{histogram}h_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 1\n")),
        ("do not ascend", format!("{histogram}h_bucket{{le=\"2\"}} 1\nh_bucket{{le=\"1\"}} 1\n")),
        ("do not ascend", format!("{histogram}h_bucket{{le=\"NaN\"}} 1\n")),
        ("no part of histogram h", format!("{histogram}h 1\n")),
    ];
    for (fault, text) in cases {
        let refused = Page::parse(text).expect_err(text);
        assert!(refused.contains(fault), "want {fault:?} for {text:?}, got {refused:?}");
    }
}

#[test]
fn a_response_is_taken_apart_and_a_cut_one_refused() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(Response::parse(chunked).unwrap().text(), "abcde");
    let plain = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nno";
    let response = Response::parse(plain).unwrap();
    assert_eq!((response.status, response.header("x-a"), response.text().as_str()), (503, Some("b"), "no"));
    for cut in [&chunked[..chunked.len() - 4], &plain[..plain.len() - 1], b"HTTP/1.1 200 OK\r\n", b""] {
        Response::parse(cut).expect_err("a cut response");
    }
}

#[test]
fn the_address_is_found_wherever_it_stands() {
    let want = "127.0.0.1:41".parse().ok();
    for line in [
        r#"ts=1 level=info target=http msg="listening" address=127.0.0.1:41"#,
        r#"ts=1 address="127.0.0.1:41" msg="listening""#,
        r#"ts=1 msg="listening address=127.0.0.1:41" level=info"#,
        r#"{"msg":"listening address=\"127.0.0.1:41\""}"#,
        r#"{"msg":"listening","address":"127.0.0.1:41"}"#,
        r#"msg="listening" args="--web.listen-address=127.0.0.1:0" address=127.0.0.1:41"#,
    ] {
        assert_eq!(listening_address(line), want, "{line}");
    }
    assert_eq!(listening_address(r#"msg="bind" address=127.0.0.1:41"#), None);
    assert_eq!(listening_address(r#"msg="listening" address=nowhere"#), None);
    assert_eq!(
        listening_address(r#"msg="listening" address=[::1]:9"#),
        "[::1]:9".parse().ok(),
        "an address of IPv6 keeps its brackets"
    );
}

/// Stands in for the binary: a shell says where a listener of ours listens.
fn pretender(script: &str) -> (Exporter, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("echo 'ts=1 msg=\"listening\" address={address}' >&2; {script}")]);
    (Exporter::start_command(command), listener)
}

#[test]
fn an_exporter_is_started_scraped_and_ended() {
    let (exporter, listener) = pretender("echo later >&2; exec sleep 60");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let size = stream.read(&mut head).unwrap();
        let kind = "Content-Type: text/plain; version=0.0.4";
        write!(stream, "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len()).unwrap();
        String::from_utf8_lossy(&head[..size]).into_owned()
    });
    assert_eq!(exporter.scrape().series(), 7);
    assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.1\r\n"));
    exporter.wait_for_log(SOON, "later");

    let pid = exporter.pid();
    assert!(process::alive(pid));
    drop(exporter);
    assert_eq!(process::state(pid), None, "ended and reaped");
}

#[test]
fn a_family_is_front_warden_and_probes() {
    let (exporter, _listener) = pretender("(sleep 60 & exec sleep 60) & wait");
    let family = wait_until(SOON, "the warden has a probe", || {
        Some(exporter.family()).filter(|family| family.probes.len() == 1)
    });
    assert_eq!(family.front, exporter.pid());
    assert_eq!(family.all().len(), 3);
    drop(exporter);
    for pid in &family.all()[1..] {
        process::send_signal(*pid, rustix::process::Signal::KILL);
    }
    support::exporter::wait_until_gone(SOON, &family);
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    support::exporter::end(&mut child, Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap().and_then(|status| status.signal()), Some(9));
}

#[test]
#[should_panic(expected = "ended before it listened")]
fn an_exporter_that_ends_at_once_is_reported_with_its_log() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo 'unknown key' >&2; exit 3"]);
    Exporter::start_command(command);
}

#[test]
#[should_panic(expected = "in vain until pigs fly")]
fn waiting_ends() {
    wait_for(Duration::from_millis(30), "pigs fly", || false);
}

#[test]
fn a_vfork_parent_is_a_true_wait_and_tells_its_length() {
    let fault = Fault::start("vfork_parent", &["2", "3"]);
    let tids = fault.tids();
    assert_eq!((tids.len(), fault.since_ns().len()), (3, 3));
    let first: Vec<_> = tids.iter().map(|&tid| process::schedstat(tid).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(300));
    for (&tid, first) in tids.iter().zip(&first) {
        assert_eq!(process::state(tid), Some('D'));
        assert_eq!(process::schedstat(tid).as_ref(), Some(first), "no progress");
    }
    let since = fault.since_ns();
    let waits = fault.finish();
    assert_eq!(waits.len(), 3);
    for ((word, facts), (tid, since)) in waits.iter().zip(tids.iter().zip(since)) {
        assert_eq!(word, "wait");
        assert_eq!((facts.list("tid"), facts.number("since_ns")), (vec![*tid], since));
        assert!((2_000_000_000..4_000_000_000).contains(&facts.number("ns")), "{facts:?}");
        assert_eq!(process::state(*tid), None, "ended and reaped");
    }
}

#[test]
fn a_flapper_makes_progress_between_its_waits() {
    let fault = Fault::start("flapper", &["30", "2"]);
    let tid = fault.tids()[0];
    let slices = || process::schedstat(tid).unwrap()[2];
    let before = slices();
    wait_for(SOON, "it is seen in D", || process::state(tid) == Some('D'));
    wait_for(SOON, "it has run ten times", || slices() > before + 10);
    let ended = fault.stop();
    assert!(ended[0].1.number("waits") > 5, "{ended:?}");
    assert!(ended[0].1.number("longest_ns") < 2_000_000_000, "{ended:?}");
}

#[test]
fn a_crowd_has_the_size_it_says() {
    let threads = Fault::start("sleepers", &["200", "threads", "30"]);
    assert_eq!(process::threads(threads.pid()).len(), 200);
    let processes = Fault::start("sleepers", &["100", "procs", "30"]);
    let children = process::children(processes.pid());
    assert_eq!(children.len(), 99, "and itself");
    let both = Fault::start("sleepers", &["20", "both", "30"]);
    assert_eq!(both.ready().number("count"), 40);
    assert_eq!(process::children(both.pid()).len() + process::threads(both.pid()).len(), 40);
    processes.stop();
    assert!(!children.into_iter().any(process::alive), "children end with it");
}

#[test]
fn a_storm_forks_at_its_rate_and_a_floor_counts_threads() {
    let storm = Fault::start("storm", &["1", "100"]).finish();
    assert!((50..=101).contains(&storm[0].1.number("forks")), "{storm:?}");

    let crowd = Fault::start("sleepers", &["300", "threads", "30"]);
    let floor = Command::new(support::fault::compile("floor")).arg("3").output().unwrap();
    let printed = String::from_utf8(floor.stdout).unwrap();
    assert_eq!(printed.lines().count(), 3, "{printed}");
    for line in printed.lines() {
        let value = |key: &str| -> u64 {
            let word = line.split(' ').find_map(|word| word.strip_prefix(key));
            word.unwrap_or_else(|| panic!("no {key} in {line:?}")).parse().unwrap()
        };
        assert!(value("threads=") >= 300 && value("cpu_ns=") > 0, "{line:?}");
    }
    drop(crowd);
}

#[test]
#[should_panic(expected = "never got ready")]
fn a_fault_that_is_started_wrongly_says_so() {
    Fault::start("storm", &["0"]);
}

/// Opens and reads a file in a thread of its own; what it read comes through the channel.
fn read_in_background(path: std::path::PathBuf) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(std::fs::read_to_string(path).unwrap()));
    receiver
}

#[test]
fn a_fifo_hangs_its_reader_until_it_is_released() {
    let tree = ProcTree::new();
    tree.invent(4242, 4242, "hung").fifo("4242/task/4242/schedstat");
    let path = tree.path().join("4242/task/4242/schedstat");

    let reader = read_in_background(path.clone());
    assert_eq!(reader.recv_timeout(Duration::from_millis(200)), Err(mpsc::RecvTimeoutError::Timeout));
    assert!(tree.release("4242/task/4242/schedstat", "1 2 3\n"), "somebody was hanging");
    assert_eq!(reader.recv_timeout(SOON).unwrap(), "1 2 3\n");

    let before = Instant::now();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 2 3\n", "a regular file now");
    assert!(before.elapsed() < SOON);
    tree.fifo("4242/task/4242/schedstat");
    assert!(!tree.release("4242/task/4242/schedstat", "4 5 6\n"), "nobody was hanging");
}

#[test]
fn a_tree_links_the_real_thing_and_replaces_single_files() {
    let fault = Fault::start("sleepers", &["3", "threads", "30"]);
    let pid = fault.pid();
    let tree = ProcTree::new();
    let read = |name: &str| std::fs::read_to_string(tree.path().join(name)).ok();
    assert_eq!(read("sys/kernel/osrelease"), std::fs::read_to_string("/proc/sys/kernel/osrelease").ok());
    assert!(read("loadavg").is_some() && read("stat").is_some() && read("self/status").is_some());

    tree.link("1").mirror(pid).text(&format!("{pid}/task/{pid}/schedstat"), "7 7 7\n");
    assert_eq!(read("1/comm"), std::fs::read_to_string("/proc/1/comm").ok());
    assert_eq!(read(&format!("{pid}/task/{pid}/schedstat")).as_deref(), Some("7 7 7\n"));
    assert_eq!(std::fs::read_dir(tree.path().join(format!("{pid}/task"))).unwrap().count(), 3);
    for tid in process::threads(pid) {
        assert!(read(&format!("{pid}/task/{tid}/status")).unwrap().contains("(sleeping)"));
    }

    tree.remove(&format!("{pid}/task/{pid}/schedstat")).remove("1").remove("nothing");
    assert_eq!(read(&format!("{pid}/task/{pid}/schedstat")), None);
    assert_eq!(read("1/comm"), None);
    assert!(std::path::Path::new("/proc/1/comm").exists(), "only the link was removed");
    drop(tree);
    assert!(process::alive(pid));
}

#[test]
fn a_process_is_measured() {
    let pid = std::process::id() as process::Pid;
    let before = process::fd_count(pid);
    let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    assert!(process::fd_count(pid) >= before + files.len() / 2, "others open and close at the same time");
    assert!(process::pss_bytes(pid) > 0 && process::pss_bytes(pid) <= process::rss_bytes(pid));
    assert!(process::cpu_ns(pid) > 0);
    assert!(!process::threads(pid).is_empty());
}
