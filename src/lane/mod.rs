//! The lanes of a probe: each is one loop in one thread that reads, sends facts and sleeps. A lane may hang for ever
//! in a read; it is then replaced together with its process, so a lane keeps nothing that front could not lose.

pub mod budget;
pub mod cgroups;
pub mod detail;
pub mod devices;
pub mod evidence;
pub mod handover;
pub mod kthreads;
pub mod pressure;
pub mod tasks;
pub mod throttle;

use std::time::Duration;

use crate::base::clock::Mono;
use crate::sample::Frame;
use crate::source::Reader;

/// What a lane works with.
pub struct Tools<'a> {
    /// Reads the kernel's files, stamped.
    pub reader: Reader<'a>,
    /// Gives a frame to front.
    pub send: &'a mut dyn FnMut(&Frame),
    /// Sleeps in the middle of a turn, announced, so that the lane does not look stuck.
    pub pause: &'a dyn Fn(Duration),
}

/// One lane's work.
pub trait Work {
    /// One turn: read and send. Returns when the next turn is due.
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono;

    /// Distance between two whole passes as the budget allows it now; published beside the lane's age.
    fn interval(&self) -> Duration;
}
