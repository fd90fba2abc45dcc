//! The kernel threads whose waits for a CPU are sampled, by name.

use serde::{Deserialize, Serialize};

/// Largest number that is taken for a CPU's; the kernel's own limit is 8192.
const CPU_MAX: u16 = 8191;

/// A sort of kernel thread, in the order in which they are given up when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `ksoftirqd/N`, nice 0: runs what softirqs leave behind.
    Ksoftirqd,
    /// `watchdog/N`, FIFO 99, up to 4.18: woken every four seconds.
    Watchdog,
    /// `rcu_sched`.
    RcuSched,
    /// `rcu_preempt`.
    RcuPreempt,
    /// `rcu_bh`, up to 4.19.
    RcuBh,
    /// `khungtaskd`.
    Khungtaskd,
    /// `kswapdN`, one for each memory node.
    Kswapd,
    /// `migration/N`, stop class: nothing runs before it.
    Migration,
    /// `rcuc/N`.
    Rcuc,
    /// `jbd2/DEVICE`.
    Jbd2,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 10] = [
        Self::Ksoftirqd,
        Self::Watchdog,
        Self::RcuSched,
        Self::RcuPreempt,
        Self::RcuBh,
        Self::Khungtaskd,
        Self::Kswapd,
        Self::Migration,
        Self::Rcuc,
        Self::Jbd2,
    ];

    /// The label value: the thread's name without CPU, node or device.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ksoftirqd => "ksoftirqd",
            Self::Watchdog => "watchdog",
            Self::RcuSched => "rcu_sched",
            Self::RcuPreempt => "rcu_preempt",
            Self::RcuBh => "rcu_bh",
            Self::Khungtaskd => "khungtaskd",
            Self::Kswapd => "kswapd",
            Self::Migration => "migration",
            Self::Rcuc => "rcuc",
            Self::Jbd2 => "jbd2",
        }
    }
}

/// Whose thread it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kthread {
    /// What it does.
    pub kind: Kind,
    /// The CPU it is bound to by its name; of threads that are bound to none, `None`.
    pub cpu: Option<u16>,
}

impl Kthread {
    /// The thread of this name; `None` for all that are not sampled.
    pub fn named(comm: &[u8]) -> Option<Self> {
        let alone = |kind| Some(Self { kind, cpu: None });
        match comm {
            b"rcu_sched" => return alone(Kind::RcuSched),
            b"rcu_preempt" => return alone(Kind::RcuPreempt),
            b"rcu_bh" => return alone(Kind::RcuBh),
            b"khungtaskd" => return alone(Kind::Khungtaskd),
            _ => {}
        }
        if let Some(node) = comm.strip_prefix(b"kswapd") {
            return number(node).and_then(|_node| alone(Kind::Kswapd));
        }
        let slash = comm.iter().position(|byte| *byte == b'/')?;
        let (name, rest) = (comm.get(..slash)?, comm.get(slash.checked_add(1)?..)?);
        let kind = match name {
            b"ksoftirqd" => Kind::Ksoftirqd,
            b"watchdog" => Kind::Watchdog,
            b"migration" => Kind::Migration,
            b"rcuc" => Kind::Rcuc,
            b"jbd2" if !rest.is_empty() => return alone(Kind::Jbd2),
            _ => return None,
        };
        Some(Self { kind, cpu: Some(number(rest)?) })
    }

    /// The label value of the CPU; `none` for a thread that is bound to none.
    pub fn cpu_label(self) -> String {
        self.cpu.map_or_else(|| "none".to_owned(), |cpu| cpu.to_string())
    }
}

/// A CPU's or node's number as the kernel prints it.
fn number(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|number| plain && *number <= CPU_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_names_are_told_apart() {
        let of = |comm: &str| Kthread::named(comm.as_bytes()).map(|thread| (thread.kind, thread.cpu));
        assert_eq!(of("ksoftirqd/0"), Some((Kind::Ksoftirqd, Some(0))));
        assert_eq!(of("migration/1023"), Some((Kind::Migration, Some(1023))));
        assert_eq!(of("watchdog/7"), Some((Kind::Watchdog, Some(7))));
        assert_eq!(of("rcuc/12"), Some((Kind::Rcuc, Some(12))));
        assert_eq!(of("rcu_preempt"), Some((Kind::RcuPreempt, None)));
        assert_eq!(of("kswapd0"), Some((Kind::Kswapd, None)));
        assert_eq!(of("jbd2/dm-0-8"), Some((Kind::Jbd2, None)));
        for other in [
            "",
            "kworker/0:1",
            "ksoftirqd",
            "ksoftirqd/",
            "ksoftirqd/x",
            "ksoftirqd/+1",
            "ksoftirqd/01",
            "ksoftirqd/99999",
            "watchdogd",
            "kswapd",
            "jbd2/",
            "rcu_preempt2",
            "rcu_exp_par_gp_",
            "cpuhp/0",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        assert!(Kind::ALL.is_sorted());
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(comm in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(thread) = Kthread::named(&comm) {
                prop_assert!(comm.starts_with(thread.kind.name().as_bytes()));
            }
        }
    }
}
