//! Memory shared by front, warden and probes: one cell per probe slot and lane, in which a lane says what it is
//! doing. Atomics only: a reader never waits for a writer, and a writer that stops for ever in the middle of its
//! work leaves a truthful cell behind.
#![expect(
    unsafe_code,
    reason = "maps the shared page; the other place with unsafe code is runtime/process.rs"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::base::clock::{self, Mono};
use crate::sample::Lane;
use crate::source::Stamp;
use crate::source::paths::RowId;

/// Most probe processes that can exist at once: the live one and those that were abandoned.
pub const SLOTS_MAX: usize = 9;

/// One lane of one probe slot.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Cell {
    /// Kind in the upper 16 bits, microseconds of `CLOCK_MONOTONIC` in the lower 48: one store, never torn.
    doing: AtomicU64,
    subject: AtomicU64,
    cpu_ns: AtomicU64,
    panics: AtomicU64,
    interval_ns: AtomicU64,
}

const KIND_NONE: u16 = 0;
const KIND_IDLE: u16 = 1;
const KIND_WORK: u16 = 2;
const KIND_SEND: u16 = 3;
/// Kinds from here on are rows of the path table.
const KIND_ROWS: u16 = 16;
const MICROS_BITS: u32 = 48;

/// What a lane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// The lane has not started.
    Nothing,
    /// Sleeps until then.
    Idle {
        /// The planned end of the sleep.
        until: Mono,
    },
    /// Computes, since then.
    Working {
        /// Since when.
        since: Mono,
    },
    /// Writes a frame, since then: front is not reading.
    Sending {
        /// Since when.
        since: Mono,
    },
    /// Inside the kernel.
    Reading {
        /// The path class.
        row: RowId,
        /// The thread or process, or zero.
        subject: u32,
        /// Since when.
        since: Mono,
    },
}

impl Doing {
    /// How long the lane has been silent at `now`: time past the moment at which it said it would be back.
    pub fn silent_since(self) -> Option<Mono> {
        match self {
            Self::Nothing => None,
            Self::Idle { until } => Some(until),
            Self::Working { since } | Self::Sending { since } | Self::Reading { since, .. } => Some(since),
        }
    }

    /// The label value: the pattern of the path table, or the name of what is not a read.
    pub fn source(self) -> &'static str {
        match self {
            Self::Nothing => "start",
            Self::Idle { .. } => "wake-up",
            Self::Working { .. } => "work",
            Self::Sending { .. } => "send",
            Self::Reading { row, .. } => row.row().pattern,
        }
    }

    /// The thread or process being read, or zero.
    pub const fn subject(self) -> u32 {
        match self {
            Self::Reading { subject, .. } => subject,
            _ => 0,
        }
    }
}

/// A wall of the sandbox. Whether it stands, its process says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Front's filter of system calls.
    FrontSeccomp,
    /// Front's Landlock domain.
    FrontLandlock,
    /// The warden's filter of system calls.
    WardenSeccomp,
    /// The filter of the probe in this slot.
    ProbeSeccomp(usize),
}

impl Wall {
    /// The label values: process and kind.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::FrontSeccomp => ("front", "seccomp"),
            Self::FrontLandlock => ("front", "landlock"),
            Self::WardenSeccomp => ("warden", "seccomp"),
            Self::ProbeSeccomp(_) => ("probe", "seccomp"),
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::FrontSeccomp => 0,
            Self::FrontLandlock => 1,
            Self::WardenSeccomp => 2,
            Self::ProbeSeccomp(slot) => 3 + slot % SLOTS_MAX,
        }
    }
}

const CELLS: usize = SLOTS_MAX * Lane::ALL.len();
const WALLS: usize = 3 + SLOTS_MAX;
/// Said of a wall; zero is nothing yet.
const IS_MISSING: u64 = 1;
const STANDS: u64 = 2;

#[derive(Debug)]
#[repr(C)]
struct Shared {
    cells: [Cell; CELLS],
    walls: [AtomicU64; WALLS],
}

/// The mapping. It is never unmapped: the process that made it and all its children live with it.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    shared: &'static Shared,
}

impl Region {
    /// Maps the cells, shared with every process forked later.
    ///
    /// # Errors
    /// The error of `mmap(2)`.
    pub fn map() -> std::io::Result<Self> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice aliases nothing.
        let base =
            unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<Shared>(), flags, MapFlags::SHARED) }?;
        // SAFETY: the mapping has this size, is page-aligned, zeroed (a valid Shared: atomics of zero) and never
        // unmapped; other processes write it through atomics only.
        let shared = unsafe { &*base.cast::<Shared>() };
        Ok(Self { shared })
    }

    /// The cell of a lane in a slot, for its reader and writer alike.
    pub fn beat(&self, slot: usize, lane: Lane) -> Beat {
        let index = (slot % SLOTS_MAX) * Lane::ALL.len() + lane.index();
        Beat { cell: self.shared.cells.get(index).unwrap_or(&SPARE) }
    }

    /// Clears a slot before a new probe takes it.
    pub fn clear(&self, slot: usize) {
        for lane in Lane::ALL {
            let cell = self.beat(slot, lane).cell;
            for value in [&cell.doing, &cell.subject, &cell.cpu_ns, &cell.panics, &cell.interval_ns] {
                value.store(0, Ordering::SeqCst);
            }
        }
        self.say(Wall::ProbeSeccomp(slot), 0);
    }

    /// A process says whether its wall stands.
    pub fn tell(&self, wall: Wall, stands: bool) {
        self.say(wall, if stands { STANDS } else { IS_MISSING });
    }

    /// Whether a wall stands; nothing while its process has not said so.
    pub fn stands(&self, wall: Wall) -> Option<bool> {
        match self.shared.walls.get(wall.index())?.load(Ordering::Acquire) {
            0 => None,
            said => Some(said == STANDS),
        }
    }

    fn say(&self, wall: Wall, said: u64) {
        if let Some(word) = self.shared.walls.get(wall.index()) {
            word.store(said, Ordering::Release);
        }
    }
}

