//! The disposable probe process: one thread a lane, a pipe to front, and nothing worth saving. It may be killed at any
//! instruction.
#![expect(clippy::disallowed_methods, reason = "this file is the owner of the probe's threads")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::base::clock::{self, Mono, nanos};
use crate::config::Config;
use crate::lane::cgroups::CgroupsLane;
use crate::lane::detail::DetailLane;
use crate::lane::devices::DevicesLane;
use crate::lane::evidence::EvidenceLane;
use crate::lane::handover::Handover;
use crate::lane::kthreads::KthreadsLane;
use crate::lane::pressure::PressureLane;
use crate::lane::tasks::TasksLane;
use crate::lane::throttle::ThrottleLane;
use crate::lane::{Tools, Work};
use crate::runtime::shared::{Beat, Region};
use crate::runtime::wire::{self, LanePlan};
use crate::sample::{Frame, KTHREADS_MAX, Lane};
use crate::source::{Host, Reader};

/// Stack of a lane's thread. The deepest call is a parser.
const STACK: usize = 256 * 1024;
/// A lane that panicked tries again after this.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// Shares of the CPU budget.
const TASKS_SHARE: f64 = 0.51;
const DETAIL_SHARE: f64 = 0.1;
const THROTTLE_SHARE: f64 = 0.1;
const DEVICES_SHARE: f64 = 0.05;
const PRESSURE_SHARE: f64 = 0.02;
/// Descriptors that are left to the lanes that keep few: the threads that the lane tasks watches are half of them.
const DESCRIPTORS_SPARE: u64 = 256;
const KTHREADS_SHARE: f64 = 0.2;
const EVIDENCE_SHARE: f64 = 0.02;
/// Part of the descriptors this process may open that the kernel threads may keep; the other lanes need some too.
const KTHREADS_DESCRIPTORS: u64 = 2;
/// And so many at most, two for each thread.
const KTHREADS_DESCRIPTORS_MAX: u64 = 2 * KTHREADS_MAX as u64;

/// Runs the lanes until front closes the pipe. Returns the exit status.
pub fn run(config: &Config, region: Region, slot: usize, plan: &[LanePlan], pipe: BorrowedFd<'_>) -> i32 {
    let host = match Host::open(&config.roots) {
        Ok(host) => Arc::new(host),
        Err(_front_says_so_at_start) => return 1,
    };
    let Ok(sender) = pipe.try_clone_to_owned() else { return 1 };
    let sender = Arc::new(Mutex::new(sender));
    let handover = Arc::new(Handover::default());
    for lane in plan {
        let runner = Runner {
            beat: region.beat(slot, lane.lane),
            host: Arc::clone(&host),
            sender: Arc::clone(&sender),
            config: config.clone(),
            handover: Arc::clone(&handover),
            plan: lane.clone(),
        };
        let thread = std::thread::Builder::new().name(lane.lane.name().to_owned()).stack_size(STACK);
        if thread.spawn(move || runner.run()).is_err() {
            return 1;
        }
    }
    loop {
        // Only the error bits are asked for: they come when front closes its end.
        match poll(&mut [PollFd::new(&pipe, PollFlags::empty())], None) {
            Err(Errno::INTR) => {}
            _ => return 0,
        }
    }
}

struct Runner {
    beat: Beat,
    host: Arc<Host>,
    sender: Arc<Mutex<OwnedFd>>,
    config: Config,
    handover: Arc<Handover>,
    plan: LanePlan,
}

impl Runner {
    fn run(&self) -> std::convert::Infallible {
        sleep_until(self.plan.not_before, &self.beat);
        loop {
            let Err(_panic) = catch_unwind(AssertUnwindSafe(|| self.turns()));
            self.beat.panicked();
            sleep_until(clock::now().plus(AFTER_PANIC), &self.beat);
        }
    }

    /// Turns, for ever. When front is gone the main thread ends the process.
    fn turns(&self) -> std::convert::Infallible {
        let mut work = self.work();
        let mut bytes = Vec::new();
        let mut send = |frame: &Frame| {
            self.beat.send();
            self.send(frame, &mut bytes);
            self.beat.work();
        };
        let pause = |time: Duration| {
            sleep_until(clock::now().plus(time), &self.beat);
            self.beat.work();
        };
        let mut tools =
            Tools { reader: Reader::for_probe(&self.host, &self.beat), send: &mut send, pause: &pause };
        loop {
            self.beat.work();
            let due = work.turn(&mut tools);
            self.beat.spent(nanos(clock::thread_cpu()));
            self.beat.interval(nanos(work.interval()));
            sleep_until(due, &self.beat);
        }
    }

