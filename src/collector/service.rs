//! *service*: the essential services, PID 1 (`init`) always among them. A service is blocked as long as its longest
//! blocked thread, starved as long as its longest runnable thread that does not run. A service without threads is
//! absent, which is a value of its own and never blocked.

use crate::collector::{Slice, World};
use crate::config::settings::SERVICES_MAX;
use crate::exposition::desc::{Desc, Kind};
use crate::snapshot::Snapshot;
use crate::track::waits::{Wait, Waits};

/// The slice.
pub static SLICE: Slice = Slice { name: "service", metrics: &[&TASKS, &BLOCKED, &STARVED], show };

static TASKS: Desc = Desc::labelled(
    "stall_service_tasks",
    Kind::Gauge,
    &["service"],
    SERVICES_MAX + 1,
    "Threads of the service at the newest walk; zero means that it is not there.",
);
static BLOCKED: Desc = Desc::labelled(
    "stall_service_blocked_seconds",
    Kind::Gauge,
    &["service"],
    SERVICES_MAX + 1,
    "Longest wait in D in progress of the service's threads, a lower bound; not given while it has no threads.",
);
static STARVED: Desc = Desc::labelled(
    "stall_service_starved_seconds",
    Kind::Gauge,
    &["service"],
    SERVICES_MAX + 1,
    "Longest time in progress that a runnable thread of the service has not run; not given without run times.",
);

fn show(world: &World<'_>, out: &mut Snapshot) {
    let Some(census) = world.census() else { return };
    let configured = world.config.services.iter().map(|service| service.name.as_str());
    for (number, name) in std::iter::once("init").chain(configured).enumerate() {
        let tasks = census.services.get(number).copied().unwrap_or_default();
        out.count(&TASKS, &[name], tasks.into());
        if tasks > 0 {
            let blocked = |wait: &&Wait| wait.proven() && wait.kind().counts_as_blocked();
            out.set(&BLOCKED, &[name], longest(&world.tracks.blocked, number, blocked));
            if census.run_times {
                out.set(&STARVED, &[name], longest(&world.tracks.starved, number, |wait| wait.runnable()));
            }
        }
    }
}

fn longest(waits: &Waits, service: usize, counts: impl Fn(&&Wait) -> bool) -> f64 {
    let bit = u32::try_from(service).ok().and_then(|service| 1_u64.checked_shl(service)).unwrap_or_default();
    let ours = waits.iter().filter(|wait| wait.services & bit != 0).filter(counts);
    ours.map(|wait| wait.length().as_secs_f64()).fold(0.0, f64::max)
}
