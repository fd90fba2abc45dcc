//! What is stuck, told to people: `/stalls`, `/stalls.json` and `stall_exporter stalls`, while all is well, while a
//! lane hangs, and while somebody else answers in the exporter's place.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use stall_exporter::exposition::stalls::json;
use stall_exporter::snapshot::stall::Report;

use crate::harness::Case;
use crate::scene::Scene;
use crate::support::exporter::{Exporter, wait_until_gone};
use crate::support::proc_tree::ProcTree;
use crate::support::process::{Family, Pid, send_signal};
use crate::support::{now_ns, seconds, wait_until};

pub const CASES: &[Case] = &[
    Case::together("stalls::a_quiet_host_says_so", quiet),
    Case::together("stalls::a_hang_of_our_own_is_told", hang),
    Case::together("stalls::without_the_slice_that_judges_nothing_is_called_well", unjudged),
    Case::together("stalls::without_an_exporter_the_command_looks_itself", directly),
    Case::together("stalls::watched_without_an_exporter_it_ends_by_a_signal", watched_directly),
    Case::together("stalls::watched_it_prints_again_and_outlives_the_exporter", watched),
    Case::together("stalls::names_of_any_bytes_do_not_reach_the_terminal", hostile),
    Case::together("stalls::who_is_no_exporter_is_one_line", no_exporter),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What the command says to a port.
fn ask(port: u16, args: &[&str]) -> Output {
    let url = format!("http://127.0.0.1:{port}/");
    Exporter::run(&[&["stalls", "--url", &url], args].concat())
}

fn report(exporter: &Exporter) -> Report {
    let answer = exporter.get("/stalls.json", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    json::decode(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn quiet() {
    let scene = Scene::new(&[]);
    let told = report(&scene.exporter);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's own name");
    assert_eq!((told.kernel.as_str(), told.version.as_str()), (kernel.trim(), env!("CARGO_PKG_VERSION")));
    assert_eq!((told.stalls.len(), told.history.len()), (0, 0), "{told:?}");
    let age = told.walk_age_seconds.expect("the first walk has ended");
    assert!(age < 30.0, "{age}");
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!((epoch.as_secs_f64() - told.time).abs() < 60.0, "{}", told.time);

    let page = scene.exporter.get("/stalls?refresh=5", &[]);
    assert_eq!((page.status, page.header("refresh")), (200, Some("5")));
    assert!(page.text().contains("<h1>Nothing is stuck</h1>"), "{}", page.text());

    let table = ask(scene.exporter.address().port(), &[]);
    assert_eq!((table.status.code(), text(&table.stderr).as_str()), (Some(0), ""));
    let first = format!("{}: Nothing is stuck\nall threads looked at ", told.host);
    assert!(text(&table.stdout).starts_with(&first), "{}", text(&table.stdout));
    assert!(!table.stdout.contains(&0x1b), "no colours into a pipe");
    // Without --url it is the configured address that is asked.
    let listen = scene.exporter.address().to_string();
    let line = Exporter::run(&["stalls", "--json", "--web.listen-address", &listen]);
    assert_eq!((line.status.code(), text(&line.stderr).as_str()), (Some(0), ""));
    let read = json::decode(&line.stdout).expect("what it prints can be read");
    assert_eq!((read.host, text(&line.stdout).lines().count()), (told.host, 1));
}

/// The walk hangs: the page is answered as fast as ever, and says what hangs, and since when.
fn hang() {
    let scene = Scene::new(&["--probe.stuck-after", "1s", "--tasks.interval", "1s"]);
    scene.tree.invent(4242, 4242, "hung").fifo("4242/schedstat");
    let words = "Our reader tasks hangs in /proc/[PID/task/]TID/schedstat (task 4242) for ";
    let notice = wait_until(Duration::from_secs(15), "the hang is told", || {
        report(&scene.exporter).notices.into_iter().find(|notice| notice.starts_with(words))
    });
    let mut slowest = 0.0_f64;
    let began = now_ns();
    while seconds(began, now_ns()) < 3.0 {
        for (path, words) in [
            ("/stalls", "About the exporter itself"),
            ("/stalls.json", "Our reader tasks hangs"),
            ("/", "<p role=\"alert\">Our reader tasks hangs"),
            ("/metrics", "# stall_exporter: Our reader tasks hangs"),
        ] {
            let asked = now_ns();
            let answer = scene.exporter.get(path, &[]);
            slowest = slowest.max(seconds(asked, now_ns()));
            assert!(answer.status == 200 && answer.text().contains(words), "{}", answer.text());
        }
    }
    println!("observed: {notice} Slowest of the answers {:.1} ms", slowest * 1000.0);
    assert!(slowest < 1.0, "{slowest} s");
    let age = report(&scene.exporter).walk_age_seconds.expect("there was a walk before");
    assert!(age > 3.0, "it grows while the walk hangs: {age}");
    let table = ask(scene.exporter.address().port(), &[]);
    assert!(text(&table.stdout).contains("\n! Our reader tasks hangs"), "{}", text(&table.stdout));
    let log = scene.exporter.log();
    let warned =
        log.iter().filter(|line| line.contains("Our reader tasks hangs") && line.contains("it is tried"));
    assert_eq!(warned.count(), 1, "once, though its seconds run: {log:?}");
}

/// Without the slice that judges no page says that all is well.
fn unjudged() {
    let scene = Scene::new(&["--no-collector.suspect"]);
    let told = report(&scene.exporter);
    assert!(told.unjudged && told.walk_age_seconds.is_some(), "{told:?}");
    let words = "What is stuck is not judged: the collector suspect is switched off or failed.";
    assert_eq!(told.notices, [words]);
    let page = |path| scene.exporter.get(path, &[]).text();
    assert!(page("/stalls").contains("<h1>Unknown: what is stuck is not judged</h1>"), "{}", page("/stalls"));
    assert!(
        page("/").contains(words) && page("/metrics").starts_with(&format!("# stall_exporter: {words}\n"))
    );
}

/// A port on which nobody listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// PID 1 alone.
fn small_tree() -> (ProcTree, String) {
    let tree = ProcTree::new();
    tree.link("1");
    let root = tree.path().to_str().expect("a scratch path").to_owned();
    (tree, root)
}

fn directly() {
    let (_tree, root) = small_tree();
    let address = free_address();
    let args = ["stalls", "--path.procfs", &root, "--web.listen-address", &address, "--wait", "1s"];
    let output = Exporter::run(&args);
    let said = format!(
        "stall_exporter: http://{address}/: no exporter listens there; looking for ourselves, for 1s\n"
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), said));
    assert!(text(&output.stdout).contains(": Nothing is stuck\nall threads looked at "), "{output:?}");
    let output = Exporter::run(&[&args[..], &["--json"]].concat());
    assert!(json::decode(&output.stdout).expect("a report").walk_age_seconds.is_some());
}

/// The command with these words, its output to be read while it runs.
fn start(args: &[&str]) -> std::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
    command.arg("stalls").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary")
}

fn watched_directly() {
    let (_tree, root) = small_tree();
    let address = free_address();
    let args =
        ["--path.procfs", &root, "--web.listen-address", &address, "--wait", "1s", "--watch", "1", "--json"];
    let mut child = start(&args);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next =
        || json::decode(lines.next().expect("a line").expect("UTF-8").as_bytes()).expect("a report");
    let (first, second) = (next().time, next().time);
    assert!(second - first > 0.8, "{first} and {second}");
    let pid = Pid::try_from(child.id()).expect("a pid fits");
    let family = Family::of(pid);
    send_signal(pid, Signal::INT);
    let ended = child.wait().expect("our own child");
    assert_eq!(ended.code(), Some(0), "Ctrl-C is how it ends: {ended}");
    wait_until_gone(Duration::from_secs(1), &family);
}

fn watched() {
    let scene = Scene::new(&[]);
    let url = format!("http://{}/", scene.exporter.address());
    let mut child = start(&["--url", &url, "--watch", "1"]);
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    let mut heads = 0;
    while heads < 2 {
        line.clear();
        assert!(stdout.read_line(&mut line).expect("UTF-8") > 0, "it ended");
        assert!(!line.contains('\u{1b}'), "no escape codes into a pipe: {line:?}");
        heads += usize::from(line.ends_with(": Nothing is stuck\n"));
    }
    scene.exporter.stop();
    line.clear();
    stderr.read_line(&mut line).expect("UTF-8");
    assert_eq!(line, format!("stall_exporter: {url}: nobody listens there; start the exporter\n"));
    // Who reads no more is not written to for ever.
    drop(stdout);
    assert!(child.try_wait().expect("our own child").is_none(), "it waits for the next exporter");
    // Not SIGINT: a shell starts what runs in its background with that ignored, and such a shell may have started us.
    send_signal(Pid::try_from(child.id()).expect("a pid fits"), Signal::TERM);
    child.wait().expect("our own child");
}

/// A server that gives each of `times` clients this answer.
fn serve(answer: &str, times: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().expect("a client");
            let _asked = stream.read(&mut [0; 4096]);
            let _hung_up = stream.write_all(answer.as_bytes());
        }
    });
    port
}

