//! Birth of front's threads: named, with a small stack, restarted after a panic. Lanes are born in `probe`, the log's
//! writer in `logging`.
#![expect(clippy::disallowed_methods, reason = "this file is the owner of front's threads")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Stack of a thread of front.
const STACK: usize = 512 * 1024;

/// Starts a thread that runs `body` until it returns, and again after each panic. Nobody joins it: it ends with the
/// process.
///
/// # Errors
/// The error of `clone(2)`.
pub fn spawn(name: &str, body: impl Fn() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    thread.spawn(move || while catch_unwind(AssertUnwindSafe(&body)).is_err() {}).map(|_detached| ())
}
