//! Parsers of control-group files: bytes in, plain numbers out.

use crate::source::task::number;

/// `cpu.stat`, the part about bandwidth (v1 cpu_cfs_stat_show, v2 cpu_extra_stat_show, kernel/sched/core.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuStat {
    /// Periods that have passed while the group had something to run.
    pub periods: u64,
    /// Periods in which any CPU of the group was throttled.
    pub throttled_periods: u64,
    /// Throttled time that has ended, nanoseconds, summed over CPUs.
    pub throttled_ns: u64,
}

/// Parses `cpu.stat`; `None` when the group has no bandwidth lines (the root, or a kernel without CFS bandwidth).
pub fn cpu_stat(text: &[u8]) -> Option<CpuStat> {
    let throttled_ns = match value(text, b"throttled_time ") {
        Some(nanos) => nanos,
        None => value(text, b"throttled_usec ")?.saturating_mul(1000),
    };
    Some(CpuStat {
        periods: value(text, b"nr_periods ")?,
        throttled_periods: value(text, b"nr_throttled ")?,
        throttled_ns,
    })
}

/// CPU usage in nanoseconds from v2's `cpu.stat`.
pub fn usage(text: &[u8]) -> Option<u64> {
    value(text, b"usage_usec ").map(|micros| micros.saturating_mul(1000))
}

/// Throttled time in nanoseconds from v2's `cpu.stat.local` (cpu_local_stat_show, from 6.6): time that this group's
/// own run queues stood still, by its own quota or by that of an ancestor.
pub fn throttled_local(text: &[u8]) -> Option<u64> {
    value(text, b"throttled_usec ").map(|micros| micros.saturating_mul(1000))
}

/// Groups below that were removed and that something still holds, from v2's `cgroup.stat` (cgroup_stat_show).
pub fn dying(text: &[u8]) -> Option<u64> {
    value(text, b"nr_dying_descendants ")
}

/// v1's `cpuacct.usage` (cpuusage_read): nanoseconds.
pub fn cpuacct_usage(text: &[u8]) -> Option<u64> {
    number(text.strip_suffix(b"\n")?)
}

fn value(text: &[u8], key: &[u8]) -> Option<u64> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    number(lines.find_map(|line| line.strip_prefix(key))?)
}

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quota {
    /// As much as there is.
    Unlimited,
    /// So many CPUs.
    Cores(f64),
}

/// [`cpu_max`], with a text that cannot be understood told from one that sets no limit.
pub fn max_quota(text: &[u8]) -> Option<Quota> {
    if text.starts_with(b"max ") && text.ends_with(b"\n") {
        return Some(Quota::Unlimited);
    }
    cpu_max(text).map(Quota::Cores)
}

/// v1's quota alone: `None` when it is not understood, `Some(true)` when there is one, and the period is worth a read.
pub fn cfs_limited(quota: &[u8]) -> Option<bool> {
    match quota.strip_suffix(b"\n")? {
        b"-1" => Some(false),
        text => number(text).map(|_| true),
    }
}

/// `cpu.max` (cpu_max_show): quota in cores, `None` when unlimited or not understood.
pub fn cpu_max(text: &[u8]) -> Option<f64> {
    let line = text.strip_suffix(b"\n")?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    cores(number(line.get(..space)?)?, number(line.get(space.checked_add(1)?..)?)?)
}

/// Quota in cores from v1's two files, `None` when unlimited (quota −1) or not understood.
pub fn cfs_quota(quota: &[u8], period: &[u8]) -> Option<f64> {
    cores(number(quota.strip_suffix(b"\n")?)?, number(period.strip_suffix(b"\n")?)?)
}

/// Microseconds of a period are far below 2^52, so nothing is lost.
fn cores(quota_us: u64, period_us: u64) -> Option<f64> {
    (period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

/// The lines of `/proc/self/cgroup` (proc_cgroup_show): `(controllers, path)`; the v2 line has no controllers.
pub fn own_groups(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\n")?;
        let mut parts = line.splitn(3, |byte| *byte == b':');
        number(parts.next()?)?;
        Some((parts.next()?, parts.next()?))
    })
}

