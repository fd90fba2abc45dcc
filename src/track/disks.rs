//! Block devices: I/O in flight of which none completes, and devices that device mapper holds back.
//!
//! Stuck since: I/O in flight at two looks, and the count of completions the same at both. The count only grows, so
//! none has ended in between, and what was in flight at the first look still is at the second. A length is the time
//! between the end of the first look and the begin of the last, a lower bound. A look that was missed ends nothing.
//!
//! A suspended device-mapper device keeps I/O back before it is counted as in flight, so it is never stuck in that
//! sense; it has a time of its own.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::sample::{DiskRow, Disks};

/// Most devices that are remembered, whatever a lane sends: as many as `disk.devices_max` can say.
pub const DEVICES_MAX: usize = 4096;

/// A device is gone when so many looks in a row that saw every line did not see it: the kernel prints the list piece by
/// piece, and a line can slip between two.
const GONE_WHOLE: u32 = 2;
/// And after so many of any sort: a line that can never be understood must not keep what was removed.
const GONE: u32 = 10;

/// What is known of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// I/O that was begun and has not ended, at the newest look.
    pub inflight: u64,
    completed: u64,
    stuck: Option<Span>,
    suspended: Option<bool>,
    suspension: Option<Span>,
    /// Looks that did not see it since the one that did, whole ones and all.
    unseen: (u32, u32),
}

/// From the end of the first look that saw something to the begin of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: Mono,
    last: Mono,
}

impl Span {
    /// What was seen at this look, continued from `before` if it was seen then and is the same.
    fn at(disks: &Disks, before: Option<Self>) -> Self {
        before.map_or(Self { first: disks.end, last: disks.end }, |span| Self { last: disks.begin, ..span })
    }
}

impl Device {
    /// How long I/O has been in flight without any completing; zero when it is well.
    pub fn stuck(&self) -> Duration {
        self.stuck.map_or(Duration::ZERO, |span| span.last.since(span.first))
    }

    /// How long device mapper has held the device back; `None` for other devices.
    pub fn suspended(&self) -> Option<Duration> {
        self.suspended.map(|_| self.suspension.map_or(Duration::ZERO, |span| span.last.since(span.first)))
    }

    /// The first and the last look that saw it stuck or held back, whichever is longer; `None` when it is well.
    pub fn still(&self) -> Option<(Mono, Mono)> {
        let longest = [self.suspension, self.stuck]
            .into_iter()
            .flatten()
            .max_by_key(|span| span.last.since(span.first));
        longest.map(|span| (span.first, span.last))
    }

    fn look(row: &DiskRow, disks: &Disks, before: Option<&Self>) -> Self {
        // A count that moved: something has ended, or it is another device of that name.
        let same = before.filter(|before| before.completed == row.completed);
        let stuck = (row.inflight > 0).then(|| Span::at(disks, same.and_then(|before| before.stuck)));
        let held = row.suspended == Some(true);
        let suspension = held.then(|| Span::at(disks, same.and_then(|before| before.suspension)));
        let DiskRow { inflight, completed, suspended, .. } = *row;
        Self { inflight, completed, stuck, suspended, suspension, unseen: (0, 0) }
    }

    /// Counts a look that did not see it; false when it is gone.
    fn unseen(&mut self, whole: bool) -> bool {
        let (wholes, all) = self.unseen;
        self.unseen = (wholes.saturating_add(whole.into()), all.saturating_add(1));
        self.unseen.0 < GONE_WHOLE && self.unseen.1 < GONE
    }
}

/// The devices.
#[derive(Debug, Default)]
pub struct Devices {
    known: BTreeMap<String, Device>,
    /// When they were last looked at.
    pub at: Option<Mono>,
    /// Reads of devices that were there and could not be understood.
    pub unread: u64,
    /// Devices that found no place.
    pub dropped: u64,
}

impl Devices {
    /// Takes a frame.
    pub fn observe(&mut self, disks: Disks) {
        let there: HashSet<&str> = disks.rows.iter().map(|row| row.device.as_str()).collect();
        self.known.retain(|name, device| there.contains(name.as_str()) || device.unseen(disks.whole));
        self.unread = self.unread.saturating_add(disks.unread);
        self.dropped = self.dropped.saturating_add(disks.over_devices);
        for row in &disks.rows {
            let before = self.known.get(&row.device);
            if before.is_none() && self.known.len() >= DEVICES_MAX {
                self.dropped = self.dropped.saturating_add(1);
                continue;
            }
            let device = Device::look(row, &disks, before);
            self.known.insert(row.device.clone(), device);
        }
        self.at = Some(disks.end);
    }

