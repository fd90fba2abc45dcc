//! *evidence*: how many kernel stacks of long waits were taken, and why there are not more. The stacks themselves are
//! no metrics: they stand with their tasks in the stalls that people read, and in the log.
//!
//! A wait gets one stack, once it is older than `evidence.after`. Services and PID 1 come first, then the longest wait;
//! of many tasks in one wait channel a few are taken. Switched off, no stack is read.

use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::sample::evidence::Skipped;
use crate::snapshot::Snapshot;

/// The slice.
pub static SLICE: Slice = Slice { name: "evidence", metrics: &[&STACKS, &SKIPPED], show };

static STACKS: Desc = Desc::plain(
    "stall_evidence_stacks_total",
    Kind::Counter,
    "Kernel stacks of tasks that were blocked for longer than evidence.after.",
);
static SKIPPED: Desc = Desc::labelled(
    "stall_evidence_skipped_total",
    Kind::Counter,
    &["reason"],
    Skipped::REASONS,
    "Blocked tasks past evidence.after that got no kernel stack, or not at once, by reason.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let evidence = &world.tracks.evidence;
    out.count(&STACKS, &[], evidence.stacks);
    for (reason, count) in evidence.skipped.reasons() {
        out.count(&SKIPPED, &[reason], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::Frame;
    use crate::snapshot::Value;
    use crate::track::Tracks;

    #[test]
    fn every_reason_has_its_series_and_its_own_count() {
        let (config, health, mut tracks) = (Config::defaults(), Health::default(), Tracks::new(16));
        let skipped = Skipped { crowd: 1, rate: 2, avoided: 3, moved: 4, denied: 5, failed: 6, full: 7 };
        tracks.observe(Frame::Evidence(skipped));
        tracks.observe(Frame::Evidence(skipped));
        let mut out = Snapshot::default();
        show(
            &World { now: Mono::from_nanos(1), config: &config, tracks: &tracks, health: &health },
            &mut out,
        );
        let [_, skipped] = out.families() else { panic!("{out:?}") };
        assert_eq!(skipped.series.len(), SKIPPED.max_series, "the bound is reached");
        let values: Vec<&Value> = skipped.series.iter().map(|series| &series.value).collect();
        assert_eq!(values, [2, 4, 6, 8, 10, 12, 14].map(|count| Value::Number(f64::from(count))).each_ref());
        assert_eq!(out.dropped, 0);
    }
}
