//! Decides about probes: which lane is stuck, when a probe is abandoned, when a new one is forked. Pure: what the
//! lanes do, reports and `now` in; orders out. Front carries them out and never waits for an answer.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::config;
use crate::runtime::shared::{Doing, SLOTS_MAX};
use crate::runtime::wire::{LanePlan, Order, Report};
use crate::sample::Lane;

/// First back-off of a lane that was stuck; each further one is twice as long, up to the configured limit.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Most threads a lane is told to leave alone.
pub const AVOID_MAX: usize = 64;

/// A lane that does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    /// Where: a pattern of the path table, or what else the lane was doing.
    pub source: &'static str,
    /// The thread or process it was reading, or zero.
    pub subject: u32,
    /// Since when.
    pub since: Mono,
}

/// What is known of one lane, over all probes.
#[derive(Debug, Clone, Default)]
pub struct LaneHealth {
    /// It has been stuck since then and has delivered nothing since.
    pub stuck: Option<Stuck>,
    /// No probe may be abandoned for it any more: it stays stuck until one ends.
    pub down: bool,
    /// Last frame.
    pub frame_at: Option<Mono>,
    /// Probes abandoned because of this lane.
    pub abandoned_total: u64,
    failures: u32,
    not_before: Mono,
    avoid: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Free,
    /// Ordered, or running since then.
    Live {
        since: Option<Mono>,
    },
    /// Killed; not yet reaped.
    Abandoned,
}

/// The state of all probes.
#[derive(Debug)]
pub struct Supervisor {
    limits: config::Probe,
    slots: [Slot; SLOTS_MAX],
    lanes: [LaneHealth; Lane::ALL.len()],
    respawn_at: Mono,
    ticked: Mono,
    grace_until: Mono,
    /// Probes that were forked.
    pub spawned_total: u64,
    /// Probes that ended by themselves.
    pub lost_total: u64,
}

impl Supervisor {
    /// Nothing runs yet; the first tick orders a probe.
    pub fn new(limits: config::Probe) -> Self {
        Self {
            limits,
            slots: [Slot::Free; SLOTS_MAX],
            lanes: std::array::from_fn(|_| LaneHealth::default()),
            respawn_at: Mono::from_nanos(0),
            ticked: Mono::from_nanos(0),
            grace_until: Mono::from_nanos(0),
            spawned_total: 0,
            lost_total: 0,
        }
    }

