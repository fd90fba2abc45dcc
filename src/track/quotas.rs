//! Groups with a CPU quota: the newest numbers of each, as long as somebody reads them.
//!
//! Counters are shown as the kernel gives them. A group that is removed and made again under the same name begins
//! again at zero, which a counter may. Between two frames the share of the periods that were throttled is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::sample::{self, GroupUsage, QuotaRow, QuotasMissed};

/// Most groups that are remembered, whatever a lane sends; above every value that `throttle.groups_max` can have.
const GROUPS_MAX: usize = 4096;
/// Numbers that nobody has confirmed for this long are not shown: a counter that stands still because its reader
/// hangs would say that nothing is throttled.
pub const STALE: Duration = Duration::from_secs(60);

/// A share of throttled periods says nothing about now after this, or after two samples where these come more rarely;
/// a throttled group has new periods all the time.
const SHARE_STALE: Duration = Duration::from_secs(10);

/// How a group was throttled of late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttling {
    /// The group's quota in cores.
    pub quota_cores: f64,
    /// Throttled periods among those that passed between the newest two frames in which any passed, 0 to 1.
    pub share: f64,
}

/// The groups.
#[derive(Debug, Default)]
pub struct Quotas {
    rows: BTreeMap<String, QuotaRow>,
    shares: BTreeMap<String, (Mono, f64)>,
    at: Option<Mono>,
    /// Distance of the samples.
    distance: Duration,
    /// Sums of what was left out.
    pub missed: QuotasMissed,
}

impl Quotas {
    /// Takes a frame.
    pub fn observe(&mut self, frame: sample::Quotas) {
        let sample::Quotas { at, distance, whole, rows, ended, missed } = frame;
        let before = if whole { std::mem::take(&mut self.rows) } else { BTreeMap::new() };
        for label in &ended {
            self.rows.remove(label);
            self.shares.remove(label);
        }
        for row in rows {
            if let Some(old) = before.get(&row.group).or_else(|| self.rows.get(&row.group)) {
                let share = share(&old.usage, &row.usage);
                self.shares.extend(share.map(|share| (row.group.clone(), (at, share))));
            }
            if self.rows.len() < GROUPS_MAX || self.rows.contains_key(&row.group) {
                self.rows.insert(row.group.clone(), row);
            } else {
                self.missed.over_groups = self.missed.over_groups.saturating_add(1);
            }
        }
        self.shares.retain(|label, _| self.rows.contains_key(label));
        self.missed.add(&missed);
        (self.at, self.distance) = (Some(at), distance);
    }

    /// How the group of this label is throttled at `now`; `None` when it has no quota, or none that bites.
    pub fn throttling(&self, group: &str, now: Mono) -> Option<Throttling> {
        let quota_cores = self.rows.get(group)?.quota_cores;
        let (at, share) = *self.shares.get(group)?;
        let stale = SHARE_STALE.max(self.distance.saturating_mul(2));
        (share > 0.0 && now.since(at) <= stale).then_some(Throttling { quota_cores, share })
    }

    /// Every group, in the order of the labels; none when the numbers are stale at `now`.
    pub fn iter(&self, now: Mono) -> impl Iterator<Item = &QuotaRow> {
        let fresh = self.at.is_some_and(|at| now.since(at) < STALE);
        self.rows.values().filter(move |_| fresh)
    }
}

