//! What a report says besides the stalls: whose it is, of which moment, and what the reader must know of ourselves.

use crate::base::clock::{self, Mono};
use crate::health::{Health, LaneState};
use crate::snapshot::Snapshot;
use crate::snapshot::stall::{Report, SCHEMA};
use crate::source::kernel;
use crate::track::Tracks;

/// The warden answers within a second; it is late, and that matters, from here on.
const WARDEN_LATE_SECONDS: u64 = 10;

/// Fills in what is the same for every report.
pub struct Teller {
    host: String,
    kernel: String,
}

impl Teller {
    /// Asks the kernel for the names, once.
    pub fn new() -> Self {
        let (host, kernel) = kernel::names();
        Self { host, kernel }
    }

    /// The report, whole.
    pub fn tell(&self, snapshot: Snapshot, now: Mono, tracks: &Tracks, health: &Health) -> Report {
        let walk_age = tracks.census.as_ref().map(|census| now.since(census.end).as_secs_f64());
        let mut notices = notices(walk_age.is_some(), health);
        notices.extend_from_slice(snapshot.notices());
        Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            kernel: self.kernel.clone(),
            time: clock::wall().as_secs_f64(),
            walk_age_seconds: walk_age,
            notices,
            ..snapshot.report
        }
    }
}

fn notices(walked: bool, health: &Health) -> Vec<String> {
    let mut said = Vec::new();
    if !walked {
        said.push(
            "The first walk over all threads has not ended yet: what is stuck is not known.".to_owned(),
        );
    }
    said.extend(health.lanes.iter().filter_map(hanging));
    if health.warden_silent.as_secs() >= WARDEN_LATE_SECONDS {
        let seconds = health.warden_silent.as_secs();
        said.push(format!(
            "The process that replaces hanging readers has not answered for {seconds} s: what hangs is not replaced."
        ));
    }
    said
}

/// A lane that does not come back.
fn hanging(state: &LaneState) -> Option<String> {
    let stuck = state.stuck?;
    let (lane, seconds, source) = (state.lane.name(), stuck.time.as_secs(), stuck.source);
    let of = match stuck.subject {
        0 => String::new(),
        subject => format!(" (task {subject})"),
    };
    let then = if state.down {
        "no further process may replace it until the kernel lets the others go"
    } else {
        "it is tried again in a new process"
    };
    Some(format!(
        "Our reader {lane} hangs in {source}{of} for {seconds} s: what it reads is at least as old; {then}."
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::StuckAt;
    use crate::sample::Lane;

    fn lane(stuck: Option<StuckAt>, down: bool) -> LaneState {
        LaneState {
            lane: Lane::Tasks,
            stuck,
            down,
            age: None,
            interval: Duration::ZERO,
            cpu: Duration::ZERO,
            passes: 0,
            panics: 0,
            failures: 0,
            abandoned: 0,
        }
    }

    #[test]
    fn a_report_says_what_is_wrong_with_ourselves() {
        let well = Health { lanes: vec![lane(None, false)], ..Health::default() };
        assert!(notices(true, &well).is_empty());
        let stuck = StuckAt { source: "/proc", subject: 7, time: Duration::from_secs(12) };
        let health = Health {
            lanes: vec![lane(Some(stuck), false), lane(Some(StuckAt { subject: 0, ..stuck }), true)],
            warden_silent: Duration::from_secs(11),
            ..Health::default()
        };
        let said = notices(false, &health);
        for (sentence, words) in said.iter().zip([
            "The first walk over all threads has not ended",
            "Our reader tasks hangs in /proc (task 7) for 12 s: what it reads is at least as old; it is tried again",
            "Our reader tasks hangs in /proc for 12 s: what it reads is at least as old; no further process",
            "has not answered for 11 s",
        ]) {
            assert!(sentence.contains(words), "{sentence}");
        }
        assert_eq!(said.len(), 4);
    }

    #[test]
    fn a_report_keeps_what_the_slices_said() {
        let report = Report { stalls_left_out: 3, ..Report::default() };
        let mut snapshot = Snapshot::default();
        snapshot.report = report;
        snapshot.notice("mine");
        let told = Teller::new().tell(snapshot, Mono::default(), &Tracks::new(1), &Health::default());
        assert_eq!((told.schema.as_str(), told.stalls_left_out, told.walk_age_seconds), (SCHEMA, 3, None));
        assert!(told.time > 1e9 && !told.host.is_empty() && !told.kernel.is_empty());
        assert_eq!(told.notices.last().map(String::as_str), Some("mine"));
    }
}
