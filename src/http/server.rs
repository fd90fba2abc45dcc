//! The loop: who is let in, who has to go, and who is looked at next.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::conn::{Conn, Signs, Turn};
use super::gzip::Cache;
use super::permit::Rooms;
use super::{Listeners, Site, told};
use crate::base::clock::{self, Mono};
use crate::runtime::board::Page;

/// Connections accepted from one listener before the others are looked at again.
const ACCEPTS_PER_TURN: usize = 64;

/// After a failure that the next attempt would repeat, accepting (or polling) rests this long instead of spinning.
const REST: Duration = Duration::from_millis(50);

/// The loop's state. Connections come and go; the listeners are borrowed and stay.
pub struct Server<'a> {
    listeners: &'a Listeners,
    site: Site<'a>,
    conns: Vec<Conn>,
    /// Index of the connection that is being served: the one to blame for a panic.
    at_work: Option<usize>,
    zipped: Cache,
    told: told::Cache,
    rooms: Rooms,
    /// A descriptor held back, so that one can be had when there is none left.
    reserve: Option<OwnedFd>,
    accept_from: Mono,
}

/// What `poll` found.
struct Found {
    stop: bool,
    page: bool,
    listeners: bool,
    /// One per connection, in their order.
    conns: Vec<PollFlags>,
}

impl<'a> Server<'a> {
    /// A server without connections.
    pub fn new(listeners: &'a Listeners, site: Site<'a>) -> Self {
        Self {
            listeners,
            site,
            conns: Vec::new(),
            at_work: None,
            zipped: Cache::default(),
            told: told::Cache::default(),
            rooms: Rooms::new(site.web.max_requests, site.web.max_connections),
            reserve: reserve(),
            accept_from: Mono::default(),
        }
    }

    /// Serves until `stop` is readable.
    pub fn run(mut self, stop: BorrowedFd<'_>) {
        // Level-triggered polling makes a turn that broke off harmless: what it left undone is found again.
        while catch_unwind(AssertUnwindSafe(|| self.turn(stop))).unwrap_or_else(|_| self.recover()) {}
        self.site.stats.connections.set(0);
    }

    /// After a panic: gives up the connection that was being served, or all of them when it was none.
    fn recover(&mut self) -> bool {
        self.site.stats.panics.inc();
        match self.at_work.take() {
            Some(index) if index < self.conns.len() => drop(self.conns.swap_remove(index)),
            _ => self.conns.clear(),
        }
        self.zipped = Cache::default();
        self.told = told::Cache::default();
        true
    }

    /// One turn; false when it was told to stop.
    fn turn(&mut self, stop: BorrowedFd<'_>) -> bool {
        let mut found = match self.poll(stop) {
            Ok(found) => found,
            Err(Errno::INTR) => return true,
            Err(errno) => return self.poll_failed(errno, stop),
        };
        let now = clock::now();
        if found.stop {
            return false;
        }
        if found.page {
            // Taken before the page is looked at, so that no wake-up is lost.
            self.site.board.http_woken();
        }
        let page = self.site.board.newest();
        self.zipped.sweep(&page);
        self.told.sweep(&page);
        self.shed(&mut found.conns, now);
        // From the last to the first: whatever is moved into a freed place has had its turn.
        for (index, flags) in found.conns.into_iter().enumerate().rev() {
            if self.conns.get(index).is_some_and(|conn| conn.is_due(flags, &page, now)) {
                self.advance(index, flags.into(), &page, now);
            }
        }
        if found.listeners {
            self.accept(&page, now);
        }
        self.count();
        true
    }

    fn count(&self) {
        self.site.stats.connections.set(i64::try_from(self.conns.len()).unwrap_or(i64::MAX));
    }

    fn poll(&self, stop: BorrowedFd<'_>) -> Result<Found, Errno> {
        // Read again: the turn before may have compressed a page, and deadlines do not wait for that.
        let now = clock::now();
        let accepting = now >= self.accept_from;
        let listeners = if accepting { self.listeners.sockets.as_slice() } else { &[] };
        let board = self.site.board.http_fd();
        let mut fds: Vec<PollFd<'_>> = [stop, board]
            .into_iter()
            .chain(listeners.iter().map(AsFd::as_fd))
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .chain(self.conns.iter().map(|conn| PollFd::new(conn, conn.wants())))
            .collect();
        let deadline =
            self.conns.iter().map(Conn::deadline).chain((!accepting).then_some(self.accept_from)).min();
        poll(&mut fds, deadline.map(|deadline| timespec(deadline.since(now))).as_ref())?;
        let mut flags = fds.iter().map(PollFd::revents);
        Ok(Found {
            stop: flags.next().is_some_and(|flags| !flags.is_empty()),
            page: flags.next().is_some_and(|flags| !flags.is_empty()),
            listeners: flags.by_ref().take(listeners.len()).fold(false, |any, flags| any | !flags.is_empty()),
            conns: flags.collect(),
        })
    }