    /// The live probe's slot.
    pub fn live(&self) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot, Slot::Live { .. }))
    }

    /// Probes that were killed and have not ended.
    pub fn abandoned(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Abandoned)).count()
    }

    /// Health of a lane.
    pub fn lane(&self, lane: Lane) -> &LaneHealth {
        of_lane(self.lanes.each_ref(), lane)
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneHealth {
        of_lane(self.lanes.each_mut(), lane)
    }

    /// A frame of this lane has come. It is well if the frame is the fruit of a read, or if it has been at work for as
    /// long as it would take to call it stuck.
    pub fn delivered(&mut self, lane: Lane, proof: bool, now: Mono) {
        let long = self.limits.stuck_after;
        let health = self.lane_mut(lane);
        health.frame_at = Some(now);
        if !proof && now.since(health.not_before) < long {
            return;
        }
        health.stuck = None;
        health.down = false;
        health.failures = 0;
    }

    /// The live probe cannot be understood or was never forked: give it up and try again later.
    pub fn lost(&mut self, slot: usize, now: Mono) -> Option<Order> {
        let live = self.live() == Some(slot);
        if let Some(place) = self.slots.get_mut(slot).filter(|_| live) {
            *place = Slot::Abandoned;
            self.respawn_at = now.plus(BACKOFF_FIRST);
            return Some(Order::Kill { slot });
        }
        None
    }

    /// The warden said something.
    pub fn reported(&mut self, report: &Report, now: Mono) {
        if let Report::Spawned { slot, .. } = report
            && let Some(Slot::Live { since }) = self.slots.get_mut(*slot)
        {
            *since = Some(now);
        }
        let (Report::Ended { slot, .. } | Report::NotSpawned { slot, .. }) = report else { return };
        if self.live() == Some(*slot) {
            self.lost_total = self.lost_total.saturating_add(1);
            self.respawn_at = now.plus(BACKOFF_FIRST);
        }
        if let Some(place) = self.slots.get_mut(*slot) {
            *place = Slot::Free;
        }
    }

    /// Looks at the lanes and decides. `doing` gives what a lane of the live probe does.
    pub fn tick(&mut self, doing: impl Fn(usize, Lane) -> Doing, now: Mono) -> Vec<Order> {
        let mut orders = Vec::new();
        // We were not running ourselves (a paused machine, our own starvation): the lanes may have stood still for the
        // same reason, and get the same time again before they are judged.
        if now.since(self.ticked) >= self.limits.stuck_after / 2 {
            self.grace_until = now.plus(self.limits.stuck_after);
        }
        self.ticked = now;
        if let Some(slot) = self.live().filter(|_| now >= self.grace_until) {
            let stuck: Vec<(Lane, Stuck)> = Lane::ALL
                .into_iter()
                .filter_map(|lane| Some((lane, self.stuck(slot, doing(slot, lane), now)?)))
                .collect();
            for (lane, stuck) in &stuck {
                self.note(*lane, *stuck);
            }
            if !stuck.is_empty() && self.abandoned() < self.limits.abandoned_max {
                for (lane, stuck) in stuck {
                    self.back_off(lane, stuck, now);
                }
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = Slot::Abandoned;
                }
                self.respawn_at = now;
                orders.push(Order::Kill { slot });
            } else {
                for (lane, _) in stuck {
                    self.lane_mut(lane).down = true;
                }
            }
        }
        if self.live().is_none() && now >= self.respawn_at {
            orders.extend(self.spawn());
        }
        orders
    }

    /// A lane that has not begun is silent since its probe was born: the birth itself may hang, in memory or in a
    /// root that is held open. Before the warden has forked, nobody is late but the warden.
    fn stuck(&self, slot: usize, doing: Doing, now: Mono) -> Option<Stuck> {
        let born = || match self.slots.get(slot) {
            Some(Slot::Live { since }) => *since,
            _ => None,
        };
        let since = doing.silent_since().or_else(born)?;
        (now.since(since) >= self.limits.stuck_after).then(|| Stuck {
            source: doing.source(),
            subject: doing.subject(),
            since,
        })
    }

    /// The oldest evidence stays: the lane has delivered nothing since then, however often it was replaced.
    fn note(&mut self, lane: Lane, stuck: Stuck) {
        let health = self.lane_mut(lane);
        health.stuck = Some(Stuck { since: health.stuck.map_or(stuck.since, |older| older.since), ..stuck });
    }

    fn back_off(&mut self, lane: Lane, stuck: Stuck, now: Mono) {
        let most = self.limits.backoff_max;
        let health = self.lane_mut(lane);
        let backoff =
            BACKOFF_FIRST.saturating_mul(1_u32.checked_shl(health.failures).unwrap_or(u32::MAX)).min(most);
        health.failures = health.failures.saturating_add(1);
        health.not_before = now.plus(backoff);
        health.abandoned_total = health.abandoned_total.saturating_add(1);
        if stuck.subject != 0 && !health.avoid.contains(&stuck.subject) {
            health.avoid.push(stuck.subject);
            // The oldest is forgotten first: it has had the most time to get well.
            let over = health.avoid.len().saturating_sub(AVOID_MAX);
            health.avoid.drain(..over);
        }
    }

    fn spawn(&mut self) -> Option<Order> {
        let slot = self.slots.iter().position(|slot| matches!(slot, Slot::Free))?;
        *self.slots.get_mut(slot)? = Slot::Live { since: None };
        self.spawned_total = self.spawned_total.saturating_add(1);
        let plan = Lane::ALL.map(|lane| {
            let health = self.lane(lane);
            let (not_before, avoid) = (health.not_before, health.avoid.clone());
            LanePlan { lane, not_before, avoid, known: Vec::new() }
        });
        Some(Order::Spawn { slot, plan: plan.to_vec() })
    }
}

