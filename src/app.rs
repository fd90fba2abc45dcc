//! The composition root: what each mode starts, in which order it stops.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Serve metrics over HTTP until told to stop.
    Serve,
    /// Watch for `wait`, then print the exposition.
    Once {
        /// How long to watch.
        wait: Duration,
    },
    /// Write the exposition into a file.
    Textfile {
        /// The file to replace.
        output: PathBuf,
    },
    /// Tell what works on this host and what does not.
    Check,
    /// Print the path table.
    Sources,
    /// Print the metric table.
    Metrics,
}

/// Why a mode ended without success.
#[derive(Debug)]
pub enum Error {
    /// What was configured cannot be, as only the host itself could tell: one line.
    Configuration(String),
    /// Something failed while running: one line.
    RunTime(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(line) | Self::RunTime(line) => out.write_str(line),
        }
    }
}

impl std::error::Error for Error {}

/// Runs a mode to its end.
///
/// # Errors
/// [`Error`], for one line on standard error.
pub fn run(mode: &Mode, _config: Config) -> Result<(), Error> {
    Err(Error::RunTime(format!("{mode:?} is not built yet")))
}
