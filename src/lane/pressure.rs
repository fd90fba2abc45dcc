//! The pressure lane: the kernel's pressure totals (PSI), of the host and of the groups that were asked for.
//!
//! Each read takes a mutex that the kernel's own averaging worker holds (avgs_lock), so a reader can wait for a worker
//! that gets no CPU: this lane may hang alone. While it hangs in a group's file that group cannot be removed, which is
//! why only groups are read that somebody asked for.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::base::bounded::{GROUP_MAX, label};
use crate::base::clock::{self, Mono};
use crate::base::units::Resource;
use crate::config::Config;
use crate::lane::budget::{Budget, Turn};
use crate::lane::{Tools, Work};
use crate::sample::{Frame, Lane, PressureRow, Pressures};
use crate::source::Reader;
use crate::source::error::{Cause, SourceError};
use crate::source::place::{CgroupFile, Place};
use crate::source::pressure;

/// Distance between two turns, while the budget allows it.
const INTERVAL: Duration = Duration::from_secs(5);
/// Where v2 may be mounted below the cgroup root: there itself, or beside v1.
const MOUNTS: [&[u8]; 2] = [b"", b"unified/"];

/// The lane.
#[derive(Debug)]
pub struct PressureLane {
    on: bool,
    /// Paths below the cgroup root, as they were configured.
    groups: Vec<Vec<u8>>,
    budget: Budget,
    interval: Duration,
}

impl PressureLane {
    /// A lane for the configured groups; `share` is its part of the CPU budget.
    pub fn new(config: &Config, share: f64, now: Mono) -> Self {
        let groups = config.pressure.groups.iter().map(|group| group.as_os_str().as_bytes().to_vec());
        Self {
            on: !config.disabled.iter().any(|name| name == Lane::Pressure.name()),
            groups: groups.collect(),
            budget: Budget::new(share, now),
            interval: INTERVAL,
        }
    }

    /// The host first: should the lane hang in a group, these are known.
    fn look(&self, tools: &mut Tools<'_>) {
        let mut failed = None;
        let mut host = Pressures { at: clock::now(), ..Pressures::default() };
        let place = |resource| Place::Pressure { resource };
        host.rows = rows("", place, &mut tools.reader, &mut failed);
        (tools.send)(&Frame::Pressures(host));
        let mut groups = Pressures { at: clock::now(), groups: true, ..Pressures::default() };
        for group in &self.groups {
            groups.rows.extend(group_rows(group, &mut tools.reader, &mut failed));
        }
        if let Some(error) = failed {
            (tools.send)(&Frame::Failed { lane: Lane::Pressure, why: error.to_string() });
        }
        (tools.send)(&Frame::Pressures(groups));
    }
}

/// A group's rows; none when it is not there.
fn group_rows(group: &[u8], reader: &mut Reader<'_>, failed: &mut Option<SourceError>) -> Vec<PressureRow> {
    let name = MOUNTS.iter().rev().find_map(|mount| group.strip_prefix(*mount)).unwrap_or(group);
    let label = label(&[b"/", name].concat(), GROUP_MAX);
    let found = MOUNTS.iter().map(|mount| {
        let path = [*mount, name].concat();
        rows(&label, |of| Place::Cgroup { group: &path, file: CgroupFile::Pressure(of) }, reader, failed)
    });
    found.into_iter().find(|rows| !rows.is_empty()).unwrap_or_default()
}

fn rows<'p>(
    group: &str,
    place: impl Fn(Resource) -> Place<'p>,
    reader: &mut Reader<'_>,
    failed: &mut Option<SourceError>,
) -> Vec<PressureRow> {
    let mut read = |resource| {
        let place = place(resource);
        let text = reader.read(&place);
        match text.and_then(|text| {
            pressure::pressure(text).ok_or_else(|| SourceError::at(place.row(), 0, Cause::Malformed))
        }) {
            Ok(found) => Some(PressureRow {
                group: group.to_owned(),
                resource,
                waiting_us: found.waiting_us,
                stalled_us: found.stalled_us,
            }),
            // A kernel that does not have it, or has it switched off, has nothing to say, and that is no fault.
            Err(error) if matches!(error.cause, Cause::Vanished | Cause::Unsupported | Cause::NoTree) => None,
            Err(error) => {
                *failed = Some(error);
                None
            }
        }
    };
    Resource::ALL.into_iter().filter_map(&mut read).collect()
}

