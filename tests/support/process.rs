//! What the kernel says of a process. Always the real `/proc`, whatever tree the exporter was given.

use std::fs;

use rustix::process::{Signal, kill_process};

/// A process or thread id, as the kernel prints it.
pub type Pid = i32;

/// The three kinds of processes of a running exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The serving process: the one that was started.
    pub front: Pid,
    /// Its only child.
    pub warden: Option<Pid>,
    /// The children of the warden, the abandoned ones among them.
    pub probes: Vec<Pid>,
}

impl Family {
    /// The family of a front as it is now.
    pub fn of(front: Pid) -> Self {
        let warden = children(front).first().copied();
        Self { front, warden, probes: warden.map(children).unwrap_or_default() }
    }

    /// Every process, front first.
    pub fn all(&self) -> Vec<Pid> {
        [self.front].into_iter().chain(self.warden).chain(self.probes.iter().copied()).collect()
    }
}

/// The processes whose parent is `parent`, ascending; zombies are among them.
pub fn children(parent: Pid) -> Vec<Pid> {
    let numbers = |name: std::ffi::OsString| name.to_str()?.parse::<Pid>().ok();
    let entries = fs::read_dir("/proc").expect("list /proc");
    let mut found: Vec<Pid> = entries
        .filter_map(|entry| numbers(entry.ok()?.file_name()))
        .filter(|&pid| status_field(pid, "PPid").is_some_and(|ppid| ppid == parent.to_string()))
        .collect();
    found.sort_unstable();
    found
}

/// The threads of a process, ascending; empty when it is gone.
pub fn threads(pid: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found: Vec<Pid> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

/// Sends a signal; a process that is gone already is no error.
pub fn send_signal(pid: Pid, signal: Signal) {
    let target = rustix::process::Pid::from_raw(pid).expect("a pid is above zero");
    let _gone = kill_process(target, signal);
}

/// Whether the process exists and is not a zombie.
pub fn alive(pid: Pid) -> bool {
    state(pid).is_some_and(|letter| letter != 'Z')
}

/// The state letter of a process or thread, from `status`.
pub fn state(tid: Pid) -> Option<char> {
    status_field(tid, "State")?.chars().next()
}

/// One field of `status`, without the blanks around it.
pub fn status_field(tid: Pid, field: &str) -> Option<String> {
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    field_of(&String::from_utf8_lossy(&status), field)
}

/// Time on a CPU in ns, time waiting for one in ns, time slices.
pub fn schedstat(tid: Pid) -> Option<[u64; 3]> {
    let text = fs::read_to_string(format!("/proc/{tid}/schedstat")).ok()?;
    let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    numbers.try_into().ok()
}

/// CPU time of all threads that exist now, in ns.
pub fn cpu_ns(pid: Pid) -> u64 {
    threads(pid).into_iter().filter_map(schedstat).map(|[on_cpu, ..]| on_cpu).sum()
}

/// Open descriptors.
pub fn fd_count(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// [`fd_count`] once it has stood still for a quarter of a second: a connection that was just closed is still there for
/// a moment.
pub fn settled_fd_count(pid: Pid) -> usize {
    let (mut held, mut since) = (fd_count(pid), std::time::Instant::now());
    super::wait_for(std::time::Duration::from_secs(20), "the number of descriptors stands still", || {
        let now = fd_count(pid);
        if now != held {
            (held, since) = (now, std::time::Instant::now());
        }
        since.elapsed() >= std::time::Duration::from_millis(250)
    });
    held
}

/// Proportional share of the memory in use, in bytes: shared pages count once over all sharers.
pub fn pss_bytes(pid: Pid) -> u64 {
    rollup_bytes(pid, "Pss")
}

/// The part of [`pss_bytes`] that no file is behind: heap, stacks, what was written to. Unlike the rest it does not
/// change when another copy of the same program starts or ends.
pub fn pss_anon_bytes(pid: Pid) -> u64 {
    rollup_bytes(pid, "Pss_Anon")
}

/// Resident memory in bytes: shared pages count for each sharer.
pub fn rss_bytes(pid: Pid) -> u64 {
    rollup_bytes(pid, "Rss")
}

fn rollup_bytes(pid: Pid, field: &str) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let value = field_of(&rollup, field).unwrap_or_else(|| panic!("{path} has no {field}: {rollup}"));
    let kib: u64 = value.trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

fn field_of(text: &str, field: &str) -> Option<String> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| *name == field)?;
    Some(value.trim().to_owned())
}
