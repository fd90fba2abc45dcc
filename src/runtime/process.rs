//! Birth and end of processes. All of it happens before the forking process has a second thread.
#![expect(
    unsafe_code,
    reason = "fork and close are here; the other place with unsafe code is runtime/shared.rs"
)]
#![expect(clippy::disallowed_methods, reason = "this file is the owner of fork")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Exit status of a child whose function panicked.
pub const PANICKED: i32 = 101;

/// Forks. The child takes `name`, keeps the standard descriptors and `keep`, dies with its parent, runs `body` and
/// exits with its value. The parent gets the child's id.
///
/// The child shares nothing with the parent but the descriptors in `keep` and shared mappings. It never returns into
/// the caller's frames, so no destructor of the parent's values runs twice.
///
/// # Errors
/// The error of `fork(2)`.
pub fn fork_child(name: &str, keep: &[BorrowedFd<'_>], body: impl FnOnce() -> i32) -> io::Result<Pid> {
    let parent = rustix::process::getpid();
    // SAFETY: the caller has one thread (front before it starts any, the warden always), so no lock of another thread
    // can be held in the child.
    let forked = unsafe { libc::fork() };
    match forked {
        0 => {
            // A panic is caught and counted. Told on standard error it might wait for a reader there, and with a
            // backtrace it would read files that nobody may read.
            std::panic::set_hook(Box::new(|_quiet| {}));
            let status = catch_unwind(AssertUnwindSafe(|| {
                become_child(name, parent, keep);
                body()
            }));
            // SAFETY: _exit does not return and runs no destructor or exit handler, which belong to the parent.
            unsafe { libc::_exit(status.unwrap_or(PANICKED)) }
        }
        child => Pid::from_raw(child).ok_or_else(io::Error::last_os_error),
    }
}

fn become_child(name: &str, parent: Pid, keep: &[BorrowedFd<'_>]) {
    // A name or a death signal that cannot be set is no reason not to run: the control socket's end is the second way
    // in which a child learns that its parent is gone.
    if let Ok(name) = std::ffi::CString::new(name) {
        let _unnamed = rustix::thread::set_name(&name);
    }
    let _unsignalled = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if rustix::process::getppid() != Some(parent) {
        // SAFETY: as above; the parent died before the death signal was set.
        unsafe { libc::_exit(0) }
    }
    let mut kept: Vec<i32> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut from = 3;
    for fd in kept {
        close_between(from, fd - 1);
        from = fd + 1;
    }
    close_between(from, i32::MAX);
}

/// Closes descriptors `first..=last`.
fn close_between(first: i32, last: i32) {
    let (Ok(from), Ok(to)) = (u32::try_from(first), u32::try_from(last)) else { return };
    if from > to {
        return;
    }
    // SAFETY: the descriptors belong to values of the parent that the child never touches again.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
    if closed == 0 {
        return;
    }
    // Before 5.9 there is no close_range. Front and warden hold a few dozen descriptors, all low.
    for fd in first..=last.min(1023) {
        // SAFETY: as above; closing a number that is not open is harmless.
        unsafe { libc::close(fd) };
    }
}

/// Raises the soft limit of descriptors to the hard one, at most to `most`, and returns the limit in force.
pub fn raise_descriptor_limit(most: u64) -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(most).min(most);
    let current = limit.current.unwrap_or(most);
    if wanted <= current {
        return current;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_refused) => current,
    }
}
