//! Threads that were in the kernel for a good part of the time between two looks, whether they slept in between or not.
//! Each stay is short, so this is no spin; but work that waits for that CPU comes late because of it.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::clock::{Mono, nanos};
use crate::base::units::{Pid, Tid};
use crate::sample::{Detail, Mark};

/// Part of the time between two looks from which on a thread is told. Low: who keeps the CPU for a second in every ten
/// is worth it.
const FROM: f64 = 0.04;
/// How long what two looks proved is worth telling: as long as late waits are.
const KEPT: Duration = crate::track::late::WINDOW;
/// Most threads that are remembered; who finds no place can be found at a later look.
const SEEN_MAX: usize = 1024;
/// A clock tick of user time, in nanoseconds: `/proc` counts in hundredths of a second whatever the kernel's HZ.
const TICK_NS: u64 = 10_000_000;

/// What a thread did between two looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// Its process.
    pub pid: Pid,
    /// Its name; of a kworker without the work item.
    pub comm: String,
    /// The work item that a kworker runs, where the kernel says it.
    pub work: Option<String>,
    /// The CPU that it was on at both.
    pub cpu: u32,
    /// The first.
    pub since: Mono,
    /// The last.
    pub last: Mono,
    /// Part of the time that it was in the kernel, 0 to 1: its run time without what the kernel counts as user time.
    /// Where that is sampled at ticks, a thread that runs between them has none.
    pub in_kernel: f64,
    /// How long it was in the kernel each time that it was put on a CPU, the mean.
    pub at_a_time: Duration,
}

#[derive(Debug)]
struct Seen {
    start_ticks: Option<u64>,
    cpu: Option<u32>,
    begin: Mono,
    mark: Mark,
    user_ticks: u64,
    share: Option<Share>,
}

/// All threads that were busy at a look.
#[derive(Debug, Default)]
pub struct Shares(HashMap<Tid, Seen>);

impl Shares {
    /// Takes a look at a busy thread.
    pub fn detail(&mut self, detail: &Detail) {
        let Some(busy) = &detail.busy else { return };
        self.0.retain(|_, seen| busy.end.since(seen.begin) <= KEPT);
        let before = self.0.remove(&detail.tid).filter(|seen| seen.start_ticks == detail.start_ticks);
        if self.0.len() >= SEEN_MAX {
            return;
        }
        let proved = before.as_ref().and_then(|seen| {
            let ran = detail.mark.run_ns.checked_sub(seen.mark.run_ns)?;
            let slices = detail.mark.slices.checked_sub(seen.mark.slices)?;
            // One more tick may have been about to come.
            let user =
                busy.user_ticks.checked_sub(seen.user_ticks)?.saturating_add(1).saturating_mul(TICK_NS);
            let time = nanos(busy.end.since(seen.begin));
            let in_kernel = ran.saturating_sub(user) as f64 / time.max(1) as f64;
            let cpu = detail.cpu.filter(|cpu| seen.cpu == Some(*cpu))?;
            (in_kernel >= FROM).then(|| Share {
                pid: busy.pid,
                comm: busy.comm.clone(),
                work: busy.work.clone(),
                cpu,
                since: seen.begin,
                last: busy.end,
                in_kernel: in_kernel.min(1.0),
                at_a_time: Duration::from_nanos(ran.saturating_sub(user) / slices.max(1)),
            })
        });
        let earlier = before.and_then(|seen| seen.share);
        let seen = Seen {
            start_ticks: detail.start_ticks,
            cpu: detail.cpu,
            begin: busy.begin,
            mark: detail.mark,
            user_ticks: busy.user_ticks,
            share: proved.or(earlier),
        };
        self.0.insert(detail.tid, seen);
    }

