//! The other faces of the binary, and what it says when it cannot start.

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, LOOK, Scene, Shot, known, pause};
use crate::support::exporter::{Exporter, wait_until_gone};
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::process::{Family, Pid, send_signal};
use crate::support::{now_ns, seconds, wait_for};

pub const CASES: &[Case] = &[
    Case::together("modes::once_prints_a_whole_page", once),
    Case::together("modes::once_prints_what_is_there_when_a_lane_hangs", once_in_a_hang),
    Case::together("modes::textfile_replaces_its_file_at_once", textfile),
    Case::together("modes::a_stopped_textfile_leaves_the_old_file", stopped_textfile),
    Case::together("modes::check_tells_good_hosts_from_bad", check),
    Case::together("modes::tables_are_printed", tables),
    Case::together("modes::a_port_in_use_is_one_line", port_in_use),
    Case::together("modes::no_procfs_is_one_line", no_procfs),
    Case::together("modes::a_collector_is_switched_off", switched_off),
    Case::together("modes::without_schedstat_the_switches_serve", switches),
];

fn run(args: &[&str]) -> Output {
    Exporter::run(args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn page(output: &Output) -> Page {
    let page = text(&output.stdout);
    Page::parse(&page).unwrap_or_else(|fault| panic!("{fault}\n{page}"))
}

/// Exit status 1 and one line, which holds these words; nothing else is said.
fn assert_refused(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("ts=")).collect();
    assert_eq!(lines.len(), 1, "one line: {said}");
    assert!(lines[0].starts_with("stall_exporter: "), "{said}");
    words.iter().for_each(|word| assert!(lines[0].contains(word), "{word:?} in {said}"));
}

/// PID 1 and this test itself: small, however many threads the machine has besides.
fn small_tree() -> (ProcTree, String) {
    let tree = ProcTree::new();
    tree.link("1").link(&std::process::id().to_string());
    let root = tree.path().to_str().expect("a scratch path").to_owned();
    (tree, root)
}

fn once() {
    let (_tree, root) = small_tree();
    let began = now_ns();
    let output = run(&["once", "--path.procfs", &root]);
    let took = seconds(began, now_ns());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let page = page(&output);
    assert!(page.sum("stall_tasks", &[]) >= 3.0, "itself has that many");
    assert!(page.expect("stall_service_tasks", &[("service", "init")]) >= 1.0);
    println!("observed: once took {took:.2} s, {} series", page.series());
    assert!(took < 12.0, "{took} s");
}

fn once_in_a_hang() {
    let tree = ProcTree::new();
    tree.link("1").invent(4242, 4242, "hung").fifo("4242/schedstat");
    let root = tree.path().to_str().expect("a scratch path").to_owned();
    let began = now_ns();
    let output = run(&["once", "--path.procfs", &root]);
    let took = seconds(began, now_ns());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = page(&output);
    let stuck: Vec<_> =
        page.samples("stall_probe_stuck_seconds").filter(|s| s.has(&[("lane", "tasks")])).collect();
    assert_eq!(stuck[0].label("source"), Some("/proc/[PID/task/]TID/schedstat"));
    assert!(stuck[0].value >= 5.0);
    assert!(page.family("stall_tasks").is_none(), "no walk has ended: nothing is said of tasks");
    assert!(page.value("stall_load_undecoded_total", &[]).is_some());
    println!("observed: once in a hang took {took:.2} s");
    assert!(took < 20.0, "{took} s");
}

fn textfile() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("stall.prom");
    std::fs::write(&file, "old 1\n").expect("a scratch file");
    let old = std::fs::File::open(&file).expect("just written");
    let (_tree, root) = small_tree();
    let output =
        run(&["textfile", "--path.procfs", &root, "--output", file.to_str().expect("a scratch path")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
    let page = std::fs::read_to_string(&file).expect("there");
    let page = Page::parse(&page).unwrap_or_else(|fault| panic!("{fault}\n{page}"));
    assert!(page.sum("stall_tasks", &[]) >= 3.0);
    let left = std::io::read_to_string(old).expect("an open file");
    assert_eq!(left, "old 1\n", "who reads the old file reads it whole: it was replaced, not overwritten");
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1, "nothing is left beside it");
    let nowhere = dir.path().join("no/such.prom");
    assert_refused(
        &run(&["textfile", "--output", nowhere.to_str().expect("a scratch path")]),
        &["no/such.prom"],
    );
}

/// A page that is not whole must not take the place of one that was.
fn stopped_textfile() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("stall.prom");
    std::fs::write(&file, "old 1\n").expect("a scratch file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stall_exporter"));
    command.args(["textfile", "--wait", "30s", "--output", file.to_str().expect("a scratch path")]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("the binary");
    let pid = Pid::try_from(child.id()).expect("a pid fits");
    wait_for(Duration::from_secs(5), "it is at work", || !Family::of(pid).probes.is_empty());
    let family = Family::of(pid);
    send_signal(pid, rustix::process::Signal::TERM);
    let output = child.wait_with_output().expect("our own child");
    assert_refused(&output, &["stopped by a signal"]);
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "old 1\n");
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1);
    wait_until_gone(Duration::from_secs(1), &family);
}

