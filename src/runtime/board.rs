//! The hand-over between the engine and the HTTP thread: the newest finished page, and the wish for a fresher one.
//!
//! Neither side waits for the other. The lock is held for a pointer swap only; the wake descriptors are
//! non-blocking eventfds, so a full one loses nothing (it is already readable).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use crate::base::clock::Mono;
use crate::snapshot::stall::Report;

/// One finished page.
#[derive(Debug, Default)]
pub struct Page {
    /// Text exposition 0.0.4 of the snapshot.
    pub text: Vec<u8>,
    /// What is stuck, in words; rendered when somebody asks for it.
    pub report: Report,
    /// What every page must say first, one line each.
    pub notices: Vec<String>,
    /// When the tick behind it began.
    pub built: Mono,
    /// Highest scrape ticket that this page answers: every wish up to it was made before the tick began.
    pub answers: u64,
    /// Why the exporter is not ready yet, for `/-/ready`; `None` when it is.
    pub not_ready: Option<String>,
}

/// Shared by one engine and one HTTP thread.
#[derive(Debug)]
pub struct Board {
    page: Mutex<Arc<Page>>,
    tickets: AtomicU64,
    engine_wake: OwnedFd,
    http_wake: OwnedFd,
}

impl Board {
    /// A board with an empty page.
    ///
    /// # Errors
    /// The error of `eventfd(2)`: out of descriptors or memory.
    pub fn new() -> std::io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            page: Mutex::new(Arc::new(Page {
                not_ready: Some("the first tick has not ended yet".to_owned()),
                ..Page::default()
            })),
            tickets: AtomicU64::new(0),
            engine_wake: eventfd(0, flags)?,
            http_wake: eventfd(0, flags)?,
        })
    }

    /// HTTP side: wishes for a fresh tick. The returned ticket is answered by any page whose `answers` reaches it.
    pub fn ask(&self) -> u64 {
        let ticket = self.tickets.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        wake(&self.engine_wake);
        ticket
    }

    /// HTTP side: the newest page.
    pub fn newest(&self) -> Arc<Page> {
        Arc::clone(&self.page.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// HTTP side: readable when a page was published since [`Board::http_woken`].
    pub fn http_fd(&self) -> BorrowedFd<'_> {
        self.http_wake.as_fd()
    }

    /// HTTP side: takes the wake-up.
    pub fn http_woken(&self) {
        drain(&self.http_wake);
    }

    /// Engine side: readable when a scrape wishes for a tick.
    pub fn engine_fd(&self) -> BorrowedFd<'_> {
        self.engine_wake.as_fd()
    }

    /// Engine side, at the start of a tick: takes the wake-up and returns the highest ticket given out so far.
    pub fn engine_woken(&self) -> u64 {
        drain(&self.engine_wake);
        self.tickets.load(Ordering::SeqCst)
    }

    /// Engine side: puts a finished page in place of the older one.
    pub fn publish(&self, page: Page) {
        let page = Arc::new(page);
        let older = {
            let mut slot = self.page.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *slot, page)
        };
        // Freed outside the lock: the HTTP thread must never wait for an allocator's work.
        drop(older);
        wake(&self.http_wake);
    }
}

fn wake(fd: &OwnedFd) {
    // EAGAIN means that the counter is full, hence readable: the wake-up is there already.
    let _full = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

fn drain(fd: &OwnedFd) {
    let mut count = [0_u8; 8];
    let _empty = rustix::io::read(fd, &mut count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_answers_the_tickets_given_before_its_tick() {
        let board = Board::new().unwrap();
        let first = board.ask();
        let answers = board.engine_woken();
        let second = board.ask();
        board.publish(Page { answers, ..Page::default() });
        let page = board.newest();
        assert!(page.answers >= first);
        assert!(page.answers < second, "a wish made after the tick began is not answered by it");
    }
}
