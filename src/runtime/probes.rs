//! Front's side of the probes: the warden's socket, the live probe's pipe, and the supervisor that decides. Nothing
//! here waits: what cannot be sent now is sent at a later tick, what has not arrived is not there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::config;
use crate::health::{Health, LaneState, StuckAt};
use crate::runtime::shared::{Region, SLOTS_MAX, Wall};
use crate::runtime::supervisor::Supervisor;
use crate::runtime::wire::{self, Intake, Order, Report, WireError};
use crate::sample::evidence::Known;
use crate::sample::{Frame, Lane};

/// Pieces of a pipe taken in one turn; the rest stays for the next, so that a flood of frames cannot hold a scrape.
const PIECES_PER_TURN: usize = 8;
/// A failing lane is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A ping without an answer is repeated after this: the kernel may have had no memory for the answer.
const PING_AGAIN: Duration = Duration::from_secs(60);

/// The warden has ended, so no probe can ever be replaced again.
#[derive(Debug)]
pub struct WardenGone;

/// Sums of a lane over the probes that are gone, and what it delivered.
#[derive(Debug, Clone, Copy, Default)]
struct Ledger {
    cpu_ns: u64,
    panics: u64,
    passes: u64,
    pass_at: Option<Mono>,
    failures: u64,
    logged: Option<Mono>,
}

/// The probes, seen from front.
#[derive(Debug)]
pub struct Probes {
    control: OwnedFd,
    region: Region,
    supervisor: Supervisor,
    intake: Option<(usize, Intake)>,
    ledgers: [Ledger; Lane::ALL.len()],
    pings: u64,
    pinged_at: Mono,
    /// Since when the warden owes an answer.
    unanswered: Option<Mono>,
}

impl Probes {
    /// No probe yet; the first tick orders one.
    pub fn new(control: OwnedFd, region: Region, limits: config::Probe) -> Self {
        let limits = config::Probe { abandoned_max: limits.abandoned_max.min(SLOTS_MAX - 1), ..limits };
        Self {
            control,
            region,
            supervisor: Supervisor::new(limits),
            intake: None,
            ledgers: [Ledger::default(); Lane::ALL.len()],
            pings: 0,
            pinged_at: Mono::default(),
            unanswered: None,
        }
    }

