//! *suspect*: who probably holds up those who wait. The join of all other signals: threads in D by what they wait for,
//! threads that are runnable and do not run, threads that do not leave the kernel, devices that complete nothing. When
//! there is no ground for a name it says `unknown`. It also fills the report behind `/stalls`.

mod words;

use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind as Shape};
use crate::snapshot::Snapshot;
use crate::snapshot::stall::{KnownWait, Report, SCHEMA, STALLS_MAX};
use crate::track::findings::{Finding, On, findings};
use crate::track::kind::Kind;
use crate::track::resource::Resources;
use crate::track::scene::{Party, Scene, Thresholds};
use crate::track::suspect::{Suspect, Who};

/// Most series, one for each wait channel of each finding; the longest waits first.
const SERIES_MAX: usize = 50;

/// The slice.
pub static SLICE: Slice = Slice { name: "suspect", metrics: &[&SUSPECT], show };

static SUSPECT: Desc = Desc::labelled(
    "stall_suspect_seconds",
    Shape::Gauge,
    &["comm", "cgroup", "reason", "victim_wchan"],
    SERIES_MAX,
    "Longest wait in progress of those who are held up, by who probably holds them up (comm is `unknown` without a \
     ground for a name) and by where they wait; a lower bound.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let thresholds = Thresholds {
        blocked: world.config.blocked.threshold,
        starved: world.config.starved.threshold,
        spin: world.config.spin.threshold,
        disk: world.config.blocked.threshold,
    };
    let resources = Resources(&world.config.resources);
    let keeps = world.tracks.throttle_keeps_locks;
    let scene = Scene::new(world.tracks, world.now, thresholds, resources, keeps);
    // A walk so old that it says nothing about now accuses nobody.
    let found = if world.census().is_some() { findings(&scene) } else { Vec::new() };
    series(&found, out);
    let left_out = found.len().saturating_sub(STALLS_MAX);
    out.report = Report {
        schema: SCHEMA.to_owned(),
        stalls: found.iter().take(STALLS_MAX).map(|finding| words::stall(finding, world.config)).collect(),
        stalls_left_out: u64::try_from(left_out).unwrap_or(u64::MAX),
        known_waits: known_waits(world),
        ..Report::default()
    };
}

/// One series for each name of a wait channel, so that it can be joined with `stall_blocked_tasks`; those who wait for
/// the same thing under two names have the same suspect.
fn series(found: &[Finding<'_>], out: &mut Snapshot) {
    let mut put = |suspect: Option<&Suspect<'_>>, wchan: &str, length: Duration| {
        let (comm, cgroup) = suspect.map_or(("unknown".to_owned(), ""), named);
        let reason = suspect.map_or("unknown", |suspect| suspect.reason.name());
        out.set(&SUSPECT, &[&comm, cgroup, reason, wchan], length.as_secs_f64());
    };
    for finding in found {
        match finding.on {
            On::Resource(_) | On::Function(_) => {
                for (wchan, parties) in finding.wchans() {
                    let longest = parties.iter().map(|party| party.length()).max().unwrap_or_default();
                    put(finding.suspects.first(), wchan.unwrap_or("unknown"), longest);
                }
            }
            On::Group(_) | On::Cpu(_) => put(finding.suspects.first(), "", finding.length),
            // They are suspects, and told by a family of their own.
            On::Spin(_) | On::Device(_) => {}
        }
    }
}

/// The labels `comm` and `cgroup` of a suspect.
fn named<'a>(suspect: &Suspect<'a>) -> (String, &'a str) {
    match suspect.who {
        Who::Thread(party) => {
            (label(party.name.to_string().as_bytes(), LABEL_MAX), party.group.unwrap_or(""))
        }
        Who::Device(device) => (device.device.to_owned(), ""),
        Who::Group(group) => (String::new(), group),
    }
}

fn known_waits(world: &World<'_>) -> Vec<KnownWait> {
    let of_kind = |kind: Kind| {
        let waits = world.tracks.blocked.iter().filter(move |wait| wait.kind() == kind && wait.proven());
        let lengths: Vec<Duration> = waits
            .map(|wait| wait.length())
            .filter(|length| *length >= world.config.blocked.threshold)
            .collect();
        let longest = lengths.iter().max()?;
        Some(KnownWait {
            kind: kind.name().to_owned(),
            tasks: u64::try_from(lengths.len()).unwrap_or(u64::MAX),
            seconds: longest.as_secs_f64(),
            explain: words::known(kind).to_owned(),
        })
    };
    Kind::APART.into_iter().filter_map(of_kind).collect()
}

/// Whether `party` belongs to the service of this bit.
const fn belongs(party: &Party<'_>, bit: u32) -> bool {
    match 1_u64.checked_shl(bit) {
        Some(mask) => party.services & mask != 0,
        None => false,
    }
}
