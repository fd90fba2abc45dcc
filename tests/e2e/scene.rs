//! What most cases begin with: a tree that shows the exporter what the case made, and an exporter on it.

use std::process::{Child, Command};
use std::time::Duration;

use crate::support::exporter::{Exporter, end};
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::process::Pid;
use crate::support::{now_ns, wait_until};

/// Default of `--tasks.interval`, seconds.
pub const INTERVAL: f64 = 5.0;
/// Default of `--tasks.look-interval`, seconds.
pub const LOOK: f64 = 0.25;
/// What a page may be late, seconds: the engine ticks every second when nothing wakes it, and on a machine that
/// builds and tests something else a thread is woken late.
pub const LATE: f64 = 1.5;
/// One sweep and what comes with it: until then whatever is true must be on the page.
pub const SWEEP: f64 = INTERVAL + LOOK + LATE;

/// A tree and an exporter on it.
pub struct Scene {
    /// Shows PID 1 and what was shown.
    pub tree: ProcTree,
    /// Started with the tree.
    pub exporter: Exporter,
}

/// A page with the two moments between which it was made.
pub struct Shot {
    /// Before the request.
    pub asked: u64,
    /// After the response.
    pub answered: u64,
    /// What came.
    pub page: Page,
}

impl Scene {
    /// An exporter on a tree with PID 1, after its first walk.
    pub fn new(args: &[&str]) -> Self {
        let tree = ProcTree::new();
        tree.link("1");
        Self::on(tree, args)
    }

    /// The same on a tree that is there.
    pub fn on(tree: ProcTree, args: &[&str]) -> Self {
        let root = tree.path().to_str().expect("a scratch path").to_owned();
        let exporter = start(&[&["--path.procfs", &root], args].concat());
        Self { tree, exporter }
    }

    /// Shows processes to the exporter.
    pub fn show(&self, pids: &[Pid]) {
        for pid in pids {
            self.tree.link(&pid.to_string());
        }
    }

    /// A page and its moments.
    pub fn shot(&self) -> Shot {
        shot(&self.exporter)
    }
}

/// An exporter after its first walk.
pub fn start(args: &[&str]) -> Exporter {
    let exporter = Exporter::start(args);
    wait_until(Duration::from_secs(20), "the first walk has ended", || {
        exporter.scrape().family("stall_tasks").map(|_| ())
    });
    exporter
}

/// A page and its moments.
pub fn shot(exporter: &Exporter) -> Shot {
    let asked = now_ns();
    let page = exporter.scrape();
    Shot { asked, answered: now_ns(), page }
}

/// Sleeps until the next sample of a case that looks several times a second.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}

/// A process that wants a whole CPU. Dropping it ends it.
pub struct Busy(Child);

impl Busy {
    /// A shell that counts to nothing.
    pub fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell"))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::try_from(self.0.id()).expect("a pid fits")
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        end(&mut self.0, Duration::from_secs(5));
    }
}

/// One vfork parent, and since when it waits.
pub fn vfork(seconds: u32) -> (Fault, Pid, u64) {
    let fault = Fault::start("vfork_parent", &[&seconds.to_string()]);
    let (tid, since) = (fault.tids()[0], fault.since_ns()[0]);
    (fault, tid, since)
}

/// Longest published wait of a kind.
pub fn known(page: &Page, kind: &str) -> f64 {
    page.expect("stall_known_wait_seconds_max", &[("kind", kind)])
}

/// Nothing on the page is called blocked, by whatever family.
pub fn assert_nothing_blocked(page: &Page, when: &str) {
    for name in ["stall_blocked_tasks", "stall_blocked_seconds_max", "stall_blocked_group_seconds_max"] {
        let found: Vec<_> = page.samples(name).collect();
        assert!(found.is_empty(), "{when}: {found:?}");
    }
}