    /// The warden's socket, for poll.
    pub fn control_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// The live probe's pipe, for poll.
    pub fn pipe_fd(&self) -> Option<BorrowedFd<'_>> {
        self.intake.as_ref().map(|(_, intake)| intake.fd())
    }

    /// Takes everything that has arrived; frames are appended to `frames`.
    ///
    /// # Errors
    /// [`WardenGone`].
    pub fn receive(&mut self, frames: &mut Vec<Frame>, now: Mono) -> Result<(), WardenGone> {
        self.frames(frames, now);
        loop {
            match wire::receive::<Report>(self.control.as_fd()) {
                Ok((report, pipe)) => self.reported(&report, pipe, now),
                Err(WireError::NotNow) => return Ok(()),
                Err(_) => return Err(WardenGone),
            }
        }
    }

    fn reported(&mut self, report: &Report, pipe: Option<OwnedFd>, now: Mono) {
        match report {
            Report::Pong(_) => self.unanswered = None,
            Report::Spawned { slot, pid } => {
                log::debug!("probe {pid} runs in slot {slot}");
                if self.supervisor.live() == Some(*slot) {
                    self.intake = pipe.map(|pipe| (*slot, Intake::new(pipe)));
                }
            }
            Report::NotSpawned { slot, why } => {
                log::warn!("a probe could not be forked into slot {slot}: {why}")
            }
            Report::Ended { slot, how } => {
                let live = self.supervisor.live() == Some(*slot);
                if live {
                    log::warn!("the probe in slot {slot} ended by itself ({how}); a new one is forked");
                    self.settle(*slot);
                }
            }
        }
        self.supervisor.reported(report, now);
    }

    /// Whole frames of the live probe.
    fn frames(&mut self, frames: &mut Vec<Frame>, now: Mono) {
        for _piece in 0..PIECES_PER_TURN {
            let Some((slot, intake)) = &mut self.intake else { return };
            let slot = *slot;
            match intake.fill() {
                Ok(()) => {}
                Err(WireError::NotNow) => return,
                // The end of the pipe: the warden's report tells why and brings the next probe.
                Err(_closed) => {
                    self.intake = None;
                    return;
                }
            }
            loop {
                let Some((_, intake)) = &mut self.intake else { return };
                match intake.frame() {
                    Ok(Some(frame)) => {
                        self.delivered(&frame, now);
                        frames.push(frame);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        log::error!("probe in slot {slot}: {error}");
                        self.intake = None;
                        if let Some(order) = self.supervisor.lost(slot, now) {
                            self.settle(slot);
                            let _pipe_closes = self.send(&order);
                        }
                        return;
                    }
                }
            }
        }
    }

    fn delivered(&mut self, frame: &Frame, now: Mono) {
        let (lane, pass) = match frame {
            Frame::Sweep(_) => (Lane::Tasks, true),
            Frame::Look(_) => (Lane::Tasks, false),
            Frame::Detail(details) => (Lane::Detail, details.is_empty()),
            Frame::Dying(_) => (Lane::Cgroups, false),
            Frame::Own(_) => (Lane::Cgroups, true),
            Frame::Quotas(quotas) => (Lane::Throttle, quotas.whole),
            Frame::Members(_) => (Lane::Throttle, false),
            Frame::Kthreads(_) => (Lane::Kthreads, true),
            Frame::Disks(_) => (Lane::Devices, true),
            Frame::Stack(_) => (Lane::Evidence, false),
            Frame::Evidence(_) => (Lane::Evidence, true),
            Frame::Pressures(pressures) => (Lane::Pressure, pressures.groups),
            Frame::Failed { lane, .. } => (*lane, false),
        };
        let stuck = self.supervisor.lane(lane).stuck;
        self.supervisor.delivered(lane, proves(frame), now);
        if let Some(stuck) = stuck.filter(|_| self.supervisor.lane(lane).stuck.is_none()) {
            let silent = now.since(stuck.since).as_secs();
            log::info!("lane {} is back after {silent} s in {}", lane.name(), stuck.source);
        }
        let Some(ledger) = self.ledgers.get_mut(lane.index()) else { return };
        if pass {
            ledger.passes = ledger.passes.saturating_add(1);
            ledger.pass_at = Some(now);
        }
        ledger.failures = ledger.failures.saturating_add(u64::from(matches!(frame, Frame::Failed { .. })));
        if let Frame::Failed { why, .. } = frame
            && ledger.logged.is_none_or(|at| now.since(at) >= LOG_EVERY)
        {
            ledger.logged = Some(now);
            log::warn!("lane {}: {why}", lane.name());
        }
    }

    /// Lets the supervisor decide and carries it out. A new probe is told what is `known`.
    pub fn tick(&mut self, known: impl Fn() -> Vec<Known>, now: Mono) {
        let region = self.region;
        let orders = self.supervisor.tick(|slot, lane| region.beat(slot, lane).doing(), now);
        for mut order in orders {
            match &mut order {
                Order::Kill { slot } => {
                    self.tell_stuck(*slot, now);
                    self.intake = None;
                    self.settle(*slot);
                }
                Order::Spawn { slot, plan } => {
                    self.region.clear(*slot);
                    plan.iter_mut()
                        .filter(|lane| lane.lane == Lane::Evidence)
                        .for_each(|lane| lane.known = known());
                }
                Order::Ping(_) => {}
            }
            if let (Err(error), Order::Spawn { slot, .. }) = (self.send(&order), &order) {
                // As if the warden could not fork: it is ordered again.
                self.supervisor.reported(&Report::NotSpawned { slot: *slot, why: error.to_string() }, now);
            }
        }
        // One at a time: the pings of minutes would fill the socket of a warden that stands still, and then the order
        // that matters would find no room.
        if self.unanswered.is_none() || now.since(self.pinged_at) >= PING_AGAIN {
            self.pings = self.pings.wrapping_add(1);
            self.pinged_at = now;
            self.unanswered.get_or_insert(now);
            let _answered_later = self.send(&Order::Ping(self.pings));
        }
    }

    fn tell_stuck(&self, slot: usize, now: Mono) {
        for lane in Lane::ALL {
            if let Some(stuck) = self.supervisor.lane(lane).stuck {
                let silent = now.since(stuck.since).as_secs();
                let (lane, source, subject) = (lane.name(), stuck.source, stuck.subject);
                log::warn!(
                    "lane {lane} hangs for {silent} s in {source} (task {subject}); probe {slot} is abandoned"
                );
            }
        }
    }

    /// Keeps the sums of a probe that is given up, once: until its end its lanes may still write theirs, and what is
    /// written then is not added again.
    fn settle(&mut self, slot: usize) {
        for lane in Lane::ALL {
            let beat = self.region.beat(slot, lane);
            if let Some(ledger) = self.ledgers.get_mut(lane.index()) {
                ledger.cpu_ns = ledger.cpu_ns.saturating_add(beat.cpu_ns());
                ledger.panics = ledger.panics.saturating_add(beat.panics());
            }
        }
        self.region.clear(slot);
    }

    fn send(&self, order: &Order) -> Result<(), WireError> {
        // A warden that stands still leaves orders in its socket. They are few: one ping, and a spawn and a kill for
        // each slot, which fit. A closed socket is noticed at the next receive.
        wire::send(self.control.as_fd(), order, None)
    }

    /// What the slice `own` shows.
    pub fn health(&self, now: Mono, health: &mut Health) {
        health.lanes = Lane::ALL.map(|lane| self.lane_state(lane, now)).to_vec();
        health.abandoned_now = u64::try_from(self.supervisor.abandoned()).unwrap_or(u64::MAX);
        health.spawned = self.supervisor.spawned_total;
        health.lost = self.supervisor.lost_total;
        health.walls = self.walls();
        health.warden_silent = self.unanswered.map_or(Duration::ZERO, |at| now.since(at));
    }

    /// What the processes say of their walls; nothing of a probe that is not there.
    fn walls(&self) -> Vec<(&'static str, &'static str, bool)> {
        let probe = self.supervisor.live().map(Wall::ProbeSeccomp);
        let walls = [Wall::FrontSeccomp, Wall::FrontLandlock, Wall::WardenSeccomp].into_iter().chain(probe);
        let said = walls.filter_map(|wall| Some((wall.names(), self.region.stands(wall)?)));
        said.map(|((process, kind), stands)| (process, kind, stands)).collect()
    }

    fn lane_state(&self, lane: Lane, now: Mono) -> LaneState {
        let health = self.supervisor.lane(lane);
        let ledger = self.ledgers.get(lane.index()).copied().unwrap_or_default();
        let beat = self.supervisor.live().map(|slot| self.region.beat(slot, lane));
        let live = |read: fn(&crate::runtime::shared::Beat) -> u64| beat.as_ref().map_or(0, read);
        LaneState {
            lane,
            stuck: health.stuck.map(|stuck| StuckAt {
                source: stuck.source,
                subject: stuck.subject,
                time: now.since(stuck.since),
            }),
            down: health.down,
            age: ledger.pass_at.map(|at| now.since(at)),
            interval: Duration::from_nanos(live(crate::runtime::shared::Beat::interval_ns)),
            cpu: Duration::from_nanos(
                ledger.cpu_ns.saturating_add(live(crate::runtime::shared::Beat::cpu_ns)),
            ),
            passes: ledger.passes,
            failures: ledger.failures,
            panics: ledger.panics.saturating_add(live(crate::runtime::shared::Beat::panics)),
            abandoned: health.abandoned_total,
        }
    }

    /// Every lane has finished a pass.
    pub fn all_delivered(&self) -> bool {
        self.ledgers.iter().all(|ledger| ledger.pass_at.is_some())
    }
}

