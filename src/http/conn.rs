//! One connection, from its first byte to its last: a state machine that never waits.
//!
//! ```text
//!        first byte … whole head        page or deadline          all sent
//! Head ───────────────┬───────────► Waiting ───────────► Writing ─────────┬──► Head (kept)
//!                     └─ no page needed, or refused ───────▲              └──► Lingering ──► closed
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown, sockopt};
use tiny_http::Method;

use super::Site;
use super::gzip::Cache;
use super::permit::{Permit, Rooms};
use super::request::{Parsed, Request, parse};
use super::response::{Answer, Code, Form, Output, Sent};
use super::routes::{Route, Scrape, is_fresh, route, too_many};
use super::stats::{Stats, Timeout};
use super::told;
use crate::base::clock::Mono;
use crate::runtime::board::Page;

/// Bytes taken from a socket in one turn.
const READ: usize = 4096;

/// After the last response we wait this long for the client to close. Closing with unread bytes in the socket
/// would reset the connection, and the reset may overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// A client that has taken nothing for this long gives up its place when its room is full.
const STALL: Duration = Duration::from_millis(250);

/// What a connection needs from outside, in one turn of the loop.
pub struct Turn<'a> {
    /// What is served.
    pub site: Site<'a>,
    /// The turn's time.
    pub now: Mono,
    /// The newest page.
    pub page: &'a Arc<Page>,
    /// The newest page, compressed.
    pub zipped: &'a mut Cache,
    /// What the newest page says is stuck, rendered.
    pub told: &'a mut told::Cache,
    /// Room for scrapes and for people.
    pub rooms: &'a Rooms,
}

/// What `poll` said about the socket.
#[derive(Debug, Clone, Copy)]
pub struct Signs {
    /// A read will not wait.
    readable: bool,
    /// Both directions are closed: nobody is there any more.
    gone: bool,
}

impl Signs {
    /// Of a socket just accepted: the request is often there already.
    pub const FRESH: Self = Self { readable: true, gone: false };
}

impl From<PollFlags> for Signs {
    fn from(flags: PollFlags) -> Self {
        let gone = flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Self { readable: gone || flags.contains(PollFlags::IN), gone }
    }
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next stage can begin.
    On,
    /// Nothing more to do in this turn.
    Rest,
    /// It is over.
    Close,
}

#[derive(Debug)]
enum Stage {
    /// No whole head yet. Idle: an earlier request was answered, and not a byte of the next one has come.
    Head {
        deadline: Mono,
        idle: bool,
    },
    Waiting {
        scrape: Scrape,
        form: Form,
        permit: Permit,
    },
    Writing {
        output: Output,
        deadline: Mono,
        moved: Mono,
        keep_alive: bool,
        permit: Option<Permit>,
    },
    Lingering {
        deadline: Mono,
        bytes_left: usize,
    },
}

