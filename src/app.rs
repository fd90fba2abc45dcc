//! The composition root: which processes and threads there are, in which order they start and stop.
//!
//! ```text
//! front (engine, http, log)  ──orders──►  warden  ──fork──►  probe (a thread per lane)
//!        ▲                                                      │
//!        └───────────────────────── frames ─────────────────────┘
//! ```
//!
//! The warden is forked while front still has one thread and no listening socket, so neither it nor a probe that
//! hangs for ever can hold the port. Front then opens whatever it will ever need, raises its walls, and only then makes
//! its threads, which are behind them from their first instruction.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::base::clock::{self, Mono};
use crate::config::Config;
use crate::engine::{End, Engine, Front};
use crate::exposition::process::Process;
use crate::http::{self, Listeners, OwnMetrics, Site, Stats};
use crate::runtime::board::{Board, Page};
use crate::runtime::probes::Probes;
use crate::runtime::sandbox::{self, Missing};
use crate::runtime::shared::{Region, Wall};
use crate::runtime::{logging, probe, process, warden, worker};
use crate::snapshot::stall::Report;
use crate::source::Host;

/// Descriptors we ask for: connections, kept files and room to spare.
const DESCRIPTORS: u64 = 8192;
/// Of these the connections leave so many to everything else: front holds about twenty, and the pipe of a new probe
/// must find room while a crowd holds all connections.
const DESCRIPTORS_SPARE: u64 = 32;
/// How long `once` waits for the lanes beyond the time it was given.
const LANES_LATE: Duration = Duration::from_secs(10);
/// How long the log may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a mode ended without success: one line for standard error.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

fn failed(what: &str, todo: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error(format!("{what}: {error}; {todo}"))
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What could not be started, or that the warden has ended.
pub fn serve(config: Config) -> Result<(), Error> {
    let host = open(&config)?;
    let parts = Parts::start(&config, &host)?;
    let listeners = Listeners::bind(&config.web.listen).map_err(|error| Error(error.to_string()))?;
    let stop = Arc::new(stop_on_signals()?);
    let missing = parts.enclose(&config, stop.as_fd(), None);
    let log = logging::init(&config.log).map_err(failed("log", "raise the limit of threads"))?;
    for wall in missing {
        log::warn!("{wall}");
    }
    for address in listeners.addrs() {
        log::info!("listening address={address}");
    }
    start_http(&config, listeners, &parts, &stop)?;
    let dropped = || log.dropped();
    let end = parts.run(&config, &dropped, &stop, &|_, _| false);
    if end == End::Stopped {
        log::info!("stopped by a signal");
    }
    log.flush(LAST_WORDS);
    finished(end)
}

/// Runs the daemon's own path until every lane has delivered and `wait` is over, and gives the page. Afterwards files
/// can be made in `writable` only.
///
/// # Errors
/// What could not be started, that the warden has ended, or that a signal came first.
pub fn page(config: &Config, wait: Duration, writable: Option<BorrowedFd<'_>>) -> Result<Arc<Page>, Error> {
    let (end, page) = look(config, wait, writable, &|_, _| true)?;
    if end == End::Stopped {
        return Err(Error("stopped by a signal before the page was whole; nothing was written".into()));
    }
    finished(end)?;
    Ok(page)
}

/// The same, and from then on shows what is stuck every `every`, until `show` says that it is enough or a signal comes.
///
/// # Errors
/// What could not be started, or that the warden has ended.
pub fn watch(
    config: &Config,
    wait: Duration,
    every: Duration,
    show: &dyn Fn(&Report) -> bool,
) -> Result<(), Error> {
    let due = Cell::new(Mono::default());
    let then = |page: &Page, now: Mono| {
        if now < due.get() {
            return false;
        }
        due.set(now.plus(every));
        show(&page.report)
    };
    finished(look(config, wait, None, &then)?.0)
}

/// Runs the daemon's own path until every lane has delivered, `wait` is over, and `then` says that it is enough.
fn look(
    config: &Config,
    wait: Duration,
    writable: Option<BorrowedFd<'_>>,
    then: &dyn Fn(&Page, Mono) -> bool,
) -> Result<(End, Arc<Page>), Error> {
    let host = open(config)?;
    let parts = Parts::start(config, &host)?;
    let board = Arc::clone(&parts.board);
    let stop = stop_on_signals()?;
    // There is no log here; the page says which walls stand.
    let _missing = parts.enclose(config, stop.as_fd(), writable);
    let began = clock::now();
    let enough = |probes: &Probes, now: Mono| {
        let waited = now.since(began);
        let delivered = probes.all_delivered() || waited >= wait.saturating_add(LANES_LATE);
        waited >= wait && delivered && then(&board.newest(), now)
    };
    let end = parts.run(config, &|| 0, &stop, &enough);
    Ok((end, board.newest()))
}

fn finished(end: End) -> Result<(), Error> {
    match end {
        End::Stopped | End::Enough => Ok(()),
        End::WardenGone => Err(Error(
            "the warden process has ended, so no probe can be replaced; start the service again".into(),
        )),
        End::PollFailed => Err(Error("poll(2) failed; start the service again".into())),
    }
}

fn open(config: &Config) -> Result<Host, Error> {
    Host::open(&config.roots).map_err(|error| Error(error.to_string()))
}

/// What every mode that reads the kernel starts with.
struct Parts<'a> {
    front: Front<'a>,
    control: OwnedFd,
    region: Region,
    board: Arc<Board>,
    descriptors: u64,
}