fn check() {
    let good = run(&["check"]);
    assert!(good.status.success(), "{}{}", text(&good.stdout), text(&good.stderr));
    let said = text(&good.stdout);
    assert!(said.lines().count() >= 6 && !said.lines().any(|line| line.starts_with("bad")), "{said}");

    let empty = tempfile::tempdir().expect("a scratch directory");
    let bad = run(&["check", "--path.procfs", empty.path().to_str().expect("a scratch path")]);
    assert_refused(&bad, &["this host lacks what the exporter needs"]);
    let said = text(&bad.stdout);
    let line = said.lines().find(|line| line.starts_with("bad")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("load averages: /proc/loadavg: not there"), "{line}");
}

fn tables() {
    for (mode, words) in [
        ("sources", ["`/proc/[PID/task/]TID/schedstat`", "SAFE", "GUARDED", "FORBIDDEN"]),
        ("metrics", ["`stall_tasks`", "`stall_blocked_tasks`", "gauge", "histogram"]),
    ] {
        let output = run(&[mode]);
        assert!(output.status.success() && output.stderr.is_empty(), "{mode}");
        let table = text(&output.stdout);
        words.iter().for_each(|word| assert!(table.contains(word), "{word} in {mode}: {table}"));
        let widths: Vec<usize> = table.lines().map(|line| line.matches(" | ").count()).collect();
        assert!(
            table.lines().count() > 20 && widths.iter().skip(2).all(|width| *width == widths[0]),
            "{table}"
        );
    }
    // The table of metrics is the page: every family of a page stands in it.
    let table = text(&run(&["metrics"]).stdout);
    let (_tree, root) = small_tree();
    for name in page(&run(&["once", "--path.procfs", &root])).names() {
        assert!(table.contains(&format!("`{name}`")), "{name} is not in the table");
    }
}

fn port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    assert_refused(&run(&["--web.listen-address", &address]), &[&address, "in use"]);
}

fn no_procfs() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let missing = dir.path().join("missing");
    for mode in ["serve", "once"] {
        let refused = |path: &Path| run(&[mode, "--path.procfs", path.to_str().expect("a scratch path")]);
        assert_refused(&refused(&missing), &["missing", "not there"]);
        assert_refused(&refused(dir.path()), &["/proc/loadavg", "not there"]);
    }
}

fn switched_off() {
    let scene = Scene::new(&["--no-collector.load"]);
    let whole = scene.exporter.scrape();
    assert!(whole.family("stall_tasks").is_some() && whole.family("stall_load_undecoded_total").is_none());
    let (_tree, root) = small_tree();
    let exporter = Exporter::start(&["--no-collector.blocked", "--path.procfs", &root]);
    wait_for(Duration::from_secs(10), "the first walk has ended", || {
        exporter.scrape().family("stall_service_tasks").is_some()
    });
    let page = exporter.scrape();
    let left: Vec<_> = page
        .names()
        .into_iter()
        .filter(|name| name.starts_with("stall_blocked") || *name == "stall_tasks")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(page.family("stall_load_undecoded_total").is_some());
    assert!(page.names().iter().all(|name| !name.starts_with("stall_known")), "{:?}", page.names());
}