/// Stands in where no cell can be; never used, because every index is below the count.
static SPARE: Cell = Cell {
    doing: AtomicU64::new(0),
    subject: AtomicU64::new(0),
    cpu_ns: AtomicU64::new(0),
    panics: AtomicU64::new(0),
    interval_ns: AtomicU64::new(0),
};

/// A handle on one cell.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    cell: &'static Cell,
}

impl Beat {
    /// Reader: what the lane is doing.
    pub fn doing(&self) -> Doing {
        let word = self.cell.doing.load(Ordering::Acquire);
        let subject = u32::try_from(self.cell.subject.load(Ordering::Acquire)).unwrap_or_default();
        let since = Mono::from_nanos((word & ((1 << MICROS_BITS) - 1)).saturating_mul(1000));
        match u16::try_from(word >> MICROS_BITS).unwrap_or(KIND_NONE) {
            KIND_IDLE => Doing::Idle { until: since },
            KIND_WORK => Doing::Working { since },
            KIND_SEND => Doing::Sending { since },
            kind => match kind.checked_sub(KIND_ROWS).and_then(RowId::from_number) {
                Some(row) => Doing::Reading { row, subject, since },
                None => Doing::Nothing,
            },
        }
    }

    /// Reader: CPU time the lane's thread has used, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.cell.cpu_ns.load(Ordering::Relaxed)
    }

    /// Reader: panics caught in this lane.
    pub fn panics(&self) -> u64 {
        self.cell.panics.load(Ordering::Relaxed)
    }

    /// Reader: distance between the last two plans of a walk, nanoseconds.
    pub fn interval_ns(&self) -> u64 {
        self.cell.interval_ns.load(Ordering::Relaxed)
    }

    /// Lane: sleeps until then.
    pub fn idle(&self, until: Mono) {
        self.store(KIND_IDLE, until);
    }

    /// Lane: computes.
    pub fn work(&self) {
        self.store(KIND_WORK, clock::now());
    }

    /// Lane: about to write a frame.
    pub fn send(&self) {
        self.store(KIND_SEND, clock::now());
    }

    /// Lane: CPU time used so far.
    pub fn spent(&self, cpu_ns: u64) {
        self.cell.cpu_ns.store(cpu_ns, Ordering::Relaxed);
    }

    /// Lane: a panic was caught.
    pub fn panicked(&self) {
        self.cell.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Lane: distance to the next piece of work, as the budget allows it.
    pub fn interval(&self, nanos: u64) {
        self.cell.interval_ns.store(nanos, Ordering::Relaxed);
    }

    fn store(&self, kind: u16, at: Mono) {
        let micros = (at.as_nanos() / 1000) & ((1 << MICROS_BITS) - 1);
        self.cell.doing.store((u64::from(kind) << MICROS_BITS) | micros, Ordering::Release);
    }
}

impl Stamp for Beat {
    fn enter(&self, row: RowId, subject: u32) {
        // The subject first: a reader that sees the new row must not see an older subject.
        self.cell.subject.store(u64::from(subject), Ordering::Release);
        self.store(KIND_ROWS.saturating_add(row.number()), clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::place::{Place, ThreadFile};

    #[test]
    fn a_stamp_comes_back_with_row_subject_and_time() {
        let region = Region::map().unwrap();
        let beat = region.beat(2, Lane::Detail);
        assert_eq!(beat.doing(), Doing::Nothing);
        let row = Place::Thread { pid: 5, tid: 6, file: ThreadFile::Wchan }.row();
        let before = clock::now();
        beat.enter(row, 6);
        let Doing::Reading { row: seen, subject, since } = region.beat(2, Lane::Detail).doing() else {
            panic!("not reading");
        };
        assert_eq!((seen, subject), (row, 6));
        assert!(before.since(since).as_micros() <= 1, "stamps are cut to microseconds");
        assert_eq!(region.beat(2, Lane::Tasks).doing(), Doing::Nothing, "cells are apart");
        region.clear(2);
        assert_eq!(beat.doing(), Doing::Nothing);
    }

    #[test]
    fn a_wall_is_unknown_until_its_process_says_so() {
        let region = Region::map().unwrap();
        let walls = [Wall::FrontSeccomp, Wall::FrontLandlock, Wall::WardenSeccomp, Wall::ProbeSeccomp(0)];
        for (index, wall) in walls.into_iter().chain([Wall::ProbeSeccomp(SLOTS_MAX - 1)]).enumerate() {
            assert_eq!(region.stands(wall), None, "{wall:?}");
            region.tell(wall, index % 2 == 0);
            assert_eq!(region.stands(wall), Some(index % 2 == 0), "{wall:?}");
        }
        region.clear(SLOTS_MAX - 1);
        assert_eq!(
            region.stands(Wall::ProbeSeccomp(SLOTS_MAX - 1)),
            None,
            "the next probe must say it again"
        );
        assert_eq!(region.stands(Wall::WardenSeccomp), Some(true));
    }

    #[test]
    fn an_idle_lane_is_silent_from_its_planned_wake_up_on() {
        let region = Region::map().unwrap();
        let beat = region.beat(0, Lane::Tasks);
        let until = Mono::from_nanos(7_000_000);
        beat.idle(until);
        assert_eq!(beat.doing().silent_since(), Some(until));
    }
}
