//! What only the configuration knows: how many of which threads of a service must wait at once, on a process whose
//! threads really do; and what a kernel function of the host's own module means.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::Case;
use crate::scene::{LATE, LOOK, Shot, pause, shot};
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::{now_ns, process, seconds, wait_for};

pub const CASES: &[Case] = &[
    Case::together("service::a_quorum_of_the_threads_that_matter", quorum),
    Case::together("service::a_thread_that_cannot_be_read_may_matter", unread),
    Case::together("service::a_lock_of_the_hosts_own_is_named", resource),
];

const INTERVAL: f64 = 1.0;
const PATIENCE: Duration = Duration::from_secs(30);

/// What each service adds to the selection of one process with a main thread and three workers; which threads that
/// are, and how many of them must wait.
const RULES: &[(&str, &str, f64, f64)] = &[
    ("any", "", 4.0, 1.0),
    ("half", "quorum = \"50%\"", 4.0, 2.0),
    ("two", "thread_comm = \"worker/.\"\nquorum = 2", 3.0, 2.0),
    ("most", "thread_comm = \"worker.*\"\nquorum = \"51%\"", 3.0, 2.0),
    ("three", "thread_comm = \"worker/.\"\nquorum = 3", 3.0, 3.0),
    ("whole", "thread_comm = \"worker/.\"\nquorum = \"100%\"", 3.0, 3.0),
    ("second", "thread_comm = \"worker/1\"", 1.0, 1.0),
    ("main", "threads = \"main\"", 1.0, 1.0),
    ("four", "thread_comm = \"worker/.\"\nquorum = 4", 3.0, 4.0),
    ("nobody", "thread_comm = \"worker\"", 0.0, 1.0),
];

fn of(page: &Page, family: &str, service: &str) -> Option<f64> {
    page.value(&format!("stall_service_{family}"), &[("service", service)])
}

/// Without CAP_SYS_PTRACE the kernel does not say where a thread sleeps, so that nothing excuses the vfork: the waits
/// are true, and count.
fn exporter(tree: &ProcTree, config: &str) -> Exporter {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", env!("CARGO_BIN_EXE_stall_exporter")]);
    command.args(["--web.listen-address", "127.0.0.1:0", "--config.file", config]);
    command.args(["--tasks.interval", "1s", "--path.procfs"]).arg(tree.path());
    Exporter::start_command(command)
}

fn quorum() {
    let fault = Fault::start("vfork_threads", &["120", "3"]);
    let tree = ProcTree::new();
    tree.link("1").link(&fault.pid().to_string());
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("services.toml");
    let table = |(name, rule, ..): &(&str, &str, f64, f64)| {
        format!("[[service]]\nname = \"{name}\"\ncomm = \"vfork_threads\"\n{rule}\n")
    };
    std::fs::write(&file, RULES.iter().map(table).collect::<String>()).expect("a scratch file");
    let exporter = exporter(&tree, file.to_str().expect("a scratch path"));
    wait_for(PATIENCE, "its threads are seen", || of(&exporter.scrape(), "tasks", "any") == Some(4.0));
    let page = exporter.scrape();
    for (name, _, selected, needed) in RULES {
        let counts = ["tasks", "selected_tasks", "quorum_tasks"].map(|family| of(&page, family, name));
        assert_eq!(counts, [Some(4.0), Some(*selected), Some(*needed)], "{name}");
    }

    // Who is blocked from the first, the second and the third worker on.
    let steps: [&[&str]; 3] = [&["any"], &["half", "two", "most", "second"], &["three", "whole"]];
    let mut began = Vec::new();
    for (step, names) in steps.iter().enumerate() {
        began.push(now_ns());
        process::send_signal(fault.pid(), Signal::USR1);
        // The first look is at most an interval after the beginning, the page at most `LATE` older than the request.
        let least = 2.0;
        let patience = Duration::from_secs_f64(INTERVAL + LOOK + 2.0 * LATE + least);
        wait_for(patience, "a quorum waits", || {
            let Shot { answered, page, .. } = shot(&exporter);
            check(&page, &steps, &began, answered);
            pause();
            names.iter().all(|name| of(&page, "blocked_seconds", name) >= Some(least))
        });
        println!("observed: {} in D, {names:?} blocked", step + 1);
    }
    let page = exporter.scrape();
    let [one, two, three] = ["any", "two", "three"].map(|name| of(&page, "blocked_seconds", name));
    println!("observed: after three steps {one:?}, {two:?} and {three:?} s");
    drop(fault);
    wait_for(PATIENCE, "it is absent", || {
        let page = exporter.scrape();
        RULES.iter().all(|(name, ..)| {
            let families = ["tasks", "selected_tasks", "quorum_tasks", "blocked_seconds", "starved_seconds"];
            families.map(|family| of(&page, family, name)) == [Some(0.0), None, None, None, None]
        })
    });
}

