//! The warden: a single-threaded process that forks, kills and reaps probes, and does nothing else. Because it never
//! has a second thread, never reads a kernel file and holds no listening socket, a probe can be replaced at any time
//! without exec, disk or a lock.
//!
//! It ends when front ends (its end of the control socket closes), and takes the probes with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use crate::runtime::process::fork_child;
use crate::runtime::shared::SLOTS_MAX;
use crate::runtime::wire::{self, LanePlan, Order, Report, WireError};

/// Pipe capacity asked for: a large frame should not make its lane wait for front.
const PIPE_BYTES: usize = 1024 * 1024;

/// What a forked probe runs: slot, plan, and the write end of its pipe. Returns its exit status.
pub type ProbeMain<'a> = &'a dyn Fn(usize, &[LanePlan], BorrowedFd<'_>) -> i32;

/// Runs the warden until front is gone. Returns the exit status of its process.
pub fn run(control: &OwnedFd, probe: ProbeMain<'_>) -> i32 {
    let mut warden = Warden { control, probe, pids: [None; SLOTS_MAX], untold: Vec::new() };
    // The service manager signals the whole group; the warden's end is front's end, in order.
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        let _default = signal_hook::flag::register(signal, std::sync::Arc::default());
    }
    let Ok((child_ended, wake)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else { return 1 };
    if signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, wake).is_err() {
        return 1;
    }
    loop {
        match warden.turn(child_ended.as_fd()) {
            Ok(()) => {}
            Err(status) => {
                warden.end_all();
                return status;
            }
        }
    }
}

struct Warden<'a> {
    control: &'a OwnedFd,
    probe: ProbeMain<'a>,
    pids: [Option<Pid>; SLOTS_MAX],
    /// Ends that could not be told yet, for want of memory in the socket.
    untold: Vec<Report>,
}

impl Warden<'_> {
    /// One wait and what it brought. `Err` is the exit status: front has ended.
    fn turn(&mut self, child_ended: BorrowedFd<'_>) -> Result<(), i32> {
        let mut fds = [PollFd::new(&self.control, PollFlags::IN), PollFd::new(&child_ended, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return Err(1),
        }
        let mut bytes = [0_u8; 64];
        while matches!(rustix::io::read(child_ended, &mut bytes), Ok(1..)) {}
        self.reap();
        self.tell_ends();
        loop {
            match wire::receive::<Order>(self.control.as_fd()) {
                Ok((order, _none)) => self.obey(&order),
                Err(WireError::NotNow) => return Ok(()),
                Err(WireError::Closed) => return Err(0),
                Err(_) => return Err(1),
            }
        }
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Ping(number) => self.report(&Report::Pong(*number), None),
            Order::Kill { slot } => {
                if let Some(pid) = self.pids.get(*slot).copied().flatten() {
                    let _ended_already = kill_process(pid, Signal::KILL);
                }
            }
            Order::Spawn { slot, plan } => match self.spawn(*slot, plan) {
                Ok((pid, pipe)) => {
                    let pid = pid.as_raw_nonzero().get();
                    self.report(&Report::Spawned { slot: *slot, pid }, Some(pipe.as_fd()));
                }
                Err(error) => self.report(&Report::NotSpawned { slot: *slot, why: error.to_string() }, None),
            },
        }
    }

    fn spawn(&mut self, slot: usize, plan: &[LanePlan]) -> std::io::Result<(Pid, OwnedFd)> {
        let place = self.pids.get_mut(slot).ok_or(Errno::INVAL)?;
        if place.is_some() {
            return Err(Errno::BUSY.into());
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller pipe works too, the lane then waits for front a little longer.
        let _smaller = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
        rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK)?;
        let probe = self.probe;
        let pid = fork_child("stall-probe", &[write.as_fd()], || probe(slot, plan, write.as_fd()))?;
        *place = Some(pid);
        Ok((pid, read))
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            let slot = self.pids.iter().position(|held| *held == Some(pid));
            if let Some(place) = slot.and_then(|slot| self.pids.get_mut(slot)) {
                *place = None;
            }
            if let Some(slot) = slot {
                self.untold.push(Report::Ended { slot, how: describe(status) });
            }
        }
    }

    /// Front frees a slot when it hears of the end, so an end must be told, if not now then at the next turn.
    fn tell_ends(&mut self) {
        let control = self.control.as_fd();
        self.untold.retain(|report| wire::send(control, report, None).is_err());
    }

    /// A report that cannot be sent is lost: a ping is repeated, and a probe that front does not know of ends when the
    /// read end of its pipe is closed here.
    fn report(&self, report: &Report, fd: Option<BorrowedFd<'_>>) {
        let _front_gone = wire::send(self.control.as_fd(), report, fd);
    }

    fn end_all(&self) {
        for pid in self.pids.iter().flatten() {
            let _ended_already = kill_process(*pid, Signal::KILL);
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
