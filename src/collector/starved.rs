//! *starved*: threads that are runnable and do not get a CPU, how long at least, and in which control group that
//! throttles.
//!
//! Proof: state R at both looks, and neither time slices nor run time moved between them. A busy loop's run time moves.
//! On kernels that print R for frozen threads (el9.6, 6.6, el10) such a thread is told by its wait channel, which a
//! runnable thread has not; where wait channels cannot be read, it cannot be told. A thread counts from
//! `starved.threshold` on; nothing is shown on kernels that keep no run times.
//!
//! The group is looked for by the lane of *throttle*, unless that is switched off, in the member lists of the groups
//! that throttle and of those below them, 64 in one search. A thread that starves for another reason has no group. On
//! v1 a thread may be in another group than its process, whose group is shown.

use std::collections::BTreeMap;

use crate::base::bounded::top;
use crate::collector::{Slice, World};
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::waits::Wait;

/// Most names on the page, whatever `blocked.top` says.
const TOP_MAX: usize = 64;
/// Most groups on the page.
const GROUPS_MAX: usize = 100;

/// The slice.
pub static SLICE: Slice = Slice { name: "starved", metrics: &[&TASKS, &SECONDS, &GROUP_SECONDS], show };

static TASKS: Desc = Desc::plain(
    "stall_starved_tasks",
    Kind::Gauge,
    "Threads that are runnable and have not run for at least starved.threshold.",
);
static SECONDS: Desc = Desc::labelled(
    "stall_starved_seconds_max",
    Kind::Gauge,
    &["comm"],
    TOP_MAX,
    "Longest time in progress that a runnable thread has not run, by thread name, the blocked.top longest, a lower \
     bound.",
);
static GROUP_SECONDS: Desc = Desc::labelled(
    "stall_cgroup_starved_seconds_max",
    Kind::Gauge,
    &["cgroup"],
    GROUPS_MAX,
    "The same by control group with a quota, of threads whose process is in a group that throttles, or below it.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    if !world.census().is_some_and(|census| census.run_times) {
        return;
    }
    let long = |wait: &&Wait| wait.runnable() && wait.length() >= world.config.starved.threshold;
    let starved: Vec<&Wait> = world.tracks.starved.iter().filter(long).collect();
    out.set(&TASKS, &[], starved.len() as f64);
    let by_comm = starved.iter().map(|wait| (wait.comm_group(), *wait));
    put(&SECONDS, by_comm, world.config.blocked.top.min(TOP_MAX), out);
    let by_group = starved.iter().filter_map(|wait| Some((wait.group()?, *wait)));
    put(&GROUP_SECONDS, by_group, GROUPS_MAX, out);
}

