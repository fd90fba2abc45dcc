//! Parsers of a thread's files: bytes in, plain numbers out. Nothing here opens, and nothing here can panic: every
//! cut, swapped or absurd input gives `None`, which the caller counts as malformed.

use crate::base::units::State;

/// `/proc/TID/schedstat` (proc_pid_schedstat, fs/proc/base.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedstat {
    /// Nanoseconds on a CPU.
    pub run_ns: u64,
    /// Nanoseconds runnable without a CPU, waits that have ended only.
    pub wait_ns: u64,
    /// Times put on a CPU. Unchanged between two looks: the thread did not arrive on a CPU in between.
    pub slices: u64,
}

/// Parses the one line `run wait slices`.
pub fn schedstat(text: &[u8]) -> Option<Schedstat> {
    let mut fields = text.strip_suffix(b"\n")?.split(|byte| *byte == b' ');
    let found = Schedstat {
        run_ns: number(fields.next()?)?,
        wait_ns: number(fields.next()?)?,
        slices: number(fields.next()?)?,
    };
    fields.next().is_none().then_some(found)
}

/// The few lines of `/proc/TID/status` (proc_pid_status, fs/proc/array.c) that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// `Name:`, as the kernel prints it: newline and backslash escaped, other bytes raw, at most 64 bytes.
    pub name: &'a [u8],
    /// `State:`.
    pub state: State,
    /// `CoreDumping:` is 1 (from 4.15).
    pub core_dumping: bool,
    /// Voluntary plus involuntary context switches; the progress mark of kernels whose schedstat is always zero.
    pub switches: Option<u64>,
}

/// Parses name, state and the switch counts; `None` without a name or a state line.
pub fn status(text: &[u8]) -> Option<Status<'_>> {
    let mut found = Status { name: b"", state: State::Unknown, core_dumping: false, switches: None };
    let mut named = false;
    let mut lettered = false;
    // The last line may be cut when the buffer was too small; only whole lines count.
    for line in text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
        if let Some(name) = line.strip_prefix(b"Name:\t") {
            found.name = name;
            named = true;
        } else if let Some(state) = line.strip_prefix(b"State:\t") {
            found.state = State::from_letter(*state.first()?);
            lettered = true;
        } else if let Some(dumping) = line.strip_prefix(b"CoreDumping:\t") {
            found.core_dumping = dumping == b"1";
        } else if let Some(count) = switches(line) {
            found.switches = Some(found.switches.unwrap_or_default().saturating_add(number(count)?));
        }
    }
    (named && lettered).then_some(found)
}

/// The parent's id in `/proc/TID/status`.
pub fn parent(text: &[u8]) -> Option<u32> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"PPid:\t"))?;
    number(line).and_then(|id| u32::try_from(id).ok())
}

fn switches(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"voluntary_ctxt_switches:\t")
        .or_else(|| line.strip_prefix(b"nonvoluntary_ctxt_switches:\t"))
}

/// The comm in the header line of `/proc/TID/sched`, `comm (tid, #threads: n)` (proc_sched_show_task,
/// kernel/sched/debug.c). The comm is raw: it may hold parentheses, spaces, even a newline.
pub fn sched_comm(text: &[u8]) -> Option<&[u8]> {
    let threads = find(text, b", #threads: ")?;
    let head = text.get(..threads)?;
    let open = head.windows(2).rposition(|pair| pair == b" (")?;
    let tid = head.get(open.checked_add(2)?..)?;
    number(tid)?;
    head.get(..open)
}

/// The kernel's priority in `/proc/TID/sched` (`P(prio)` in proc_sched_show_task): 100 is nice −20, 120 nice 0.
pub fn sched_prio(text: &[u8]) -> Option<u64> {
    sched_value(text, b"prio")
}

/// Voluntary context switches in `/proc/TID/sched`: how often the thread went to sleep of its own will.
pub fn sched_voluntary(text: &[u8]) -> Option<u64> {
    sched_value(text, b"nr_voluntary_switches")
}

/// A line `key   :   value`. Keys longer than a comm cannot be faked by one that holds a newline.
fn sched_value(text: &[u8], key: &[u8]) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(key)?.trim_ascii_start().strip_prefix(b":")?;
        number(value.trim_ascii())
    })
}

