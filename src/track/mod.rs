//! Trackers: pure. Frames, front's own samples and `now` in; values out. No file, clock, thread, log or global is
//! touched here, so the same recorded samples give the same output.

pub mod disks;
pub mod evidence;
pub mod findings;
pub mod histogram;
pub mod kind;
pub mod kthreads;
pub mod late;
pub mod load;
pub mod pressure;
pub mod quotas;
pub mod resource;
pub mod scene;
pub mod shares;
pub mod spins;
pub mod suspect;
pub mod waits;

use crate::base::clock::Mono;
use crate::base::units::State;
use crate::sample::{Dying, Frame, Missed, OwnGroup, Row, ServiceTasks, Sweep};
use disks::Devices;
use evidence::Evidence;
use histogram::Histogram;
use kind::Kind;
use kthreads::Kthreads;
use load::Load;
use pressure::Pressure;
use quotas::Quotas;
use shares::Shares;
use spins::Spins;
use waits::{Wait, Waits};

/// Upper bounds of the blocked-wait histogram, seconds. The lowest is a look interval; above an hour it is an outage.
pub const WAIT_BOUNDS: &[f64] = &[0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Everything that is known about the host.
#[derive(Debug)]
pub struct Tracks {
    /// Threads in D, and kworkers inside a work item.
    pub blocked: Waits,
    /// Threads in R that have not run.
    pub starved: Waits,
    /// Threads that neither sleep nor leave the kernel.
    pub spins: Spins,
    /// Threads that were in the kernel for a good part of a while.
    pub shares: Shares,
    /// A throttled task keeps the kernel locks that it has (Linux up to 6.17).
    pub throttle_keeps_locks: bool,
    /// Blocked waits that have ended, seen at two looks or more, those of a known kind left out.
    pub ended: Histogram,
    /// R+D from the load averages.
    pub load: Load,
    /// The newest walk, without its rows.
    pub census: Option<Census>,
    /// Sums of what walks did not see.
    pub missed: Missed,
    /// Our own group.
    pub own: OwnGroup,
    /// Groups with a CPU quota.
    pub quotas: Quotas,
    /// Kernel threads that wait for a CPU.
    pub kthreads: Kthreads,
    /// Control groups that were removed and are still held.
    pub dying: Dying,
    /// Tasks that the kernel's own detector has called hung since boot; `None` where it does not count them.
    pub hung_tasks: Option<u64>,
    /// Block devices.
    pub disks: Devices,
    /// Kernel stacks of blocked waits; a stack itself is with its wait.
    pub evidence: Evidence,
    /// Pressure totals.
    pub pressure: Pressure,
}

/// The counts of the newest walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// When it began.
    pub begin: Mono,
    /// When it ended.
    pub end: Mono,
    /// Processes.
    pub processes: u64,
    /// Threads by state, in the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// Threads that are there and could not be read.
    pub unread: u64,
    /// Threads by service bit.
    pub services: Vec<ServiceTasks>,
    /// Starvation can be seen at all.
    pub run_times: bool,
}

impl Tracks {
    /// Knows nothing; tracks at most `rows_max` waits of each sort.
    pub fn new(rows_max: usize) -> Self {
        Self {
            blocked: Waits::new(Row::blocked, rows_max),
            // Without run times a busy thread stands as still as a starved one; nobody is accused then.
            starved: Waits::new(|row| row.state == State::Running && row.mark.run_ns > 0, rows_max),
            spins: Spins::default(),
            shares: Shares::default(),
            throttle_keeps_locks: true,
            ended: Histogram::new(WAIT_BOUNDS),
            load: Load::default(),
            census: None,
            missed: Missed::default(),
            own: OwnGroup::default(),
            quotas: Quotas::default(),
            kthreads: Kthreads::default(),
            dying: Dying::default(),
            hung_tasks: None,
            disks: Devices::default(),
            evidence: Evidence::default(),
            pressure: Pressure::default(),
        }
    }

    /// Takes a frame.
    pub fn observe(&mut self, frame: Frame) {
        match frame {
            Frame::Sweep(sweep) => self.sweep(sweep),
            Frame::Look(look) => {
                let ended = self.blocked.look(&look);
                self.starved.look(&look);
                self.spins.look(&look);
                self.book(&ended);
            }
            Frame::Detail(details) => {
                for detail in &details {
                    self.blocked.detail(detail);
                    self.starved.detail(detail);
                    self.spins.detail(detail);
                    self.shares.detail(detail);
                }
            }
            Frame::Own(own) => self.own = own,
            Frame::Quotas(frame) => self.quotas.observe(frame),
            Frame::Members(members) => {
                self.starved.members(&members);
                self.spins.members(&members);
            }
            Frame::Kthreads(samples) => self.kthreads.observe(&samples),
            Frame::Dying(dying) => self.dying = dying,
            Frame::Disks(disks) => self.disks.observe(disks),
            Frame::Stack(stack) => self.evidence.stack(stack, &mut self.blocked),
            Frame::Evidence(skipped) => self.evidence.skipped.add(&skipped),
            Frame::Pressures(pressures) => self.pressure.observe(pressures),
            Frame::Failed { .. } => {}
        }
    }

    fn sweep(&mut self, sweep: Sweep) {
        let ended = self.blocked.sweep(&sweep);
        self.starved.sweep(&sweep);
        self.spins.sweep(&sweep);
        self.book(&ended);
        self.missed.add(&sweep.missed);
        let Missed { denied, failed, over_threads, .. } = sweep.missed;
        let unread = denied.saturating_add(failed).saturating_add(over_threads);
        let Sweep { begin, end, processes, mut states, mut services, run_times, .. } = sweep;
        if let Some(before) = self.census.as_ref().filter(|_| !sweep.members_known) {
            // A part only: a service must not seem absent because its group could not be read.
            services.resize(services.len().max(before.services.len()), ServiceTasks::default());
            for (tasks, before) in services.iter_mut().zip(&before.services) {
                tasks.all = tasks.all.max(before.all);
                tasks.selected = tasks.selected.max(before.selected);
            }
        }
        // Kworkers inside a work item came without a letter; those whose letter another lane has read are counted
        // under it.
        let [_, _, uninterruptible, .., unknown] = &mut states;
        let confirmed = self.blocked.iter().filter(|wait| wait.confirmed_item()).count();
        let confirmed = u64::try_from(confirmed).unwrap_or_default().min(*unknown);
        *unknown = unknown.saturating_sub(confirmed);
        *uninterruptible = uninterruptible.saturating_add(confirmed);
        self.census = Some(Census { begin, end, processes, states, unread, services, run_times });
    }

    fn book(&mut self, ended: &[Wait]) {
        for wait in ended.iter().filter(|wait| wait.proven() && wait.kind() == Kind::Hang) {
            let length = wait.length();
            if !length.is_zero() {
                self.ended.observe(length.as_secs_f64());
            }
        }
    }
}
