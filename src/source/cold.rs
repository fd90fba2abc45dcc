//! Files that are read rarely, parsed by the procfs crate over bytes that we have read. Its parsers panic on some cut
//! inputs, so every call is caught; its openers are never used.

use std::panic::catch_unwind;

use procfs::FromRead;

use crate::base::units::State;

/// `/proc/PID/task/TID/stat` (do_task_stat, fs/proc/array.c), the part that nothing else tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The letter.
    pub state: State,
    /// Start time in clock ticks since boot: with the tid, the thread's identity.
    pub start_ticks: u64,
    /// Time in user space in clock ticks. Scaled by the kernel, so it may creep while the thread is in the kernel only,
    /// and of a kernel thread it is zero.
    pub user_ticks: u64,
    /// The CPU that it is on, whose queue it is in, or that it was on last.
    pub cpu: Option<u32>,
}

/// Parses `stat`; `None` when it is not what the kernel prints.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let parsed = catch_unwind(|| procfs::process::Stat::from_read(text)).ok()?.ok()?;
    let letter = u8::try_from(parsed.state).unwrap_or_default();
    Some(Stat {
        state: State::from_letter(letter),
        start_ticks: parsed.starttime,
        user_ticks: parsed.utime,
        cpu: parsed.processor.and_then(|cpu| u32::try_from(cpu).ok()),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the oracle's own text")]
mod tests {
    use super::*;
    use crate::source::task;
    use proptest::prelude::*;

    #[test]
    fn a_real_stat_is_understood_and_cut_ones_are_refused() {
        let text = std::fs::read("/proc/thread-self/stat").unwrap();
        let read = stat(&text).unwrap();
        assert_eq!(read.state, State::Running);
        assert!(read.start_ticks > 0 && read.cpu.is_some());
        let odd = b"7 (a) R (b) R 2 7 7 0 -1 64 0 0 0 0 41 52 0 0 20 0 1 0 912 0 0 9 \
            0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0";
        let read = stat(odd).unwrap();
        assert_eq!((read.user_ticks, read.start_ticks, read.cpu), (41, 912, Some(3)));
        for bad in [&b""[..], b"1 (foo)", b"(foo) R 1", b") (", b"1 (a) R"] {
            assert_eq!(stat(bad), None);
        }
    }

    /// The crate is the oracle for our own parsers, on the running kernel's own text.
    #[test]
    fn our_parsers_agree_with_the_crate() {
        let text = std::fs::read("/proc/1/schedstat").unwrap();
        let theirs = procfs::process::Schedstat::from_read(text.as_slice()).unwrap();
        let ours = task::schedstat(&text).unwrap();
        assert_eq!(
            (ours.run_ns, ours.wait_ns, ours.slices),
            (theirs.sum_exec_runtime, theirs.run_delay, theirs.pcount)
        );

        let text = std::fs::read("/proc/1/status").unwrap();
        let theirs = procfs::process::Status::from_read(text.as_slice()).unwrap();
        let ours = task::status(&text).unwrap();
        assert_eq!(ours.name, theirs.name.as_bytes());
        assert_eq!(ours.state.letter(), theirs.state.get(..1).unwrap());
        let switches = theirs.voluntary_ctxt_switches.zip(theirs.nonvoluntary_ctxt_switches);
        assert_eq!(ours.switches, switches.map(|(own, forced)| own + forced));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_understood(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = stat(&text);
        }
    }
}