/// One connection. Dropping it closes the socket.
#[derive(Debug)]
pub struct Conn {
    socket: OwnedFd,
    input: Vec<u8>,
    stage: Stage,
    since: Mono,
    /// A further request may be in `input` already; it has its turn after everybody else's.
    again: bool,
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Conn {
    /// A connection just accepted.
    pub fn new(socket: OwnedFd, now: Mono, head_deadline: Duration) -> Self {
        let stage = Stage::Head { deadline: now.plus(head_deadline), idle: false };
        Self { socket, input: Vec::new(), stage, since: now, again: false }
    }

    /// What to poll for. Errors and hang-ups are reported unasked.
    pub const fn wants(&self) -> PollFlags {
        match self.stage {
            Stage::Head { .. } | Stage::Lingering { .. } => PollFlags::IN,
            Stage::Waiting { .. } => PollFlags::empty(),
            Stage::Writing { .. } => PollFlags::OUT,
        }
    }

    /// When it must be looked at whatever `poll` says.
    pub const fn deadline(&self) -> Mono {
        match self.stage {
            _ if self.again => Mono::from_nanos(0),
            Stage::Head { deadline, .. }
            | Stage::Writing { deadline, .. }
            | Stage::Lingering { deadline, .. }
            | Stage::Waiting { scrape: Scrape { deadline, .. }, .. } => deadline,
        }
    }

    /// Whether there is anything to do.
    pub fn is_due(&self, flags: PollFlags, page: &Page, now: Mono) -> bool {
        let answered = matches!(&self.stage, Stage::Waiting { scrape, .. } if scrape.is_answered_by(page));
        answered || !flags.is_empty() || now >= self.deadline()
    }

    /// Since when it could be given up for another one; `None` while it has a request that we owe an answer.
    pub const fn evictable_since(&self) -> Option<Mono> {
        match self.stage {
            _ if self.again => None,
            Stage::Head { .. } | Stage::Lingering { .. } => Some(self.since),
            Stage::Waiting { .. } | Stage::Writing { .. } => None,
        }
    }

    /// Whether it keeps room that others could use, for a client that takes nothing.
    pub fn is_stalled(&self, now: Mono) -> bool {
        let Stage::Writing { moved, permit: Some(permit), .. } = &self.stage else { return false };
        now.since(*moved) >= STALL && permit.is_wanted()
    }

    /// Prepares for being dropped because the client does not take its response.
    pub fn cut(&self, stats: &Stats) {
        stats.timed_out(Timeout::Write);
        // A reset instead of an orderly end: else the kernel would keep what was not taken, and go on offering it.
        if let Err(errno) = sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)) {
            log::debug!("a connection ends without a reset: {errno}");
        }
    }

    /// Goes on as far as it can without waiting; false when the connection is over.
    pub fn advance(&mut self, mut signs: Signs, turn: &mut Turn<'_>) -> bool {
        loop {
            let step = match self.stage {
                Stage::Head { .. } => self.read_head(&mut signs, turn),
                Stage::Waiting { .. } => self.wait(signs, turn),
                Stage::Writing { .. } => self.write(turn),
                Stage::Lingering { .. } => self.linger(&mut signs, turn.now),
            };
            match step {
                Ok(Step::On) => {}
                Ok(Step::Rest) => return true,
                Ok(Step::Close) => return false,
                Err(error) => {
                    log::debug!("connection lost: {error}");
                    return false;
                }
            }
        }
    }

    fn read_head(&mut self, signs: &mut Signs, turn: &mut Turn<'_>) -> io::Result<Step> {
        self.again = false;
        match parse(&self.input) {
            Parsed::Complete(request, length) => {
                self.input.drain(..length);
                self.begin(&request, turn)
            }
            Parsed::Refused(code, reason) => self.refuse(Answer::line(code, reason), turn),
            Parsed::Partial if self.input.len() >= turn.site.web.head_bytes_max => {
                let line = format!("the request head is longer than {} bytes", turn.site.web.head_bytes_max);
                self.refuse(Answer::line(Code::HeadTooLarge, line), turn)
            }
            // Read before the deadline is judged: we may be the ones who were late.
            Parsed::Partial if signs.readable => {
                signs.readable = false;
                self.read(turn)
            }
            Parsed::Partial if turn.now >= self.deadline() => self.give_up_head(turn),
            Parsed::Partial => Ok(Step::Rest),
        }
    }

    fn read(&mut self, turn: &Turn<'_>) -> io::Result<Step> {
        let mut bytes = [0_u8; READ];
        let room = turn.site.web.head_bytes_max.saturating_sub(self.input.len()).min(READ);
        let taken = match recv(&self.socket, bytes.get_mut(..room).unwrap_or_default(), RecvFlags::empty()) {
            Ok((0, _)) => return Ok(Step::Close),
            Ok((taken, _)) => taken,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Step::On),
            Err(errno) => return Err(errno.into()),
        };
        self.input.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if let Stage::Head { deadline, idle: idle @ true } = &mut self.stage {
            *idle = false;
            *deadline = turn.now.plus(turn.site.web.head_deadline);
        }
        Ok(Step::On)
    }

    fn give_up_head(&mut self, turn: &mut Turn<'_>) -> io::Result<Step> {
        let idle = matches!(self.stage, Stage::Head { idle: true, .. });
        turn.site.stats.timed_out(if idle { Timeout::Idle } else { Timeout::Head });
        if self.input.is_empty() {
            return Ok(Step::Close);
        }
        self.refuse(Answer::line(Code::RequestTimeout, "the request head took too long"), turn)
    }

    /// Answers what was not a request. Whatever follows on the connection has no meaning.
    fn refuse(&mut self, answer: Answer, turn: &mut Turn<'_>) -> io::Result<Step> {
        self.input.clear();
        self.respond(answer, Form { body: true, keep_alive: false, old: false }, None, turn)
    }

    fn begin(&mut self, request: &Request, turn: &mut Turn<'_>) -> io::Result<Step> {
        let form = Form {
            body: request.method != Method::Head,
            // A refused body is not read, so the next request could not be found.
            keep_alive: request.keep_alive && !request.body,
            old: request.old,
        };
        log::debug!("{} {:?}", request.method, request.path);
        match route(request, turn.page) {
            Route::Now(answer) => self.respond(answer, form, None, turn),
            Route::Scrape(wanted) => match turn.rooms.of(wanted).take() {
                None => self.respond(too_many(turn.rooms.of(wanted).max()), form, None, turn),
                Some(permit) => {
                    let patience = request.scrape_timeout.map_or(Duration::MAX, |timeout| timeout / 2);
                    let fresh = is_fresh(turn.page, turn.now);
                    let scrape = Scrape {
                        wanted,
                        ticket: if fresh { 0 } else { turn.site.board.ask() },
                        asked: turn.now,
                        deadline: turn.now.plus(patience.min(turn.site.web.scrape_deadline)),
                        gzip: request.gzip,
                    };
                    self.enter(Stage::Waiting { scrape, form, permit }, turn.now);
                    Ok(Step::On)
                }
            },
        }
    }

    fn wait(&mut self, signs: Signs, turn: &mut Turn<'_>) -> io::Result<Step> {
        let Stage::Waiting { scrape, form, permit } = &self.stage else {
            return Ok(Step::Close);
        };
        if !scrape.is_answered_by(turn.page) && turn.now < scrape.deadline {
            return Ok(if signs.gone { Step::Close } else { Step::Rest });
        }
        let answer = scrape.answer(turn.page, turn.now, &turn.site, turn.zipped, turn.told)?;
        let (form, permit) = (*form, permit.pass_on());
        self.respond(answer, form, Some(permit), turn)
    }

    fn respond(
        &mut self,
        answer: Answer,
        form: Form,
        permit: Option<Permit>,
        turn: &Turn<'_>,
    ) -> io::Result<Step> {
        turn.site.stats.responded(answer.code);
        let stage = Stage::Writing {
            output: answer.into_output(form)?,
            deadline: turn.now.plus(turn.site.web.write_deadline),
            moved: turn.now,
            keep_alive: form.keep_alive,
            permit,
        };
        self.enter(stage, turn.now);
        Ok(Step::On)
    }

    fn write(&mut self, turn: &Turn<'_>) -> io::Result<Step> {
        let Stage::Writing { output, deadline, moved, keep_alive, .. } = &mut self.stage else {
            return Ok(Step::Close);
        };
        let sent = output.send(self.socket.as_fd())?;
        if sent != Sent::All {
            if sent == Sent::Some {
                *moved = turn.now;
            }
            if turn.now >= *deadline {
                self.cut(turn.site.stats);
                return Ok(Step::Close);
            }
            return Ok(Step::Rest);
        }
        if *keep_alive {
            let stage = self.next_head(turn);
            self.enter(stage, turn.now);
            // One answer a turn: whoever sends its requests in heaps must not keep the others waiting for all of them.
            self.again = !self.input.is_empty();
            return Ok(if self.again { Step::Rest } else { Step::On });
        }
        shutdown(&self.socket, Shutdown::Write)?;
        let stage = Stage::Lingering { deadline: turn.now.plus(LINGER), bytes_left: LINGER_BYTES_MAX };
        self.enter(stage, turn.now);
        Ok(Step::On)
    }

    fn next_head(&mut self, turn: &Turn<'_>) -> Stage {
        let idle = self.input.is_empty();
        if idle {
            // A kept connection costs its descriptor and nothing else.
            self.input = Vec::new();
        }
        let patience = if idle { turn.site.web.idle } else { turn.site.web.head_deadline };
        Stage::Head { deadline: turn.now.plus(patience), idle }
    }

    fn linger(&mut self, signs: &mut Signs, now: Mono) -> io::Result<Step> {
        let Stage::Lingering { deadline, bytes_left } = &mut self.stage else {
            return Ok(Step::Close);
        };
        if signs.readable {
            signs.readable = false;
            let mut bytes = [0_u8; READ];
            match recv(&self.socket, &mut bytes, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(Step::Close),
                Ok((taken, _)) => *bytes_left = bytes_left.saturating_sub(taken),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(if *bytes_left == 0 || now >= *deadline { Step::Close } else { Step::Rest })
    }

    fn enter(&mut self, stage: Stage, now: Mono) {
        self.stage = stage;
        self.since = now;
    }
}
