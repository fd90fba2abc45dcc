//! The ground floor: time, identities and bounds. Imports nothing of the crate.

pub mod bounded;
pub mod clock;
pub mod date;
pub mod ids;
pub mod kthread;
pub mod resource;
pub mod units;
