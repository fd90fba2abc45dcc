//! Processes, threads and what passes between them.

pub mod board;
pub mod logging;
