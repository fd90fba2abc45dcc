//! What the join sees: everybody who makes no progress, in one shape, and the few facts about groups and devices that
//! can explain why.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::kthread::{self, Kthread};
use crate::base::units::{Pid, Tid};
use crate::sample::Lane;
use crate::track::Tracks;
use crate::track::kind::Kind;
use crate::track::late::Lateness;
use crate::track::quotas::{Quotas, Throttling};
use crate::track::resource::{Resource, Resources};
use crate::track::shares::Share;
use crate::track::spins::Spin;
use crate::track::waits::{Wait, comm_group};

/// What a thread is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name<'a> {
    /// As the kernel prints it.
    Comm(&'a str),
    /// A kworker by what it works on: its number says nothing.
    Worker(&'a str),
    /// A sampled kernel thread.
    Kthread(Kthread),
}

impl<'a> Name<'a> {
    /// What a busy thread is called.
    pub fn of_busy(comm: &'a str, work: Option<&'a str>) -> Self {
        work.map_or(Self::Comm(comm), Self::Worker)
    }

    /// The name for a series: of a kworker whose work is not known, without its number.
    pub fn of_series(self) -> Self {
        match self {
            Self::Comm(comm) => Self::Comm(comm_group(comm)),
            name => name,
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comm(comm) => out.write_str(comm),
            Self::Worker(work) => write!(out, "kworker+{work}"),
            Self::Kthread(Kthread { kind, cpu: Some(cpu) }) => write!(out, "{}/{cpu}", kind.name()),
            Self::Kthread(Kthread { kind, cpu: None }) => out.write_str(kind.name()),
        }
    }
}

/// A thread that makes no progress, or none that counts.
#[derive(Debug, Clone, Copy)]
pub struct Party<'a> {
    /// The thread.
    pub tid: Tid,
    /// Its process.
    pub pid: Pid,
    /// Its name.
    pub name: Name<'a>,
    /// First look that saw it so.
    pub since: Mono,
    /// Last look that saw it so.
    pub last: Mono,
    /// The CPU it is on, or whose queue it is in.
    pub cpu: Option<u32>,
    /// The group whose quota throttles it.
    pub group: Option<&'a str>,
    /// Its services, a bit each.
    pub services: u64,
    /// The function it sleeps in.
    pub wchan: Option<&'a str>,
    /// The name of the resource that this means, if it has a meaning.
    pub resource: Option<&'a str>,
    /// Its kernel stack, where it was taken.
    pub stack: &'a [String],
    /// It burns CPU time.
    pub spins: bool,
}

impl<'a> Party<'a> {
    /// How long, at least.
    pub const fn length(&self) -> Duration {
        self.last.since(self.since)
    }

    fn of_wait(wait: &'a Wait) -> Self {
        Self {
            tid: wait.tid,
            pid: wait.pid,
            name: Name::Comm(&wait.comm),
            since: wait.since,
            last: wait.last,
            cpu: wait.cpu(),
            group: wait.group(),
            services: wait.services,
            wchan: wait.wchan.as_deref(),
            resource: None,
            stack: &wait.stack,
            spins: false,
        }
    }

    fn of_spin(spin: &'a Spin) -> Self {
        Self {
            tid: spin.tid,
            pid: spin.pid,
            name: Name::of_busy(&spin.comm, spin.work.as_deref()),
            since: spin.since,
            last: spin.last,
            cpu: spin.cpu,
            group: spin.group.as_deref(),
            services: 0,
            wchan: None,
            resource: None,
            stack: &[],
            spins: true,
        }
    }

    fn of_share(tid: Tid, share: &'a Share) -> Self {
        Self {
            tid,
            pid: share.pid,
            name: Name::of_busy(&share.comm, share.work.as_deref()),
            since: share.since,
            last: share.last,
            cpu: Some(share.cpu),
            group: None,
            services: 0,
            wchan: None,
            resource: None,
            stack: &[],
            spins: true,
        }
    }

    fn of_kthread(tid: Tid, thread: Kthread, (since, last): (Mono, Mono)) -> Self {
        Self {
            tid,
            pid: tid,
            name: Name::Kthread(thread),
            since,
            last,
            cpu: thread.cpu.map(u32::from),
            group: None,
            services: 0,
            wchan: None,
            resource: None,
            stack: &[],
            spins: false,
        }
    }
}

