//! The table of every path this program may open, and of those it must never open.
//!
//! A path is opened by naming a `Place`; a place has a row here, and a row that is FORBIDDEN has no place. So opening
//! anything else is not a matter of discipline: there is no function that takes a path. Lock facts are from kernel
//! sources; the kernels each row was checked on are in its `checked` column. `stall_exporter sources` prints the
//! table, README carries it.

/// What reading a path can do to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Lockless, or short spinlocks only.
    Safe,
    /// May block or be slow: the disposable probe process only.
    Guarded,
    /// Can take a global sleeping lock or walk without bound: in no code path.
    Forbidden,
}

impl Class {
    /// The word printed in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::Guarded => "GUARDED",
            Self::Forbidden => "FORBIDDEN",
        }
    }
}

/// Who may open a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The serving process (engine) and, because it is harmless, any probe lane.
    Front,
    /// The disposable probe process only.
    Probe,
    /// The command line, before any process is forked or in a command that serves nobody.
    Command,
    /// Nobody.
    Nobody,
}

impl Reader {
    /// The word printed in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Probe => "probe",
            Self::Command => "command",
            Self::Nobody => "nobody",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The path, with its variable parts in capitals.
    pub pattern: &'static str,
    /// Lock class of open and read together.
    pub class: Class,
    /// Who may open it.
    pub reader: Reader,
    /// The kernel function behind it and the locks it takes.
    pub kernel: &'static str,
    /// Kernel versions whose source was read, `live` where it was also measured.
    pub checked: &'static str,
}

/// A row's number: what a lane stamps before it reads, and what `stall_probe_stuck_seconds{source}` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowId(pub(super) u16);

impl RowId {
    /// The row of this number, if there is one; a stamp read from shared memory is only a number.
    pub fn from_number(number: u16) -> Option<Self> {
        (usize::from(number) < ROWS.len()).then_some(Self(number))
    }

    /// The number behind the id.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The row itself.
    pub fn row(self) -> &'static Row {
        ROWS.get(usize::from(self.0)).unwrap_or(&ROWS[0])
    }
}

const fn row(
    pattern: &'static str,
    class: Class,
    reader: Reader,
    kernel: &'static str,
    checked: &'static str,
) -> Row {
    Row { pattern, class, reader, kernel, checked }
}

const fn never(pattern: &'static str, kernel: &'static str, checked: &'static str) -> Row {
    row(pattern, Class::Forbidden, Reader::Nobody, kernel, checked)
}

const ALL: &str = "3.10 to 6.18, live";

