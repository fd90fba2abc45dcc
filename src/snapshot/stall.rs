//! What is stuck, told for people: the rows of `/stalls`, of `/stalls.json` and of `stall_exporter stalls`.
//!
//! The field names are the schema of `/stalls.json`, which carries [`SCHEMA`]. Within a version fields are added and
//! never renamed, removed or given another meaning; a reader ignores what it does not know.

use serde::{Deserialize, Serialize};

/// Name and version of the schema.
pub const SCHEMA: &str = "stall_exporter/stalls/v1";
/// Most stalls told at a time; the rest is counted in [`Report::stalls_left_out`].
pub const STALLS_MAX: usize = 40;
/// Most tasks listed under a stall; [`Stall::tasks_total`] counts all.
pub const TASKS_MAX: usize = 20;
/// Most suspects named for a stall.
pub const SUSPECTS_MAX: usize = 3;

/// The host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the exporter.
    pub version: String,
    /// The host's name, by `uname(2)`.
    pub host: String,
    /// The kernel's release, by `uname(2)`.
    pub kernel: String,
    /// Seconds since the Unix epoch at which this was told.
    pub time: f64,
    /// Age of the newest walk over all threads, in seconds; `None` before the first, and when the walk hangs its age
    /// grows.
    pub walk_age_seconds: Option<f64>,
    /// What the reader must know of the exporter itself, a sentence each: no data yet, own quota, a lane that hangs.
    pub notices: Vec<String>,
    /// Nobody has judged what is stuck, and a notice says why: without stalls the host may be stuck all the same.
    pub unjudged: bool,
    /// What is stuck, the longest first.
    pub stalls: Vec<Stall>,
    /// Stalls past [`STALLS_MAX`].
    pub stalls_left_out: u64,
    /// Waits in D that have a cause of their own and are no stall.
    pub known_waits: Vec<KnownWait>,
    /// Stalls of the last minutes, the newest first, those that go on included.
    pub history: Vec<Past>,
}

/// One stall: a group of tasks, or a device, that makes no progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stall {
    /// `blocked`, `starved`, `kernel_spin`, `late` or `disk`.
    pub kind: String,
    /// The same for the same stall as long as it lasts: the kind and what it is on.
    pub key: String,
    /// One sentence: what is stuck and on what.
    pub title: String,
    /// How long, at least; what is `late` is told for the last minute only.
    pub seconds: f64,
    /// What the sentence means, for someone who does not know the kernel's words.
    pub explain: String,
    /// The wait channels (kernel functions) the tasks sleep in, with their number; empty where nothing sleeps.
    pub wchans: Vec<Wchan>,
    /// Who probably holds it up, the most probable first. Empty: there is no ground for a name.
    pub suspects: Vec<Suspect>,
    /// Commands that prove it, safe to run in the incident.
    pub prove: Vec<String>,
    /// What to do, reversible acts first. Here and in the other sentences a command may stand between backticks.
    pub act: Vec<String>,
    /// What not to do.
    pub avoid: Vec<String>,
    /// The tasks, those of services first and then the longest, at most [`TASKS_MAX`].
    pub tasks: Vec<Task>,
    /// How many there are.
    pub tasks_total: u64,
}

/// A wait channel and how many tasks sleep in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wchan {
    /// The kernel function, or `unknown`.
    pub wchan: String,
    /// Tasks.
    pub tasks: u64,
}

/// Who probably holds a stall up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspect {
    /// Thread name, the device's, or the control group's.
    pub comm: String,
    /// Its process, `None` for a device.
    pub pid: Option<u32>,
    /// The thread, `None` for a device.
    pub tid: Option<u32>,
    /// Its control group as far as it is known; empty when it is not.
    pub cgroup: String,
    /// Why, as a label value.
    pub reason: String,
    /// How sure, 0 to 1. An order of the reasons and not a measured probability.
    pub score: f64,
    /// Why, in words, a clause each.
    pub because: Vec<String>,
}

/// One thread of a stall.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// How long it has made no progress, at least.
    pub seconds: f64,
    /// The kernel function it sleeps in; empty when it does not sleep or the kernel does not say.
    pub wchan: String,
    /// The CPU it last ran on.
    pub cpu: Option<u32>,
    /// Its control group as far as it is known; empty when it is not.
    pub cgroup: String,
    /// The services of the configuration that it belongs to.
    pub services: Vec<String>,
    /// Its kernel stack, the innermost function first, taken once; empty when it was not taken.
    pub stack: Vec<String>,
}

/// Waits that have a cause of their own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KnownWait {
    /// `core_dump`, `freezer`, `server` or `vfork`.
    pub kind: String,
    /// Threads in it for at least `blocked.threshold`.
    pub tasks: u64,
    /// The longest, at least.
    pub seconds: f64,
    /// What it is and why it is no stall.
    pub explain: String,
}

/// A stall of the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// [`Stall::kind`].
    pub kind: String,
    /// Its title when it was longest.
    pub title: String,
    /// Seconds since it began.
    pub began_seconds_ago: f64,
    /// Seconds since it was last seen; `None` while it goes on.
    pub ended_seconds_ago: Option<f64>,
    /// Its length, at least.
    pub seconds: f64,
    /// Most tasks in it at a time.
    pub tasks_max: u64,
    /// The most probable holder when it was longest; empty when there was none.
    pub suspect: String,
}