/// A device that has I/O in flight and completes none, or that device mapper holds back.
#[derive(Debug, Clone, Copy)]
pub struct StuckDevice<'a> {
    /// Its name.
    pub device: &'a str,
    /// First look that saw it so.
    pub since: Mono,
    /// Last look that saw it so.
    pub last: Mono,
    /// I/O in flight.
    pub inflight: u64,
    /// Device mapper has suspended it.
    pub suspended: bool,
}

impl StuckDevice<'_> {
    /// How long, at least.
    pub const fn length(&self) -> Duration {
        self.last.since(self.since)
    }
}

/// A CPU whose packets may come late again and again: its `ksoftirqd` waits for it, each time too short for a stall.
/// From 4.9 to 6.4 nothing else serves softirqs meanwhile (ksoftirqd_running, kernel/softirq.c); from 6.5 on, without
/// that check, the end of the next interrupt does.
#[derive(Debug, Clone, Copy)]
pub struct LatePackets {
    /// The CPU.
    pub cpu: u32,
    /// Its `ksoftirqd`.
    pub tid: Tid,
    /// How often, and how long at the longest.
    pub lateness: Lateness,
}

/// A thread that was in the kernel for a good part of a while.
#[derive(Debug, Clone, Copy)]
pub struct InKernel<'a> {
    /// The thread, and the while.
    pub party: Party<'a>,
    /// The part of it, 0 to 1.
    pub part: f64,
    /// How long it was in the kernel each time that it was put on a CPU, the mean.
    pub at_a_time: Duration,
}

/// From which length on each sort is a stall.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Waits in D.
    pub blocked: Duration,
    /// Runnable threads that do not run; kernel threads too.
    pub starved: Duration,
    /// Threads that do not leave the kernel.
    pub spin: Duration,
    /// Devices that complete nothing.
    pub disk: Duration,
}

/// Everything the join looks at, each sort the longest first.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The moment.
    pub now: Mono,
    /// A throttled task keeps the kernel locks that it has (Linux up to 6.17).
    pub throttle_keeps_locks: bool,
    /// What functions mean.
    pub resources: Resources<'a>,
    /// What is waited for, by name.
    pub meanings: HashMap<&'a str, Resource<'a>>,
    /// Threads in D that nothing excuses, past the threshold.
    pub waiting: Vec<Party<'a>>,
    /// Threads in R that have not run since, of any length: who holds a lock may not run for long stretches only.
    pub starved: Vec<Party<'a>>,
    /// Threads that do not leave the kernel, of any length.
    pub spinning: Vec<Party<'a>>,
    /// Devices past the threshold.
    pub devices: Vec<StuckDevice<'a>>,
    /// Sampled kernel threads that have waited for their CPU past the threshold.
    pub kthreads: Vec<Party<'a>>,
    /// Threads that were in the kernel for a good part of a while, the largest part first.
    pub in_kernel: Vec<InKernel<'a>>,
    /// CPUs whose packets come late, the latest first.
    pub packets: Vec<LatePackets>,
    /// From which length on each sort is a stall.
    pub thresholds: Thresholds,
    /// Groups with a CPU quota.
    pub quotas: &'a Quotas,
}

