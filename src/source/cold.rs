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
}

/// Parses `stat`; `None` when it is not what the kernel prints.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let parsed = catch_unwind(|| procfs::process::Stat::from_read(text)).ok()?.ok()?;
    let letter = u8::try_from(parsed.state).unwrap_or_default();
    Some(Stat { state: State::from_letter(letter), start_ticks: parsed.starttime })
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
        assert!(read.start_ticks > 0);
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