    /// Who was in the kernel for a good part of a recent time, in no order.
    pub fn iter(&self, now: Mono) -> impl Iterator<Item = (Tid, &Share)> {
        let shares = self.0.iter().filter_map(|(tid, seen)| Some((*tid, seen.share.as_ref()?)));
        shares.filter(move |(_, share)| now.since(share.last) <= KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Mark;
    use crate::sample::runnable::Busy;

    const MS: u64 = 1_000_000;

    /// Thread 7 at a millisecond: run time in ms, user ticks, CPU.
    fn at(ms: u64, ran: u64, user_ticks: u64, cpu: u32) -> Detail {
        let now = Mono::from_nanos(ms * MS);
        let comm = "cadvisor".to_owned();
        let busy = Busy { pid: 5, comm, work: None, begin: now, end: now, user_ticks, voluntary: ms };
        Detail {
            tid: 7,
            mark: Mark { slices: ms, run_ns: ran * MS },
            start_ticks: Some(3),
            cpu: Some(cpu),
            busy: Some(busy),
            ..Detail::default()
        }
    }

    /// In per cent, and the milliseconds between the two looks.
    fn told(details: &[Detail], now: u64) -> Option<(u64, u128)> {
        let mut shares = Shares::default();
        details.iter().for_each(|detail| shares.detail(detail));
        let (tid, share) = shares.iter(Mono::from_nanos(now * MS)).next()?;
        assert_eq!((tid, share.pid, share.comm.as_str(), share.cpu), (7, 5, "cadvisor", 1));
        Some(((share.in_kernel * 100.0) as u64, share.last.since(share.since).as_millis()))
    }

    #[test]
    fn who_sleeps_in_between_is_told_and_user_time_is_taken_off() {
        assert_eq!(told(&[at(1000, 500, 4, 1)], 1000), None, "one look proves nothing");
        assert_eq!(told(&[at(1000, 500, 4, 1), at(3000, 2300, 4, 1)], 3000), Some((89, 2000)));
        assert_eq!(told(&[at(1000, 500, 4, 1), at(3000, 2300, 175, 1)], 3000), Some((4, 2000)));
        assert_eq!(
            told(&[at(1000, 500, 4, 1), at(3000, 2300, 176, 1)], 3000),
            None,
            "nearly all of it at home"
        );
        assert_eq!(told(&[at(1000, 500, 4, 2), at(3000, 2300, 4, 1)], 3000), None, "on two CPUs");
    }

    #[test]
    fn time_at_home_is_no_stay_in_the_kernel() {
        let at_a_time = |user_ticks| {
            let mut shares = Shares::default();
            let mark = |slices, ran| Mark { slices, run_ns: ran * MS };
            shares.detail(&Detail { mark: mark(0, 0), ..at(1000, 0, 0, 1) });
            shares.detail(&Detail { mark: mark(10, 9900), ..at(11_000, 9900, user_ticks, 1) });
            shares.iter(Mono::from_nanos(11_000 * MS)).next().map(|(_, share)| share.at_a_time.as_millis())
        };
        assert_eq!((at_a_time(0), at_a_time(920)), (Some(989), Some(69)));
    }

    #[test]
    fn it_is_told_for_a_minute_whatever_the_next_look_says() {
        let looks = [at(1000, 0, 0, 1), at(3000, 1900, 0, 1), at(5000, 1910, 0, 1)];
        assert_eq!(told(&looks, 63_000), Some((94, 2000)));
        assert_eq!(told(&looks, 63_001), None);
    }

    #[test]
    fn another_thread_under_the_same_id_begins_anew_and_the_bound_is_kept() {
        let reborn = Detail { start_ticks: Some(4), ..at(3000, 2300, 4, 1) };
        assert_eq!(told(&[at(1000, 500, 4, 1), reborn], 3000), None);
        let mut shares = Shares::default();
        for tid in 0..2000 {
            shares.detail(&Detail { tid, ..at(1000, 0, 0, 1) });
        }
        assert_eq!(shares.0.len(), SEEN_MAX);
        shares.detail(&at(90_000, 0, 0, 1));
        assert_eq!(shares.0.len(), 1, "the old ones made room");
    }
}