fn hostile() {
    let name = "a\u{9b}2J\u{202e}\u{7f}\\u001b[31m\\r\\n</td>";
    let body = format!(
        r#"{{"schema":"stall_exporter/stalls/v1.9","host":"{name}","new":"{name}","stalls":[{{"title":"{name}",
        "seconds":12,"tasks":[{{"comm":"{name}","stack":["{name}"]}}],"suspects":[{{"comm":"{name}"}}]}}]}}"#
    );
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let port = serve(&answer, 2);
    for (args, written) in
        [(&[][..], "a\\u{9b}2J\\u{202e}\\x7f\\x1b[31m\\x0d\\x0a</td>"), (&["--json"], "\"new\":")]
    {
        let output = ask(port, args);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
        let shown = text(&output.stdout);
        let hidden: Vec<char> =
            shown.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
        assert!(hidden.is_empty(), "{hidden:?} in {shown:?}");
        assert!(shown.contains(written), "{shown}");
    }
}

fn no_exporter() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let other = "HTTP/1.1 200 OK\r\n\r\n{\"schema\":\"stall_exporter/stalls/v2\",\"stalls\":7}";
    for (port, words) in [
        (serve("SSH-2.0-OpenSSH\r\n", 1), "the answer is no HTTP"),
        (serve("HTTP/1.1 404 Not Found\r\n\r\nno\n", 1), "the answer is 404, \"no\""),
        (serve("HTTP/1.1 200 OK\r\n\r\n<html>", 1), "this is no report of stall_exporter"),
        (
            serve(other, 1),
            "it speaks stall_exporter/stalls/v2 and this command stall_exporter/stalls/v1; use",
        ),
        (silent.local_addr().expect("bound").port(), "no whole answer within 2 s"),
        (
            free_address().rsplit(':').next().expect("a port").parse().expect("a number"),
            "nobody listens there",
        ),
    ] {
        let began = now_ns();
        let output = ask(port, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.lines().count() == 1 && said.contains(words), "{said}");
        assert!(said.starts_with(&format!("stall_exporter: http://127.0.0.1:{port}/: ")), "{said}");
        assert!(output.stdout.is_empty());
        assert!(seconds(began, now_ns()) < 5.0, "{words}");
    }
    drop(silent);
}