/// The longest of each label, the longest first.
fn put<'w>(
    desc: &'static Desc,
    waits: impl Iterator<Item = (&'w str, &'w Wait)>,
    most: usize,
    out: &mut Snapshot,
) {
    let mut groups: BTreeMap<&str, f64> = BTreeMap::new();
    for (label, wait) in waits {
        let longest = groups.entry(label).or_default();
        *longest = longest.max(wait.length().as_secs_f64());
    }
    for (label, longest) in top(groups.into_iter().collect(), most, |(_, longest)| *longest) {
        out.set(desc, &[label], longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::base::units::State;
    use crate::config::Config;
    use crate::health::Health;
    use crate::sample::runnable::Member;
    use crate::sample::{Detail, Frame, Hint, Mark, Row, Sweep};
    use crate::track::Tracks;

    const S: u64 = 1_000_000_000;

    fn row(tid: u32, comm: &str, second: u64) -> Row {
        let at = Mono::from_nanos(second * S);
        Row {
            tid,
            pid: tid,
            begin: at,
            end: at,
            state: State::Running,
            mark: Mark { slices: 4, run_ns: 5 },
            comm: comm.to_owned(),
            hint: Hint::None,
            services: 0,
            services_whole: true,
        }
    }

    /// Thread i waits from second 10 to second 10 + i.
    fn starving(names: &[String]) -> Tracks {
        let mut tracks = Tracks::new(1000);
        let rows = |last: bool| {
            let row = |(tid, comm): (u64, &String)| {
                row(u32::try_from(tid).unwrap(), comm, 10 + if last { tid } else { 0 })
            };
            (1..).zip(names).map(row).collect()
        };
        let sweep = |rows, begin| {
            let (begin, end) = (Mono::from_nanos(begin * S), Mono::from_nanos(1000 * S));
            Frame::Sweep(Sweep { rows, begin, end, run_times: true, ..Sweep::default() })
        };
        tracks.observe(sweep(rows(false), 10));
        tracks.observe(sweep(rows(true), 10));
        tracks
    }

    fn page(tracks: &Tracks, config: &Config) -> Vec<(String, f64)> {
        let mut out = Snapshot::default();
        let world = World { now: Mono::from_nanos(1000 * S), config, tracks, health: &Health::default() };
        show(&world, &mut out);
        assert_eq!(out.dropped, 0);
        let series = out.families().iter().flat_map(|family| {
            family.series.iter().map(|series| {
                let crate::snapshot::Value::Number(value) = series.value else { panic!("a gauge") };
                (format!("{} {}", family.desc.name, series.labels.join(",")), value)
            })
        });
        series.collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn it_counts_from_the_threshold_and_workers_are_one_name() {
        let tracks = starving(&names(&["short", "kworker/0:1", "kworker/u8:3", "x", "x"]));
        let expect = [
            ("stall_starved_tasks ", 4.0),
            ("stall_starved_seconds_max x", 5.0),
            ("stall_starved_seconds_max kworker", 3.0),
        ];
        assert_eq!(page(&tracks, &Config::defaults()), expect.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_group_shows_its_longest_and_a_frozen_thread_is_not_starved() {
        let mut tracks = starving(&names(&["a", "b", "c", "d"]));
        let member = |pid| Member { pid, group: Some("/g".to_owned()) };
        tracks.observe(Frame::Members(vec![member(2), member(3)]));
        let series = ("stall_cgroup_starved_seconds_max /g".to_owned(), 3.0);
        assert_eq!(page(&tracks, &Config::defaults()).last(), Some(&series));
        let mark = Mark { slices: 4, run_ns: 5 };
        let wchan = Some("__refrigerator".to_owned());
        let frozen = |tid| Detail { tid, mark, wchan: wchan.clone(), ..Detail::default() };
        tracks.observe(Frame::Detail((1..=4).map(frozen).collect()));
        assert_eq!(page(&tracks, &Config::defaults()), [("stall_starved_tasks ".to_owned(), 0.0)]);
    }

    #[test]
    fn both_bounds_are_reached() {
        let many: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
        let mut tracks = starving(&many);
        let member = |pid| Member { pid, group: Some(format!("/{pid}")) };
        tracks.observe(Frame::Members((1..=300).map(member).collect()));
        let mut config = Config::defaults();
        config.blocked.top = 10_000;
        let page = page(&tracks, &config);
        let series = |desc: &Desc| {
            let name = format!("{} ", desc.name);
            page.iter().filter(|(series, _)| series.starts_with(&name)).map(|(_, value)| *value).collect()
        };
        let (by_comm, by_group): (Vec<f64>, Vec<f64>) = (series(&SECONDS), series(&GROUP_SECONDS));
        assert_eq!((by_comm.len(), by_group.len()), (TOP_MAX, GROUPS_MAX));
        assert_eq!((by_comm[0], by_comm[TOP_MAX - 1]), (300.0, 237.0), "the longest");
        assert_eq!((by_group[0], by_group[GROUPS_MAX - 1]), (300.0, 201.0));
    }

    #[test]
    fn without_run_times_nothing_is_said() {
        let mut tracks = starving(&names(&["a", "b"]));
        let end = Mono::from_nanos(1000 * S);
        tracks.observe(Frame::Sweep(Sweep { end, run_times: false, ..Sweep::default() }));
        assert_eq!(page(&tracks, &Config::defaults()), []);
    }
}