/// The one of a lane. The match is whole, so that no lane can be without one.
fn of_lane<T>(all: [T; Lane::ALL.len()], lane: Lane) -> T {
    let [tasks, detail, cgroups, throttle, kthreads, devices, evidence, pressure] = all;
    match lane {
        Lane::Tasks => tasks,
        Lane::Detail => detail,
        Lane::Cgroups => cgroups,
        Lane::Throttle => throttle,
        Lane::Kthreads => kthreads,
        Lane::Devices => devices,
        Lane::Evidence => evidence,
        Lane::Pressure => pressure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::place::{Place, ThreadFile};

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn supervisor() -> Supervisor {
        Supervisor::new(config::Probe { stuck_after: 5 * SECOND, backoff_max: 30 * SECOND, abandoned_max: 3 })
    }

    /// Ticks every second up to `now`, as the engine does, and gives the last orders.
    fn tick(supervisor: &mut Supervisor, doing: impl Fn(usize, Lane) -> Doing, now: u64) -> Vec<Order> {
        supervisor.ticked = at(now - 1);
        supervisor.grace_until = at(0);
        supervisor.tick(doing, at(now))
    }

    fn hung_in_wchan(since: Mono) -> impl Fn(usize, Lane) -> Doing {
        let row = Place::Thread { pid: 9, tid: 9, file: ThreadFile::Wchan }.row();
        move |_, lane| match lane {
            Lane::Detail => Doing::Reading { row, subject: 9, since },
            _ => Doing::Idle { until: at(10_000) },
        }
    }

    #[test]
    fn a_stuck_lane_is_replaced_with_back_off_and_named() {
        let mut supervisor = supervisor();
        let orders = tick(&mut supervisor, |_, _| Doing::Nothing, 1);
        assert!(matches!(orders.as_slice(), [Order::Spawn { slot: 0, .. }]));
        assert!(tick(&mut supervisor, hung_in_wchan(at(2)), 6).is_empty(), "four seconds are not stuck");
        let orders = tick(&mut supervisor, hung_in_wchan(at(2)), 7);
        let [Order::Kill { slot: 0 }, Order::Spawn { slot: 1, plan }] = orders.as_slice() else {
            panic!("{orders:?}");
        };
        assert_eq!(plan[Lane::Detail.index()].not_before, at(8));
        assert_eq!(plan[Lane::Detail.index()].avoid, [9]);
        assert!(plan[Lane::Tasks.index()].not_before <= at(7), "the other lanes go on at once");
        let stuck = supervisor.lane(Lane::Detail).stuck.unwrap();
        assert_eq!((stuck.since, stuck.subject), (at(2), 9));
        assert!(stuck.source.ends_with("wchan"));
        supervisor.delivered(Lane::Detail, false, at(9));
        assert!(
            supervisor.lane(Lane::Detail).stuck.is_some(),
            "a sign of life a second after its birth proves nothing"
        );
        supervisor.delivered(Lane::Detail, true, at(9));
        assert_eq!(supervisor.lane(Lane::Detail).stuck, None);
    }

    #[test]
    fn a_lane_that_only_ever_fails_is_not_stuck_and_gets_well_when_it_stays() {
        let mut supervisor = supervisor();
        tick(&mut supervisor, |_, _| Doing::Nothing, 1);
        for now in 2..=20 {
            supervisor.delivered(Lane::Detail, false, at(now));
            assert!(tick(&mut supervisor, |_, _| Doing::Idle { until: at(10_000) }, now).is_empty());
            assert_eq!(supervisor.lane(Lane::Detail).stuck, None);
        }
        assert_eq!(tick(&mut supervisor, hung_in_wchan(at(21)), 26).len(), 2);
        supervisor.delivered(Lane::Detail, false, at(31));
        assert!(supervisor.lane(Lane::Detail).stuck.is_some(), "four seconds of work");
        supervisor.delivered(Lane::Detail, false, at(32));
        assert_eq!(supervisor.lane(Lane::Detail).stuck, None, "five: it fails, and does not hang");
    }

    #[test]
    fn a_lane_that_never_begins_is_stuck_since_its_probe_was_born() {
        let mut supervisor = supervisor();
        tick(&mut supervisor, |_, _| Doing::Nothing, 1);
        assert!(
            tick(&mut supervisor, |_, _| Doing::Nothing, 60).is_empty(),
            "not forked yet: the warden is late"
        );
        supervisor.reported(&Report::Spawned { slot: 0, pid: 7 }, at(60));
        assert!(tick(&mut supervisor, |_, _| Doing::Nothing, 64).is_empty());
        assert_eq!(tick(&mut supervisor, |_, _| Doing::Nothing, 65).len(), 2);
        let stuck = supervisor.lane(Lane::Tasks).stuck.unwrap();
        assert_eq!((stuck.source, stuck.since), ("start", at(60)));
    }

    #[test]
    fn past_the_limit_the_lane_is_down_and_the_probe_lives_on() {
        let mut supervisor = supervisor();
        let mut now = 1;
        tick(&mut supervisor, |_, _| Doing::Nothing, now);
        for abandoned in 1..=3 {
            now += 10;
            let orders = tick(&mut supervisor, hung_in_wchan(at(now - 6)), now);
            assert_eq!(orders.len(), 2, "{orders:?}");
            assert_eq!(supervisor.abandoned(), abandoned);
        }
        now += 10;
        assert!(tick(&mut supervisor, hung_in_wchan(at(now - 6)), now).is_empty());
        assert!(supervisor.lane(Lane::Detail).down);
        assert!(!supervisor.lane(Lane::Tasks).down);
        assert_eq!(supervisor.lane(Lane::Detail).stuck.unwrap().since, at(5), "the first evidence stays");
        supervisor.reported(&Report::Ended { slot: 0, how: "signal 9".into() }, at(now));
        assert_eq!(tick(&mut supervisor, hung_in_wchan(at(now - 6)), now).len(), 2, "a place is free again");
    }

    #[test]
    fn back_off_doubles_to_its_limit() {
        let mut supervisor = supervisor();
        tick(&mut supervisor, |_, _| Doing::Nothing, 1);
        let mut waits = Vec::new();
        for round in 1..=7 {
            let now = at(round * 100);
            tick(&mut supervisor, hung_in_wchan(at(round * 100 - 10)), round * 100);
            waits.push(supervisor.lane(Lane::Detail).not_before.since(now).as_secs());
            for slot in 0..SLOTS_MAX {
                if supervisor.live() != Some(slot) {
                    supervisor.reported(&Report::Ended { slot, how: String::new() }, now);
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_probe_that_ended_by_itself_is_forked_again_after_a_second() {
        let mut supervisor = supervisor();
        tick(&mut supervisor, |_, _| Doing::Nothing, 1);
        supervisor.reported(&Report::Ended { slot: 0, how: "signal 11".into() }, at(2));
        assert!(tick(&mut supervisor, |_, _| Doing::Nothing, 2).is_empty());
        assert_eq!(tick(&mut supervisor, |_, _| Doing::Nothing, 3).len(), 1);
        assert_eq!(supervisor.lost_total, 1);
    }
    #[test]
    fn after_a_pause_of_the_machine_nobody_is_judged_at_once() {
        let mut supervisor = supervisor();
        supervisor.tick(|_, _| Doing::Nothing, at(1));
        for now in 2..=7 {
            assert!(supervisor.tick(|_, _| Doing::Idle { until: at(1000) }, at(now)).is_empty());
        }
        // A minute is missing: the lanes are late by as much, and wake up a moment after us.
        assert!(supervisor.tick(hung_in_wchan(at(7)), at(67)).is_empty());
        assert_eq!(supervisor.lane(Lane::Detail).stuck, None);
        for now in 68..=71 {
            assert!(supervisor.tick(hung_in_wchan(at(7)), at(now)).is_empty());
        }
        assert_eq!(
            supervisor.tick(hung_in_wchan(at(7)), at(72)).len(),
            2,
            "still there after the grace: stuck"
        );
    }
}
