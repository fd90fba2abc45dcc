//! *service*: the essential services, PID 1 (`init`) always among them. A service has been blocked for as long as a
//! quorum of its threads has been at once: as long as the n-th longest wait of those that its rule selects. Each wait
//! is a lower bound, and so is the n-th longest of them. Starved likewise. A service without threads is absent, which
//! is a value of its own and never blocked; one with fewer threads than its quorum can never be blocked, and says so
//! by having no value.

use crate::collector::{Slice, World};
use crate::config::Quorum;
use crate::config::settings::SERVICES_MAX;
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::waits::{Wait, Waits};

/// The slice.
pub static SLICE: Slice =
    Slice { name: "service", metrics: &[&TASKS, &SELECTED, &QUORUM, &BLOCKED, &STARVED], show };

static TASKS: Desc = of_service(
    "stall_service_tasks",
    "Threads of the service's processes at the newest walk; zero means that it is not there.",
);
static SELECTED: Desc = of_service(
    "stall_service_selected_tasks",
    "Those that threads or thread_comm selects; not given while the service has no threads.",
);
static QUORUM: Desc = of_service(
    "stall_service_quorum_tasks",
    "How many of the selected threads must wait at once; above stall_service_selected_tasks it cannot be reached.",
);
static BLOCKED: Desc = of_service(
    "stall_service_blocked_seconds",
    "How long a quorum of the selected threads has waited in D, a lower bound; not given while there are too few.",
);
static STARVED: Desc = of_service(
    "stall_service_starved_seconds",
    "How long a quorum of the selected threads has been runnable and not run, a lower bound; not given while there \
     are too few, or without run times.",
);

const fn of_service(name: &'static str, help: &'static str) -> Desc {
    Desc::labelled(name, Kind::Gauge, &["service"], SERVICES_MAX + 1, help)
}

fn show(world: &World<'_>, out: &mut Snapshot) {
    let Some(census) = world.census() else { return };
    let configured = world.config.services.iter().map(|service| (service.name.as_str(), service.quorum));
    for (number, (name, quorum)) in std::iter::once(("init", Quorum::Count(1))).chain(configured).enumerate()
    {
        let tasks = census.services.get(number).copied().unwrap_or_default();
        out.count(&TASKS, &[name], tasks.all.into());
        if tasks.all == 0 {
            continue;
        }
        let quorum = quorum.of(tasks.selected);
        out.count(&SELECTED, &[name], tasks.selected.into());
        out.count(&QUORUM, &[name], quorum.into());
        if quorum > tasks.selected {
            continue;
        }
        let blocked = |wait: &&Wait| wait.proven() && wait.kind().counts_as_blocked();
        out.set(&BLOCKED, &[name], nth_longest(&world.tracks.blocked, number, quorum, blocked));
        if census.run_times {
            let starved = |wait: &&Wait| wait.runnable();
            out.set(&STARVED, &[name], nth_longest(&world.tracks.starved, number, quorum, starved));
        }
    }
}

