//! The engine: the one loop in which time passes. It takes frames and its own SAFE reads, feeds the trackers, lets the
//! slices show what they know, renders, publishes. It never waits for a probe and opens nothing after start.

mod told;

use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::base::clock::{self, Mono};
use crate::collector::{self, World};
use crate::config::Config;
use crate::exposition::render::render;
use crate::health::Health;
use crate::runtime::board::{Board, Page};
use crate::runtime::probes::{Probes, WardenGone};
use crate::sample::Frame;
use crate::snapshot::Snapshot;
use crate::snapshot::history::History;
use crate::source::error::SourceError;
use crate::source::kernel::Version;
use crate::source::place::Place;
use crate::source::{Host, Kept, NoStamp, Reader, kernel, task};
use crate::track::Tracks;
use crate::track::evidence::known;
use crate::track::kind::Kind;
use crate::track::waits::Wait;

/// A tick at least this often. The load averages change every five seconds; one reading a second misses none.
const TICK: Duration = Duration::from_secs(1);
/// Ticks in the time after which a lane is stuck. Fewer than three, and every look at the lanes would seem to come
/// after a pause of our own, after which nobody is judged.
const TICKS_TO_STUCK: u32 = 4;
/// Window of the worst lateness.
const LAG_WINDOW: Duration = Duration::from_secs(60);

/// Why the engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// There is enough to show.
    Enough,
    /// The warden has ended; the service manager must start us again.
    WardenGone,
    /// Nothing to wait on any more: poll failed.
    PollFailed,
}

/// Stacks go to the log as well: the page ends with us, and we with the host.
fn log_stack(wait: &Wait) {
    let hangs = wait.proven() && wait.kind() == Kind::Hang;
    let level = if hangs { log::Level::Info } else { log::Level::Debug };
    let (tid, comm, seconds) = (wait.tid, &wait.comm, wait.length().as_secs());
    log::log!(level, "task {tid} ({comm}) is blocked for {seconds} s in {}", wait.stack.join(" <- "));
}

/// Gives a frame to the trackers; returns the wait that has taken a stack from it.
fn observe(tracks: &mut Tracks, frame: Frame) -> Option<&Wait> {
    let tid = if let Frame::Stack(stack) = &frame { Some(stack.tid) } else { None };
    let before = tracks.evidence.stacks;
    tracks.observe(frame);
    let taken = tid.filter(|_| tracks.evidence.stacks > before)?;
    tracks.blocked.iter().find(|wait| wait.tid == taken)
}

/// What front reads itself: SAFE places, on kept descriptors.
pub struct Front<'a> {
    reader: Reader<'a>,
    loadavg: Kept,
    /// Not on every kernel.
    hung_tasks: Option<Kept>,
}

impl<'a> Front<'a> {
    /// Opens front's places.
    ///
    /// # Errors
    /// The place that cannot be opened.
    pub fn open(host: &'a Host) -> Result<Self, SourceError> {
        let mut reader = Reader::for_front(host, &NoStamp);
        let loadavg = reader.keep(&Place::LoadAvg)?;
        // A container may hide it, and that is no reason not to start.
        let hung_tasks = reader.keep(&Place::HungTasks).ok();
        Ok(Self { reader, loadavg, hung_tasks })
    }

    /// What the kernel's own detector has counted; `Ok(None)` where it does not count.
    fn hung_tasks(&mut self) -> Result<Option<u64>, ()> {
        let Some(kept) = &self.hung_tasks else { return Ok(None) };
        self.reader.again(kept).ok().and_then(task::sysctl).map(Some).ok_or(())
    }

    /// Runnable threads without ourselves.
    fn runnable(&mut self) -> Option<u64> {
        let text = self.reader.again(&self.loadavg).ok()?;
        task::loadavg_running(text).map(|running| running.saturating_sub(1))
    }
}

/// The engine's state.
pub struct Engine<'a> {
    config: &'a Config,
    front: Front<'a>,
    probes: Probes,
    board: Arc<Board>,
    tracks: Tracks,
    history: History,
    /// What the dear slice showed last, and when.
    dear: Option<(Mono, Snapshot)>,
    health: Health,
    log_dropped: &'a dyn Fn() -> u64,
    teller: told::Teller,
    page_bytes: usize,
    every: Duration,
    due: Mono,
    lag_since: Mono,
    lag_before: Duration,
    lag_now: Duration,
    frame_panics: u64,
    slice_panics: [u64; collector::ALL.len()],
    series_dropped: u64,
    failed_reads: u64,
    /// Notices that are in the log.
    said: told::Said,
}