impl<'a> Scene<'a> {
    /// What `tracks` know at `now`. What a lane said too long ago by `fresh` accuses nobody: its time is that of the
    /// last look that saw a thread or a device.
    pub fn new(
        tracks: &'a Tracks,
        now: Mono,
        thresholds: Thresholds,
        resources: Resources<'a>,
        fresh: &dyn Fn(Lane, Mono) -> bool,
    ) -> Self {
        let of_tasks = |party: &Party<'_>| fresh(Lane::Tasks, party.last);
        let hang =
            |wait: &&Wait| wait.proven() && wait.kind() == Kind::Hang && wait.length() >= thresholds.blocked;
        let mut waiting = longest(tracks.blocked.iter().filter(hang).map(Party::of_wait).filter(of_tasks));
        let starved = tracks.starved.iter().filter(|wait| wait.runnable()).map(Party::of_wait);
        let kthreads =
            tracks.kthreads.waiting().map(|(tid, thread, looks)| Party::of_kthread(tid, thread, looks));
        let late =
            |party: &Party<'_>| party.length() >= thresholds.starved && fresh(Lane::Kthreads, party.last);
        let mut devices = stuck_devices(tracks);
        devices.retain(|device| device.length() >= thresholds.disk && fresh(Lane::Devices, device.last));
        let meanings = meanings(&mut waiting, resources);
        Self {
            now,
            throttle_keeps_locks: tracks.throttle_keeps_locks,
            resources,
            meanings,
            waiting,
            starved: longest(starved.filter(of_tasks)),
            spinning: longest(tracks.spins.iter().map(Party::of_spin).filter(of_tasks)),
            devices,
            kthreads: longest(kthreads.filter(late)),
            in_kernel: in_kernel(tracks, now),
            packets: late_packets(tracks, now),
            thresholds,
            quotas: &tracks.quotas,
        }
    }

    /// What a thread waits for, as far as its wait channel has a meaning.
    pub fn waited_for(&self, party: &Party<'_>) -> Option<Resource<'a>> {
        self.meanings.get(party.resource?).copied()
    }

    /// How a group is throttled.
    pub fn throttling_of(&self, group: &str) -> Option<Throttling> {
        self.quotas.throttling(group, self.now)
    }

    /// How the group that a thread is in is throttled.
    pub fn throttling(&self, party: &Party<'_>) -> Option<Throttling> {
        self.throttling_of(party.group?)
    }
}

fn stuck_devices(tracks: &Tracks) -> Vec<StuckDevice<'_>> {
    let stuck = tracks.disks.iter().filter_map(|(device, state)| {
        let (since, last) = state.still()?;
        let suspended = state.suspended().is_some_and(|length| !length.is_zero());
        Some(StuckDevice { device, since, last, inflight: state.inflight, suspended })
    });
    let mut stuck: Vec<StuckDevice<'_>> = stuck.collect();
    stuck.sort_by_key(|device| (std::cmp::Reverse(device.length()), device.device));
    stuck
}

/// What is waited for, by name; every thread learns the name of what its wait channel means, which is asked once.
pub fn meanings<'a>(waiting: &mut [Party<'a>], resources: Resources<'a>) -> HashMap<&'a str, Resource<'a>> {
    let mut asked: HashMap<&'a str, Option<Resource<'a>>> = HashMap::new();
    for party in waiting {
        let Some(wchan) = party.wchan else { continue };
        let resource = asked.entry(wchan).or_insert_with(|| resources.waited_for(wchan));
        party.resource = resource.map(|resource| resource.name);
    }
    asked.into_values().flatten().map(|resource| (resource.name, resource)).collect()
}

fn in_kernel(tracks: &Tracks, now: Mono) -> Vec<InKernel<'_>> {
    let shares = tracks.shares.iter(now).map(|(tid, share)| InKernel {
        party: Party::of_share(tid, share),
        part: share.in_kernel,
        at_a_time: share.at_a_time,
    });
    let mut shares: Vec<InKernel<'_>> = shares.collect();
    shares.sort_by(|a, b| b.part.total_cmp(&a.part).then(a.party.tid.cmp(&b.party.tid)));
    shares
}

fn late_packets(tracks: &Tracks, now: Mono) -> Vec<LatePackets> {
    let late = tracks.kthreads.late(now).filter(|(_, thread, _)| thread.kind == kthread::Kind::Ksoftirqd);
    let packets = late.filter_map(|(tid, thread, lateness)| {
        Some(LatePackets { cpu: u32::from(thread.cpu?), tid, lateness })
    });
    let mut packets: Vec<LatePackets> = packets.collect();
    packets.sort_by_key(|packets| (std::cmp::Reverse(packets.lateness.longest), packets.cpu));
    packets
}

/// The longest first.
pub fn longest<'a>(parties: impl Iterator<Item = Party<'a>>) -> Vec<Party<'a>> {
    let mut parties: Vec<Party<'a>> = parties.collect();
    parties.sort_by_key(|party| (std::cmp::Reverse(party.length()), party.tid));
    parties
}
