//! What a lane saw, as plain data: the frames that travel from a probe to front. Facts only; every judgement is made
//! by the trackers that receive them, so nothing is lost when a probe is replaced.

pub mod evidence;
mod host;
mod kthreads;
pub mod runnable;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::bounded::{ROWS_MAX, THREADS_MAX, list};
use crate::base::clock::Mono;
use crate::base::units::{Pid, State, Tid};
use evidence::{Skipped, Stack};
use runnable::{Busy, Member};

pub use host::{DiskRow, Disks, Dying, PressureRow, Pressures};
pub use kthreads::{KTHREADS_MAX, KthreadSample, KthreadSamples, Looks, STEPS_MAX, Step};

/// A lane's name: an index into the table of lanes, small and stable, because it also addresses shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// The walk over all threads.
    Tasks,
    /// Wait channels and start times of the few threads that matter.
    Detail,
    /// Control groups: members of services, our own quota.
    Cgroups,
    /// Control groups with a CPU quota.
    Throttle,
    /// A few kernel threads, twenty times a second.
    Kthreads,
    /// Block devices.
    Devices,
    /// Kernel stacks of a few long waits.
    Evidence,
    /// Pressure totals.
    Pressure,
}

impl Lane {
    /// All lanes, in the order of their shared-memory cells.
    pub const ALL: [Self; 8] = [
        Self::Tasks,
        Self::Detail,
        Self::Cgroups,
        Self::Throttle,
        Self::Kthreads,
        Self::Devices,
        Self::Evidence,
        Self::Pressure,
    ];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Detail => "detail",
            Self::Cgroups => "cgroups",
            Self::Throttle => "throttle",
            Self::Kthreads => "kthreads",
            Self::Devices => "devices",
            Self::Evidence => "evidence",
            Self::Pressure => "pressure",
        }
    }

    /// Position in [`Lane::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One message of a lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// A finished walk.
    Sweep(Sweep),
    /// Another look at the watched threads, between two walks.
    Look(Look),
    /// What only `wchan`, `stat` and `sched` can tell.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    Detail(Vec<Detail>),
    /// Our own group.
    Own(OwnGroup),
    /// Groups with a CPU quota.
    Quotas(Quotas),
    /// Which of those groups starved processes are in.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    Members(Vec<Member>),
    /// The sampled kernel threads.
    Kthreads(KthreadSamples),
    /// Control groups that were removed and are still held.
    Dying(Dying),
    /// Block devices.
    Disks(Disks),
    /// The kernel stack of one wait.
    Stack(Stack),
    /// The end of a turn of the evidence lane, and why there were not more stacks.
    Evidence(Skipped),
    /// Pressure totals.
    Pressures(Pressures),
    /// A lane could not do its work; the reason in one line.
    Failed {
        /// Which lane.
        lane: Lane,
        /// One line: what, where, what to do.
        why: String,
    },
}

/// A finished walk over all threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// First directory read.
    pub begin: Mono,
    /// Last thread read.
    pub end: Mono,
    /// Processes listed.
    pub processes: u64,
    /// Threads by state, in the order of [`State::ALL`]. Sleepers whose numbers stood still count with their last
    /// letter.
    pub states: [u64; State::ALL.len()],
    /// Threads in D and threads in R.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<Row>,
    /// Threads that were there and could not be read. What is known of them is neither extended nor ended.
    #[serde(deserialize_with = "list::<THREADS_MAX, _, _>")]
    pub unread: Vec<Tid>,
    /// The threads of each service, by bit; services past the end have none.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub services: Vec<ServiceTasks>,
    /// The members of control groups were known; if not, the services above and in the rows are a part only.
    pub members_known: bool,
    /// The kernel keeps run times, without which a busy thread cannot be told from a starved one.
    pub run_times: bool,
    /// What the walk did not see.
    pub missed: Missed,
}

/// The threads of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTasks {
    /// All of its processes.
    pub all: u32,
    /// Those of them that its rule for threads selects.
    pub selected: u32,
}

/// Another look at the watched threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Those that were there.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<Row>,
    /// Those that had ended.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub ended: Vec<Tid>,
}

/// What a walk did not see; all zero on an ordinary host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Threads that ended between listing and reading. Not a fault.
    pub vanished: u64,
    /// Permission denied.
    pub denied: u64,
    /// Any other failure, and texts that could not be parsed.
    pub failed: u64,
    /// Threads past `tasks.threads_max`.
    pub over_threads: u64,
    /// Rows past `tasks.rows_max`.
    pub over_rows: u64,
    /// D rows past the number that is looked at between walks, and threads that run past the number whose details
    /// are asked for.
    pub over_watched: u64,
}

impl Row {
    /// It waits in the kernel, or is a kworker that may.
    pub fn blocked(&self) -> bool {
        self.hint.blocks(self.state)
    }
}

impl Hint {
    /// Whether a thread in this state, recognised as this, waits in the kernel or may: the one definition for the lane
    /// that reads and the tracker that judges.
    pub fn blocks(self, state: State) -> bool {
        state == State::Uninterruptible || self == Self::WorkItem
    }
}

