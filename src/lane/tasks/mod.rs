//! The tasks lane: walks over every thread of the host, cheaply, and looks at the few that matter more often.
//!
//! Per thread and walk one `schedstat` is read (three plain loads). A thread that slept at the last look and whose
//! numbers stand still is in the same sleep, or was woken and does not get a CPU; so its letter is read again only
//! for a rotating share, and for all at once when the host's running count exceeds what the walk explains. New,
//! changed, D and R threads always have their letter read.

pub mod inspect;
pub mod marks;
mod refresh;
pub mod services;
mod walk;
pub mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::base::ids::ByTid;
use crate::base::units::Tid;
use crate::config;
use crate::lane::budget::Budget;
use crate::lane::handover::{Handover, Wanted, Why, Worth};
use crate::lane::{Tools, Work};
use crate::sample::{Frame, Lane, Row};
use crate::source::place::{Place, ThreadFile};
use crate::source::task;
use inspect::{Inspector, Known};
use marks::Marks;
use refresh::Refresh;
use services::Services;
use watch::Watch;

/// The lane works this long at a stretch, then steps back for as long: a walk must not hold a CPU, and longer strides
/// showed in the tail of the scrapes beside it (`tests/bench/run`).
const BURST: Duration = Duration::from_millis(4);
/// How long it steps back.
const REST: Duration = Duration::from_millis(4);
/// How long the first walk waits for the members of control groups: a service is absent when it has no threads, not
/// when they are not known yet.
const MEMBERS_LATE: Duration = Duration::from_secs(1);
/// How often it looks for them meanwhile.
const MEMBERS_LOOK: Duration = Duration::from_millis(10);
/// Threads between two looks at the clock.
const STRIDE: usize = 32;

/// The lane.
pub struct TasksLane {
    limits: config::Tasks,
    handover: Arc<Handover>,
    inspector: Option<Inspector>,
    services: Services,
    budget: Budget,
    share: f64,
    known: ByTid<Known>,
    watch: Watch,
    wanted: HashMap<Tid, Wanted>,
    /// Threads of the last walk that do not wait in the kernel and that details are wanted of.
    runnable: Vec<Wanted>,
    /// When the last walk began.
    walk_began: Mono,
    /// Number of the current walk.
    number: u32,
    /// When every letter is read again because the host runs more than the walk explains.
    refresh: Refresh,
    walk_due: Mono,
    look_due: Mono,
    interval: Duration,
    /// CPU of the last walk, what the next one is expected to cost.
    walk_cost: Duration,
    burst_began: Mono,
    born: Mono,
    own_pid: u32,
}

impl TasksLane {
    /// A lane that knows nothing yet. `share` is its part of the CPU budget.
    pub fn new(
        limits: config::Tasks,
        services: &[config::Service],
        handover: Arc<Handover>,
        share: f64,
        now: Mono,
    ) -> Self {
        Self {
            interval: limits.interval,
            limits,
            handover,
            inspector: None,
            services: Services::new(services),
            budget: Budget::new(share, now),
            share,
            known: ByTid::default(),
            watch: Watch::default(),
            wanted: HashMap::new(),
            runnable: Vec::new(),
            walk_began: now,
            number: 0,
            refresh: Refresh::default(),
            walk_due: now,
            look_due: now,
            walk_cost: Duration::ZERO,
            burst_began: now,
            born: now,
            own_pid: std::process::id(),
        }
    }

    /// Looks at the watched threads and tells front what they do.
    fn look(&mut self, inspector: &Inspector, tools: &mut Tools<'_>) {
        let cpu = clock::thread_cpu();
        let members_known = !self.lacks_members();
        let look = self.watch.look(inspector, &mut self.known, members_known, &mut tools.reader);
        // Looks take half of the budget at most. They are not planned by it, so without this a crowd in D would run up
        // a debt that the walks have to pay, for hours.
        let rest = clock::thread_cpu().saturating_sub(cpu).div_f64(self.share / 2.0);
        self.look_due = clock::now().plus(self.limits.look_interval.max(rest));
        if look.rows.is_empty() && look.ended.is_empty() {
            return;
        }
        let frame = Frame::Look(look);
        (tools.send)(&frame);
        if let Frame::Look(look) = &frame {
            self.want(&look.rows);
        }
    }

