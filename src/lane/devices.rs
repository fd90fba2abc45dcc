//! The devices lane: the counters of every whole block device, once a second, and whether device mapper holds one back.
//!
//! Which names are whole devices and which are partitions is known from the directory of the whole ones, listed only
//! when the counters show a name that is not known. On kernels that count I/O in flight by walking the tags of each
//! queue (3.10, 4.18 to 6.6) a read may be slow on a host of many deep queues, and sysfs has locks of its own, so this
//! lane may hang alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::base::clock::{self, Mono};
use crate::config::Config;
use crate::lane::budget::{Budget, Turn};
use crate::lane::{Tools, Work};
use crate::sample::{DiskRow, Disks, Frame, Lane};
use crate::source::error::SourceError;
use crate::source::place::Place;
use crate::source::{Reader, block};

/// Distance between two looks, while the budget allows it.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most names that are looked at; a whole device has a few partitions.
const NAMES_MAX: usize = 32_768;
/// So many listings without a name make it a partition. A new device shows in the counters a moment before it shows
/// in the directory, so one is not enough.
const LISTINGS: u8 = 2;

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Whole,
    /// Not in so many listings.
    Missing(u8),
}

/// A line of the counters.
#[derive(Debug)]
struct Counted {
    name: Vec<u8>,
    inflight: u64,
    completed: u64,
}

/// The lane.
#[derive(Debug)]
pub struct DevicesLane {
    on: bool,
    most: usize,
    budget: Budget,
    names: HashMap<Vec<u8>, Name>,
    interval: Duration,
}

impl DevicesLane {
    /// A lane that knows nothing yet; `share` is its part of the CPU budget.
    pub fn new(config: &Config, share: f64, now: Mono) -> Self {
        Self {
            on: !config.disabled.iter().any(|name| name == "disk"),
            most: config.disk.devices_max,
            budget: Budget::new(share, now),
            names: HashMap::new(),
            interval: INTERVAL,
        }
    }

    /// One look at all devices. Beside it why new names could not be told apart, if so: those that are known are looked
    /// at all the same.
    fn look(&mut self, reader: &mut Reader<'_>) -> Result<(Disks, Option<SourceError>), SourceError> {
        let mut disks = Disks { begin: clock::now(), ..Disks::default() };
        let counted = count(reader, &mut disks)?;
        disks.end = clock::now();
        let failed = self.learn(&counted, reader).err();
        for line in counted {
            if self.names.get(&line.name) != Some(&Name::Whole) {
                continue;
            }
            let suspended = block::dm_number(&line.name).and_then(|number| suspended(number, reader));
            if line.inflight == 0 && line.completed == 0 && suspended != Some(true) {
                continue;
            }
            if disks.rows.len() >= self.most {
                disks.over_devices = disks.over_devices.saturating_add(1);
                continue;
            }
            let Counted { name, inflight, completed } = line;
            disks.rows.push(DiskRow { device: label(&name, LABEL_MAX), inflight, completed, suspended });
        }
        disks.whole = disks.unread == 0 && failed.is_none();
        Ok((disks, failed))
    }

    /// Lists the whole devices when there is a name of which it is not known whether it is one, and forgets names
    /// that have gone: the next device of that name may be another.
    fn learn(&mut self, counted: &[Counted], reader: &mut Reader<'_>) -> Result<(), SourceError> {
        let settled = |name: &Name| *name == Name::Whole || *name == Name::Missing(LISTINGS);
        if !counted.iter().all(|line| self.names.get(&line.name).is_some_and(settled)) {
            let mut whole = HashSet::new();
            reader.list_disks(NAMES_MAX, &mut whole)?;
            for line in counted {
                let known = self.names.entry(line.name.clone()).or_insert(Name::Missing(0));
                match known {
                    Name::Missing(_) if whole.contains(&in_directory(&line.name)) => *known = Name::Whole,
                    Name::Missing(times) => *times = times.saturating_add(1).min(LISTINGS),
                    Name::Whole => {}
                }
            }
        }
        // All that are counted are known now, so more are known only if some have gone.
        if self.names.len() > counted.len() {
            let there: HashSet<&[u8]> = counted.iter().map(|line| line.name.as_slice()).collect();
            self.names.retain(|name, _| there.contains(name.as_slice()));
        }
        Ok(())
    }
}