impl Missed {
    /// Adds another walk's.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.vanished, other.vanished),
            (&mut self.denied, other.denied),
            (&mut self.failed, other.failed),
            (&mut self.over_threads, other.over_threads),
            (&mut self.over_rows, other.over_rows),
            (&mut self.over_watched, other.over_watched),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

/// One thread at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The thread.
    pub tid: Tid,
    /// Its process.
    pub pid: Pid,
    /// Before its mark was read.
    pub begin: Mono,
    /// After its mark was read. We may have been put off the CPU in between, so a wait that began before the mark was
    /// read is only known to have begun before this, and to have lasted until `begin`.
    pub end: Mono,
    /// The letter.
    pub state: State,
    /// What tells that it made progress.
    pub mark: Mark,
    /// Name, as the kernel prints it.
    pub comm: String,
    /// Recognised while reading, without a wait channel.
    pub hint: Hint,
    /// Services to which it matters: its process is theirs, and their rules for threads select it. A bit each; bit 0 is
    /// PID 1.
    pub services: u64,
    /// Those are all: the members of control groups were known.
    pub services_whole: bool,
}

/// A thread's progress: unchanged marks at two looks prove that it did not run in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Time slices (third field of schedstat), or context switches where the kernel keeps no slices.
    pub slices: u64,
    /// Run time in nanoseconds; zero where the kernel keeps none.
    pub run_ns: u64,
}

/// What the tasks lane can tell about a D row beyond the letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hint {
    /// Nothing.
    #[default]
    None,
    /// It went from S to D without having run: frozen in place (from 6.1), nothing else can do that.
    FrozenInPlace,
    /// Its process is writing a core dump.
    CoreDump,
    /// A kworker outside its idle loop: it waits inside a work item. Its letter was not read, because that takes a
    /// global mutex.
    WorkItem,
}

/// What the detail lane tells of one wait, or of one moment of a busy thread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The thread.
    pub tid: Tid,
    /// The mark before and after the reads: the facts belong to this very wait. Of a busy thread, after them.
    pub mark: Mark,
    /// The kernel function it sleeps in; `None` when the kernel does not say, as of a thread that does not sleep.
    pub wchan: Option<String>,
    /// The letter by `stat`: of kworkers, whose `status` the walk does not read.
    pub state: Option<State>,
    /// The CPU that it is on, or whose queue it is in, or that it was on last.
    pub cpu: Option<u32>,
    /// What a busy thread does.
    pub busy: Option<Busy>,
    /// Start time in clock ticks since boot, when it could be read.
    pub start_ticks: Option<u64>,
}

/// Our own control group, and its ancestors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnGroup {
    /// Our group could be found at all; asking the kernel takes `cgroup_mutex` up to 6.6, so it is not asked there.
    pub known: bool,
    /// Smallest quota in cores at our group or any ancestor; `None` when there is none.
    pub quota_cores: Option<f64>,
    /// Throttled periods of the group that has it.
    pub throttled_periods: Option<u64>,
}

/// Groups with a CPU quota: all of them, or what has changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    /// When they were read.
    pub at: Mono,
    /// Distance of the samples as the lane's budget allows it.
    pub distance: Duration,
    /// These are all there are: what is not among them has ended or has no quota any more.
    pub whole: bool,
    /// Groups that are new or whose numbers have changed.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub rows: Vec<QuotaRow>,
    /// Labels of groups that have ended, lost their quota or cannot be read.
    #[serde(deserialize_with = "list::<ROWS_MAX, _, _>")]
    pub ended: Vec<String>,
    /// What was left out since the last frame.
    pub missed: QuotasMissed,
}

/// One group with a CPU quota.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaRow {
    /// Its path below the hierarchy's root, as a label value; no two groups of a frame have the same.
    pub group: String,
    /// Its quota in cores.
    pub quota_cores: f64,
    /// Its counters.
    pub usage: GroupUsage,
}

/// The counters of a group, since it was made. A group that is made again under the same name begins again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupUsage {
    /// Periods that have passed while the group had something to run.
    pub periods: u64,
    /// Periods in which any CPU of the group was throttled.
    pub throttled_periods: u64,
    /// Throttled time that has ended, over all CPUs.
    pub throttled_ns: u64,
    /// CPU time used, where the kernel counts it.
    pub usage_ns: Option<u64>,
}

/// What the throttle lane left out; all zero on an ordinary host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotasMissed {
    /// Groups that were there and could not be read or understood, or whose label another group has.
    pub unread: u64,
    /// Groups with a quota past `throttle.groups_max`.
    pub over_groups: u64,
    /// Groups past `throttle.walk_max`.
    pub over_walk: u64,
    /// Groups that throttle and were not searched for starved processes.
    pub over_members: u64,
}

impl QuotasMissed {
    /// Adds another frame's.
    pub fn add(&mut self, other: &Self) {
        self.unread = self.unread.saturating_add(other.unread);
        self.over_groups = self.over_groups.saturating_add(other.over_groups);
        self.over_walk = self.over_walk.saturating_add(other.over_walk);
        self.over_members = self.over_members.saturating_add(other.over_members);
    }
}
