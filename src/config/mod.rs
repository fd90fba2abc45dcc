//! The checked configuration: what every other room is handed. Plain data with units in the types.
//!
//! `settings` is the table of what can be set, `file` is what was typed (TOML, unknown keys refused), `validate`
//! turns file and flags into [`Config`] and returns all faults at once. Nothing here exits, logs or opens a kernel
//! file.

pub mod duration;
pub mod fault;
pub mod file;
pub mod resource;
pub mod service;
pub mod settings;
pub mod suggest;
pub mod table;
pub mod validate;
pub mod value;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::base::resource::Extra;

pub use fault::Fault;

use fault::Place;
use settings::Setting;
use value::Typed;

/// What the command line says about the configuration; it is laid over the file.
#[derive(Debug, Default)]
pub struct Flags {
    /// `--config.file`.
    pub file: Option<PathBuf>,
    /// Settings that were given.
    pub settings: Vec<Given>,
    /// `--collector.X` (true) and `--no-collector.X` (false) that were given.
    pub collectors: Vec<(&'static str, bool)>,
}

/// A setting that was given, not yet checked.
#[derive(Debug)]
pub struct Given {
    /// Its row.
    pub setting: &'static Setting,
    /// What was typed.
    pub typed: Typed,
    /// Where.
    pub place: Place,
}

/// The configuration: defaults, over them the file, over it the flags.
///
/// # Errors
/// Everything that is wrong, in the order of the file, then of the flags.
pub fn load(flags: &Flags) -> Result<Config, Vec<Fault>> {
    let document = flags.file.as_deref().map(file::load).unwrap_or_default();
    validate::check(document, flags)
}

/// Everything the program was told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Roots of the kernel's trees.
    pub roots: Roots,
    /// The listening side.
    pub web: Web,
    /// The probe processes.
    pub probe: Probe,
    /// The tasks lane.
    pub tasks: Tasks,
    /// The slice *blocked*.
    pub blocked: Blocked,
    /// The slice *starved*.
    pub starved: Starved,
    /// The slice *kernel_spin*.
    pub spin: Spin,
    /// The slice *throttle*.
    pub throttle: Throttle,
    /// The slice *disk*.
    pub disk: Disk,
    /// The evidence lane.
    pub evidence: Evidence,
    /// The slice *pressure*.
    pub pressure: Pressure,
    /// Essential services. PID 1 is not in this list: it is always watched, under the name `init`.
    pub services: Vec<Service>,
    /// Locks and other things that tasks wait for, beside those that are built in.
    pub resources: Vec<Extra>,
    /// The exporter's own cgroup.
    pub own: Own,
    /// Slices that were switched off (`--no-collector.X`), by name.
    pub disabled: Vec<String>,
    /// The walls around our own processes.
    pub sandbox: Sandbox,
    /// Log output.
    pub log: Log,
}

impl Config {
    /// What holds where nothing was given.
    pub fn defaults() -> Self {
        Self {
            roots: Roots {
                procfs: PathBuf::from("/proc"),
                sysfs: PathBuf::from("/sys"),
                cgroupfs: PathBuf::from("/sys/fs/cgroup"),
            },
            web: Web {
                listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 10_100))],
                max_requests: 40,
                max_connections: 256,
                head_bytes_max: 8 * 1024,
                head_deadline: Duration::from_secs(2),
                write_deadline: Duration::from_secs(5),
                idle: Duration::from_secs(60),
                scrape_deadline: Duration::from_millis(250),
            },
            probe: Probe {
                stuck_after: Duration::from_secs(5),
                backoff_max: Duration::from_secs(30),
                abandoned_max: 3,
            },
            tasks: Tasks {
                interval: Duration::from_secs(5),
                look_interval: Duration::from_millis(250),
                letter_age_max: Duration::from_secs(30),
                cpu_budget: 0.01,
                threads_max: 200_000,
                rows_max: 16_384,
            },
            blocked: Blocked { threshold: Duration::from_secs(5), top: 10 },
            starved: Starved { threshold: Duration::from_secs(2) },
            spin: Spin { threshold: Duration::from_secs(5) },
            throttle: Throttle { interval: Duration::from_secs(30), groups_max: 1000, walk_max: 20_000 },
            disk: Disk { devices_max: 512 },
            evidence: Evidence { after: Duration::from_secs(10), per_minute: 30 },
            pressure: Pressure::default(),
            services: Vec::new(),
            resources: Vec::new(),
            own: Own::default(),
            disabled: Vec::new(),
            sandbox: Sandbox { enabled: true },
            log: Log { level: log::LevelFilter::Info, format: LogFormat::Logfmt, queue: 1024 },
        }
    }
}

/// Where the kernel's trees are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `--path.procfs`, default `/proc`.
    pub procfs: PathBuf,
    /// `--path.sysfs`, default `/sys`.
    pub sysfs: PathBuf,
    /// `--path.cgroupfs`, default `/sys/fs/cgroup`.
    pub cgroupfs: PathBuf,
}

/// Limits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Web {
    /// `--web.listen-address`: literal addresses; a bare `:10100` means `[::]:10100`.
    pub listen: Vec<SocketAddr>,
    /// Scrapes answered at once, and as many readers of `/stalls`, these in a quarter of all connections at most; more
    /// get `503` with `Retry-After`. Default 40.
    pub max_requests: usize,
    /// Most open connections; a further one evicts the oldest without a complete head. Default 256.
    pub max_connections: usize,
    /// Most bytes of a request's head. Default 8 KiB.
    pub head_bytes_max: usize,
    /// A connection must have sent a whole head by then. Default 2 s.
    pub head_deadline: Duration,
    /// A response must have been taken by then. Default 5 s.
    pub write_deadline: Duration,
    /// A kept-alive connection without a request is closed after this. Default 60 s.
    pub idle: Duration,
    /// A scrape takes the newest page there is at this age of the request. Default 250 ms.
    pub scrape_deadline: Duration,
}