impl<'a> Engine<'a> {
    /// An engine that knows nothing yet.
    pub fn new(
        config: &'a Config,
        front: Front<'a>,
        probes: Probes,
        board: Arc<Board>,
        log_dropped: &'a dyn Fn() -> u64,
    ) -> Self {
        let now = clock::now();
        let mut tracks = Tracks::new(config.tasks.rows_max);
        tracks.throttle_keeps_locks = Version::running().is_none_or(Version::throttle_keeps_locks);
        Self {
            config,
            front,
            probes,
            board,
            tracks,
            history: History::default(),
            dear: None,
            health: Health::default(),
            log_dropped,
            teller: told::Teller::new(now),
            page_bytes: 0,
            every: TICK.min(config.probe.stuck_after / TICKS_TO_STUCK),
            due: now,
            lag_since: now,
            lag_before: Duration::ZERO,
            lag_now: Duration::ZERO,
            frame_panics: 0,
            slice_panics: [0; collector::ALL.len()],
            series_dropped: 0,
            failed_reads: 0,
            said: told::Said::default(),
        }
    }

    /// Runs until `stop` is readable or `enough` says so after a tick.
    pub fn run(&mut self, stop: BorrowedFd<'_>, enough: &dyn Fn(&Probes, Mono) -> bool) -> End {
        let mut frames = Vec::new();
        loop {
            match self.wait(stop) {
                Ok(false) => {}
                Ok(true) => return End::Stopped,
                Err(end) => return end,
            }
            let now = clock::now();
            let gone = self.probes.receive(&mut frames, now).is_err_and(|WardenGone| true);
            for frame in frames.drain(..) {
                self.observe(frame);
            }
            let tickets = self.board.engine_woken();
            if gone || now >= self.due || tickets > self.board.newest().answers {
                self.tick(now, tickets);
            }
            if gone {
                return End::WardenGone;
            }
            if enough(&self.probes, now) {
                self.tick(clock::now(), tickets);
                return End::Enough;
            }
        }
    }

    /// Waits for the next tick, a frame, a report, a scrape or the stop. `Ok(true)`: stop.
    fn wait(&self, stop: BorrowedFd<'_>) -> Result<bool, End> {
        let left = self.due.since(clock::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let control = self.probes.control_fd();
        let board = self.board.engine_fd();
        let pipe = self.probes.pipe_fd();
        let mut fds = vec![stop, control, board];
        fds.extend(pipe);
        let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => Ok(fds.first().is_some_and(|stop| !stop.revents().is_empty())),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(_) => Err(End::PollFailed),
        }
    }

    /// A panic in a tracker costs one frame.
    fn observe(&mut self, frame: Frame) {
        let tracks = &mut self.tracks;
        match catch_unwind(AssertUnwindSafe(|| observe(tracks, frame))) {
            Ok(stack_taken) => stack_taken.into_iter().for_each(log_stack),
            Err(_panic) => self.frame_panics = self.frame_panics.saturating_add(1),
        }
    }

    fn tick(&mut self, now: Mono, answers: u64) {
        self.lateness(now);
        let runnable = self.front.runnable();
        let hung_tasks = self.front.hung_tasks();
        let failed = u64::from(runnable.is_none()).saturating_add(u64::from(hung_tasks.is_err()));
        self.failed_reads = self.failed_reads.saturating_add(failed);
        self.tracks.hung_tasks = hung_tasks.unwrap_or_default();
        self.tracks.load.reading(kernel::load_averages(), runnable, now);
        if now >= self.due {
            let waits = &self.tracks.blocked;
            self.probes.tick(|| known(waits), now);
            self.due = now.plus(self.every);
        }
        self.probes.health(now, &mut self.health);
        self.fill_health();
        let mut text = Vec::with_capacity(self.page_bytes);
        let snapshot = self.snapshot(now);
        render(&snapshot, &mut text);
        let notices = snapshot.notices().to_vec();
        notices.iter().filter(|notice| self.said.is_new(notice)).for_each(|notice| log::warn!("{notice}"));
        let report = self.teller.tell(snapshot, now, &self.tracks);
        self.page_bytes = text.len().saturating_add(text.len() / 8);
        let not_ready = self.tracks.census.is_none().then(|| "the first walk has not ended yet".to_owned());
        self.board.publish(Page { text, report, notices, built: now, answers, not_ready });
    }

