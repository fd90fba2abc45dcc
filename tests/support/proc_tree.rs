//! A directory that stands in for `/proc`: links to the real thing, in which single files hang, lie or are missing.
//!
//! A FIFO without a writer makes an `open` for reading wait for ever, in user space terms exactly like a kernel file
//! whose lock is never released, and it can be released by the test. (An `open` with `O_NONBLOCK` does not wait.)

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

/// What every tree links from the real `/proc`: the host-wide files that carry no state of ours.
const ALWAYS: [&str; 6] = ["loadavg", "stat", "sys", "self", "diskstats", "pressure"];

/// The tree; removed when dropped.
#[derive(Debug)]
pub struct ProcTree {
    dir: TempDir,
    /// Beside the tree on the same file system, out of the exporter's sight: what waits to be renamed into it.
    aside: TempDir,
    /// Stands in for `/sys`.
    sys: TempDir,
}

impl ProcTree {
    /// A tree with `loadavg`, `stat`, `sys`, `self`, `diskstats` and `pressure`, and no process at all.
    pub fn new() -> Self {
        let scratch = || TempDir::with_prefix("proc-").expect("a scratch directory");
        let tree = Self { dir: scratch(), aside: scratch(), sys: scratch() };
        for name in ALWAYS {
            tree.link(name);
        }
        tree
    }

    /// The path to give as `--path.procfs`.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path to give as `--path.sysfs`; empty but for what [`ProcTree::disk`] puts there.
    pub fn sysfs(&self) -> &Path {
        self.sys.path()
    }

    /// A whole block device, as far as `/sys/block` tells.
    pub fn disk(&self, name: &str) -> &Self {
        let path = self.sysfs().join("block").join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        self
    }

    /// What `dm-N/dm/suspended` says, for a device that is there.
    pub fn dm_suspended(&self, number: u32, text: &str) -> &Self {
        let path = self.sysfs().join(format!("block/dm-{number}/dm/suspended"));
        let put = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap_or(path)).and_then(|()| fs::write(path, text))
        };
        put(&path).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        self
    }

    /// Links one entry of the real `/proc`: a file, a directory or a process.
    pub fn link(&self, name: &str) -> &Self {
        self.put(name, |path| symlink(Path::new("/proc").join(name), path))
    }

    /// Lays a real process out as directories of links, down to the files of each thread, so that single files of it
    /// can be replaced. Threads it starts later do not appear.
    pub fn mirror(&self, pid: i32) -> &Self {
        let process = format!("{pid}");
        for name in names(&Path::new("/proc").join(&process)) {
            if name != "task" {
                self.link(&format!("{process}/{name}"));
            }
        }
        for tid in super::process::threads(pid) {
            let thread = format!("{process}/task/{tid}");
            for name in names(&Path::new("/proc").join(&thread)) {
                self.link(&format!("{thread}/{name}"));
            }
        }
        self
    }

    /// A thread that no kernel knows: asleep, never run since. `pid` is its process, its own leader when equal.
    pub fn invent(&self, pid: u32, tid: u32, comm: &str) -> &Self {
        let status = format!(
            "Name:\t{comm}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{pid}\nNgid:\t0\nPid:\t{tid}\nPPid:\t1\n\
             TracerPid:\t0\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t0\n"
        );
        let mut directories = vec![format!("{pid}/task/{tid}")];
        if pid == tid {
            directories.push(format!("{pid}"));
        }
        for directory in directories {
            self.text(&format!("{directory}/status"), &status)
                .text(&format!("{directory}/schedstat"), "1000000 1000 1\n")
                .text(&format!("{directory}/comm"), &format!("{comm}\n"));
        }
        self
    }

    /// A regular file with this text, put in place at once: a reader sees the older file or the whole new one.
    pub fn text(&self, name: &str, text: &str) -> &Self {
        self.put(name, |path| fs::write(path, text))
    }

    /// A FIFO: whoever opens it for reading hangs until [`ProcTree::release`].
    pub fn fifo(&self, name: &str) -> &Self {
        self.put(name, |path| Ok(mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?))
    }

    /// Takes an entry away, with all below it; no error when it is not there.
    pub fn remove(&self, name: &str) -> &Self {
        let path = self.path().join(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(entry) if entry.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(_) => Ok(()),
        };
        removed.unwrap_or_else(|error| panic!("remove {}: {error}", path.display()));
        self
    }

    /// Ends the hang of a FIFO: a regular file with this text takes its place, and whoever hangs in it goes on. Of
    /// several, one gets the text and the others an empty file. Returns whether anybody was hanging.
    pub fn release(&self, name: &str, text: &str) -> bool {
        let path = self.path().join(name);
        let fifo = self.aside.path().join("fifo");
        fs::hard_link(&path, &fifo).unwrap_or_else(|error| panic!("release {}: {error}", path.display()));
        // The file first, so that nobody can come to hang after those who wait have been let go.
        self.text(name, text);
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
        let writer = fs::OpenOptions::new().write(true).custom_flags(nonblocking).open(&fifo);
        let _unlinked = fs::remove_file(&fifo);
        match writer {
            Ok(mut writer) => {
                match writer.write_all(text.as_bytes()) {
                    // It hung in the open, and left when that ended: a `pread` of a pipe fails.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                    written => written.expect("a pipe takes a page at once"),
                }
                true
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => false,
            Err(error) => panic!("open {} for writing: {error}", path.display()),
        }
    }

    /// Makes an entry aside and renames it into the tree, so that no reader meets it half made.
    fn put(&self, name: &str, make: impl FnOnce(&Path) -> std::io::Result<()>) -> &Self {
        let path = self.path().join(name);
        let fresh = self.aside.path().join("fresh");
        let place = || -> std::io::Result<()> {
            make(&fresh)?;
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::rename(&fresh, &path)
        };
        place().unwrap_or_else(|error| panic!("put {} into the tree: {error}", path.display()));
        self
    }
}

impl Default for ProcTree {
    fn default() -> Self {
        Self::new()
    }
}

/// The names in a directory of the real `/proc`; empty when the task is gone.
fn names(directory: &PathBuf) -> Vec<String> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("list {}: {error}", directory.display()),
    }
}