    /// Adds the blocked rows to what the detail lane is asked for. They are sent first: front cannot use the details of
    /// a wait that it has not heard of.
    fn want(&mut self, rows: &[Row]) {
        let mut changed = false;
        for row in rows.iter().filter(|row| row.blocked()) {
            let (why, worth) = (Why::Blocked, Worth::of(row));
            let wanted = Wanted { pid: row.pid, tid: row.tid, mark: row.mark, why, worth };
            changed |= self.wanted.insert(row.tid, wanted) != Some(wanted);
        }
        if changed {
            self.handover.want(self.wanted.values().copied().collect());
        }
    }

    /// Steps back after a burst, and looks at the watched threads when that is due in the middle of a long walk.
    fn breathe(&mut self, inspector: &Inspector, tools: &mut Tools<'_>) {
        let now = clock::now();
        if now.since(self.burst_began) < BURST {
            return;
        }
        (tools.pause)(REST);
        if clock::now() >= self.look_due {
            self.look(inspector, tools);
        }
        self.burst_began = clock::now();
    }

    /// What this kernel and these privileges allow; asked once.
    fn inspector(&mut self, tools: &mut Tools<'_>) -> Inspector {
        let mut inspector = self.inspector.take().unwrap_or_else(|| {
            // kthreadd sleeps in a function of its own name; without the privilege its wait channel reads `0`.
            let kthreadd = Place::Thread { pid: 2, tid: 2, file: ThreadFile::Wchan };
            Inspector {
                marks: Marks::of_this_kernel(&mut tools.reader),
                wchan_works: tools.reader.read(&kthreadd).ok().and_then(task::wchan).is_some(),
                services: self.services.clone(),
            }
        });
        if let Some(members) = self.handover.members() {
            inspector.services.set_members(Arc::clone(&members));
            self.services.set_members(members);
        }
        inspector
    }

    /// Sends a walk and asks for the details of its waits, and of no others.
    fn walked(&mut self, frame: &Frame, tools: &mut Tools<'_>) {
        (tools.send)(frame);
        let in_r = self.runnable.iter().filter(|wish| wish.why != Why::Ran);
        self.handover.set_runnable(in_r.map(|wish| wish.pid).collect());
        self.wanted = self.runnable.drain(..).map(|wish| (wish.tid, wish)).collect();
        if let Frame::Sweep(sweep) = frame {
            self.want(&sweep.rows);
        }
        self.handover.want(self.wanted.values().copied().collect());
    }

    fn lacks_members(&self) -> bool {
        self.services.need_members() && self.handover.members().is_none()
    }

    /// When the next walk begins: a tenth before the interval is over, so that the promise "seen within one
    /// interval" holds with the walk's own length and a late timer; and not before the budget allows it.
    fn plan(&mut self, began: Mono) {
        let early = self.limits.interval.mul_f64(0.9);
        let allowed = self.budget.due(self.walk_cost);
        self.walk_due = began.plus(early).max(allowed);
        self.interval = self.walk_due.since(began).max(self.limits.interval);
    }
}

impl Work for TasksLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let (began, cpu) = (clock::now(), clock::thread_cpu());
        if self.number == 0 && self.lacks_members() && began.since(self.born) < MEMBERS_LATE {
            return began.plus(MEMBERS_LOOK);
        }
        self.burst_began = began;
        let inspector = self.inspector(tools);
        let walked = began >= self.walk_due;
        if walked {
            match self.walk(&inspector, tools) {
                Ok(sweep) => self.walked(&Frame::Sweep(sweep), tools),
                Err(error) => (tools.send)(&Frame::Failed { lane: Lane::Tasks, why: error.to_string() }),
            }
        } else {
            self.look(&inspector, tools);
        }
        self.inspector = Some(inspector);
        let spent = clock::thread_cpu().saturating_sub(cpu);
        self.budget.spend(spent, clock::now());
        if walked {
            self.walk_cost = spent;
            self.plan(began);
            self.look_due = self.look_due.max(clock::now().plus(self.limits.look_interval));
        }
        self.walk_due.min(self.look_due)
    }

    fn interval(&self) -> Duration {
        self.interval
    }
}