/// A share of too few threads would be reached too early, so one whose name cannot be read is counted as if it
/// mattered.
fn unread() {
    let tree = ProcTree::new();
    tree.link("1").invent(4242, 4242, "odd").invent(4242, 4243, "odd").invent(4242, 4244, "odd");
    tree.text("4242/task/4243/schedstat", "no numbers\n");
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("services.toml");
    let text = "[[service]]\nname = \"odd\"\ncomm = \"odd\"\nthread_comm = \"other\"\nquorum = \"100%\"\n";
    std::fs::write(&file, text).expect("a scratch file");
    let exporter = exporter(&tree, file.to_str().expect("a scratch path"));
    wait_for(PATIENCE, "all three are there", || of(&exporter.scrape(), "tasks", "odd") == Some(3.0));
    let page = exporter.scrape();
    assert_eq!(["selected_tasks", "quorum_tasks"].map(|family| of(&page, family, "odd")), [Some(1.0); 2]);
}

fn resource() {
    let tree = ProcTree::new();
    let status = "Name:\tbird\nState:\tD (disk sleep)\nTgid:\t4242\nPid:\t4242\n\
                  voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n";
    tree.link("1")
        .invent(4242, 4242, "bird")
        .text("4242/status", status)
        .text("4242/wchan", "dpvs_ctl.isra.0");
    let dir = tempfile::tempdir().expect("a scratch directory");
    let file = dir.path().join("resources.toml");
    let text = "[blocked]\nthreshold = \"1s\"\n[[resource]]\nname = \"dpvs\"\ntitle = \"the lock of dpvs\"\n\
                waits = [\"dpvs_ctl\"]\n";
    std::fs::write(&file, text).expect("a scratch file");
    let exporter = exporter(&tree, file.to_str().expect("a scratch path"));
    wait_for(PATIENCE, "the stall is named", || {
        exporter.get("/stalls.json", &[]).text().contains("1 task waits for the lock of dpvs")
    });
}

/// What every page must say once as many workers wait as there are beginnings.
fn check(page: &Page, steps: &[&[&str]], began: &[u64], answered: u64) {
    let blocked = |name: &str| of(page, "blocked_seconds", name);
    for (names, since) in steps.iter().zip(began.iter().copied().map(Some).chain([None; 3])) {
        let most = since.map_or(0.0, |since| seconds(since, answered));
        for name in *names {
            let said = blocked(name).expect("it has its quorum");
            assert!(said <= most, "{name}: {said} s published, at most {most} s true");
        }
        let same = names.iter().map(|name| blocked(name)).all(|said| said == blocked(names[0]));
        assert!(same, "one quorum, one length: {names:?}");
    }
    assert_eq!(blocked("main"), Some(0.0), "it never waits");
    for name in ["four", "nobody"] {
        assert_eq!(blocked(name), None, "{name}: its quorum cannot be reached");
    }
    assert_eq!(of(page, "starved_seconds", "any"), Some(0.0), "who waits in D is not starved");
}
