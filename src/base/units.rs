//! Identities and letters that every layer speaks.

use serde::{Deserialize, Serialize};

/// A thread's id in the kernel's sense: what `gettid(2)` returns in the initial pid namespace of our `/proc`.
pub type Tid = u32;

/// A process's id: the tid of its thread-group leader.
pub type Pid = u32;

/// What a task can be short of (PSI, kernel/sched/psi.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// A CPU.
    Cpu,
    /// The end of an I/O.
    Io,
    /// A free page, or one that was taken away.
    Memory,
    /// Time that interrupts took (from 6.1, where the kernel accounts for it).
    Irq,
}

impl Resource {
    /// All, in label order.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Io, Self::Memory, Self::Irq];

    /// The kernel's name, and the label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Memory => "memory",
            Self::Irq => "irq",
        }
    }
}

/// A thread's state, after the letters of `task_state_array` (fs/proc/array.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// `R`: on a CPU or waiting for one.
    Running,
    /// `S`: interruptible sleep.
    Sleeping,
    /// `D`: uninterruptible sleep. Holds `TASK_KILLABLE` too, and on most kernels tasks of a v1 freezer.
    Uninterruptible,
    /// `T`: stopped by a signal.
    Stopped,
    /// `t`: stopped by a tracer.
    Traced,
    /// `Z`: ended, not yet reaped.
    Zombie,
    /// `X`: ended, being removed.
    Dead,
    /// `I`: idle kernel thread (`TASK_IDLE`, from 4.14).
    Idle,
    /// `P`: parked kernel thread.
    Parked,
    /// No letter could be had, or one that no kernel we know prints. Never counted as blocked.
    Unknown,
}

impl State {
    /// Every state, in the order in which `stall_tasks` prints them.
    pub const ALL: [Self; 10] = [
        Self::Running,
        Self::Sleeping,
        Self::Uninterruptible,
        Self::Stopped,
        Self::Traced,
        Self::Zombie,
        Self::Dead,
        Self::Idle,
        Self::Parked,
        Self::Unknown,
    ];

    /// The state of the kernel's letter.
    pub const fn from_letter(letter: u8) -> Self {
        match letter {
            b'R' => Self::Running,
            b'S' => Self::Sleeping,
            b'D' => Self::Uninterruptible,
            b'T' => Self::Stopped,
            b't' => Self::Traced,
            b'Z' => Self::Zombie,
            b'X' | b'x' => Self::Dead,
            b'I' => Self::Idle,
            b'P' => Self::Parked,
            _ => Self::Unknown,
        }
    }

    /// The kernel's letter; `?` where there is none.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Running => "R",
            Self::Sleeping => "S",
            Self::Uninterruptible => "D",
            Self::Stopped => "T",
            Self::Traced => "t",
            Self::Zombie => "Z",
            Self::Dead => "X",
            Self::Idle => "I",
            Self::Parked => "P",
            Self::Unknown => "?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_comes_back() {
        for state in State::ALL {
            let letter = state.letter().as_bytes()[0];
            assert_eq!(State::from_letter(letter), state);
        }
    }
}
