//! What a walk does not enter, on a tree of ordinary files. All else that the lane reads is in the end-to-end tests.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::base::units::Pid;
use crate::config::{Config, Pattern, Quorum, Roots, Selector, Service, Threads};
use crate::sample::{Missed, Sweep};
use crate::source::paths::RowId;
use crate::source::{Host, Reader, Stamp};

/// Notes which rows are entered.
#[derive(Default)]
struct Entered(RefCell<Vec<(&'static str, u32)>>);

impl Stamp for Entered {
    fn enter(&self, row: RowId, subject: u32) {
        self.0.borrow_mut().push((row.row().pattern, subject));
    }
}

struct Scene {
    dir: tempfile::TempDir,
    lane: TasksLane,
    entered: Entered,
}

impl Scene {
    /// The service of every process of the name `x`, and PID 1.
    fn new(avoid: Vec<Tid>) -> Self {
        let service = Service {
            name: "x".to_owned(),
            selector: Selector::Comm(Pattern::new("^(?:x)$").unwrap()),
            threads: Threads::All,
            quorum: Quorum::Count(1),
        };
        let tasks = Config::defaults().tasks;
        let lane = TasksLane::new(tasks, &[service], Arc::default(), 1.0, avoid, clock::now());
        let scene = Self { dir: tempfile::tempdir().unwrap(), lane, entered: Entered::default() };
        scene.thread(1, 1, "init", 'S');
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn thread(&self, pid: Pid, tid: Tid, comm: &str, letter: char) {
        let status = format!(
            "Name:\t{comm}\nState:\t{letter} (x)\nTgid:\t{pid}\nPid:\t{tid}\n\
             voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n"
        );
        let leader = (pid == tid).then(|| pid.to_string());
        for dir in leader.into_iter().chain([format!("{pid}/task/{tid}")]) {
            self.write(&format!("{dir}/schedstat"), "1000000 1000 1\n");
            self.write(&format!("{dir}/status"), &status);
        }
    }

    fn remove(&self, name: &str) {
        fs::remove_dir_all(self.path(name)).unwrap();
    }

    /// A walk; the ids that were left alone are in order.
    fn walk(&mut self) -> Sweep {
        let procfs = self.dir.path().to_owned();
        let host =
            Host::open(&Roots { procfs, sysfs: "/sys".into(), cgroupfs: "/sys/fs/cgroup".into() }).unwrap();
        let mut sweeps = Vec::new();
        let mut send = |frame: &Frame| match frame {
            Frame::Sweep(sweep) => sweeps.push(sweep.clone()),
            other => panic!("{other:?}"),
        };
        let reader = Reader::for_probe(&host, &self.entered);
        self.lane.walk_due = Mono::default();
        self.lane.turn(&mut Tools { reader, send: &mut send, pause: &|_| {} });
        let mut sweep = sweeps.pop().unwrap();
        sweep.avoided.sort_unstable();
        sweep
    }

    /// What was entered of it.
    fn entered(&self, tid: Tid) -> Vec<&'static str> {
        let entered = self.entered.0.borrow();
        entered.iter().filter(|(_, subject)| *subject == tid).map(|(row, _)| *row).collect()
    }
}

#[test]
fn where_an_earlier_walk_hung_nothing_is_read_and_all_else_is() {
    let mut scene = Scene::new(vec![8, 72]);
    for (pid, tid, comm, letter) in [
        (7, 7, "x", 'S'),
        (7, 71, "y", 'S'),
        (7, 72, "y", 'D'),
        (8, 8, "x", 'D'),
        (8, 81, "x", 'D'),
        (9, 9, "x", 'D'),
    ] {
        scene.thread(pid, tid, comm, letter);
    }
    for walk in 1..=3 {
        let sweep = scene.walk();
        assert_eq!(sweep.missed, Missed { avoided: 2, ..Missed::default() }, "walk {walk}");
        assert_eq!(sweep.avoided, [8, 72]);
        assert_eq!(sweep.rows.iter().map(|row| row.tid).collect::<Vec<_>>(), [9]);
        assert_eq!((sweep.processes, sweep.states.iter().sum()), (3, 4_u64), "1, 7, 71 and 9");
        // The services of the process are known of the one, not of the other.
        let tasks: Vec<u32> = sweep.services.iter().map(|service| service.selected).collect();
        assert_eq!(tasks, [1, 4], "PID 1; 7, 71, 72 and 9");
    }
    for tid in [8, 81, 72] {
        assert!(scene.entered(tid).is_empty(), "{tid}: {:?}", scene.entered(tid));
    }
    assert!(scene.entered(71).len() >= 6, "a mark in each walk");
}

#[test]
fn an_id_is_read_again_when_it_is_somebody_elses() {
    let mut scene = Scene::new(vec![8, 72]);
    for (pid, tid) in [(7, 7), (7, 71), (7, 72), (8, 8)] {
        scene.thread(pid, tid, "x", 'S');
    }
    assert_eq!(scene.walk().avoided, [8, 72]);
    scene.remove("8");
    assert_eq!(scene.walk().avoided, [72]);
    scene.thread(8, 8, "z", 'D');
    // Its process is there and cannot be listed: nobody can tell.
    scene.remove("7/task");
    scene.write("7/task", "no directory");
    let sweep = scene.walk();
    assert_eq!((sweep.avoided, sweep.missed.failed), (vec![72], 1));
    assert_eq!(sweep.rows.iter().map(|row| row.tid).collect::<Vec<_>>(), [8]);
    fs::remove_file(scene.path("7/task")).unwrap();
    scene.thread(7, 7, "x", 'S');
    scene.thread(7, 71, "x", 'S');
    assert!(scene.walk().avoided.is_empty());
    scene.thread(7, 72, "x", 'D');
    let sweep = scene.walk();
    assert_eq!(sweep.missed, Missed::default());
    assert!(sweep.rows.iter().any(|row| row.tid == 72));
}

#[test]
fn init_and_kthreadd_are_no_exception() {
    let mut scene = Scene::new(vec![1, 2]);
    scene.thread(2, 2, "kthreadd", 'S');
    scene.thread(7, 7, "x", 'D');
    for _ in 0..2 {
        let sweep = scene.walk();
        assert_eq!((sweep.missed.avoided, sweep.rows.len()), (2, 1));
    }
    for tid in [1, 2] {
        assert!(scene.entered(tid).is_empty(), "{tid}: {:?}", scene.entered(tid));
    }
    // Whether this kernel counts slices, the other one of them tells.
    let mut scene = Scene::new(vec![1]);
    scene.thread(2, 2, "kthreadd", 'S');
    scene.write("2/schedstat", "0 0 0\n");
    assert!(!scene.walk().run_times);
    assert!(scene.entered(1).is_empty());
}