const IN_D: &str = "Name:\tstuck\nState:\tD (disk sleep)\nTgid:\t4242\nPid:\t4242\n\
     voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t@\n";

/// A kernel without `CONFIG_SCHED_INFO`: every schedstat reads `0 0 0`, and `status` counts context switches.
fn switches() {
    let tree = ProcTree::new();
    let status = IN_D.replace('@', "7");
    tree.invent(1, 1, "init").text("1/schedstat", "0 0 0\n").invent(4242, 4242, "stuck");
    tree.text("4242/schedstat", "0 0 0\n").text("4242/status", &status).text("4242/wchan", "io_schedule");
    tree.invent(4243, 4243, "stuck").text("4243/schedstat", "0 0 0\n");
    tree.text("4243/status", &status.replace("4242", "4243"));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("services.toml");
    std::fs::write(&file, "[[service]]\nname = \"stuck\"\ncomm = \"stuck\"\n").expect("a scratch file");
    let file = file.to_str().expect("a scratch path");
    let args = ["--tasks.interval", "1s", "--blocked.threshold", "2s", "--config.file", file];
    let began = now_ns();
    let scene = Scene::on(tree, &args);
    let blocked = |page: &Page, wchan: &str| page.value("stall_blocked_seconds_max", &[("wchan", wchan)]);
    let mut last = 0.0;
    while seconds(began, now_ns()) < 7.0 {
        let Shot { answered, page, .. } = scene.shot();
        let now = blocked(&page, "io_schedule").unwrap_or_default();
        assert!(now >= last, "it grows: {last}, then {now}");
        assert!(now <= seconds(began, answered));
        last = now;
        pause();
    }
    assert!(last >= 7.0 - 1.0 - LOOK - LATE, "{last}");
    let page = scene.exporter.scrape();
    assert_eq!(page.expect("stall_blocked_tasks", &[("wchan", "io_schedule")]), 1.0);
    assert_eq!(
        page.expect("stall_blocked_tasks", &[("wchan", "unknown")]),
        1.0,
        "a wchan that cannot be read"
    );
    assert!(page.expect("stall_blocked_group_seconds_max", &[("comm", "stuck")]) >= last);
    assert!(page.expect("stall_service_blocked_seconds", &[("service", "stuck")]) >= last);
    assert_eq!(page.expect("stall_service_blocked_seconds", &[("service", "init")]), 0.0);
    assert_eq!(known(&page, "vfork"), 0.0);
    // It ran, and waits again. In place and of the same length, as a kernel file that is kept open changes.
    let path = scene.tree.path().join("4242/status");
    let mut kept = std::fs::OpenOptions::new().write(true).open(path).expect("in the tree");
    std::io::Write::write_all(&mut kept, IN_D.replace('@', "8").as_bytes()).expect("in the tree");
    let moved = now_ns();
    wait_for(Duration::from_secs_f64(1.0 + LATE), "the wait has begun anew", || {
        blocked(&scene.exporter.scrape(), "io_schedule").is_none()
    });
    let Shot { answered, page, .. } = scene.shot();
    assert!(blocked(&page, "io_schedule").unwrap_or_default() <= seconds(moved, answered));
    assert!(blocked(&page, "unknown").is_some_and(|other| other >= last), "the other one waits on");
    wait_for(Duration::from_secs_f64(2.0 + 1.0 + LATE), "and is blocked again", || {
        blocked(&scene.exporter.scrape(), "io_schedule").is_some()
    });
    let Shot { answered, page, .. } = scene.shot();
    let (said, truth) = (blocked(&page, "io_schedule").unwrap_or_default(), seconds(moved, answered));
    assert!(said <= truth, "{said} s published, {truth} s since it moved");
    let booked = page.expect("stall_blocked_duration_seconds_count", &[]);
    assert_eq!(booked, 1.0, "the wait that ended is booked once");
    println!("observed: {last:.2} s of 7 s before it moved, {said:.2} s of {truth:.2} s after");
}
