//! What a report says besides the stalls: whose it is, of which moment, and what the reader must know of ourselves.

use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::health::{Health, LaneState};
use crate::snapshot::stall::{Report, SCHEMA};
use crate::snapshot::{NOTICES_MAX, Snapshot};
use crate::source::kernel;
use crate::track::Tracks;

/// The warden answers within a second, and the first walk ends within a few; they are late, and that matters, from here
/// on.
const LATE: Duration = Duration::from_secs(10);

/// Fills in what is the same for every report.
pub struct Teller {
    host: String,
    kernel: String,
    since: Mono,
}

impl Teller {
    /// Asks the kernel for the names, once. It tells since `now`.
    pub fn new(now: Mono) -> Self {
        let (host, kernel) = kernel::names();
        Self { host, kernel, since: now }
    }

    /// Adds what the reader of any page must know of ourselves.
    pub fn note(&self, snapshot: &mut Snapshot, now: Mono, tracks: &Tracks, health: &Health) {
        let late = tracks.census.is_none() && now.since(self.since) >= LATE;
        // The slice `suspect` names the schema of what it fills in.
        let judged = !snapshot.report.schema.is_empty();
        for notice in notices(late, judged, health) {
            snapshot.notice(&notice);
        }
    }

    /// The report, whole.
    pub fn tell(&self, snapshot: Snapshot, now: Mono, tracks: &Tracks) -> Report {
        let walk_age = tracks.census.as_ref().map(|census| now.since(census.end).as_secs_f64());
        Report {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            kernel: self.kernel.clone(),
            time: clock::wall().as_secs_f64(),
            walk_age_seconds: walk_age,
            notices: snapshot.notices().to_vec(),
            unjudged: snapshot.report.schema.is_empty(),
            ..snapshot.report
        }
    }
}

/// The notices that are in the log: each once, whatever its numbers, which run, and no more of them than one tick can
/// have.
#[derive(Default)]
pub struct Said(Vec<String>);

impl Said {
    /// Whether it is not in the log yet; from then on it is.
    pub fn is_new(&mut self, notice: &str) -> bool {
        let words: String = notice.chars().filter(|c| !c.is_ascii_digit()).collect();
        let new = self.0.len() < NOTICES_MAX && !self.0.contains(&words);
        if new {
            self.0.push(words);
        }
        new
    }
}

fn notices(walk_late: bool, judged: bool, health: &Health) -> Vec<String> {
    let mut said = Vec::new();
    if walk_late {
        said.push(
            "The first walk over all threads has not ended yet: what is stuck is not known.".to_owned(),
        );
    }
    if !judged {
        said.push("What is stuck is not judged: the collector suspect is switched off or failed.".to_owned());
    }
    said.extend(health.lanes.iter().filter_map(hanging));
    if health.warden_silent >= LATE {
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
    use super::*;
    use crate::exposition::render::render;
    use crate::exposition::stalls::text::{Terminal, table};
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
        assert!(notices(false, true, &well).is_empty());
        let stuck = StuckAt { source: "/proc", subject: 7, time: Duration::from_secs(12) };
        let health = Health {
            lanes: vec![lane(Some(stuck), false), lane(Some(StuckAt { subject: 0, ..stuck }), true)],
            warden_silent: Duration::from_secs(11),
            ..Health::default()
        };
        let said = notices(true, false, &health);
        for (sentence, words) in said.iter().zip([
            "The first walk over all threads has not ended",
            "What is stuck is not judged: the collector suspect is switched off or failed",
            "Our reader tasks hangs in /proc (task 7) for 12 s: what it reads is at least as old; it is tried again",
            "Our reader tasks hangs in /proc for 12 s: what it reads is at least as old; no further process",
            "has not answered for 11 s",
        ]) {
            assert!(sentence.contains(words), "{sentence}");
        }
        assert_eq!(said.len(), 5);
    }

    #[test]
    fn a_report_keeps_what_the_slices_said() {
        let report = Report { schema: SCHEMA.to_owned(), stalls_left_out: 3, ..Report::default() };
        let mut snapshot = Snapshot::default();
        snapshot.report = report;
        snapshot.notice("mine");
        let told = Teller::new(Mono::default()).tell(snapshot, Mono::default(), &Tracks::new(1));
        assert_eq!((told.schema.as_str(), told.stalls_left_out, told.walk_age_seconds), (SCHEMA, 3, None));
        assert!(told.time > 1e9 && !told.host.is_empty() && !told.kernel.is_empty());
        assert_eq!(told.notices, ["mine"]);
        assert!(!told.unjudged);
    }

    #[test]
    fn without_the_slice_that_judges_every_page_says_so_and_none_says_well() {
        let (mut snapshot, tracks) = (Snapshot::default(), Tracks::new(1));
        let teller = Teller::new(Mono::default());
        teller.note(&mut snapshot, Mono::default(), &tracks, &Health::default());
        let mut text = Vec::new();
        render(&snapshot, &mut text);
        assert!(text.starts_with(b"# stall_exporter: What is stuck is not judged: "), "/metrics");
        let told = teller.tell(snapshot, Mono::default(), &tracks);
        assert_eq!(told.notices.len(), 1, "{:?}", told.notices);
        let told = Report { walk_age_seconds: Some(1.0), ..told };
        let text = table(&told, Terminal { width: 100, colour: false });
        assert!(text.contains(": Unknown: what is stuck is not judged\n"), "{text}");
    }

    #[test]
    fn a_notice_is_logged_once_though_its_seconds_run() {
        let mut said = Said::default();
        let new =
            ["hangs for 9 s", "hangs for 10 s", "a quota of 0.5", "hangs"].map(|notice| said.is_new(notice));
        assert_eq!(new, [true, false, true, true]);
        assert_eq!(('a'..='z').filter(|c| said.is_new(&c.to_string())).count(), NOTICES_MAX - 3);
    }

    #[test]
    fn a_first_walk_is_no_news_until_it_is_late() {
        let (teller, tracks) = (Teller::new(Mono::default()), Tracks::new(1));
        let said = |seconds| {
            let mut snapshot = Snapshot::default();
            snapshot.report.schema = SCHEMA.to_owned();
            let now = Mono::default().plus(Duration::from_secs(seconds));
            teller.note(&mut snapshot, now, &tracks, &Health::default());
            snapshot.notices().len()
        };
        assert_eq!((said(9), said(10)), (0, 1));
    }
}