/// The lines that matter: those with I/O, and those that device mapper may hold back before they have any.
fn count(reader: &mut Reader<'_>, disks: &mut Disks) -> Result<Vec<Counted>, SourceError> {
    let mut counted = Vec::new();
    let whole = reader.lines(&Place::DiskStats, |line| match block::disk(line) {
        None => disks.unread = disks.unread.saturating_add(1),
        Some(disk) if disk.inflight == 0 && disk.completed == 0 && block::dm_number(disk.name).is_none() => {}
        Some(_) if counted.len() >= NAMES_MAX => disks.over_devices = disks.over_devices.saturating_add(1),
        Some(block::Disk { name, inflight, completed }) => {
            counted.push(Counted { name: name.to_vec(), inflight, completed });
        }
    })?;
    disks.unread = disks.unread.saturating_add(u64::from(!whole));
    Ok(counted)
}

/// A slash in a device's name, as in `cciss/c0d0`, is an exclamation mark in sysfs.
fn in_directory(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b'/' { b'!' } else { *byte }).collect()
}

fn suspended(number: u32, reader: &mut Reader<'_>) -> Option<bool> {
    reader.read(&Place::DmSuspended { number }).ok().and_then(block::suspended)
}

impl Work for DevicesLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        let looked = if self.on {
            self.look(&mut tools.reader)
        } else {
            Ok((Disks { begin: turn.began, end: turn.began, whole: true, ..Disks::default() }, None))
        };
        let failed = match looked {
            Ok((disks, failed)) => {
                (tools.send)(&Frame::Disks(disks));
                failed
            }
            Err(error) => Some(error),
        };
        if let Some(error) = failed {
            (tools.send)(&Frame::Failed { lane: Lane::Devices, why: error.to_string() });
        }
        let due = self.budget.next(&turn, INTERVAL);
        self.interval = due.since(turn.began);
        due
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "builds a tree of files")]
mod tests {
    use super::*;
    use crate::config::Roots;
    use crate::source::paths::RowId;
    use crate::source::{Host, Stamp};
    use std::cell::Cell;
    use std::fs;

    /// Counts entries into the directory of whole devices.
    #[derive(Default)]
    struct Listings(Cell<u64>);

