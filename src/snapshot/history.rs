//! The last minutes: which stalls there were, so that whoever comes when it is over can still read what it was.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::snapshot::stall::{Past, Stall};

/// Most stalls that are remembered; of more the one that ended first is forgotten.
pub const PAST_MAX: usize = 100;
/// How long after its end a stall is remembered.
pub const KEPT: Duration = Duration::from_secs(3600);
/// A stall that comes back within this is the same one: a page between two looks must not make two of it.
const SAME: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry {
    key: String,
    kind: String,
    title: String,
    suspect: String,
    seconds: f64,
    tasks_max: u64,
    /// When it began, by its length at the first sight.
    began: Mono,
    seen: Mono,
}

/// The stalls of the last minutes.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    newest: Mono,
    /// Entries that were forgotten before their time.
    pub dropped: u64,
}

impl History {
    /// Takes what is stuck at `now`.
    pub fn observe(&mut self, stalls: &[Stall], now: Mono) {
        self.newest = now;
        self.entries.retain(|entry| now.since(entry.seen) <= KEPT);
        for stall in stalls {
            let known =
                self.entries.iter_mut().find(|entry| entry.key == stall.key && now.since(entry.seen) <= SAME);
            match known {
                Some(entry) => entry.goes_on(stall, now),
                None => self.begin(stall, now),
            }
        }
    }

    /// The stalls, those that go on and the newest first.
    pub fn tell(&self) -> Vec<Past> {
        let ago = |at: Mono| self.newest.since(at).as_secs_f64();
        let past = |entry: &Entry| Past {
            kind: entry.kind.clone(),
            title: entry.title.clone(),
            began_seconds_ago: ago(entry.began),
            ended_seconds_ago: (entry.seen < self.newest).then(|| ago(entry.seen)),
            seconds: entry.seconds,
            tasks_max: entry.tasks_max,
            suspect: entry.suspect.clone(),
        };
        let mut told: Vec<&Entry> = self.entries.iter().collect();
        told.sort_by_key(|entry| std::cmp::Reverse((entry.seen, entry.began)));
        told.into_iter().map(past).collect()
    }

    fn begin(&mut self, stall: &Stall, now: Mono) {
        if self.entries.len() >= PAST_MAX {
            let oldest =
                self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.seen).map(|(at, _)| at);
            oldest.and_then(|at| self.entries.remove(at));
            self.dropped = self.dropped.saturating_add(1);
        }
        let before = Duration::try_from_secs_f64(stall.seconds).unwrap_or_default();
        let began = Mono::from_nanos(now.as_nanos().saturating_sub(crate::base::clock::nanos(before)));
        let mut entry = Entry {
            key: stall.key.clone(),
            kind: stall.kind.clone(),
            title: String::new(),
            suspect: String::new(),
            seconds: 0.0,
            tasks_max: 0,
            began,
            seen: now,
        };
        entry.goes_on(stall, now);
        self.entries.push_back(entry);
    }
}

impl Entry {
    fn goes_on(&mut self, stall: &Stall, now: Mono) {
        self.seen = now;
        self.tasks_max = self.tasks_max.max(stall.tasks_total);
        let suspect = stall.suspects.first().map(|suspect| suspect.comm.clone()).unwrap_or_default();
        // Who was named once is not forgotten at the same length.
        if stall.seconds > self.seconds || (stall.seconds >= self.seconds && !suspect.is_empty()) {
            self.seconds = stall.seconds;
            self.title.clone_from(&stall.title);
            self.suspect = suspect;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn stall(key: &str, seconds: f64, tasks_total: u64) -> Stall {
        let title = format!("{tasks_total} tasks");
        Stall { key: key.to_owned(), title, seconds, tasks_total, ..Stall::default() }
    }

    #[test]
    fn a_stall_is_remembered_by_its_longest_moment() {
        let mut history = History::default();
        history.observe(&[stall("a", 5.0, 2)], at(100));
        history.observe(&[stall("a", 15.0, 9)], at(110));
        history.observe(&[stall("a", 7.0, 1)], at(111));
        history.observe(&[], at(131));
        let told = history.tell();
        assert_eq!(told.len(), 1);
        let past = &told[0];
        assert_eq!((past.seconds, past.tasks_max, past.title.as_str()), (15.0, 9, "9 tasks"));
        assert_eq!((past.began_seconds_ago, past.ended_seconds_ago), (36.0, Some(20.0)));
    }

    #[test]
    fn one_that_goes_on_has_no_end_and_one_that_comes_back_late_is_another() {
        let mut history = History::default();
        history.observe(&[stall("a", 5.0, 1)], at(100));
        history.observe(&[], at(105));
        history.observe(&[stall("a", 12.0, 1)], at(110));
        assert_eq!(history.tell().len(), 1);
        assert_eq!(history.tell()[0].ended_seconds_ago, None);
        history.observe(&[stall("a", 1.0, 1)], at(121));
        assert_eq!(history.tell().len(), 2);
        history.observe(&[], at(121 + 3601));
        assert!(history.tell().is_empty());
    }

    #[test]
    fn what_is_forgotten_before_its_time_is_counted() {
        let mut history = History::default();
        let stalls: Vec<Stall> = (0..PAST_MAX + 3).map(|key| stall(&key.to_string(), 1.0, 1)).collect();
        history.observe(&stalls, at(100));
        assert_eq!((history.tell().len(), history.dropped), (PAST_MAX, 3));
    }

    proptest! {
        #[test]
        fn it_never_grows_past_its_bound(steps in proptest::collection::vec((0_u64..40, 0_u32..400), 0..400)) {
            let (mut history, mut now) = (History::default(), 0);
            for (step, key) in steps {
                now += step;
                history.observe(&[stall(&key.to_string(), 1.0, 1)], at(now));
                prop_assert!(history.tell().len() <= PAST_MAX);
            }
        }
    }
}
