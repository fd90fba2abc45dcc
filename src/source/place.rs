//! Everything that can be opened, by name. There is no function that takes a path: a [`Place`] is written from its
//! parts, and has its row in the table of `paths`.

use std::fmt;

use crate::base::units::Resource;
use crate::source::paths::RowId;

/// A file of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadFile {
    /// Run time, run delay and time slices: three plain loads.
    Schedstat,
    /// Name and state letter, without `exec_update_lock`.
    Status,
    /// Scheduler numbers; its header line is the only safe name of a kworker.
    Sched,
    /// The kernel function in which the thread sleeps.
    Wchan,
    /// Start time, flags, user and system time.
    Stat,
    /// The kernel functions in which the thread sleeps.
    Stack,
}

impl ThreadFile {
    const fn name(self) -> &'static str {
        match self {
            Self::Schedstat => "schedstat",
            Self::Status => "status",
            Self::Sched => "sched",
            Self::Wchan => "wchan",
            Self::Stat => "stat",
            Self::Stack => "stack",
        }
    }
}

/// Everything that can be opened, with the values of the variable parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// `/proc/loadavg`.
    LoadAvg,
    /// The directory `/proc`.
    Processes,
    /// The directory `/proc/PID/task`.
    Threads {
        /// The process.
        pid: u32,
    },
    /// A file of one thread. A leader's is opened as `/proc/PID/FILE`, which shows the leader alone for all but
    /// `stat`; `stat` is always opened below `task/`, because the process's own sums over all threads.
    Thread {
        /// The process.
        pid: u32,
        /// The thread; equal to `pid` for the leader.
        tid: u32,
        /// Which file.
        file: ThreadFile,
    },
    /// `/proc/self/cgroup`, only on kernels where it takes no `cgroup_mutex`.
    OwnCgroup,
    /// A file of a control group, by the group's path below the cgroup root.
    Cgroup {
        /// Path below the cgroup root, without leading slash; a name may be any bytes.
        group: &'a [u8],
        /// Which file.
        file: CgroupFile,
    },
    /// The directory of a control group, whose sub-directories are the groups below it.
    Groups {
        /// Path below the cgroup root, without leading slash; empty for the root itself.
        group: &'a [u8],
    },
    /// `/proc/diskstats`.
    DiskStats,
    /// The directory `/sys/block`, which has an entry for each whole block device.
    Disks,
    /// `/sys/block/dm-N/dm/suspended`.
    DmSuspended {
        /// The number N of the device-mapper device.
        number: u32,
    },
    /// `/proc/sys/kernel/hung_task_detect_count`.
    HungTasks,
    /// `/proc/pressure/RESOURCE`.
    Pressure {
        /// Which.
        resource: Resource,
    },
}

/// A file of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupFile {
    /// Members, thread-group leaders.
    Procs,
    /// v2 quota and period.
    CpuMax,
    /// v1 quota.
    CfsQuota,
    /// v1 period.
    CfsPeriod,
    /// Periods and throttled periods, v1 and v2.
    CpuStat,
    /// v2 (from 6.6): throttled time of the group's own run queues, without a flush.
    CpuStatLocal,
    /// v1 CPU usage.
    CpuacctUsage,
    /// v2 pressure totals.
    Pressure(Resource),
    /// v2 numbers of groups below, living and dying.
    Stat,
}

impl CgroupFile {
    const fn name(self) -> &'static str {
        match self {
            Self::Procs => "cgroup.procs",
            Self::CpuMax => "cpu.max",
            Self::CfsQuota => "cpu.cfs_quota_us",
            Self::CfsPeriod => "cpu.cfs_period_us",
            Self::CpuStat => "cpu.stat",
            Self::CpuStatLocal => "cpu.stat.local",
            Self::CpuacctUsage => "cpuacct.usage",
            Self::Stat => "cgroup.stat",
            Self::Pressure(Resource::Cpu) => "cpu.pressure",
            Self::Pressure(Resource::Io) => "io.pressure",
            Self::Pressure(Resource::Memory) => "memory.pressure",
            Self::Pressure(Resource::Irq) => "irq.pressure",
        }
    }
}

/// Which mounted tree a place lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// `--path.procfs`.
    Proc,
    /// `--path.sysfs`.
    Sys,
    /// `--path.cgroupfs`.
    Cgroup,
}

