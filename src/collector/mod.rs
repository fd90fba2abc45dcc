//! The slices: one signal, one file. Each says which families it shows and shows them from what the trackers know.
//! A slice sees only the [`World`]; it opens nothing, asks no clock and imports no other slice.

pub mod blocked;
pub mod cgroup_dying;
pub mod disk;
pub mod evidence;
pub mod hung_task;
pub mod kernel_spin;
pub mod kthread;
pub mod load;
pub mod own;
pub mod pressure;
pub mod service;
pub mod softirq;
pub mod starved;
pub mod suspect;
pub mod throttle;

use std::time::Duration;

use crate::base::clock::Mono;
use crate::config::Config;
use crate::exposition::desc::Desc;
use crate::health::Health;
use crate::sample::Lane;
use crate::snapshot::Snapshot;
use crate::track::{Census, Tracks};

/// Everything a slice may look at.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The moment of the tick.
    pub now: Mono,
    /// What was configured.
    pub config: &'a Config,
    /// What is known about the host.
    pub tracks: &'a Tracks,
    /// What is known about ourselves.
    pub health: &'a Health,
}

/// What a lane said is shown this long at least.
const STALE_AFTER: Duration = Duration::from_secs(120);

impl World<'_> {
    /// The counts of the newest walk, unless it is so old that it says nothing about now: missing beats late. The limit
    /// is generous, because a lane may hang in the very incident that it reports, and follows a stretched interval.
    pub fn census(&self) -> Option<&Census> {
        self.tracks.census.as_ref().filter(|census| self.fresh(Lane::Tasks, census.end))
    }

    /// What a lane said at this moment is worth showing now.
    pub fn fresh(&self, lane: Lane, at: Mono) -> bool {
        let interval = self.health.lanes.get(lane.index()).map_or(Duration::ZERO, |lane| lane.interval);
        self.now.since(at) <= STALE_AFTER.max(interval.saturating_mul(4))
    }
}

/// One signal.
#[derive(Debug)]
pub struct Slice {
    /// Its name, as `--collector.NAME` and `--no-collector.NAME` know it.
    pub name: &'static str,
    /// Every family it may show.
    pub metrics: &'static [&'static Desc],
    /// Shows them.
    pub show: fn(&World<'_>, &mut Snapshot),
}

/// All slices, in page order.
pub static ALL: [&Slice; 15] = [
    &blocked::SLICE,
    &load::SLICE,
    &starved::SLICE,
    &kernel_spin::SLICE,
    &throttle::SLICE,
    &softirq::SLICE,
    &kthread::SLICE,
    &disk::SLICE,
    &pressure::SLICE,
    &cgroup_dying::SLICE,
    &hung_task::SLICE,
    &service::SLICE,
    &suspect::SLICE,
    &evidence::SLICE,
    &own::SLICE,
];

/// The one slice that is too dear for every scrape: it looks at everything, so it is shown anew once a second.
pub static DEAR: &Slice = &suspect::SLICE;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::desc::Kind;

    #[test]
    fn every_family_is_well_formed_and_stands_in_one_slice() {
        let mut names = Vec::new();
        for desc in ALL.iter().flat_map(|slice| slice.metrics) {
            assert!(desc.name.starts_with("stall_"), "{}", desc.name);
            assert_eq!(desc.name.ends_with("_total"), desc.kind == Kind::Counter, "{}", desc.name);
            assert!(desc.help.ends_with('.') && !desc.help.contains('\n'), "{}", desc.name);
            assert!(
                desc.max_series >= 1 && (desc.max_series == 1 || !desc.labels.is_empty()),
                "{}",
                desc.name
            );
            assert!(!desc.labels.contains(&"pid") && !desc.labels.contains(&"tid"), "{}", desc.name);
            names.push(desc.name);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a family stands in two slices");
    }

    #[test]
    fn every_slice_but_own_can_be_switched_off() {
        let known: Vec<&str> =
            crate::config::settings::COLLECTORS.iter().map(|collector| collector.name).collect();
        let slices: Vec<&str> = ALL.iter().map(|slice| slice.name).filter(|name| *name != "own").collect();
        assert_eq!(known, slices);
    }
}
