//! The table of settings: one row is a flag, a key of the file, a field of [`Config`] and its limits at once.
//!
//! `--web.max-requests` is `max_requests` in `[web]`. The command line, its help, the file and the checks are all
//! made from these rows, so a new setting is a field in [`Config`] and a row here.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Config;
use super::value::Slot;
use crate::base::bounded::{ROWS_MAX, THREADS_MAX};

/// A slice that can be switched.
#[derive(Debug, Clone, Copy)]
pub struct Collector {
    /// X in `--collector.X` and in `[collector]`.
    pub name: &'static str,
    /// What it tells, for the help.
    pub help: &'static str,
}

/// Every slice that can be switched off, in the order of the help.
pub const COLLECTORS: &[Collector] = &[
    Collector { name: "blocked", help: "Tasks in uninterruptible sleep: since when, on what" },
    Collector { name: "load", help: "Active and uninterruptible tasks from successive load averages" },
    Collector { name: "starved", help: "Runnable threads that do not get a CPU: since when, in which group" },
    Collector {
        name: "kernel_spin",
        help: "Threads that burn CPU time in the kernel, and who waits for that CPU",
    },
    Collector {
        name: "throttle",
        help: "Control groups with a CPU quota: throttled periods and time, CPU usage",
    },
    Collector { name: "softirq", help: "Softirqs left to a ksoftirqd that does not get its CPU" },
    Collector { name: "kthread", help: "Other kernel threads that wait for a CPU, and how long waits were" },
    Collector { name: "disk", help: "Block devices: I/O in flight of which none completes, suspended ones" },
    Collector { name: "pressure", help: "PSI: time in which tasks waited for CPU, I/O, memory, interrupts" },
    Collector { name: "cgroup_dying", help: "Control groups that were removed and are still held" },
    Collector {
        name: "hung_task",
        help: "Tasks that the kernel itself has called hung, where it counts them",
    },
    Collector { name: "service", help: "Essential services: blocked, starved, how many tasks" },
    Collector { name: "suspect", help: "Who probably holds up those who wait, and what /stalls tells" },
    Collector { name: "evidence", help: "Kernel stacks of a few tasks that are blocked for long" },
];

/// Most services: each one is a label value of several families, and a bit beside the one of PID 1.
pub const SERVICES_MAX: usize = 63;
/// Most block devices: each one is a label value of several families.
pub const DEVICES_MAX: usize = 4096;
/// Most control groups whose pressure is read: each one is a label value of two families, and four reads a turn.
pub const PRESSURE_GROUPS_MAX: usize = 64;
/// Most listen addresses: each one is a descriptor in the poll set.
pub const LISTEN_MAX: usize = 16;

const REQUESTS: RangeInclusive<usize> = 1..=1024;
const CONNECTIONS: RangeInclusive<usize> = 1..=4096;
const HEAD_BYTES: RangeInclusive<usize> = 512..=65_536;
/// What one slow client may hold.
const CLIENT_DEADLINE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const SCRAPE_DEADLINE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
/// Below a second a busy but healthy kernel would count as stuck, and each verdict costs a process.
const STUCK_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// The first back-off is a second.
const BACKOFF: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Each holds a slot of the shared memory beside the live one (`runtime::shared::SLOTS_MAX`).
const ABANDONED: RangeInclusive<usize> = 1..=8;
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const LOOK_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const LETTER_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// A budget below a ten-thousandth of a CPU stretches one walk of a large host over hours.
const CPU_BUDGET: RangeInclusive<f64> = 0.0001..=1.0;
/// The end is the kernel's PID_MAX_LIMIT.
const THREADS: RangeInclusive<usize> = 100..=THREADS_MAX;
/// As many rows with the longest names still fit into one frame (`runtime::wire::FRAME_MAX`).
const ROWS: RangeInclusive<usize> = 16..=ROWS_MAX;
const THRESHOLD: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TOP: RangeInclusive<usize> = 1..=64;
/// The descriptors of a process are 8192.
const GROUPS: RangeInclusive<usize> = 1..=3500;
const GROUPS_WALKED: RangeInclusive<usize> = 16..=200_000;
/// As many series each of a few families.
const DEVICES: RangeInclusive<usize> = 1..=DEVICES_MAX;
/// The lane reads one a second at most.
const STACKS: RangeInclusive<usize> = 1..=60;
/// 16 384 lines of at most 4 KiB are 64 MiB, the worst that a blocked stderr may cost.
const LOG_QUEUE: RangeInclusive<usize> = 16..=16_384;