    /// Every slice's families; a panic in one costs that slice's families of this tick.
    fn snapshot(&mut self, now: Mono) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (slice, panics) in collector::ALL.iter().zip(&mut self.slice_panics) {
            if self.config.disabled.iter().any(|name| name == slice.name) {
                continue;
            }
            let dear = std::ptr::eq(*slice, collector::DEAR);
            if let Some((_, part)) = self.dear.as_ref().filter(|(at, _)| dear && now.since(*at) < TICK) {
                snapshot.append(part.clone());
                continue;
            }
            let world = World { now, config: self.config, tracks: &self.tracks, health: &self.health };
            let shown = catch_unwind(AssertUnwindSafe(|| {
                let mut part = Snapshot::default();
                (slice.show)(&world, &mut part);
                part
            }));
            match shown {
                Ok(part) => {
                    if dear {
                        self.dear = Some((now, part.clone()));
                    }
                    snapshot.append(part);
                }
                Err(_panic) => *panics = panics.saturating_add(1),
            }
        }
        self.teller.note(&mut snapshot, now, &self.tracks, &self.health);
        self.series_dropped = self.series_dropped.saturating_add(snapshot.dropped);
        self.history.observe(&snapshot.report.stalls, now);
        snapshot.report.history = self.history.tell();
        snapshot
    }

    fn fill_health(&mut self) {
        let missed = &self.tracks.missed;
        self.health.dropped = vec![
            ("tasks.threads_max", missed.over_threads),
            (
                "tasks.rows_max",
                missed
                    .over_rows
                    .saturating_add(self.tracks.blocked.dropped)
                    .saturating_add(self.tracks.starved.dropped),
            ),
            ("watched", missed.over_watched),
            ("throttle.groups_max", self.tracks.quotas.missed.over_groups),
            ("throttle.walk_max", self.tracks.quotas.missed.over_walk),
            ("members", self.tracks.quotas.missed.over_members),
            ("spins", self.tracks.spins.dropped),
            ("kthreads", self.tracks.kthreads.dropped),
            ("disk.devices_max", self.tracks.disks.dropped),
            ("pressure.groups", self.tracks.pressure.dropped),
            ("history", self.history.dropped),
            ("series", self.series_dropped),
            ("log.queue", (self.log_dropped)()),
        ];
        let slices = collector::ALL.iter().map(|slice| slice.name).zip(self.slice_panics);
        self.health.panics = slices.chain([("frame", self.frame_panics)]).collect();
        self.health.failed_reads = self.failed_reads;
        self.health.loop_lag = self.lag_before.max(self.lag_now);
    }

    /// How late this tick is. The worst of the last window and of the current one is shown, so it stays visible for
    /// at least one window.
    fn lateness(&mut self, now: Mono) {
        if now.since(self.lag_since) >= LAG_WINDOW {
            self.lag_before = std::mem::take(&mut self.lag_now);
            self.lag_since = now;
        }
        self.lag_now = self.lag_now.max(now.since(self.due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::State;
    use crate::sample::evidence::Stack;
    use crate::sample::{Hint, Look, Mark, Row};

    #[test]
    fn a_stack_is_logged_when_its_wait_has_taken_it() {
        let mut tracks = Tracks::new(16);
        let mark = |slices| Mark { slices, run_ns: 5 };
        let row = Row {
            tid: 7,
            pid: 7,
            begin: Mono::from_nanos(10),
            end: Mono::from_nanos(10),
            state: State::Uninterruptible,
            mark: mark(1),
            comm: "x".to_owned(),
            hint: Hint::None,
            services: 0,
            services_whole: true,
        };
        let stack =
            |slices| Frame::Stack(Stack { tid: 7, mark: mark(slices), frames: vec!["msleep".to_owned()] });
        assert_eq!(observe(&mut tracks, Frame::Look(Look { rows: vec![row], ended: vec![] })), None);
        assert_eq!(observe(&mut tracks, stack(2)), None, "of another wait");
        assert_eq!(observe(&mut tracks, stack(1)).map(|wait| wait.stack.len()), Some(1));
        assert_eq!(observe(&mut tracks, stack(2)), None, "refused, though the wait has one");
    }
}