impl Place<'_> {
    /// The row of the table.
    pub const fn row(&self) -> RowId {
        RowId(match self {
            Self::LoadAvg => 0,
            Self::Processes => 1,
            Self::Threads { .. } => 2,
            Self::Thread { file, .. } => match file {
                ThreadFile::Schedstat => 3,
                ThreadFile::Status => 4,
                ThreadFile::Sched => 5,
                ThreadFile::Wchan => 6,
                ThreadFile::Stat => 7,
                ThreadFile::Stack => 20,
            },
            Self::OwnCgroup => 8,
            Self::Cgroup { file, .. } => match file {
                CgroupFile::Procs => 9,
                CgroupFile::CpuMax => 10,
                CgroupFile::CfsQuota => 11,
                CgroupFile::CfsPeriod => 12,
                CgroupFile::CpuStat => 13,
                CgroupFile::CpuStatLocal => 15,
                CgroupFile::CpuacctUsage => 16,
                CgroupFile::Pressure(_) => 22,
                CgroupFile::Stat => 23,
            },
            Self::Groups { .. } => 14,
            Self::DiskStats => 17,
            Self::Disks => 18,
            Self::DmSuspended { .. } => 19,
            Self::Pressure { .. } => 21,
            Self::HungTasks => 24,
        })
    }

    /// The tree the place lies in.
    pub const fn tree(&self) -> Tree {
        match self {
            Self::Cgroup { .. } | Self::Groups { .. } => Tree::Cgroup,
            Self::Disks | Self::DmSuspended { .. } => Tree::Sys,
            _ => Tree::Proc,
        }
    }

    /// The thread or process the place belongs to, zero for the rest. Stamped beside the row, so that a lane that
    /// comes back after it hung can leave that one alone.
    pub const fn subject(&self) -> u32 {
        match self {
            Self::Threads { pid } => *pid,
            Self::Thread { tid, .. } => *tid,
            _ => 0,
        }
    }
}

impl Place<'_> {
    /// Writes the path relative to its tree's root, or, below an open task directory, relative to that. Written piece
    /// by piece: a walk makes tens of thousands of these, and the formatting machinery costs as much as a short read.
    pub(super) fn write(&self, base: Base, out: &mut impl Out) -> fmt::Result {
        match self {
            Self::LoadAvg => out.write_str("loadavg"),
            Self::Processes => out.write_char('.'),
            Self::Threads { pid } => {
                number(*pid, out)?;
                out.write_str("/task")
            }
            Self::Thread { pid, tid, file } => {
                match base {
                    Base::Tasks => number(*tid, out)?,
                    Base::Root if pid == tid && *file != ThreadFile::Stat => number(*pid, out)?,
                    Base::Root => {
                        number(*pid, out)?;
                        out.write_str("/task/")?;
                        number(*tid, out)?;
                    }
                }
                out.write_char('/')?;
                out.write_str(file.name())
            }
            Self::OwnCgroup => out.write_str("self/cgroup"),
            Self::Cgroup { group, file } => {
                // Without a group there must be no slash: a path that begins with one leaves the tree.
                if !group.is_empty() {
                    out.write_bytes(group)?;
                    out.write_char('/')?;
                }
                out.write_str(file.name())
            }
            Self::Groups { group: [] } => out.write_char('.'),
            Self::Groups { group } => out.write_bytes(group),
            Self::DiskStats => out.write_str("diskstats"),
            Self::Disks => out.write_str("block"),
            Self::HungTasks => out.write_str("sys/kernel/hung_task_detect_count"),
            Self::Pressure { resource } => {
                out.write_str("pressure/")?;
                out.write_str(resource.name())
            }
            Self::DmSuspended { number: dm } => {
                out.write_str("block/dm-")?;
                number(*dm, out)?;
                out.write_str("/dm/suspended")
            }
        }
    }
}

/// Takes a path. Names of control groups are bytes, so text alone does not do.
pub(super) trait Out: fmt::Write {
    /// Takes bytes as they are; where only text can be taken, a readable stand-in.
    fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.write_str(&String::from_utf8_lossy(bytes))
    }
}

/// For messages.
impl Out for fmt::Formatter<'_> {}