/// One row.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; the part before the dot is the section of the file.
    pub flag: &'static str,
    /// One sentence for the help.
    pub help: &'static str,
    /// The field of a configuration, with what it accepts.
    pub slot: for<'a> fn(&'a mut Config) -> Slot<'a>,
}

impl Setting {
    /// The row of a flag (`web.max-requests`).
    pub fn by_flag(flag: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.flag == flag)
    }

    /// Section and key in the file (`web`, `max_requests`).
    pub fn section_and_key(&self) -> (&'static str, String) {
        let (section, name) = self.flag.split_once('.').unwrap_or(("", self.flag));
        (section, name.replace('-', "_"))
    }

    /// The name in the file's notation (`web.max_requests`).
    pub fn key(&self) -> String {
        self.flag.replace('-', "_")
    }

    /// The value that the field has in `config`, in the form in which it is typed.
    pub fn show(&self, config: &mut Config) -> String {
        (self.slot)(config).to_string()
    }
}

/// Every setting. `path` comes first: the check of a cgroup path needs the root.
pub const SETTINGS: &[Setting] = &[
    row("path.procfs", "Where procfs is mounted", |c| Slot::Path(&mut c.roots.procfs)),
    row("path.sysfs", "Where sysfs is mounted", |c| Slot::Path(&mut c.roots.sysfs)),
    row("path.cgroupfs", "Where the cgroup tree is mounted", |c| Slot::Path(&mut c.roots.cgroupfs)),
    row("web.listen-address", "Literal address and port; :PORT is all addresses; repeatable", |c| {
        Slot::Listen(&mut c.web.listen, LISTEN_MAX)
    }),
    row("web.max-requests", "Scrapes answered at once, and as many readers of /stalls; more get 503", |c| {
        Slot::Count(&mut c.web.max_requests, REQUESTS)
    }),
    row("web.max-connections", "Open connections; a further one evicts the oldest without a request", |c| {
        Slot::Count(&mut c.web.max_connections, CONNECTIONS)
    }),
    row("web.head-bytes-max", "Bytes of a request's head", |c| {
        Slot::Count(&mut c.web.head_bytes_max, HEAD_BYTES)
    }),
    row("web.head-deadline", "A connection must have sent a whole request by then", |c| {
        Slot::Time(&mut c.web.head_deadline, CLIENT_DEADLINE)
    }),
    row("web.write-deadline", "A client must have taken its response by then", |c| {
        Slot::Time(&mut c.web.write_deadline, CLIENT_DEADLINE)
    }),
    row("web.idle-timeout", "A kept-alive connection without a request is closed after this", |c| {
        Slot::Time(&mut c.web.idle, IDLE)
    }),
    row("web.scrape-deadline", "A scrape is answered with what is there by then", |c| {
        Slot::Time(&mut c.web.scrape_deadline, SCRAPE_DEADLINE)
    }),
    row("probe.stuck-after", "A lane that has not moved for this long is stuck", |c| {
        Slot::Time(&mut c.probe.stuck_after, STUCK_AFTER)
    }),
    row(
        "probe.backoff-max",
        "Longest wait of a lane that was stuck; the first is 1s, each further one doubles",
        |c| Slot::Time(&mut c.probe.backoff_max, BACKOFF),
    ),
    row("probe.abandoned-max", "Stuck probe processes that may exist at once", |c| {
        Slot::Count(&mut c.probe.abandoned_max, ABANDONED)
    }),
    row("tasks.interval", "Every thread is looked at once in this time, while the budget allows", |c| {
        Slot::Time(&mut c.tasks.interval, INTERVAL)
    }),
    row("tasks.look-interval", "Watched threads are looked at again this often", |c| {
        Slot::Time(&mut c.tasks.look_interval, LOOK_INTERVAL)
    }),
    row("tasks.letter-age-max", "No state letter is older than this", |c| {
        Slot::Time(&mut c.tasks.letter_age_max, LETTER_AGE)
    }),
    row("tasks.cpu-budget", "Share of one CPU for all lanes together; 0.01 is one percent", |c| {
        Slot::Share(&mut c.tasks.cpu_budget, CPU_BUDGET)
    }),
    row("tasks.threads-max", "Threads remembered", |c| Slot::Count(&mut c.tasks.threads_max, THREADS)),
    row("tasks.rows-max", "Waits tracked at once", |c| Slot::Count(&mut c.tasks.rows_max, ROWS)),
    row("blocked.threshold", "A wait counts as blocked from this age", |c| {
        Slot::Time(&mut c.blocked.threshold, THRESHOLD)
    }),
    row("blocked.top", "Slots of the families by comm", |c| Slot::Count(&mut c.blocked.top, TOP)),
    row("starved.threshold", "A runnable thread that has not run counts as starved from this age", |c| {
        Slot::Time(&mut c.starved.threshold, THRESHOLD)
    }),
    row("spin.threshold", "A thread counts as spinning in the kernel from this age", |c| {
        Slot::Time(&mut c.spin.threshold, THRESHOLD)
    }),
    row(
        "throttle.interval",
        "Control groups with a quota are looked for this often, while the budget allows",
        |c| Slot::Time(&mut c.throttle.interval, INTERVAL),
    ),
    row("throttle.groups-max", "Control groups with a quota; each keeps two descriptors", |c| {
        Slot::Count(&mut c.throttle.groups_max, GROUPS)
    }),
    row("throttle.walk-max", "Control groups that one search for quotas looks at", |c| {
        Slot::Count(&mut c.throttle.walk_max, GROUPS_WALKED)
    }),
    row("disk.devices-max", "Block devices that are watched", |c| {
        Slot::Count(&mut c.disk.devices_max, DEVICES)
    }),
    row("evidence.after", "A wait that has lasted this long is worth its kernel stack", |c| {
        Slot::Time(&mut c.evidence.after, THRESHOLD)
    }),
    row("evidence.per-minute", "Kernel stacks read in a minute", |c| {
        Slot::Count(&mut c.evidence.per_minute, STACKS)
    }),
    row(
        "pressure.groups",
        "A control group whose pressure is read, below the cgroup root; repeatable",
        |c| Slot::Groups(&mut c.pressure.groups, &c.roots.cgroupfs, PRESSURE_GROUPS_MAX),
    ),
    row(
        "self.cgroup",
        "The exporter's own cgroup, below the cgroup root, where the kernel cannot be asked safely",
        |c| Slot::Group(&mut c.own.cgroup, &c.roots.cgroupfs),
    ),
    row(
        "sandbox.enabled",
        "Have the kernel refuse our own processes what they never do (seccomp, Landlock)",
        |c| Slot::Switch(&mut c.sandbox.enabled),
    ),
    row("log.level", "Least severe level that is logged: error, warn, info, debug, trace", |c| {
        Slot::Level(&mut c.log.level)
    }),
    row("log.format", "logfmt or json", |c| Slot::Format(&mut c.log.format)),
    row("log.queue", "Lines that wait for a slow stderr; more are dropped and counted", |c| {
        Slot::Count(&mut c.log.queue, LOG_QUEUE)
    }),
];