/// The name in `/proc/TID/stat`, and of a kworker apart from it the work item that it runs: `kworker/1:2+events`
/// (wq_worker_comm, kernel/workqueue.c, from 4.18). After a `-` comes the work item before, which is none of ours.
pub fn stat_name(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let name = text.get(open.checked_add(1)?..close)?;
    // A rescuer carries the name of its queue, which may hold any of the two.
    let marks: &[u8] = if name.starts_with(b"kworker/R-") { b"+" } else { b"+-" };
    let mark = name.iter().position(|byte| marks.contains(byte)).filter(|_| name.starts_with(b"kworker/"));
    let Some((name, (mark, work))) =
        mark.and_then(|at| Some((name.get(..at)?, name.get(at..)?.split_first()?)))
    else {
        return Some((name, None));
    };
    Some((name, (*mark == b'+' && !work.is_empty()).then_some(work)))
}

/// The symbol in `/proc/TID/wchan` (proc_pid_wchan, fs/proc/base.c): `None` when the text is `0`, which means on a
/// CPU, runnable, or not ours to see; the three cannot be told apart here.
pub fn wchan(text: &[u8]) -> Option<&str> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let symbol = std::str::from_utf8(text).ok()?;
    let named = symbol.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$'));
    (named && !symbol.is_empty() && symbol != "0").then_some(symbol)
}

/// The functions in `/proc/TID/stack` (proc_pid_stack, fs/proc/base.c), the innermost first: `[<0>] name+offset/size`
/// a line; in old kernels with an address in place of the `0`, and a line of all ones at the end. `None` unless every
/// line is of that form.
pub fn stack(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut frames = Vec::new();
    for line in text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n') {
        let rest = line.strip_prefix(b"[<")?;
        let close = rest.iter().position(|byte| *byte == b'>')?;
        let frame = rest.get(close..)?.strip_prefix(b">] ").filter(|frame| !frame.is_empty())?;
        if frame != b"0xffffffffffffffff" {
            frames.push(frame);
        }
    }
    Some(frames)
}

/// Runnable threads now, from `/proc/loadavg` (loadavg_proc_show, fs/proc/loadavg.c): the number before the slash in
/// the fourth field. Includes the reader.
pub fn loadavg_running(text: &[u8]) -> Option<u64> {
    let field = text.split(|byte| *byte == b' ').nth(3)?;
    let slash = field.iter().position(|byte| *byte == b'/')?;
    number(field.get(..slash)?)
}

/// A file of `/proc/sys` that holds one number.
pub fn sysctl(text: &[u8]) -> Option<u64> {
    number(text.strip_suffix(b"\n")?)
}