    impl Stamp for Listings {
        fn enter(&self, row: RowId, _subject: u32) {
            self.0.set(self.0.get() + u64::from(row == Place::Disks.row()));
        }
    }

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(whole: &[&str]) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.0.path().join("block")).unwrap();
            whole.iter().for_each(|name| tree.whole(name));
            tree
        }

        fn whole(&self, name: &str) {
            fs::create_dir_all(self.0.path().join("block").join(name)).unwrap();
        }

        fn suspended(&self, name: &str, text: &str) {
            let dm = self.0.path().join("block").join(name).join("dm");
            fs::create_dir_all(&dm).unwrap();
            fs::write(dm.join("suspended"), text).unwrap();
        }

        /// Lines of `name inflight completed`; others as they are.
        fn counters(&self, lines: &[&str]) {
            let line = |line: &&str| match line.split(' ').collect::<Vec<_>>().as_slice() {
                [name, inflight, completed] => {
                    format!("8 0 {name} {completed} 0 0 0 0 0 0 0 {inflight} 0 0\n")
                }
                _ => (*line).to_owned(),
            };
            fs::write(self.0.path().join("diskstats"), lines.iter().map(line).collect::<String>()).unwrap();
        }

        fn look(&self, lane: &mut DevicesLane) -> (Vec<(String, u64, u64)>, Disks, bool) {
            let root = || self.0.path().to_owned();
            let host = Host::open(&Roots { procfs: root(), sysfs: root(), cgroupfs: root() }).unwrap();
            let stamp = Listings::default();
            let (disks, failed) = lane.look(&mut Reader::for_probe(&host, &stamp)).unwrap();
            assert_eq!(failed.is_some(), !self.0.path().join("block").exists(), "{failed:?}");
            let rows =
                disks.rows.iter().map(|row| (row.device.clone(), row.inflight, row.completed)).collect();
            (rows, disks, stamp.0.get() > 0)
        }
    }

    fn lane(most: usize) -> DevicesLane {
        let mut config = Config::defaults();
        config.disk.devices_max = most;
        DevicesLane::new(&config, 1.0, clock::now())
    }

    fn row(name: &str, inflight: u64, completed: u64) -> (String, u64, u64) {
        (name.to_owned(), inflight, completed)
    }

    #[test]
    fn whole_devices_that_did_io_are_shown_and_the_directory_is_listed_for_new_names_only() {
        let tree = Tree::new(&["sda", "loop0", "ram0", "cciss!c0d0"]);
        tree.counters(&["sda 1 9", "sda1 1 9", "loop0 0 0", "ram0 0 0", "cciss/c0d0 0 3"]);
        let mut lane = lane(512);
        let all = [row("sda", 1, 9), row("cciss/c0d0", 0, 3)];
        assert_eq!((tree.look(&mut lane).0, tree.look(&mut lane).2), (all.to_vec(), true), "sda1: once more");
        let (rows, disks, listings) = tree.look(&mut lane);
        assert_eq!((rows, disks.whole, listings), (all.to_vec(), true, false), "nothing new, no listing");
        tree.whole("loop1");
        tree.counters(&["sda 1 9", "sda1 1 9", "loop1 0 1"]);
        let (rows, _, listings) = tree.look(&mut lane);
        assert_eq!((rows, listings), (vec![row("sda", 1, 9), row("loop1", 0, 1)], true));
        assert_eq!(lane.names.len(), 3, "what has gone is forgotten");
    }

    #[test]
    fn a_device_may_show_in_the_counters_before_it_shows_in_the_directory() {
        let tree = Tree::new(&[]);
        tree.counters(&["nvme0n1 1 0"]);
        let mut lane = lane(512);
        assert_eq!(tree.look(&mut lane).0, []);
        tree.whole("nvme0n1");
        assert_eq!(tree.look(&mut lane).0, [row("nvme0n1", 1, 0)]);
    }

    #[test]
    fn without_the_directory_devices_that_are_known_are_looked_at_and_new_ones_are_not() {
        let tree = Tree::new(&["sda"]);
        tree.counters(&["sda 1 1"]);
        let mut lane = lane(512);
        assert_eq!(tree.look(&mut lane).0, [row("sda", 1, 1)]);
        fs::remove_dir_all(tree.0.path().join("block")).unwrap();
        tree.counters(&["sda 1 1", "sdb 1 1"]);
        let (rows, disks, _) = tree.look(&mut lane);
        assert_eq!((rows, disks.whole), (vec![row("sda", 1, 1)], false));
    }

    #[test]
    fn a_device_that_device_mapper_holds_back_is_told_even_before_its_first_io() {
        let tree = Tree::new(&["dm-0", "dm-1", "dm-2", "sda"]);
        tree.counters(&["sda 0 1", "dm-0 0 0", "dm-1 0 0", "dm-2 0 5"]);
        tree.suspended("dm-0", "1\n");
        tree.suspended("dm-1", "0\n");
        tree.suspended("dm-2", "what");
        let (_, disks, _) = tree.look(&mut lane(512));
        let suspended: Vec<_> = disks.rows.iter().map(|row| (row.device.as_str(), row.suspended)).collect();
        assert_eq!(suspended, [("sda", None), ("dm-0", Some(true)), ("dm-2", None)]);
    }

    #[test]
    fn cut_lines_and_the_devices_past_the_limit_are_counted() {
        let tree = Tree::new(&["a", "b", "c", "d"]);
        tree.counters(&[
            "a 0 1",
            "b 0 1",
            "8 0 c 1 2 3\n",
            "c 4294967295 1",
            "d 0 1",
            "8 0 a 1 0 0 0 0 0 0 0 0 0 0",
        ]);
        let (rows, disks, _) = tree.look(&mut lane(2));
        assert_eq!(rows, [row("a", 0, 1), row("b", 0, 1)]);
        assert_eq!((disks.unread, disks.over_devices, disks.whole), (3, 1, false));
    }

    #[test]
    fn a_list_longer_than_the_readers_buffer_is_read_whole() {
        let names: Vec<String> = (0..4000).map(|number| format!("device{number}")).collect();
        let tree = Tree::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let lines: Vec<String> = names.iter().map(|name| format!("{name} 0 7")).collect();
        tree.counters(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(fs::metadata(tree.0.path().join("diskstats")).unwrap().len() > 2 * 64 * 1024);
        let (rows, disks, _) = tree.look(&mut lane(4096));
        assert_eq!((rows.len(), disks.unread), (4000, 0));
        assert_eq!(rows.last(), Some(&row("device3999", 0, 7)));
    }
}
