//! Why a read failed: what, where, and what to do about it, in one line.

use std::borrow::Cow;
use std::fmt;

use crate::source::paths::RowId;

/// The kinds of failure a caller acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The thread, process or group has ended (ENOENT, ESRCH, ENODEV). Not an error: it is counted, not logged.
    Vanished,
    /// EACCES or EPERM.
    Denied,
    /// The text did not fit into this many bytes.
    TooLong(usize),
    /// The text is not what the kernel prints.
    Malformed,
    /// The tree is not mounted on this host.
    NoTree,
    /// The path table does not let this process open the place.
    Refused,
    /// The kernel has it switched off (EOPNOTSUPP).
    Unsupported,
    /// Anything else the kernel answered.
    Kernel(String),
}

/// A failed read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// The path, or the table's pattern with the id.
    pub place: Cow<'static, str>,
    /// Why.
    pub cause: Cause,
}

impl SourceError {
    /// An error at a path.
    pub const fn new(place: String, cause: Cause) -> Self {
        Self { place: Cow::Owned(place), cause }
    }

    /// An error at a row of the table, for a thread or process (zero: none). The id is written only for causes that
    /// somebody reads: threads vanish by the thousand, and for them nothing is allocated.
    pub fn at(row: RowId, subject: u32, cause: Cause) -> Self {
        let place = match (&cause, subject) {
            (Cause::Vanished, _) | (_, 0) => Cow::Borrowed(row.row().pattern),
            (_, subject) => Cow::Owned(format!("{} (task {subject})", row.row().pattern)),
        };
        Self { place, cause }
    }

    /// True when the thing has simply ended.
    pub const fn vanished(&self) -> bool {
        matches!(self.cause, Cause::Vanished)
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.place)?;
        match &self.cause {
            Cause::Vanished => out.write_str("not there; check the --path.* flags"),
            Cause::Denied => out
                .write_str("permission denied; run as root or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
            Cause::TooLong(bytes) => {
                write!(out, "does not fit into {bytes} bytes; please report this kernel")
            }
            Cause::Malformed => {
                out.write_str("is not what this kernel file should print; please report this kernel")
            }
            Cause::NoTree => out.write_str("its tree is not mounted; check the --path.* flags"),
            Cause::Refused => {
                out.write_str("refused by the path table for this process; this is a defect of ours")
            }
            Cause::Unsupported => out.write_str("switched off in this kernel"),
            Cause::Kernel(text) => out.write_str(text),
        }
    }
}

impl std::error::Error for SourceError {}