/// The table. The first rows are those of `Place::row`, in its order; a test holds the two together.
pub const ROWS: [Row; 48] = [
    row("/proc/loadavg", Class::Safe, Reader::Front, "loadavg_proc_show: per-CPU sums, no lock", ALL),
    row(
        "/proc",
        Class::Guarded,
        Reader::Probe,
        "proc_pid_readdir: directory lock shared (3.10: exclusive), RCU, allocates an inode per process",
        ALL,
    ),
    row(
        "/proc/PID/task",
        Class::Guarded,
        Reader::Probe,
        "proc_task_readdir, proc_task_getattr: as /proc; the link count tells the number of threads",
        ALL,
    ),
    row(
        "/proc/[PID/task/]TID/schedstat",
        Class::Safe,
        Reader::Probe,
        "proc_pid_schedstat: three plain loads, no lock",
        ALL,
    ),
    row(
        "/proc/[PID/task/]TID/status",
        Class::Guarded,
        Reader::Probe,
        "proc_pid_status: task_lock, get_task_mm and mmput, siglock; wq_pool_attach_mutex for kworkers (not read)",
        ALL,
    ),
    row(
        "/proc/[PID/task/]TID/sched",
        Class::Safe,
        Reader::Probe,
        "proc_sched_show_task: plain loads, task_lock up to 5.15; of root's lone threads and of busy ones",
        "3.10, 5.4, 5.15, 6.1, 6.18, live",
    ),
    row(
        "/proc/[PID/task/]TID/wchan",
        Class::Guarded,
        Reader::Probe,
        "proc_pid_wchan: task_lock, pi_lock; exec_update_lock from 6.1.178 and 6.12.97 (kernel threads never exec)",
        ALL,
    ),
    row(
        "/proc/PID/task/TID/stat",
        Class::Guarded,
        Reader::Probe,
        "proc_tid_stat: get_task_mm and mmput, siglock; exec_update_lock from 6.1.178 and 6.12.97",
        ALL,
    ),
    row(
        "/proc/self/cgroup",
        Class::Guarded,
        Reader::Probe,
        "proc_cgroup_show: RCU and css_set_lock; cgroup_mutex up to 6.6, where it is not opened",
        "3.10, 4.18, 5.15, 6.1, 6.6, 6.12, 6.18",
    ),
    row(
        "CGROUP/cgroup.procs",
        Class::Guarded,
        Reader::Probe,
        "cgroup_procs_show: css_set_lock per step; v1: pidlist_mutex of the group",
        "4.18, 5.15, 6.6, 6.18",
    ),
    row(
        "CGROUP/cpu.max",
        Class::Guarded,
        Reader::Probe,
        "cpu_max_show: plain loads; open: kernfs lock",
        "4.18 to 6.18",
    ),
    row(
        "CGROUP/cpu.cfs_quota_us",
        Class::Guarded,
        Reader::Probe,
        "cpu_cfs_quota_read_s64: plain loads; open: kernfs lock",
        "3.10 to 6.18",
    ),
    row(
        "CGROUP/cpu.cfs_period_us",
        Class::Guarded,
        Reader::Probe,
        "cpu_cfs_period_read_u64: plain loads; open: kernfs lock",
        "3.10 to 6.18",
    ),
    row(
        "CGROUP/cpu.stat",
        Class::Guarded,
        Reader::Probe,
        "v1 cpu_cfs_stat_show: plain loads; v2 cpu_stat_show: cgroup_rstat_flush, global rstat lock",
        "3.10 to 6.18",
    ),
    row(
        "CGROUP/",
        Class::Guarded,
        Reader::Probe,
        "kernfs_fop_readdir, kernfs_iop_getattr: directory lock shared, kernfs lock; link count = sub-groups",
        "3.10 to 6.18, live",
    ),
    row(
        "CGROUP/cpu.stat.local",
        Class::Guarded,
        Reader::Probe,
        "cpu_local_stat_show: throttled_time_self, loop over CPUs, no flush; open: kernfs lock",
        "6.6, 6.12, 6.18",
    ),
    row(
        "CGROUP/cpuacct.usage",
        Class::Guarded,
        Reader::Probe,
        "cpuusage_read: loop over CPUs, lockless on 64 bit; open: kernfs lock",
        "3.10, 4.18, 5.15, 6.6, 6.18",
    ),
    row(
        "/proc/diskstats",
        Class::Guarded,
        Reader::Probe,
        "diskstats_show: per-CPU sums; 3.10 and 4.18 to 6.6 walk the tags of each queue; may drop a device's last ref",
        ALL,
    ),
    row(
        "/sys/block",
        Class::Guarded,
        Reader::Probe,
        "kernfs_fop_readdir: directory lock shared, kernfs lock; only when diskstats has a name not seen before",
        ALL,
    ),
    row(
        "/sys/block/dm-N/dm/suspended",
        Class::Guarded,
        Reader::Probe,
        "dm_attr_suspended_show: a bit, _minor_lock spin, no lock of the device; open: kernfs lock",
        "3.x, 6.x, 6.1 live",
    ),
    row(
        "/proc/[PID/task/]TID/stack",
        Class::Guarded,
        Reader::Probe,
        "proc_pid_stack, lock_trace: cred_guard_mutex before 5.10, exec_update_lock since, killable; read once in a \
         long wait, by a lane of its own",
        ALL,
    ),
    row(
        "/proc/pressure/{cpu,io,memory,irq}",
        Class::Guarded,
        Reader::Probe,
        "psi_show: avgs_lock mutex, which the averaging kworker holds too; per-CPU seqcounts",
        "4.18 to 6.18, live",
    ),
    row(
        "CGROUP/{cpu,io,memory,irq}.pressure",
        Class::Guarded,
        Reader::Probe,
        "psi_show: avgs_lock mutex of the group; a reader that waits keeps the group from being removed",
        "4.18 to 6.18, live",
    ),
    row(
        "CGROUP/cgroup.stat",
        Class::Guarded,
        Reader::Probe,
        "cgroup_stat_show: plain counters, RCU; open: kernfs lock",
        "4.18 to 6.18, live",
    ),
    row(
        "/proc/sys/kernel/hung_task_detect_count",
        Class::Safe,
        Reader::Front,
        "proc_sys_call_handler: sysctl spinlock, one load; not up to 6.12",
        "6.18, live",
    ),
    row(
        "--config.file",
        Class::Guarded,
        Reader::Command,
        "an ordinary file, read once before anything is forked",
        "-",
    ),
    row(
        "textfile --output",
        Class::Guarded,
        Reader::Command,
        "an ordinary file, written beside its target and renamed, by a command that serves nobody",
        "-",
    ),
    never(
        "/sys/class/net/*/{speed,duplex,phys_*}",
        "speed_show: rtnl_mutex, then the driver and its firmware",
        "3.10 to 6.18",
    ),
    never("/sys/class/net/*/carrier", "carrier_show: rtnl_mutex from 6.8", "3.10 to 6.18"),
    never("/sys/class/net/*/address", "address_show: dev_addr_sem from 6.8", "3.10 to 6.18"),
    never("netlink sockets", "rtnetlink_rcv_msg: rtnl_mutex around dumps of links", "3.10 to 6.18"),
    never("interface ioctls", "dev_ioctl, dev_ethtool: rtnl_mutex around the driver", "3.10 to 6.18"),
    never("/proc/net/wireless", "wireless_seq_ops: rtnl_mutex", "3.10 to 6.18"),
    never(
        "/proc/PID/cmdline",
        "proc_pid_cmdline_read: the target's mmap_lock, page faults",
        "3.10 to 6.18, live",
    ),
    never(
        "/proc/PID/{environ,maps,smaps,smaps_rollup,numa_maps,pagemap}",
        "proc_mem_open, proc_maps_open: exec_update_lock, the target's mmap_lock",
        "3.10 to 6.18, live",
    ),
    never("/proc/PID/io", "do_io_accounting: exec_update_lock, all threads", "3.10 to 6.18, live"),
    never("/proc/PID/syscall", "lock_trace: cred_guard_mutex or exec_update_lock", "3.10 to 6.18, live"),
    never("/proc/PID/cgroup (another process)", "proc_cgroup_show: cgroup_mutex up to 6.6", "3.10 to 6.18"),
    never("/proc/PID/comm (kworkers)", "proc_task_name: wq_pool_attach_mutex", "4.18 to 6.18"),
    never(
        "/proc/PID/stat (whole process)",
        "do_task_stat: siglock over all threads, interrupts off",
        "3.10 to 6.6",
    ),
    never(
        "/proc/PID/fd",
        "proc_readfd: an inode per descriptor; may close files in our context",
        "3.10 to 5.10",
    ),
    never("/proc/locks", "locks_start: file_rwsem for write, stalls every file-lock user", "3.10 to 6.18"),
    never("/proc/slabinfo", "slab_show: slab_mutex across the whole read", "3.10 to 6.18"),
    never("/proc/swaps", "swap_start: swapon_mutex", "3.10 to 6.18"),
    never("/proc/cgroups", "proc_cgroupstats_show: cgroup_mutex up to 6.0", "3.10 to 6.18"),
    never(
        "/proc/{mounts,PID/mountinfo}",
        "m_start: namespace_sem, show_options of each filesystem",
        "3.10 to 6.18",
    ),
    never(
        "CGROUP/memory.stat, CGROUP/memory.numa_stat",
        "memory_stat_show: flush of the subtree, interrupts off",
        "3.10 to 6.18",
    ),
    never("CGROUP/freezer.state", "freezer_read: freezer_mutex, global", "4.18 to 6.18"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_rows_belong_to_nobody_and_front_reads_safe_rows_only() {
        for row in &ROWS {
            assert_eq!(row.class == Class::Forbidden, row.reader == Reader::Nobody, "{}", row.pattern);
            if row.reader == Reader::Front {
                assert_eq!(row.class, Class::Safe, "{}", row.pattern);
            }
            assert!(!row.kernel.is_empty() && !row.checked.is_empty());
        }
    }
}