    /// While a room is full, responses that are not being taken end early: a crowd that never reads must not keep
    /// Prometheus out until the write deadline.
    fn shed(&mut self, flags: &mut Vec<PollFlags>, now: Mono) {
        if !self.rooms.any_full() {
            return;
        }
        for index in (0..flags.len()).rev() {
            let (Some(conn), Some(found)) = (self.conns.get(index), flags.get(index)) else {
                continue;
            };
            // One that can be written to again is being taken, and it was us who came late.
            if found.is_empty() && conn.is_stalled(now) {
                conn.cut(self.site.stats);
                drop(self.conns.swap_remove(index));
                flags.swap_remove(index);
            }
        }
    }

    /// The kernel had no memory for the poll, or the limit on descriptors fell below what we hold. Both ask for
    /// fewer connections and for a rest.
    fn poll_failed(&mut self, errno: Errno, stop: BorrowedFd<'_>) -> bool {
        log::debug!("poll failed, all connections are dropped: {errno}");
        self.conns.clear();
        let mut only_stop = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        !matches!(poll(&mut only_stop, Some(&timespec(REST))), Ok(1..))
    }

    fn advance(&mut self, index: usize, signs: Signs, page: &Arc<Page>, now: Mono) {
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        self.at_work = Some(index);
        let (zipped, told) = (&mut self.zipped, &mut self.told);
        let mut turn = Turn { site: self.site, now, page, zipped, told, rooms: &self.rooms };
        let open = conn.advance(signs, &mut turn);
        self.at_work = None;
        if !open {
            drop(self.conns.swap_remove(index));
        }
    }

    fn accept(&mut self, page: &Arc<Page>, now: Mono) {
        let listeners = self.listeners;
        for listener in &listeners.sockets {
            for _ in 0..ACCEPTS_PER_TURN {
                let go_on = match accept_one(listener.as_fd()) {
                    Ok(socket) => {
                        self.admit(socket, page, now);
                        true
                    }
                    Err(Errno::AGAIN) => break,
                    Err(Errno::MFILE | Errno::NFILE) => self.accept_on_reserve(listener.as_fd(), page, now),
                    Err(errno) => self.accept_failed(errno, now),
                };
                if !go_on {
                    break;
                }
            }
        }
    }

    /// No descriptor is left: the one held back goes to the next client, and an older connection pays it back.
    fn accept_on_reserve(&mut self, listener: BorrowedFd<'_>, page: &Arc<Page>, now: Mono) -> bool {
        self.reserve = None;
        let go_on = match accept_one(listener) {
            // The kernel looks for a descriptor before it looks for a client: nobody was waiting at all.
            Err(Errno::AGAIN) => false,
            Err(errno) => {
                // Even the reserve was gone; this is where the next one comes from.
                self.evict();
                self.accept_failed(errno, now)
            }
            Ok(socket) => {
                self.site.stats.accept_errors.inc();
                if self.evict() {
                    self.admit(socket, page, now);
                } else {
                    // Told at once, instead of left in the queue for nobody knows how long.
                    self.site.stats.turned_away.inc();
                    drop(socket);
                }
                true
            }
        };
        self.reserve = reserve();
        go_on
    }

    /// Whether accepting can go on at once after `errno`; otherwise it rests.
    fn accept_failed(&mut self, errno: Errno, now: Mono) -> bool {
        self.site.stats.accept_errors.inc();
        log::debug!("accept failed: {errno}");
        // Only a client that was gone before we came says nothing about the next attempt.
        let go_on = matches!(errno, Errno::CONNABORTED | Errno::INTR);
        if !go_on {
            self.accept_from = now.plus(REST);
        }
        go_on
    }

    fn admit(&mut self, socket: OwnedFd, page: &Arc<Page>, now: Mono) {
        if self.conns.len() >= self.site.web.max_connections && !self.evict() {
            self.site.stats.turned_away.inc();
            return;
        }
        let index = self.conns.len();
        self.conns.push(Conn::new(socket, now, self.site.web.head_deadline));
        // Before it is served: the page that it may get at once counts it.
        self.count();
        // The request is often there already; who sent one is not evicted by those who did not.
        self.advance(index, Signs::FRESH, page, now);
    }

    /// Closes the connection that has gone longest without a request; false when all have one.
    fn evict(&mut self) -> bool {
        let oldest = self
            .conns
            .iter()
            .enumerate()
            .filter_map(|(index, conn)| Some((conn.evictable_since()?, index)))
            .min();
        if let Some((_, index)) = oldest {
            drop(self.conns.swap_remove(index));
            self.site.stats.evictions.inc();
        }
        oldest.is_some()
    }
}

fn accept_one(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

/// An eventfd: a descriptor that needs no file system.
fn reserve() -> Option<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC).ok()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