/// Throttled periods among those that passed; `None` when none passed, or when the group began again.
fn share(old: &GroupUsage, new: &GroupUsage) -> Option<f64> {
    let periods = new.periods.checked_sub(old.periods).filter(|periods| *periods > 0)?;
    let throttled = new.throttled_periods.checked_sub(old.throttled_periods)?;
    Some((throttled as f64 / periods as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(group: &str, throttled_periods: u64) -> QuotaRow {
        let usage = GroupUsage { throttled_periods, ..GroupUsage::default() };
        QuotaRow { group: group.to_owned(), quota_cores: 0.5, usage }
    }

    fn frame(at: u64, whole: bool, rows: Vec<QuotaRow>, ended: &[&str]) -> sample::Quotas {
        let ended = ended.iter().map(|label| (*label).to_owned()).collect();
        let at = Mono::from_nanos(at.saturating_mul(1_000_000_000));
        sample::Quotas { at, whole, rows, ended, ..sample::Quotas::default() }
    }

    fn shown(quotas: &Quotas, at: u64) -> Vec<(String, u64)> {
        let rows = quotas.iter(Mono::from_nanos(at.saturating_mul(1_000_000_000)));
        rows.map(|row| (row.group.clone(), row.usage.throttled_periods)).collect()
    }

    #[test]
    fn what_changed_is_laid_over_and_what_ended_is_dropped() {
        let mut quotas = Quotas::default();
        quotas.observe(frame(1, true, vec![row("/a", 1), row("/b", 2)], &[]));
        quotas.observe(frame(2, false, vec![row("/b", 3), row("/c", 0)], &["/a"]));
        assert_eq!(shown(&quotas, 2), [("/b".to_owned(), 3), ("/c".to_owned(), 0)]);
        quotas.observe(frame(3, true, vec![row("/c", 1)], &[]));
        assert_eq!(shown(&quotas, 3), [("/c".to_owned(), 1)]);
    }

    #[test]
    fn a_group_made_again_begins_again() {
        let mut quotas = Quotas::default();
        quotas.observe(frame(1, true, vec![row("/a", 900)], &[]));
        quotas.observe(frame(2, false, vec![row("/a", 1)], &["/a"]));
        assert_eq!(shown(&quotas, 2), [("/a".to_owned(), 1)]);
    }

    #[test]
    fn numbers_that_nobody_reads_any_more_are_not_shown() {
        let mut quotas = Quotas::default();
        quotas.observe(frame(1, true, vec![row("/a", 9)], &[]));
        assert_eq!(shown(&quotas, 60).len(), 1);
        assert!(shown(&quotas, 61).is_empty());
        quotas.observe(frame(62, false, vec![], &[]));
        assert_eq!(shown(&quotas, 62).len(), 1, "a sign of life confirms them");
    }

    #[test]
    fn throttled_is_who_was_throttled_of_late() {
        let used = |periods, throttled_periods| {
            let usage = GroupUsage { periods, throttled_periods, ..GroupUsage::default() };
            QuotaRow { group: "/a".to_owned(), quota_cores: 0.07, usage }
        };
        let at = |seconds: u64| Mono::from_nanos(seconds.saturating_mul(1_000_000_000));
        let mut quotas = Quotas::default();
        quotas.observe(frame(1, true, vec![used(100, 90)], &[]));
        assert_eq!(quotas.throttling("/a", at(1)), None, "one frame tells no share");
        quotas.observe(frame(2, true, vec![used(110, 99)], &[]));
        assert_eq!(quotas.throttling("/a", at(2)), Some(Throttling { quota_cores: 0.07, share: 0.9 }));
        quotas.observe(frame(3, false, vec![], &[]));
        assert!(quotas.throttling("/a", at(12)).is_some(), "no news within the time is no end");
        assert_eq!(quotas.throttling("/a", at(13)), None, "a throttled group has new periods all the time");
        quotas.observe(sample::Quotas { distance: Duration::from_secs(8), ..frame(13, false, vec![], &[]) });
        assert!(quotas.throttling("/a", at(18)).is_some(), "samples are eight seconds apart");
        assert_eq!(quotas.throttling("/a", at(19)), None);
        quotas.observe(frame(14, false, vec![used(120, 99)], &[]));
        assert_eq!(quotas.throttling("/a", at(14)), None, "it ran, and was not throttled");
        quotas.observe(frame(15, false, vec![used(5, 5)], &["/a"]));
        assert_eq!(quotas.throttling("/a", at(15)), None, "made again: nothing is known yet");
    }

    proptest! {
        #[test]
        fn any_frames_keep_the_bound_and_the_last_word(
            frames in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec((0_u32..9000, any::<u64>()), 0..40)), 0..40,
            ),
        ) {
            let mut quotas = Quotas::default();
            for (whole, groups) in frames {
                let rows: Vec<QuotaRow> =
                    groups.iter().map(|(name, count)| row(&name.to_string(), *count)).collect();
                let last = rows.last().cloned();
                quotas.observe(frame(1, whole, rows, &[]));
                prop_assert!(quotas.rows.len() <= GROUPS_MAX);
                if let Some(last) = last {
                    prop_assert_eq!(quotas.rows.get(&last.group), Some(&last));
                }
            }
        }
    }
}
