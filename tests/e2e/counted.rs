//! What the kernel itself counts: groups that do not go, tasks that it has called hung.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::harness::Case;
use crate::scene::{LATE, Scene};
use crate::support::cgroup::{Group, ROOT};
use crate::support::exporter::end;
use crate::support::proc_tree::ProcTree;
use crate::support::{wait_for, wait_until};

pub const CASES: &[Case] = &[
    // Its neighbours make and remove groups.
    Case::alone("cgroup_dying::a_group_that_a_socket_holds_is_counted_until_it_goes", dying),
    Case::together("hung_task::the_page_has_the_kernels_count_where_there_is_one", hung_tasks),
];

const DYING: &str = "stall_cgroup_dying";
const DETECTIONS: &str = "stall_hung_task_detections_total";
/// A turn of the lane, and what is late.
const TURN: Duration = Duration::from_millis(5000 + (LATE * 1000.0) as u64);
/// A tick of the engine, and what is late.
const TICK: Duration = Duration::from_millis(1000 + (LATE * 1000.0) as u64);

/// A process with a socket that it made inside a group; the socket holds the group when the process has left it.
struct Holder(Child);

impl Holder {
    fn within(group: &Group) -> Self {
        let procs = Path::new(ROOT).join(group.name()).join("cgroup.procs");
        let socket = "import socket, time; s = socket.socket(); print(flush=True); time.sleep(60)";
        let script = format!("echo $$ >\"$0\" && exec python3 -c '{socket}'");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(procs).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut ready = [0_u8; 1];
        let stdout = child.stdout.as_mut().expect("stdout is piped");
        std::io::Read::read_exact(stdout, &mut ready).expect("it has its socket");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        end(&mut self.0, Duration::from_secs(5));
    }
}

/// The kernel's own number.
fn kernel() -> f64 {
    let roots = ["unified/cgroup.stat", "cgroup.stat"].map(|file| Path::new(ROOT).join(file));
    let text = roots.iter().find_map(|root| fs::read_to_string(root).ok()).expect("the test needs cgroup v2");
    let line = text.lines().find_map(|line| line.strip_prefix("nr_dying_descendants ")).expect("from 4.14");
    line.parse().expect("a number")
}

fn dying() {
    let scene = Scene::new(&[]);
    let shown = || scene.exporter.scrape().value(DYING, &[]);
    let before = wait_until(TURN, "the number is on the page", shown);
    let group = Group::new("unified");
    let holder = Holder::within(&group);
    // Moves the process out and removes the group, which the socket still holds.
    drop(group);
    wait_for(TURN, "the kernel counts it", || kernel() > before);
    wait_for(TURN, "the page counts it", || shown() == Some(kernel()));
    println!("observed: {before} dying groups, then {}", kernel());
    drop(holder);
    wait_for(TURN * 2, "it has gone", || shown() == Some(kernel()) && kernel() <= before);
}

fn hung_tasks() {
    let page = Scene::new(&[]).exporter.scrape();
    let kernel = fs::read_to_string("/proc/sys/kernel/hung_task_detect_count").ok();
    let kernel = kernel.map(|text| text.trim().parse::<f64>().expect("a number"));
    assert_eq!(page.value(DETECTIONS, &[]), kernel);
    let tree = ProcTree::new();
    tree.link("1").remove("sys").text("sys/kernel/hung_task_detect_count", "7\n");
    let scene = Scene::on(tree, &[]);
    let page = scene.exporter.scrape();
    assert_eq!(page.value(DETECTIONS, &[]), Some(7.0));
    assert_eq!(page.expect("stall_exporter_failed_reads_total", &[]), 0.0);
    // Written in place, as the kernel would: the descriptor of the start is kept.
    let count = scene.tree.path().join("sys/kernel/hung_task_detect_count");
    fs::write(&count, "9\n").expect("a scratch file");
    let shown = || scene.exporter.scrape().value(DETECTIONS, &[]);
    wait_for(TICK, "the new number is on the page", || shown() == Some(9.0));
    fs::write(&count, "nine\n").expect("a scratch file");
    wait_for(TICK, "what cannot be understood is not shown", || shown().is_none());
    assert!(scene.exporter.scrape().expect("stall_exporter_failed_reads_total", &[]) >= 1.0);
    let tree = ProcTree::new();
    tree.link("1").remove("sys");
    let page = Scene::on(tree, &[]).exporter.scrape();
    assert!(page.family(DETECTIONS).is_none(), "a kernel that does not count");
    assert_eq!(page.expect("stall_exporter_failed_reads_total", &[]), 0.0);
}