impl<'a> Parts<'a> {
    /// Opens front's places, maps the shared page and forks the warden. The caller has one thread.
    fn start(config: &Config, host: &'a Host) -> Result<Self, Error> {
        let descriptors = process::raise_descriptor_limit(DESCRIPTORS);
        let front = Front::open(host).map_err(|error| Error(error.to_string()))?;
        let region = Region::map().map_err(failed("shared memory", "free some memory"))?;
        let flags = SocketFlags::CLOEXEC;
        let (control, wardens) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| failed("socketpair", "raise the limit of descriptors")(errno.into()))?;
        let board = Board::new().map_err(failed("eventfd", "raise the limit of descriptors"))?;
        let raise_filter = |wall, process, witness: BorrowedFd<'_>| {
            // Front tells of a kernel that has none; the page tells of each process.
            let _missing = raise(config, region, wall, || sandbox::seccomp(process, witness));
        };
        let probe = |slot, plan: &[_], pipe: BorrowedFd<'_>| {
            raise_filter(Wall::ProbeSeccomp(slot), sandbox::Process::Probe, pipe);
            probe::run(config, region, slot, plan, pipe)
        };
        process::fork_child("stall-warden", &[wardens.as_fd()], || {
            raise_filter(Wall::WardenSeccomp, sandbox::Process::Warden, wardens.as_fd());
            warden::run(&wardens, &probe)
        })
        .map_err(failed("fork of the warden", "raise the limit of processes"))?;
        Ok(Self { front, control, region, board: Arc::new(board), descriptors })
    }

    /// Raises front's walls, when everything is open and before there is a second thread. Gives those that are missing.
    fn enclose(
        &self,
        config: &Config,
        witness: BorrowedFd<'_>,
        writable: Option<BorrowedFd<'_>>,
    ) -> Vec<Missing> {
        let landlock = raise(config, self.region, Wall::FrontLandlock, || sandbox::landlock(writable));
        let seccomp = raise(config, self.region, Wall::FrontSeccomp, || {
            sandbox::seccomp(sandbox::Process::Front, witness)
        });
        landlock.into_iter().chain(seccomp).collect()
    }

    /// Runs the engine to its end.
    fn run(
        self,
        config: &Config,
        log_dropped: &dyn Fn() -> u64,
        stop: &OwnedFd,
        enough: &dyn Fn(&Probes, Mono) -> bool,
    ) -> End {
        let probes = Probes::new(self.control, self.region, config.probe.clone());
        let mut engine = Engine::new(config, self.front, probes, self.board, log_dropped);
        engine.run(stop.as_fd(), enough)
    }
}

/// Raises a wall where walls are wanted, and says in the shared page whether it stands.
fn raise<T>(
    config: &Config,
    region: Region,
    wall: Wall,
    raise: impl FnOnce() -> Result<T, Missing>,
) -> Option<Missing> {
    let raised = config.sandbox.enabled.then(raise);
    region.tell(wall, matches!(raised, Some(Ok(_))));
    raised.and_then(Result::err)
}

/// The read end of a pipe that becomes, and stays, readable at SIGTERM or SIGINT.
fn stop_on_signals() -> Result<OwnedFd, Error> {
    let todo = "raise the limit of descriptors";
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|errno| failed("pipe", todo)(errno.into()))?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        let write = write.try_clone().map_err(failed("dup", todo))?;
        signal_hook::low_level::pipe::register(signal, write).map_err(failed("signal handler", todo))?;
    }
    Ok(read)
}

fn start_http(
    config: &Config,
    listeners: Listeners,
    parts: &Parts<'_>,
    stop: &Arc<OwnedFd>,
) -> Result<(), Error> {
    let stats =
        Stats::new().map_err(|error| Error(format!("own metrics: {error}; this is a defect of ours")))?;
    let (mut web, board, stop) = (config.web.clone(), Arc::clone(&parts.board), Arc::clone(stop));
    let room = connections_max(parts.descriptors);
    if web.max_connections > room {
        log::warn!("{} descriptors leave room for {room} connections; raise LimitNOFILE", parts.descriptors);
        web.max_connections = room;
    }
    let own = Own(Process::started(parts.descriptors));
    let body = move || {
        http::serve(&listeners, Site { web: &web, board: &board, stats: &stats, own: &own }, stop.as_fd());
    };
    worker::spawn("http", body).map_err(failed("http thread", "raise the limit of threads"))
}

/// Connections for which there are descriptors; one at least, whatever the limit.
fn connections_max(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(DESCRIPTORS_SPARE)).unwrap_or(usize::MAX).max(1)
}

struct Own(Process);

impl OwnMetrics for Own {
    fn append(&self, out: &mut Vec<u8>) {
        self.0.append(out);
    }
}