/// The ids in `cgroup.procs`, one a line; lines that are no number end the list.
pub fn procs(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    text.split_inclusive(|byte| *byte == b'\n')
        .map_while(|line| number(line.strip_suffix(b"\n")?).and_then(|id| u32::try_from(id).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_versions_of_cpu_stat_are_read() {
        let v1 = b"nr_periods 10\nnr_throttled 4\nthrottled_time 5000\n";
        let v2 =
            b"usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5\n";
        let read = CpuStat { periods: 10, throttled_periods: 4, throttled_ns: 5000 };
        assert_eq!(cpu_stat(v1), Some(read));
        assert_eq!(cpu_stat(v2), Some(read));
        assert_eq!(cpu_stat(b"usage_usec 1\n"), None);
        assert_eq!(
            cpu_stat(b"nr_periods 10\nnr_throttled 4\nthrottled_usec 5"),
            None,
            "a cut line does not count"
        );
    }

    #[test]
    fn quotas_are_cores_or_nothing() {
        assert_eq!(cpu_max(b"7000 100000\n"), Some(0.07));
        assert_eq!(cpu_max(b"max 100000\n"), None);
        assert_eq!(cpu_max(b"1 0\n"), None);
        assert_eq!(cfs_quota(b"7000\n", b"100000\n"), Some(0.07));
        assert_eq!(cfs_quota(b"-1\n", b"100000\n"), None);
    }

    #[test]
    fn no_limit_is_told_from_nonsense() {
        assert_eq!(max_quota(b"max 100000\n"), Some(Quota::Unlimited));
        assert_eq!(max_quota(b"7000 100000\n"), Some(Quota::Cores(0.07)));
        assert_eq!(max_quota(b"max 1000"), None, "a cut line");
        assert_eq!(max_quota(b"7000 0\n"), None);
        assert_eq!(cfs_limited(b"-1\n"), Some(false));
        assert_eq!(cfs_limited(b"7000\n"), Some(true));
        for bad in [&b"7000"[..], b"-7\n", b"99999999999999999999\n", b""] {
            assert_eq!(cfs_limited(bad), None);
        }
    }

    #[test]
    fn usage_and_local_throttled_time_are_nanoseconds() {
        assert_eq!(usage(b"usage_usec 12\nuser_usec 1\n"), Some(12_000));
        assert_eq!(usage(b"usage_usec 12"), None, "a cut line does not count");
        assert_eq!(usage(b"usage_usec 99999999999999999999\n"), None, "past the range");
        assert_eq!(usage(b"usage_usec 18446744073709551615\n"), Some(u64::MAX), "never a wrap");
        assert_eq!(throttled_local(b"throttled_usec 3\n"), Some(3_000));
        assert_eq!(cpuacct_usage(b"77\n"), Some(77));
        assert_eq!(dying(b"nr_descendants 5\nnr_dying_descendants 3\nnr_subsys_cpu 5\n"), Some(3));
        assert_eq!(dying(b"nr_descendants 5\nnr_dying_descendants 3"), None, "a cut line does not count");
        assert_eq!(cpuacct_usage(b"77"), None);
    }

    #[test]
    fn own_groups_and_members_are_listed() {
        let text = b"4:memory:/a\n1:cpu,cpuacct:/a:b\n0::/sys.slice/x\n";
        let groups: Vec<_> = own_groups(text).collect();
        assert_eq!(groups, [(&b"memory"[..], &b"/a"[..]), (b"cpu,cpuacct", b"/a:b"), (b"", b"/sys.slice/x")]);
        assert_eq!(procs(b"1\n22\n").collect::<Vec<_>>(), [1, 22]);
        assert_eq!(procs(b"1\n22").collect::<Vec<_>>(), [1]);
    }

    proptest! {
        #[test]
        fn no_parser_panics_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (cpu_stat(&text), cpu_max(&text), cfs_quota(&text, &text));
            let _ = (own_groups(&text).count(), procs(&text).count());
            let _ = (usage(&text), throttled_local(&text), cpuacct_usage(&text));
            let _ = (max_quota(&text), cfs_limited(&text), dying(&text));
        }

        #[test]
        fn what_the_kernel_prints_comes_back_and_its_cuts_do_not_lie(
            periods: u64, throttled: u64, time: u64, cut in 0_usize..120,
        ) {
            let text = format!("nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {time}\n");
            let whole = CpuStat { periods, throttled_periods: throttled, throttled_ns: time };
            prop_assert_eq!(cpu_stat(text.as_bytes()), Some(whole));
            let cut = text.as_bytes().get(..cut).unwrap_or(text.as_bytes());
            prop_assert!(cpu_stat(cut).is_none_or(|read| read == whole));
        }

        #[test]
        fn a_quota_is_a_finite_positive_number_or_none(quota: u64, period: u64) {
            let text = format!("{quota} {period}\n");
            match max_quota(text.as_bytes()) {
                Some(Quota::Cores(cores)) => prop_assert!(cores.is_finite() && cores >= 0.0),
                other => prop_assert!(period == 0 && other.is_none()),
            }
        }
    }
}