/// The n-th longest wait of a service in seconds; zero when there are fewer.
fn nth_longest(waits: &Waits, service: usize, nth: u32, counts: impl Fn(&&Wait) -> bool) -> f64 {
    let bit = u32::try_from(service).ok().and_then(|service| 1_u64.checked_shl(service)).unwrap_or_default();
    let ours = waits.iter().filter(|wait| wait.services & bit != 0).filter(counts);
    let mut lengths: Vec<_> = ours.map(Wait::length).collect();
    lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
    let place = usize::try_from(nth).ok().and_then(|nth| nth.checked_sub(1));
    place.and_then(|place| lengths.get(place)).map_or(0.0, std::time::Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Mono;
    use crate::base::units::State;
    use crate::collector::World;
    use crate::config::{Config, Pattern, Selector, Service, Threads};
    use crate::health::Health;
    use crate::sample::{Frame, Hint, Mark, Row, ServiceTasks, Sweep};
    use crate::track::Tracks;

    const SECOND: u64 = 1_000_000_000;

    fn row(tid: u32, at: u64, state: State, services: u64) -> Row {
        Row {
            tid,
            pid: tid,
            begin: Mono::from_nanos(at),
            end: Mono::from_nanos(at),
            state,
            mark: Mark { slices: 1, run_ns: 1 },
            comm: "worker".into(),
            hint: Hint::None,
            services,
            services_whole: true,
        }
    }

    /// Threads `tid` of the services of `bits`, each in a state since its second; the page at second 20.
    fn page(quorums: &[Quorum], tasks: &[(u32, u32)], waits: &[(u64, State, u64)]) -> Snapshot {
        let service = |(index, quorum): (usize, &Quorum)| Service {
            name: format!("s{}", index + 1),
            selector: Selector::Comm(Pattern::new("worker").unwrap()),
            threads: Threads::All,
            quorum: *quorum,
        };
        let config =
            Config { services: quorums.iter().enumerate().map(service).collect(), ..Config::defaults() };
        let mut tracks = Tracks::new(100);
        for at in 1..=20 {
            let seen = (10..).zip(waits).filter(|(_, (since, ..))| *since <= at);
            tracks.observe(Frame::Sweep(Sweep {
                begin: Mono::from_nanos(at * SECOND),
                end: Mono::from_nanos(at * SECOND),
                rows: seen.map(|(tid, (_, state, bits))| row(tid, at * SECOND, *state, *bits)).collect(),
                services: [&(1, 1)]
                    .into_iter()
                    .chain(tasks)
                    .map(|(all, selected)| ServiceTasks { all: *all, selected: *selected })
                    .collect(),
                members_known: true,
                run_times: true,
                ..Sweep::default()
            }));
        }
        let (now, health) = (Mono::from_nanos(20 * SECOND), Health::default());
        let mut out = Snapshot::default();
        show(&World { now, config: &config, tracks: &tracks, health: &health }, &mut out);
        out
    }

    fn value(out: &Snapshot, desc: &Desc, service: &str) -> Option<f64> {
        let family = out.families().iter().find(|family| family.desc.name == desc.name)?;
        match family.series.iter().find(|series| series.labels == [service])?.value {
            crate::snapshot::Value::Number(number) => Some(number),
            crate::snapshot::Value::Histogram(_) => None,
        }
    }

    #[test]
    fn a_service_has_waited_as_long_as_a_quorum_of_its_threads() {
        use Quorum::{Count, Percent};
        use State::{Running, Uninterruptible};
        let quorums = [Count(1), Count(2), Count(3), Percent(50), Percent(100), Count(4)];
        // Of three threads that matter, the third is never seen in a wait.
        for (state, same, other) in [(Uninterruptible, &BLOCKED, &STARVED), (Running, &STARVED, &BLOCKED)] {
            let out = page(&quorums, &[(5, 3); 6], &[(6, state, !0), (1, state, !0), (1, state, !0 << 7)]);
            let lengths = ["s1", "s2", "s3", "s4", "s5", "s6"].map(|service| value(&out, same, service));
            assert_eq!(lengths, [Some(19.0), Some(14.0), Some(0.0), Some(14.0), Some(0.0), None]);
            assert_eq!(value(&out, other, "s1"), Some(0.0));
            let needed = ["s2", "s4", "s5", "s6"].map(|service| value(&out, &QUORUM, service));
            assert_eq!(needed, [Some(2.0), Some(2.0), Some(3.0), Some(4.0)]);
            assert_eq!(value(&out, &SELECTED, "s6"), Some(3.0), "below its quorum, and both are said");
        }
    }

    #[test]
    fn absent_and_without_a_thread_that_matters_are_two_things_and_neither_is_blocked() {
        let out = page(&[Quorum::Count(1), Quorum::Percent(50)], &[(0, 0), (4, 0)], &[]);
        let of = |service| [&TASKS, &SELECTED, &QUORUM, &BLOCKED].map(|desc| value(&out, desc, service));
        assert_eq!(of("s1"), [Some(0.0), None, None, None]);
        assert_eq!(of("s2"), [Some(4.0), Some(0.0), Some(1.0), None]);
        assert_eq!(of("init"), [Some(1.0), Some(1.0), Some(1.0), Some(0.0)]);
    }

    #[test]
    fn as_many_services_as_there_may_be_have_all_their_series() {
        let out =
            page(&[Quorum::Count(1); SERVICES_MAX], &[(1, 1); SERVICES_MAX], &[(1, State::Running, !0)]);
        for desc in SLICE.metrics {
            let family = out.families().iter().find(|family| family.desc.name == desc.name).unwrap();
            assert_eq!(family.series.len(), desc.max_series, "{}", desc.name);
        }
        assert_eq!(out.dropped, 0);
        assert_eq!(value(&out, &STARVED, &format!("s{SERVICES_MAX}")), Some(19.0), "the last bit counts");
    }
}