const fn row(
    flag: &'static str,
    help: &'static str,
    slot: for<'a> fn(&'a mut Config) -> Slot<'a>,
) -> Setting {
    Setting { flag, help, slot }
}

#[cfg(test)]
mod tests {
    use super::super::value::Typed;
    use super::*;

    #[test]
    fn every_default_is_within_its_own_limits() {
        for setting in SETTINGS {
            let mut config = Config::defaults();
            let shown = setting.show(&mut config);
            if shown.is_empty() {
                assert!(["pressure.groups", "self.cgroup"].contains(&setting.flag), "{}", setting.flag);
                continue;
            }
            let typed = Typed::Word(shown.clone());
            assert_eq!((setting.slot)(&mut config).take(&typed), Ok(()), "{}", setting.flag);
            assert_eq!(setting.show(&mut config), shown, "{}: what is printed is read again", setting.flag);
        }
    }

    #[test]
    fn rows_are_unique_and_well_named() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(
                setting
                    .flag
                    .split_once('.')
                    .is_some_and(|(section, name)| !section.is_empty() && !name.is_empty())
            );
            assert!(!setting.flag.contains('_'), "{}", setting.flag);
            assert!(!SETTINGS[..index].iter().any(|other| other.flag == setting.flag), "{}", setting.flag);
        }
    }
}
