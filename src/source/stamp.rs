//! Who is told before each entry into the kernel.

use crate::source::paths::RowId;

/// Told before each entry into the kernel, so that somebody else can say where we hang.
pub trait Stamp {
    /// About to enter `row` for `subject` (a thread, a process, or zero).
    fn enter(&self, row: RowId, subject: u32);
}

/// For readers that nobody watches: front, whose SAFE rows do not hang and whom nobody could replace if they did, and
/// commands that serve nobody.
#[derive(Debug, Clone, Copy)]
pub struct NoStamp;

impl Stamp for NoStamp {
    fn enter(&self, _row: RowId, _subject: u32) {}
}