/// A decimal number of digits only; `None` when empty, signed, or past `u64`.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).rposition(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn schedstat_is_three_numbers_and_nothing_else() {
        let read = schedstat(b"835631 340245 1\n").unwrap();
        assert_eq!(read, Schedstat { run_ns: 835_631, wait_ns: 340_245, slices: 1 });
        for bad in
            [&b""[..], b"\n", b"1 2\n", b"1 2 3", b"1 2 3 4\n", b"1 -2 3\n", b"1 2 18446744073709551616\n"]
        {
            assert_eq!(schedstat(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn status_gives_name_letter_and_switches() {
        let text = b"Name:\ta) R (b\\n\nUmask:\t0022\nState:\tD (disk sleep)\nCoreDumping:\t1\n\
            voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        let read = status(text).unwrap();
        assert_eq!(read.name, b"a) R (b\\n");
        assert_eq!(read.state, State::Uninterruptible);
        assert!(read.core_dumping);
        assert_eq!(read.switches, Some(7));
        assert_eq!(status(b"Name:\tx\nState:"), None, "a cut line does not count");
        assert_eq!(status(b"Name:\tx\nState:\tq (odd)\n").unwrap().state, State::Unknown);
    }

    #[test]
    fn status_gives_the_parent() {
        assert_eq!(parent(b"Name:\tx\nPid:\t14\nPPid:\t2\nTracerPid:\t0\n"), Some(2));
        assert_eq!(parent(b"Name:\tPPid:\t2\n"), None);
        assert_eq!(parent(b"PPid:\tx\n"), None);
    }

    #[test]
    fn the_header_of_sched_gives_any_comm() {
        assert_eq!(sched_comm(b"kworker/u8:1 (12, #threads: 1)\n---\n").unwrap(), b"kworker/u8:1");
        assert_eq!(sched_comm(b"a (1, #t) (b (77, #threads: 3)\n").unwrap(), b"a (1, #t) (b");
        assert_eq!(sched_comm(b"(5, #threads: 1)\n"), None);
        assert_eq!(sched_comm(b"x (y, #threads: 1)\n"), None);
        assert_eq!(sched_prio(b"x (1, #threads: 1)\n---\nse.x : 1\nprio         :      100\n"), Some(100));
        assert_eq!(sched_prio(b"prio_x : 100\n"), None);
    }

    /// 3.10 to 6.18 print the same line in another width (proc_sched_show_task).
    #[test]
    fn sched_gives_the_voluntary_switches() {
        let old = b"x (1, #threads: 1)\nnr_switches                        :                   12\n\
            nr_voluntary_switches              :                    9\n";
        let new = b"nr_voluntary_switches                        :                   7\nprio : 120\n";
        assert_eq!((sched_voluntary(old), sched_voluntary(new)), (Some(9), Some(7)));
        assert_eq!(sched_voluntary(b"nr_voluntary_switches : \n"), None);
        assert_eq!(sched_voluntary(b"nr_switches : 4\nnr_voluntary_switches_x : 3\n"), None);
    }

    #[test]
    fn a_kworker_is_told_apart_from_its_work() {
        let name = |text: &'static str| {
            let (name, work) = stat_name(text.as_bytes())?;
            let word = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            Some((word(name), work.map(word)))
        };
        let of = |name: &str, work: Option<&str>| Some((name.to_owned(), work.map(str::to_owned)));
        assert_eq!(name("9 (kworker/1:2+events) R 2"), of("kworker/1:2", Some("events")));
        assert_eq!(name("9 (kworker/u8:0+flush-8:0) R 2"), of("kworker/u8:0", Some("flush-8:0")));
        assert_eq!(name("9 (kworker/1:2-events) I 2"), of("kworker/1:2", None));
        assert_eq!(name("9 (kworker/1:2+) R 2"), of("kworker/1:2", None));
        assert_eq!(name("9 (kworker/1:2H) R 2"), of("kworker/1:2H", None));
        assert_eq!(name("9 (kworker/R-xfs-b+xfs-buf) R 2"), of("kworker/R-xfs-b", Some("xfs-buf")));
        assert_eq!(name("9 (c++ (x) R 1) R 2"), of("c++ (x) R 1", None));
        assert_eq!((name("9 ) R ("), name("9"), name("")), (None, None, None));
    }

    #[test]
    fn wchan_is_a_symbol_or_nothing() {
        assert_eq!(wchan(b"kernel_clone"), Some("kernel_clone"));
        assert_eq!(wchan(b"io_schedule.isra.0\n"), Some("io_schedule.isra.0"));
        for bad in [&b"0"[..], b"", b"a b", b"\xff"] {
            assert_eq!(wchan(bad), None);
        }
    }

    #[test]
    fn a_stack_is_functions_with_their_offsets() {
        let now = b"[<0>] __mutex_lock.constprop.0+0x5/0x9\n[<0>] nbd_queue_rq+0x1/0x2 [nbd]\n";
        assert_eq!(
            stack(now).unwrap(),
            [&b"__mutex_lock.constprop.0+0x5/0x9"[..], b"nbd_queue_rq+0x1/0x2 [nbd]"]
        );
        let old =
            b"[<ffffffff810b4b26>] worker_thread+0x126/0x3c0\n[<ffffffffffffffff>] 0xffffffffffffffff\n";
        assert_eq!(stack(old).unwrap(), [b"worker_thread+0x126/0x3c0"]);
        for bad in [&b""[..], b"\n", b"[<0>] \n", b"[<0>]x\n", b"[<0", b"running\n", b"[<0>] a\n\n"] {
            assert_eq!(stack(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn loadavg_gives_the_runnable_count() {
        assert_eq!(loadavg_running(b"0.08 0.03 0.01 2/77 1982\n"), Some(2));
        assert_eq!(loadavg_running(b"0.08 0.03 0.01 277 1982\n"), None);
    }

    proptest! {
        #[test]
        fn no_parser_panics_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (schedstat(&text), status(&text), parent(&text), sched_prio(&text));
            let _ = (sched_comm(&text), wchan(&text), loadavg_running(&text));
            let _ = (sched_voluntary(&text), stat_name(&text));
            let _ = (sched_comm(&text), wchan(&text), loadavg_running(&text), stack(&text));
        }

        #[test]
        fn schedstat_comes_back(run in any::<u64>(), wait in any::<u64>(), slices in any::<u64>()) {
            let text = format!("{run} {wait} {slices}\n");
            prop_assert_eq!(schedstat(text.as_bytes()), Some(Schedstat { run_ns: run, wait_ns: wait, slices }));
        }
    }
}
