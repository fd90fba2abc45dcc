//! Kernel stacks of waits that last: whose they are, how many are taken, and that their lane hangs alone.

use std::process::Command;
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, Scene, known, pause, vfork};
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::process::{self, Pid};
use crate::support::{now_ns, seconds, wait_for, wait_until};

pub const CASES: &[Case] = &[
    Case::together("evidence::the_stack_of_a_wait_is_the_kernels_own", real),
    Case::together("evidence::of_a_crowd_a_few", crowd),
    Case::together("evidence::a_lane_that_hangs_alone", hang),
    Case::together("evidence::without_the_privilege_it_says_so_once", unprivileged),
];

/// A wait is worth a stack after a second, and there is one a second.
const EAGER: &[&str] = &["--evidence.after=1s", "--evidence.per-minute=60", "--tasks.interval=1s"];
const PATIENCE: Duration = Duration::from_secs(20);

fn stacks(page: &Page) -> f64 {
    page.expect("stall_evidence_stacks_total", &[])
}

fn skipped(page: &Page, reason: &str) -> f64 {
    page.expect("stall_evidence_skipped_total", &[("reason", reason)])
}

fn abandoned(page: &Page, lane: &str) -> f64 {
    page.expect("stall_probe_abandoned_total", &[("lane", lane)])
}

/// What the kernel says of a thread, as the log should say it.
fn truth(tid: Pid) -> String {
    let text = std::fs::read_to_string(format!("/proc/{tid}/stack")).expect("root reads stacks");
    let frames: Vec<&str> =
        text.lines().map(|line| line.strip_prefix("[<0>] ").expect("a line of a stack")).collect();
    assert!(frames.len() > 3, "{text}");
    frames.join(" <- ")
}

fn real() {
    // A vfork is no hang, so its stack is logged for those who want to know everything.
    let scene = Scene::new(&[EAGER, &["--log.level=debug"]].concat());
    let (_fault, tid, since) = vfork(60);
    scene.show(&[tid]);
    wait_for(PATIENCE, "its stack is there", || stacks(&scene.exporter.scrape()) == 1.0);
    let after = seconds(since, now_ns());
    assert!(after > 1.0, "not before evidence.after: {after} s");
    let line = scene.exporter.wait_for_log(PATIENCE, &format!("task {tid} (vfork_parent) is blocked"));
    assert!(line.contains(&truth(tid)), "{line}\nand in truth {}", truth(tid));
    println!("observed: a stack after {after:.2} s: {line}");
    let until = now_ns() + 5_000_000_000;
    while now_ns() < until {
        let page = scene.exporter.scrape();
        assert_eq!(stacks(&page), 1.0, "once in a wait");
        assert_eq!(page.sum("stall_evidence_skipped_total", &[]), 0.0);
        pause();
    }
    assert_eq!(abandoned(&scene.exporter.scrape(), "evidence"), 0.0);
}

fn crowd() {
    let crowd = Fault::start("vfork_parent", &["60", "20"]);
    let scene = Scene::new(EAGER);
    scene.show(&crowd.tids());
    wait_for(PATIENCE, "three have a stack, the others are counted", || {
        let page = scene.exporter.scrape();
        assert!(stacks(&page) <= 3.0);
        stacks(&page) == 3.0 && skipped(&page, "crowd") == 17.0
    });
    let cpu = scene.exporter.scrape().expect("stall_probe_cpu_seconds_total", &[("lane", "evidence")]);
    println!("observed: {cpu:.4} s of CPU for three stacks and twenty tasks");
}

fn hang() {
    let ((_hangs, hung, _), (_well, other, since)) = (vfork(120), vfork(120));
    let tree = ProcTree::new();
    tree.link("1").mirror(hung).link(&other.to_string());
    let stack = format!("{hung}/stack");
    tree.fifo(&stack);
    let scene = Scene::on(tree, &[&["--probe.stuck-after", "2s"], EAGER].concat());
    let at = |page: &Page| {
        let found: Vec<_> =
            page.samples("stall_probe_stuck_seconds").filter(|s| s.has(&[("lane", "evidence")])).collect();
        assert_eq!(found.len(), 1, "one series for a lane: {found:?}");
        found[0].label("source").expect("a source").to_owned()
    };
    let others_are_well = |page: &Page| {
        for lane in ["tasks", "detail", "cgroups", "throttle", "kthreads"] {
            let stuck = page.value("stall_probe_stuck_seconds", &[("lane", lane), ("source", "none")]);
            assert_eq!((stuck, abandoned(page, lane)), (Some(0.0), 0.0), "{lane}");
        }
    };
    wait_for(PATIENCE, "the lane hangs in the stack", || {
        let page = scene.exporter.scrape();
        others_are_well(&page);
        at(&page) == "/proc/[PID/task/]TID/stack"
    });
    // The next probe leaves that task alone, and the others never noticed.
    let page = wait_until(PATIENCE, "the lane is back without it", || {
        let page = scene.exporter.scrape();
        others_are_well(&page);
        (at(&page) == "none" && skipped(&page, "avoided") == 1.0).then_some(page)
    });
    let (said, truth) = (known(&page, "vfork"), seconds(since, now_ns()));
    println!("observed: back; the wait of {truth:.1} s is said to last {said:.1} s");
    assert!(said <= truth && said >= truth - 3.0 - 2.0 * LATE, "{said} s published, {truth} s true");
    let stacks_before = stacks(&page);
    let crowd = Fault::start("vfork_parent", &["60", "5"]);
    scene.show(&crowd.tids());
    let shown = now_ns();
    let (mut in_d, until) = (0.0, shown + 6_000_000_000);
    while now_ns() < until {
        let page = scene.exporter.scrape();
        others_are_well(&page);
        let state = (at(&page), abandoned(&page, "evidence"), stacks(&page));
        let calm = ("none".to_owned(), 1.0, stacks_before);
        assert_eq!(state, calm, "it does not come back to it, and takes a minute's time for the next");
        in_d = page.expect("stall_tasks", &[("state", "D")]);
        pause();
    }
    assert_eq!(in_d, 7.0, "what came after the hang is seen");
    assert!(!scene.tree.release(&stack, ""), "nobody hangs there any more");
}

fn unprivileged() {
    let (_fault, tid, _) = vfork(60);
    let tree = ProcTree::new();
    tree.link("1").link(&tid.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin", env!("CARGO_BIN_EXE_stall_exporter")]);
    command.args(["--web.listen-address", "127.0.0.1:0"]).arg("--path.procfs").arg(tree.path()).args(EAGER);
    let exporter = Exporter::start_command(command);
    let line = exporter.wait_for_log(PATIENCE, "CAP_SYS_ADMIN");
    assert!(line.contains("/proc/[PID/task/]TID/stack") && line.contains("level=warn"), "{line}");
    println!("observed: {line}");
    wait_for(PATIENCE, "it is counted", || skipped(&exporter.scrape(), "denied") == 1.0);
    let until = now_ns() + 4_000_000_000;
    while now_ns() < until {
        let page = exporter.scrape();
        assert_eq!((stacks(&page), skipped(&page, "denied")), (0.0, 1.0));
        assert_eq!(page.expect("stall_probe_failures_total", &[("lane", "evidence")]), 1.0);
        pause();
    }
    assert_eq!(exporter.log().iter().filter(|line| line.contains("CAP_SYS_ADMIN")).count(), 1);
    assert!(process::alive(exporter.pid()) && known(&exporter.scrape(), "vfork") > 1.0, "all else goes on");
}