impl Work for PressureLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        if self.on {
            self.look(tools);
        } else {
            (tools.send)(&Frame::Pressures(Pressures {
                at: turn.began,
                groups: true,
                ..Pressures::default()
            }));
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
mod tests {
    use super::*;
    use crate::config::Roots;
    use crate::source::{Host, NoStamp};
    use std::fs;

    /// All frames of one turn on a tree of these files.
    fn turn(files: &[(&str, &str)], groups: &[&str]) -> Vec<Frame> {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = || tree.path().to_owned();
        let host = Host::open(&Roots { procfs: root(), sysfs: root(), cgroupfs: root() }).unwrap();
        let mut config = Config::defaults();
        config.pressure.groups = groups.iter().map(Into::into).collect();
        let mut frames = Vec::new();
        let mut send = |frame: &Frame| frames.push(frame.clone());
        let reader = Reader::for_probe(&host, &NoStamp);
        let mut lane = PressureLane::new(&config, 1.0, clock::now());
        lane.turn(&mut Tools { reader, send: &mut send, pause: &|_| () });
        frames
    }

    const TEXT: &str =
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n";
    const FULL: &str = "full avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";

    fn rows_of(frame: &Frame) -> Vec<(&str, Resource, Option<u64>, Option<u64>)> {
        let Frame::Pressures(pressures) = frame else { panic!("{frame:?}") };
        let row =
            |row: &'static PressureRow| (row.group.as_str(), row.resource, row.waiting_us, row.stalled_us);
        let rows: &'static [PressureRow] = Vec::leak(pressures.rows.clone());
        rows.iter().map(row).collect()
    }

    #[test]
    fn the_host_and_the_groups_of_either_mount_are_read() {
        let files = [
            ("pressure/io", TEXT),
            ("pressure/irq", FULL),
            ("a.slice/cpu.pressure", TEXT),
            ("unified/b.slice/memory.pressure", TEXT),
            ("unified/c/io.pressure", FULL),
        ];
        let frames = turn(&files, &["a.slice", "b.slice", "unified/c", "gone"]);
        let [host, groups] = frames.as_slice() else { panic!("{frames:?}") };
        let both = (Some(5), Some(2));
        assert_eq!(
            rows_of(host),
            [("", Resource::Io, both.0, both.1), ("", Resource::Irq, None, Some(9))],
            "what the kernel does not have is not there"
        );
        assert_eq!(
            rows_of(groups),
            [
                ("/a.slice", Resource::Cpu, both.0, both.1),
                ("/b.slice", Resource::Memory, both.0, both.1),
                ("/c", Resource::Io, None, Some(9))
            ]
        );
    }

    #[test]
    fn a_group_is_named_as_in_the_series_of_its_quota() {
        let group = format!("kubepods.slice/{}/{}", "p".repeat(100), "c".repeat(100));
        let frames = turn(&[(&format!("{group}/cpu.pressure"), TEXT)], &[&group]);
        assert_eq!(rows_of(&frames[1])[0].0, format!("/{group}"), "whole: containers have such paths");
    }

    #[test]
    fn a_kernel_without_pressure_is_no_fault_and_a_cut_text_is() {
        let frames = turn(&[], &["a"]);
        assert!(matches!(frames.as_slice(), [Frame::Pressures(_), Frame::Pressures(_)]), "{frames:?}");
        let frames = turn(&[("pressure/io", TEXT), ("pressure/cpu", "some avg10=0.00 avg")], &[]);
        let [host, Frame::Failed { lane: Lane::Pressure, why }, Frame::Pressures(_)] = frames.as_slice()
        else {
            panic!("{frames:?}")
        };
        assert_eq!(rows_of(host).len(), 1);
        assert!(why.contains("pressure"), "{why}");
    }
}