/// Limits of the probe processes.
#[derive(Debug, Clone)]
pub struct Probe {
    /// A lane that has not moved for this long is stuck. Default 5 s.
    pub stuck_after: Duration,
    /// Longest back-off of a lane that was stuck; the first is a second, each further one doubles. Default 30 s.
    pub backoff_max: Duration,
    /// Most abandoned probe processes that may exist at once. Default 3.
    pub abandoned_max: usize,
}

/// Limits of the tasks lane.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// Every thread is looked at once in this time, while the budget allows. Default 5 s.
    pub interval: Duration,
    /// Watched threads (D, R, services) are looked at again this often. Default 250 ms.
    pub look_interval: Duration,
    /// No state letter is older than this. Default 30 s.
    pub letter_age_max: Duration,
    /// Share of one CPU that all lanes together may use, 0.01 is one percent. Default 0.01.
    pub cpu_budget: f64,
    /// Most threads the lane remembers. Default 200 000.
    pub threads_max: usize,
    /// Most rows in one frame, hence most waits tracked. Default 16 384.
    pub rows_max: usize,
}

/// Limits of the slice *blocked*.
#[derive(Debug, Clone)]
pub struct Blocked {
    /// A wait counts in `stall_blocked_tasks` from this age. Default 5 s.
    pub threshold: Duration,
    /// Slots of the top-K families by comm. Default 10.
    pub top: usize,
}

/// Limits of the slice *starved*.
#[derive(Debug, Clone)]
pub struct Starved {
    /// A runnable thread that has not run counts as starved from this age. Default 2 s: a thread that obeys its quota
    /// waits a period, which is 1 s at most, and the run time of a busy thread on a tickless CPU lags by about as much.
    pub threshold: Duration,
}

/// Limits of the slice *kernel_spin*.
#[derive(Debug, Clone)]
pub struct Spin {
    /// A spin counts from this age. Default 5 s: time in user space is counted by ticks, so a thread that makes one
    /// system call after another shows none for a second or two.
    pub threshold: Duration,
}

/// Limits of the slice *throttle*.
#[derive(Debug, Clone)]
pub struct Throttle {
    /// Groups with a quota are looked for this often, while the budget allows. Default 30 s.
    pub interval: Duration,
    /// Most groups with a quota; each keeps two descriptors. Default 1000.
    pub groups_max: usize,
    /// Most groups that one search looks at. Default 20 000.
    pub walk_max: usize,
}

/// Limits of the slice *disk*.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Most block devices that are watched. Default 512.
    pub devices_max: usize,
}

/// Limits of the evidence lane.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// A wait that has lasted this long is worth its kernel stack. Default 10 s.
    pub after: Duration,
    /// Most kernel stacks read in a minute. Default 30.
    pub per_minute: usize,
}

/// What the slice *pressure* shows beside the host.
#[derive(Debug, Clone, Default)]
pub struct Pressure {
    /// Control groups, paths below the cgroup root. Default none: a reader in a group's file keeps that group from
    /// being removed, so only those are read that somebody asked for.
    pub groups: Vec<PathBuf>,
}

/// An essential service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Label value, unique, 1 to 64 characters of `[A-Za-z0-9_.:-]`.
    pub name: String,
    /// How its threads are found.
    pub selector: Selector,
    /// Which of them matter.
    pub threads: Threads,
    /// How many of those that matter must wait at once for the service to count as blocked.
    pub quorum: Quorum,
}

/// A pattern over bytes.
pub type Pattern = regex_automata::meta::Regex;

/// How the threads of a service are found.
#[derive(Debug, Clone)]
pub enum Selector {
    /// Processes whose leader's comm matches as a whole (anchored, over bytes).
    Comm(Pattern),
    /// Processes listed in `cgroup.procs` of this group (a path below the cgroup root, v2 or a v1 controller).
    Cgroup(PathBuf),
}

/// Which threads of a service matter.
#[derive(Debug, Clone)]
pub enum Threads {
    /// All of them.
    All,
    /// The first one of each of its processes.
    Main,
    /// Those whose own comm matches as a whole.
    Comm(Pattern),
}

/// How many threads of a service must wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// So many.
    Count(u32),
    /// This share of those that matter, 1 to 100.
    Percent(u32),
}

impl Quorum {
    /// Threads that must wait, of `selected` ones that matter: at least one, and rounded up, so that half of three are
    /// two.
    pub fn of(self, selected: u32) -> u32 {
        match self {
            Self::Count(count) => count.max(1),
            Self::Percent(percent) => {
                let share = u64::from(selected).saturating_mul(u64::from(percent)).div_ceil(100);
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// The exporter's own cgroup.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// `--self.cgroup`: path of our own group below the cgroup root. Asked from the kernel only where that is
    /// lock-safe (`/proc/self/cgroup` takes `cgroup_mutex` up to 6.6).
    pub cgroup: Option<PathBuf>,
}

/// The walls around our own processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sandbox {
    /// `--sandbox.enabled`, default true: seccomp in every process, Landlock in front.
    pub enabled: bool,
}

/// Log output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// `--log.level`, default `info`.
    pub level: log::LevelFilter,
    /// `--log.format`, default logfmt.
    pub format: LogFormat,
    /// Lines that wait for the writer thread; more are dropped and counted. Default 1024.
    pub queue: usize,
}

/// The two log formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `ts=… level=… target=… msg="…"`
    Logfmt,
    /// One JSON object a line, same keys.
    Json,
}
