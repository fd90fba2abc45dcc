//! Control groups made by a test. Needs root, and fails where the tree is not mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::{Pid, alive};
use super::wait_for;
use std::time::Duration;

/// Where the kernel mounts them.
pub const ROOT: &str = "/sys/fs/cgroup";
const SOON: Duration = Duration::from_secs(10);

/// A group. Dropping it thaws it, moves its members to the root group and removes it.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// A new group in one of the trees below [`ROOT`] (`freezer`, `cpu`, `unified`).
    pub fn new(tree: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("stall-test-{}-{number}", std::process::id());
        let path = Path::new(ROOT).join(tree).join(name);
        fs::create_dir(&path).unwrap_or_else(|error| {
            panic!("make {}: {error}; the test needs root and this tree mounted", path.display())
        });
        Self { path }
    }

    /// The path below [`ROOT`], as `cgroup =` and `--self.cgroup` want it.
    pub fn name(&self) -> &str {
        self.path.strip_prefix(ROOT).ok().and_then(Path::to_str).expect("made below the root")
    }

    /// Moves a process with all its threads into the group; false when it has ended.
    pub fn add(&self, pid: Pid) -> bool {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).is_ok() || {
            assert!(!alive(pid), "{pid} cannot be moved into {}", self.path.display());
            false
        }
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        fs::write(&path, value)
            .unwrap_or_else(|error| panic!("write {value} to {}: {error}", path.display()));
    }

    /// `FROZEN`, and waits until every member is; who comes later is frozen on arrival.
    pub fn freeze(&self) {
        self.set("freezer.state", "FROZEN");
        wait_for(SOON, "the group is frozen", || self.get("freezer.state").trim() == "FROZEN");
    }

    /// `THAWED`.
    pub fn thaw(&self) {
        self.set("freezer.state", "THAWED");
    }

    /// The ids of its members.
    pub fn members(&self) -> Vec<Pid> {
        self.get("cgroup.procs").lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.path.join("freezer.state").exists() {
            let _thawed = fs::write(self.path.join("freezer.state"), "THAWED");
        }
        let parent = self.path.parent().unwrap_or(&self.path).join("cgroup.procs");
        for pid in self.members() {
            let _moved = fs::write(&parent, pid.to_string());
        }
        // Those that were killed while frozen end only now.
        let removed = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            fs::remove_dir(&self.path).is_ok()
        });
        assert!(removed || std::thread::panicking(), "{} is not empty", self.path.display());
    }
}