/// Whether a lane that sends this has come past the place where such lanes hang. An empty answer proves little, and so
/// does what is read before that place or instead of it: a lane that has just been born gives it before it comes to
/// where it hung.
fn proves(frame: &Frame) -> bool {
    match frame {
        Frame::Sweep(_) | Frame::Look(_) | Frame::Own(_) | Frame::Kthreads(_) => true,
        Frame::Disks(_) | Frame::Stack(_) => true,
        Frame::Detail(details) => !details.is_empty(),
        Frame::Quotas(quotas) => quotas.whole,
        Frame::Pressures(pressures) => pressures.groups,
        Frame::Members(_) | Frame::Evidence(_) | Frame::Dying(_) | Frame::Failed { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Pressures, Quotas};

    #[test]
    fn what_comes_before_the_place_where_a_lane_hangs_proves_nothing() {
        let quotas = |whole| Frame::Quotas(Quotas { whole, ..Quotas::default() });
        let pressures = |groups| Frame::Pressures(Pressures { groups, ..Pressures::default() });
        let failed = Frame::Failed { lane: Lane::Cgroups, why: "permission denied".to_owned() };
        for frame in [failed, quotas(false), Frame::Members(vec![]), Frame::Detail(vec![]), pressures(false)]
        {
            assert!(!proves(&frame), "{frame:?}");
        }
        for frame in [quotas(true), pressures(true)] {
            assert!(proves(&frame), "{frame:?}");
        }
    }
}
