//! The throttle lane: finds the control groups that have a CPU quota, and reads their counters every second.
//!
//! The search visits every group once in `throttle.interval`, a few milliseconds at a stretch and within the lane's
//! budget: a group without a quota costs one or two opens each time, and nothing in between. Groups with a quota keep
//! their descriptors until they end, so that the reads of every second open nothing. Opens and listings wait for the
//! kernfs lock and, beside a removal that is stuck, for its directory; reads do not.
//!
//! While threads starve, it also looks in which of the groups that throttle they are.

mod kept;
mod members;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::config::{self, Config};
use crate::lane::budget::{Budget, Turn};
use crate::lane::handover::Handover;
use crate::lane::{Tools, Work};
use crate::sample::{Frame, Lane, Quotas, QuotasMissed};
use crate::source::kernel::Version;
use kept::KeptGroups;
use members::Membership;
use walk::Walk;

/// Counters are read this often, a tenth less than a second so that a late timer keeps the promise.
const SAMPLE: Duration = Duration::from_millis(900);
/// The search works this long at a stretch.
const BURST: Duration = Duration::from_millis(2);
/// And then steps back for at least this long.
const REST: Duration = Duration::from_millis(10);
/// Part of the lane's budget that samples may take before they come less often.
const SAMPLES_SHARE: f64 = 0.75;
/// Descriptors that a kept group takes.
const DESCRIPTORS_EACH: usize = 2;
/// The first kernel in which a removed group's files answer so on every read (kernfs). On older ones a descriptor of
/// a removed group reads on, so there they are opened anew with each search.
const TELLS_REMOVAL: Version = Version::new(3, 15, 0);

/// The lane.
pub struct ThrottleLane {
    on: bool,
    handover: Arc<Handover>,
    membership: Membership,
    limits: config::Throttle,
    budget: Budget,
    share: f64,
    kept: KeptGroups,
    missed: QuotasMissed,
    walk: Option<Walk>,
    /// Number of the current search.
    number: u32,
    reopen: bool,
    began: Mono,
    /// CPU of the current search.
    cost: Duration,
    walk_due: Mono,
    step_due: Mono,
    sample_due: Mono,
    /// Distance of the samples.
    distance: Duration,
    interval: Duration,
}

impl ThrottleLane {
    /// A lane that knows nothing yet. It may hold `descriptors`; `share` is its part of the CPU budget.
    pub fn new(config: &Config, handover: Arc<Handover>, descriptors: usize, share: f64, now: Mono) -> Self {
        let limits = config.throttle.clone();
        let most = limits.groups_max.min(descriptors / DESCRIPTORS_EACH);
        Self {
            on: !config.disabled.iter().any(|name| name == Lane::Throttle.name()),
            handover,
            membership: Membership::default(),
            interval: limits.interval,
            limits,
            budget: Budget::new(share, now),
            share,
            kept: KeptGroups::new(most),
            missed: QuotasMissed::default(),
            walk: None,
            number: 0,
            reopen: Version::running().is_none_or(|version| version < TELLS_REMOVAL),
            began: now,
            cost: Duration::ZERO,
            walk_due: now,
            step_due: now,
            sample_due: now,
            distance: SAMPLE,
        }
    }

    /// Reads the kept groups and sends what has changed, or everything.
    fn sample(&mut self, whole: bool, tools: &mut Tools<'_>) {
        let turn = Turn::begin();
        let at = turn.began;
        let (rows, ended) = self.kept.sample(whole, at, &mut tools.reader, &mut self.missed);
        let missed = std::mem::take(&mut self.missed);
        (tools.send)(&Frame::Quotas(Quotas { at, distance: self.distance, whole, rows, ended, missed }));
        let (starved, kept) = (self.handover.runnable(), &self.kept);
        let members = self.membership.search(starved, kept, at, &mut tools.reader, &mut self.missed);
        if !members.is_empty() {
            (tools.send)(&Frame::Members(members));
        }
        // A part of the budget at most: a host full of quotas must not stop the search for new ones.
        let rest = turn.cost().div_f64(self.share * SAMPLES_SHARE);
        self.distance = SAMPLE.max(rest);
        self.sample_due = at.plus(self.distance);
    }

    /// Searches on for a burst.
    fn step(&mut self, tools: &mut Tools<'_>) {
        let began = clock::now();
        let mut walk = self.walk.take().unwrap_or_else(|| {
            self.number = self.number.wrapping_add(1);
            (self.began, self.cost) = (began, Duration::ZERO);
            if self.reopen {
                self.kept.close_all();
            }
            Walk::new(self.limits.walk_max, self.number, &mut tools.reader)
        });
        while clock::now().since(began) < BURST {
            if !walk.step(&mut self.kept, &mut tools.reader, &mut self.missed) {
                self.finish(&walk, tools);
                return;
            }
        }
        self.walk = Some(walk);
    }

    /// The search is over. What it has not seen has ended, unless it could not look everywhere.
    fn finish(&mut self, walk: &Walk, tools: &mut Tools<'_>) {
        if walk.complete {
            self.kept.retain(self.number);
        }
        self.sample(true, tools);
        if let Some(error) = &walk.failed {
            (tools.send)(&Frame::Failed { lane: Lane::Throttle, why: error.to_string() });
        }
    }

    fn plan(&mut self) {
        let now = clock::now();
        if self.walk.is_some() {
            self.step_due = now.plus(REST).max(self.budget.due(BURST));
        } else {
            self.walk_due = self.began.plus(self.limits.interval).max(self.budget.due(self.cost));
            self.interval = self.walk_due.since(self.began);
            self.step_due = self.walk_due;
        }
    }
}

impl Work for ThrottleLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        let now = turn.began;
        if !self.on {
            (tools.send)(&Frame::Quotas(Quotas { at: now, whole: true, ..Quotas::default() }));
            return now.plus(self.limits.interval);
        }
        if now >= self.sample_due && !self.kept.is_empty() {
            self.sample(false, tools);
        }
        let searched = now >= self.step_due;
        if searched {
            self.step(tools);
        }
        let spent = turn.cost();
        self.budget.spend(spent, clock::now());
        if searched {
            self.cost = self.cost.saturating_add(spent);
            self.plan();
        }
        if self.kept.is_empty() { self.step_due } else { self.step_due.min(self.sample_due) }
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests;