    /// Every device, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Device)> {
        self.known.iter().map(|(name, device)| (name.as_str(), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Mono {
        Mono::from_nanos(millis * 1_000_000)
    }

    fn row(inflight: u64, completed: u64) -> DiskRow {
        DiskRow { device: "sda".to_owned(), inflight, completed, suspended: None }
    }

    /// A look that took ten milliseconds.
    fn look(millis: u64, rows: Vec<DiskRow>) -> Disks {
        Disks { begin: at(millis), end: at(millis + 10), whole: true, rows, ..Disks::default() }
    }

    /// Milliseconds stuck after each look.
    fn stuck(looks: &[(u64, u64, u64)]) -> Vec<u128> {
        let mut devices = Devices::default();
        let after = |(millis, inflight, completed): &(u64, u64, u64)| {
            devices.observe(look(*millis, vec![row(*inflight, *completed)]));
            devices.known["sda"].stuck().as_millis()
        };
        looks.iter().map(after).collect()
    }

    #[test]
    fn stuck_is_in_flight_and_nothing_completed_since_the_first_look_that_saw_both() {
        assert_eq!(stuck(&[(0, 0, 5), (1000, 2, 5), (2000, 2, 5), (3000, 7, 5)]), [0, 0, 990, 1990]);
    }

    #[test]
    fn a_completion_or_nothing_in_flight_ends_it() {
        assert_eq!(stuck(&[(0, 2, 5), (1000, 2, 5), (2000, 1, 6), (3000, 1, 6)]), [0, 990, 0, 990]);
        assert_eq!(stuck(&[(0, 2, 5), (1000, 0, 5), (2000, 2, 5), (3000, 2, 5)]), [0, 0, 0, 990]);
    }

    #[test]
    fn a_count_that_goes_back_is_another_device() {
        assert_eq!(stuck(&[(0, 2, 5), (1000, 2, 5), (2000, 2, 0), (3000, 2, 0)]), [0, 990, 0, 990]);
    }

    #[test]
    fn a_busy_device_that_completes_is_never_stuck() {
        let looks: Vec<_> = (0..50).map(|look| (look * 1000, 64, look)).collect();
        assert!(stuck(&looks).iter().all(|length| *length == 0));
    }

    #[test]
    fn a_device_that_is_gone_is_forgotten_and_one_that_could_not_be_read_is_not() {
        let mut devices = Devices::default();
        devices.observe(look(0, vec![row(1, 1)]));
        devices.observe(Disks { whole: false, unread: 1, ..look(1000, vec![]) });
        devices.observe(look(2000, vec![row(1, 1)]));
        assert_eq!(devices.known["sda"].stuck().as_millis(), 1990);
        assert_eq!(devices.unread, 1);
        devices.observe(look(3000, vec![]));
        devices.observe(look(4000, vec![row(1, 1)]));
        assert_eq!(devices.known["sda"].stuck().as_millis(), 3990, "its line slipped between two pieces");
        devices.observe(look(5000, vec![]));
        devices.observe(look(6000, vec![]));
        devices.observe(look(7000, vec![row(1, 1)]));
        assert_eq!(devices.known["sda"].stuck().as_millis(), 0);
    }

    #[test]
    fn a_line_that_is_never_understood_does_not_keep_what_was_removed() {
        let mut devices = Devices::default();
        devices.observe(look(0, vec![row(1, 1)]));
        let torn = |second: u64| Disks { whole: false, unread: 1, ..look(second * 1000, vec![]) };
        (1..10).for_each(|second| devices.observe(torn(second)));
        assert_eq!(devices.iter().count(), 1);
        devices.observe(torn(10));
        assert_eq!(devices.iter().count(), 0);
    }

    #[test]
    fn the_longer_of_stuck_and_held_back_is_told() {
        let mut devices = Devices::default();
        for (millis, suspended) in [(0, false), (1000, false), (2000, true), (3000, true)] {
            devices.observe(look(millis, vec![DiskRow { suspended: Some(suspended), ..row(1, 1) }]));
        }
        assert_eq!(devices.known["sda"].still(), Some((at(10), at(3000))));
    }

    #[test]
    fn a_device_is_held_back_while_each_look_says_so_and_nothing_completes() {
        let mut devices = Devices::default();
        let mut after = |millis, suspended, completed| {
            devices.observe(look(millis, vec![DiskRow { suspended, ..row(0, completed) }]));
            devices.known["sda"].suspended().map(|length| length.as_millis())
        };
        assert_eq!(after(0, None, 1), None, "not a device-mapper device");
        assert_eq!(after(1000, Some(false), 1), Some(0));
        assert_eq!(after(2000, Some(true), 1), Some(0));
        assert_eq!(after(3000, Some(true), 1), Some(990));
        assert_eq!(after(4000, Some(true), 2), Some(0), "it was let go in between");
        assert_eq!(after(5000, Some(false), 2), Some(0));
    }

    proptest! {
        /// Against the definition, over any history.
        #[test]
        fn a_length_is_never_more_than_the_time_since_the_last_change(
            looks in proptest::collection::vec((0_u64..3, 0_u64..3), 1..60),
        ) {
            let looks = (0..).zip(looks).map(|(look, (inflight, step))| (look * 1000, inflight, step));
            let looks: Vec<_> = looks.collect();
            for (place, length) in stuck(&looks).into_iter().enumerate() {
                let (now, inflight, completed) = looks[place];
                let same = |other: &&(u64, u64, u64)| other.1 > 0 && other.2 == completed && inflight > 0;
                let since = looks[..=place].iter().rev().take_while(same).last().map_or(now, |first| first.0);
                prop_assert_eq!(length, u128::from((now - since).saturating_sub(10)));
            }
        }

        #[test]
        fn any_frames_keep_the_bound(
            frames in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec((0_u32..9000, any::<u64>(), any::<u64>()), 0..900)), 0..12,
            ),
        ) {
            let mut devices = Devices::default();
            for (whole, rows) in frames {
                let rows: Vec<DiskRow> = rows.into_iter().map(|(name, inflight, completed)| DiskRow {
                    device: name.to_string(), inflight, completed, suspended: Some(name % 2 == 0),
                }).collect();
                devices.observe(Disks { whole, ..look(0, rows) });
                prop_assert!(devices.known.len() <= DEVICES_MAX);
            }
        }
    }
}
