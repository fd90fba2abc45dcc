//! Processes, threads and what passes between them.

pub mod board;
pub mod logging;
pub mod probe;
pub mod probes;
pub mod process;
pub mod sandbox;
pub mod shared;
pub mod supervisor;
pub mod warden;
pub mod wire;
pub mod worker;
