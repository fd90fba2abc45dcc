//! The evidence lane: the kernel stack of a wait that lasts, once. Reading it takes a lock of the very process that is
//! stuck, the one that exec holds, so this lane may hang alone; it is the last that the others could miss.
//!
//! It reads one stack a turn at most and `evidence.per_minute` in a minute, evenly, so that a probe that is replaced
//! again and again reads no more of them.

mod cases;

use std::sync::Arc;
use std::time::Duration;

use crate::base::bounded::{LABEL_MAX, label};
use crate::base::clock::Mono;
use crate::base::units::Tid;
use crate::config::Config;
use crate::lane::budget::{Budget, Turn};
use crate::lane::handover::{Handover, Wanted};
use crate::lane::tasks::marks::Marks;
use crate::lane::{Tools, Work};
use crate::sample::evidence::{FRAMES_MAX, Known, Skipped, Stack};
use crate::sample::{Frame, Lane};
use crate::source::error::{Cause, SourceError};
use crate::source::place::{Place, ThreadFile};
use crate::source::{Reader, task};
use cases::{Cases, Outcome};

/// Distance between two turns, and so the shortest between two stacks.
const TURN: Duration = Duration::from_secs(1);
/// The end of a turn is told when there is something to tell, and this often, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// After an earlier probe hung here, the first stack comes no sooner: a hang costs the other lanes their probe.
const AFTER_HANG: Duration = Duration::from_secs(60);
/// Where no stack can be read at all, it is tried again after this.
const REST: Duration = Duration::from_secs(300);

/// The lane.
pub struct EvidenceLane {
    on: bool,
    handover: Arc<Handover>,
    cases: Cases,
    /// Distance between two stacks.
    pace: Duration,
    budget: Budget,
    marks: Option<Marks>,
    /// The next stack may be read then.
    next: Mono,
    /// Until then there are no stacks to be had.
    rest: Mono,
    /// A stack was read: this kernel gives them, to us.
    works: bool,
    told: bool,
    sent: Option<Mono>,
}

impl EvidenceLane {
    /// A lane that leaves `avoid` alone, as an earlier one hung there, and need not wait for what is `known`. `share`
    /// is its part of the CPU budget.
    pub fn new(
        config: &Config,
        handover: Arc<Handover>,
        share: f64,
        avoid: Vec<Tid>,
        known: Vec<Known>,
        now: Mono,
    ) -> Self {
        let limits = &config.evidence;
        let per_minute = u32::try_from(limits.per_minute).unwrap_or(u32::MAX).max(1);
        let pace = Duration::from_secs(60) / per_minute;
        let rest = match (avoid.is_empty(), known.is_empty()) {
            (false, _) => AFTER_HANG,
            // The earlier probe may just have taken one.
            (true, false) => pace,
            (true, true) => Duration::ZERO,
        };
        Self {
            on: !config.disabled.iter().any(|name| name == Lane::Evidence.name()),
            handover,
            next: now.plus(rest),
            cases: Cases::new(limits.after, avoid, known),
            pace,
            budget: Budget::new(share, now),
            marks: None,
            rest: now,
            works: false,
            told: false,
            sent: None,
        }
    }

    /// Reads the stack of the first that is worth one.
    fn take(&mut self, due: &[Wanted], now: Mono, tools: &mut Tools<'_>) {
        for wish in due {
            if self.cases.crowded(wish, || channel(wish, &mut tools.reader)) {
                continue;
            }
            self.next = now.plus(self.pace);
            let marks = *self.marks.get_or_insert_with(|| Marks::of_this_kernel(&mut tools.reader));
            let outcome = match stack(wish, marks, &mut tools.reader) {
                Ok(frames) => {
                    self.works = true;
                    (tools.send)(&Frame::Stack(Stack { tid: wish.tid, mark: wish.mark, frames }));
                    Outcome::Taken
                }
                Err(Failure::Moved) => Outcome::Moved,
                Err(Failure::Source(error)) => self.failed(&error, now, tools),
            };
            self.cases.done(wish, outcome, now);
            return;
        }
    }

    /// A kernel that has never given a stack gives none: that is said once, and asked again after a while.
    fn failed(&mut self, error: &SourceError, now: Mono, tools: &mut Tools<'_>) -> Outcome {
        let denied = error.cause == Cause::Denied;
        if !self.works && (denied || error.vanished()) {
            self.rest = now.plus(REST);
            if !std::mem::replace(&mut self.told, true) {
                let why = if denied {
                    "permission denied; grant CAP_SYS_ADMIN and CAP_SYS_PTRACE"
                } else {
                    "this kernel has none (CONFIG_STACKTRACE)"
                };
                let why = format!("{}: {why}, or give --no-collector.evidence", error.place);
                (tools.send)(&Frame::Failed { lane: Lane::Evidence, why });
            }
        }
        if denied { Outcome::Denied } else { Outcome::Failed }
    }
}

/// Why there is no stack.
enum Failure {
    /// The wait is over.
    Moved,
    Source(SourceError),
}

/// The function that it sleeps in.
fn channel(wish: &Wanted, reader: &mut Reader<'_>) -> Option<String> {
    let place = Place::Thread { pid: wish.pid, tid: wish.tid, file: ThreadFile::Wchan };
    reader.read(&place).ok().and_then(task::wchan).map(str::to_owned)
}

/// The functions of a wait's kernel stack.
fn stack(wish: &Wanted, marks: Marks, reader: &mut Reader<'_>) -> Result<Vec<String>, Failure> {
    let Wanted { pid, tid, mark, .. } = *wish;
    let moved = |reader: &mut Reader<'_>| marks.read(reader, pid, tid) != Some(mark);
    // Before, to take no lock in vain; after, because only then it belongs to this wait.
    if moved(reader) {
        return Err(Failure::Moved);
    }
    let place = Place::Thread { pid, tid, file: ThreadFile::Stack };
    let malformed = SourceError::at(place.row(), tid, Cause::Malformed);
    let frames = reader.read(&place).and_then(|text| {
        let frames = task::stack(text).filter(|frames| !frames.is_empty()).ok_or(malformed)?;
        Ok(frames.into_iter().take(FRAMES_MAX).map(|frame| label(frame, LABEL_MAX)).collect())
    });
    if moved(reader) {
        return Err(Failure::Moved);
    }
    frames.map_err(Failure::Source)
}

impl Work for EvidenceLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        let turn = Turn::begin();
        let now = turn.began;
        if self.on {
            self.cases.meet(self.handover.wanted(), now);
            // They are few, and each is read once.
            while let Some(wish) = self.cases.unnamed() {
                self.cases.name(wish.tid, channel(&wish, &mut tools.reader));
            }
            // Whoever is due and does not get a stack in a rest was not kept from it by the others.
            let due = if now >= self.rest { self.cases.due(now) } else { Vec::new() };
            if now >= self.next {
                self.take(&due, now, tools);
            }
        }
        let skipped = std::mem::take(&mut self.cases.skipped);
        if skipped != Skipped::default() || self.sent.is_none_or(|sent| now.since(sent) >= SIGN_OF_LIFE) {
            (tools.send)(&Frame::Evidence(skipped));
            self.sent = Some(now);
        }
        self.budget.next(&turn, TURN)
    }

    fn interval(&self) -> Duration {
        TURN
    }
}

#[cfg(test)]
mod tests;
