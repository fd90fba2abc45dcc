//! What the evidence lane tells: kernel stacks of long waits, and why there are not more of them.

use serde::{Deserialize, Serialize};

use crate::base::bounded::list;
use crate::base::clock::Mono;
use crate::base::units::Tid;
use crate::sample::Mark;

/// Most functions of a stack that are told; the innermost come first.
pub const FRAMES_MAX: usize = 32;

/// The kernel stack of one wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The thread.
    pub tid: Tid,
    /// The mark before and after the read: the stack belongs to this very wait.
    pub mark: Mark,
    /// Functions with their offsets as the kernel prints them (`msleep+0x2d/0x40`), the innermost first, at most
    /// [`FRAMES_MAX`] of at most [`crate::base::bounded::LABEL_MAX`] bytes.
    #[serde(deserialize_with = "list::<FRAMES_MAX, _, _>")]
    pub frames: Vec<String>,
}

/// A wait that front knows when a probe is replaced: the next one need not wait for it anew, nor take its stack again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The thread.
    pub tid: Tid,
    /// What has not moved since.
    pub mark: Mark,
    /// First look that saw it.
    pub since: Mono,
    /// Front has its stack.
    pub taken: bool,
}

/// Most waits that a new probe is told of: PID 1, those of services, and the longest.
pub const KNOWN_MAX: usize = 16;

/// Why waits past `evidence.after` have no stack: counts since the last frame, or sums of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Waits: enough others in the same wait channel have one.
    pub crowd: u64,
    /// Waits that ended before it was their turn (`evidence.per_minute`).
    pub rate: u64,
    /// Waits of a thread at which an earlier probe hung.
    pub avoided: u64,
    /// Reads whose thread had moved on.
    pub moved: u64,
    /// Reads that the kernel denied.
    pub denied: u64,
    /// Reads that failed for another reason, or gave nothing that is a stack.
    pub failed: u64,
    /// Stacks that front had no room for.
    pub full: u64,
}

impl Skipped {
    /// How many reasons there are.
    pub const REASONS: usize = 7;

    /// Every reason with its label value.
    pub const fn reasons(&self) -> [(&'static str, u64); Self::REASONS] {
        [
            ("crowd", self.crowd),
            ("rate", self.rate),
            ("avoided", self.avoided),
            ("moved", self.moved),
            ("denied", self.denied),
            ("failed", self.failed),
            ("full", self.full),
        ]
    }

    /// Adds another frame's.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.crowd, other.crowd),
            (&mut self.rate, other.rate),
            (&mut self.avoided, other.avoided),
            (&mut self.moved, other.moved),
            (&mut self.denied, other.denied),
            (&mut self.failed, other.failed),
            (&mut self.full, other.full),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}
