//! What is wrong with the configuration: where, what, and what to do about it, in one line.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from. The order is the order of reports: the file from its top to its end, then the flags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The configuration file as a whole.
    File(PathBuf),
    /// A place in the configuration file; line and column (in characters) count from 1.
    Line {
        /// The file as it was named on the command line.
        file: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// The key whose value is at this place, as in `web.max_requests`, where there is one.
        key: Option<String>,
    },
    /// A flag, as in `--web.max-requests`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(out, "{}", file.display()),
            Self::Line { file, line, column, key } => {
                write!(out, "{}:{line}:{column}", file.display())?;
                key.iter().try_for_each(|key| write!(out, ": {key}"))
            }
            Self::Flag(flag) => out.write_str(flag),
        }
    }
}

/// One fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Fault {
    /// A fault from its three parts.
    pub fn new(place: &Place, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { place: place.clone(), what: what.into(), todo: todo.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; {}", self.place, self.what, self.todo)
    }
}