/// What a path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// The root of its tree.
    Root,
    /// The task directory of its process.
    Tasks,
}

fn number(value: u32, out: &mut impl fmt::Write) -> fmt::Result {
    let mut divisor = 1_000_000_000;
    while divisor > 1 && value < divisor {
        divisor /= 10;
    }
    while divisor > 0 {
        let digit = u8::try_from(value / divisor % 10).unwrap_or_default();
        out.write_char(char::from(b'0'.saturating_add(digit)))?;
        divisor /= 10;
    }
    Ok(())
}

/// The path relative to its tree's root.
impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Base::Root, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::paths::{Class, Reader};

    impl Out for String {}

    fn places() -> Vec<Place<'static>> {
        let thread = |file| Place::Thread { pid: 7, tid: 9, file };
        let group = |file| Place::Cgroup { group: b"a/b", file };
        vec![
            Place::LoadAvg,
            Place::Processes,
            Place::Threads { pid: 7 },
            thread(ThreadFile::Schedstat),
            thread(ThreadFile::Status),
            thread(ThreadFile::Sched),
            thread(ThreadFile::Wchan),
            thread(ThreadFile::Stat),
            Place::OwnCgroup,
            group(CgroupFile::Procs),
            group(CgroupFile::CpuMax),
            group(CgroupFile::CfsQuota),
            group(CgroupFile::CfsPeriod),
            group(CgroupFile::CpuStat),
            Place::Groups { group: b"a/b" },
            group(CgroupFile::CpuStatLocal),
            group(CgroupFile::CpuacctUsage),
            Place::DiskStats,
            Place::Disks,
            Place::DmSuspended { number: 3 },
            thread(ThreadFile::Stack),
            Place::Pressure { resource: Resource::Memory },
            group(CgroupFile::Pressure(Resource::Memory)),
            group(CgroupFile::Stat),
            Place::HungTasks,
        ]
    }

    #[test]
    fn every_place_has_its_row_and_no_row_is_forbidden() {
        for (number, place) in places().iter().enumerate() {
            assert_eq!(usize::from(place.row().number()), number);
            let row = place.row().row();
            assert_ne!(row.class, Class::Forbidden, "{}", row.pattern);
            assert_ne!(row.reader, Reader::Nobody, "{}", row.pattern);
            let file = place.to_string();
            let name = file.rsplit('/').next().unwrap();
            let row_pattern = row.pattern.replace("{cpu,io,memory,irq}", "memory");
            let pattern = if row_pattern.starts_with('/') || name == "." {
                row_pattern.as_str()
            } else {
                file.as_str()
            };
            assert!(name == "." || pattern.ends_with(name), "{file} stands in row {}", row.pattern);
        }
    }

    #[test]
    fn a_leader_is_read_without_task_except_for_stat() {
        let place = |file| Place::Thread { pid: 7, tid: 7, file }.to_string();
        assert_eq!(place(ThreadFile::Schedstat), "7/schedstat");
        assert_eq!(place(ThreadFile::Stat), "7/task/7/stat");
        assert_eq!(Place::Thread { pid: 7, tid: 8, file: ThreadFile::Status }.to_string(), "7/task/8/status");
    }

    #[test]
    fn numbers_of_any_size_are_written() {
        for value in [0, 7, 10, 99, 100, 4_194_304, 1_000_000_000, u32::MAX] {
            let mut text = String::new();
            number(value, &mut text).unwrap();
            assert_eq!(text, value.to_string());
        }
    }

    #[test]
    fn a_group_without_a_name_is_the_root_and_never_an_absolute_path() {
        assert_eq!(Place::Cgroup { group: b"", file: CgroupFile::Procs }.to_string(), "cgroup.procs");
        assert_eq!(Place::Groups { group: b"" }.to_string(), ".");
        assert_eq!(Place::Groups { group: b"a/\xff" }.to_string(), "a/\u{fffd}");
    }

    #[test]
    fn below_a_task_directory_a_thread_is_its_id() {
        let mut text = String::new();
        Place::Thread { pid: 7, tid: 9, file: ThreadFile::Schedstat }.write(Base::Tasks, &mut text).unwrap();
        assert_eq!(text, "9/schedstat");
    }
}