    fn work(&self) -> Box<dyn Work> {
        let (tasks, handover, now) = (&self.config.tasks, Arc::clone(&self.handover), clock::now());
        let services = &self.config.services;
        match self.plan.lane {
            Lane::Tasks => {
                let share = tasks.cpu_budget * TASKS_SHARE;
                Box::new(TasksLane::new(tasks.clone(), services, handover, share, now))
            }
            Lane::Detail => {
                let share = tasks.cpu_budget * DETAIL_SHARE;
                Box::new(DetailLane::new(handover, tasks.look_interval, share, self.plan.avoid.clone(), now))
            }
            Lane::Cgroups => Box::new(CgroupsLane::new(handover, services, self.config.own.cgroup.clone())),
            Lane::Throttle => {
                let share = tasks.cpu_budget * THROTTLE_SHARE;
                let descriptors = throttle_descriptors(descriptors_limit());
                Box::new(ThrottleLane::new(&self.config, handover, descriptors, share, now))
            }
            Lane::Kthreads => {
                let off = |name: &str| self.config.disabled.iter().any(|disabled| disabled == name);
                let limit = kthreads_descriptors(descriptors_limit());
                let descriptors = if off("softirq") && off("kthread") { 0 } else { limit };
                let share = tasks.cpu_budget * KTHREADS_SHARE;
                Box::new(KthreadsLane::new(descriptors, tasks.threads_max, share, now))
            }
            Lane::Pressure => {
                Box::new(PressureLane::new(&self.config, tasks.cpu_budget * PRESSURE_SHARE, now))
            }
            Lane::Devices => Box::new(DevicesLane::new(&self.config, tasks.cpu_budget * DEVICES_SHARE, now)),
            Lane::Evidence => {
                let share = tasks.cpu_budget * EVIDENCE_SHARE;
                let LanePlan { avoid, known, .. } = self.plan.clone();
                Box::new(EvidenceLane::new(&self.config, handover, share, avoid, known, now))
            }
        }
    }

    /// Writes one frame. The lock is held while the pipe takes the bytes: frames of two lanes must not mix, and a pipe
    /// that takes none means that front is stopped, which nobody here can help.
    fn send(&self, frame: &Frame, bytes: &mut Vec<u8>) {
        let encoded = wire::encode(frame, bytes).or_else(|error| {
            let failed = Frame::Failed { lane: self.plan.lane, why: error.to_string() };
            wire::encode(&failed, bytes)
        });
        if encoded.is_ok() {
            let pipe = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
            write_all(pipe.as_fd(), bytes);
        }
    }
}

fn descriptors_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors that kept files of kernel threads may take.
fn kthreads_descriptors(limit: u64) -> u64 {
    (limit / KTHREADS_DESCRIPTORS).min(KTHREADS_DESCRIPTORS_MAX)
}

/// Descriptors that kept files of groups may take.
fn throttle_descriptors(limit: u64) -> usize {
    let left = limit.saturating_sub(kthreads_descriptors(limit)).saturating_sub(DESCRIPTORS_SPARE);
    usize::try_from(left).unwrap_or(usize::MAX)
}

fn write_all(pipe: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(pipe, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_closed) => return,
        }
    }
}

/// Sleeps, announced, so that a late wake-up can be told from a planned sleep.
fn sleep_until(until: Mono, beat: &Beat) {
    loop {
        let left = until.since(clock::now());
        if left.is_zero() {
            return;
        }
        beat.idle(until);
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let _interrupted = rustix::thread::nanosleep(&left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::tasks::watch::WATCHED_MAX;

    #[test]
    fn what_the_lanes_may_keep_open_stays_below_the_limit() {
        for limit in [0, 256, 512, 1024, 8192, u64::MAX] {
            let kept = kthreads_descriptors(limit).saturating_add(throttle_descriptors(limit) as u64);
            let watched = 2 * WATCHED_MAX as u64;
            assert!(limit < 512 || limit - kept >= watched + 64, "{limit}: {kept}");
        }
        assert_eq!((kthreads_descriptors(1024), throttle_descriptors(1024)), (512, 256));
        assert_eq!(throttle_descriptors(256), 0);
    }
}
