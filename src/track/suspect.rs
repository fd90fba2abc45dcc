//! The join: who probably holds up those who wait, and why. Nobody can read the owner of a lock from outside; but
//! somebody who has it and gives it back to nobody is in a state of its own, and there are few such states: runnable
//! and not run (throttled, or behind something on its CPU), asleep elsewhere inside the same lock, spinning in the
//! kernel, or a device that completes nothing. Each ground adds to a score, which orders the suspects and is no
//! measured probability; below [`NAMED_FROM`] nobody is named.

mod packets;

use std::time::Duration;

use crate::base::clock::Mono;
use crate::track::findings::Victims;
use crate::track::quotas::Throttling;
use crate::track::resource::{Nature, Resource, function};
use crate::track::scene::{Party, Scene, StuckDevice};
pub use packets::of_packets;

/// A score from which on a suspect is named, in tenths.
pub const NAMED_FROM: u32 = 3;
/// No score is higher: it is never certain.
const SCORE_MAX: u32 = 9;
/// Two that begin at the same moment may be seen one walk and a look apart.
const SAME_TIME: Duration = Duration::from_secs(6);
/// Who began to stand still this long before the first waiter had the lock for so long without anybody asking for it,
/// which the locks that matter are not left alone for.
const LONG_BEFORE: Duration = Duration::from_secs(120);
/// A runnable thread that was off its CPU for less is nobody's holder: every busy host has such ones.
const STARVED_MIN: Duration = Duration::from_secs(1);
/// A spin that lasted less is ordinary work.
const SPIN_MIN: Duration = Duration::from_secs(2);
/// Most threads of each sort that are looked at as suspects of one group of waiters, the longest first.
const CANDIDATES_MAX: usize = 64;

/// Why somebody is suspected; the label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Runnable and not run, in a group that its quota throttles.
    ThrottledRunnable,
    /// Runnable and not run for another cause.
    StarvedRunnable,
    /// Asleep elsewhere, in a function that has the lock.
    AsleepInside,
    /// Asleep elsewhere, since about the same time.
    AsleepElsewhere,
    /// It burns CPU time in the kernel and does not leave it.
    KernelSpin,
    /// It was in the kernel for a good part of a while, in many short stays.
    KernelTime,
    /// It has I/O in flight and completes none.
    DeviceSilent,
    /// The group has used up its quota.
    Quota,
}

impl Reason {
    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThrottledRunnable => "throttled_runnable",
            Self::StarvedRunnable => "starved_runnable",
            Self::AsleepInside => "asleep_inside",
            Self::AsleepElsewhere => "asleep_elsewhere",
            Self::KernelSpin => "kernel_spin",
            Self::KernelTime => "kernel_time",
            Self::DeviceSilent => "device_silent",
            Self::Quota => "quota",
        }
    }
}

/// Who.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// A thread.
    Thread(Party<'a>),
    /// A block device.
    Device(StuckDevice<'a>),
    /// A control group.
    Group(&'a str),
}

/// One suspect.
#[derive(Debug, Clone)]
pub struct Suspect<'a> {
    /// Who.
    pub who: Who<'a>,
    /// Why, in a word.
    pub reason: Reason,
    /// How sure, in tenths.
    pub score: u32,
    /// Why, in words, a clause each.
    pub because: Vec<String>,
}

/// When somebody began to stand still, against the first of those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    LongBefore,
    Before,
    Together,
    After,
}

impl Began {
    fn of(since: Mono, first: Mono) -> Self {
        if since > first.plus(SAME_TIME) {
            Self::After
        } else if since > first {
            Self::Together
        } else if first.since(since) > LONG_BEFORE {
            Self::LongBefore
        } else {
            Self::Before
        }
    }
}

impl<'a> Suspect<'a> {
    fn new(who: Who<'a>, reason: Reason) -> Self {
        Self { who, reason, score: 0, because: Vec::new() }
    }

    /// A spin as the one that keeps the threads of its CPU waiting.
    pub fn of_spin(party: Party<'a>) -> Self {
        let why = format!("it has the CPU and has not left the kernel for {}", seconds(party.length()));
        Self::new(Who::Thread(party), Reason::KernelSpin).ground(8, why)
    }

    /// A device that completes nothing as the cause of its own stall.
    pub fn of_device(device: StuckDevice<'a>) -> Self {
        Self::new(Who::Device(device), Reason::DeviceSilent).ground(8, silence(&device))
    }

    fn ground(mut self, tenths: u32, why: impl Into<String>) -> Self {
        self.score = self.score.saturating_add(tenths).min(SCORE_MAX);
        self.because.push(why.into());
        self
    }

    fn halved(mut self, why: &str) -> Self {
        self.score /= 2;
        self.because.push(why.to_owned());
        self
    }

    /// What holds a lock up begins before those who wait for it.
    fn timed(self, began: Began) -> Self {
        match began {
            Began::LongBefore | Began::Before => self.ground(2, "that began before the first of them waited"),
            Began::Together => self.ground(1, "that began at about the time when the first of them did"),
            Began::After => self.halved("but that began only after the first of them waited"),
        }
    }
}

/// Who probably holds up those who wait for one thing, the most probable first.
pub fn of_waiters<'a>(
    scene: &Scene<'a>,
    resource: Option<Resource<'a>>,
    victims: &Victims<'a>,
) -> Vec<Suspect<'a>> {
    let Some(first) = victims.first else { return Vec::new() };
    let case = Case { scene, resource, nature: resource.map(|resource| resource.nature), first };
    let elsewhere = |party: &&Party<'a>| {
        // Who waits for the same thing, under whatever name, is no holder.
        let same = party.resource == resource.map(|resource| resource.name);
        let near = Began::of(party.since, first) != Began::LongBefore;
        !same && (near || !party.stack.is_empty())
    };
    let starved = scene.starved.iter().take(CANDIDATES_MAX).filter_map(|party| case.runnable(party));
    let spinning = scene.spinning.iter().take(CANDIDATES_MAX).filter_map(|party| case.spinning(party));
    let asleep = scene.waiting.iter().filter(elsewhere).take(CANDIDATES_MAX);
    let asleep = asleep.filter_map(|party| case.asleep(party));
    let devices = scene.devices.iter().take(CANDIDATES_MAX).filter_map(|device| case.silent(*device));
    ordered(starved.chain(spinning).chain(asleep).chain(devices).collect())
}

/// Who probably keeps runnable threads from their CPU: the quota of their group, or who is on the CPU.
pub fn of_starved<'a>(scene: &Scene<'a>, group: Option<&'a str>, cpu: Option<u32>) -> Vec<Suspect<'a>> {
    let mut suspects = Vec::new();
    if let Some((group, throttling)) = group.and_then(|group| Some((group, scene.throttling_of(group)?))) {
        let why = format!(
            "the group may use {} of a CPU and was throttled in {:.0} % of its last periods",
            cores(throttling.quota_cores),
            throttling.share * 100.0
        );
        suspects.push(Suspect::new(Who::Group(group), Reason::Quota).ground(9, why));
    }
    let on_cpu = scene.spinning.iter().filter(|party| cpu.is_some() && party.cpu == cpu);
    suspects.extend(on_cpu.filter(|party| party.length() >= SPIN_MIN).map(|party| Suspect::of_spin(*party)));
    ordered(suspects)
}

/// Those who wait for one thing, for which a holder is looked for.
struct Case<'s, 'a> {
    scene: &'s Scene<'a>,
    resource: Option<Resource<'a>>,
    nature: Option<Nature>,
    /// When the first of them was first seen to wait.
    first: Mono,
}

impl<'a> Case<'_, 'a> {
    /// What is waited for is a lock, or may be one.
    fn of_lock(&self) -> bool {
        matches!(self.nature, Some(Nature::Lock | Nature::ObjectLock) | None)
    }

    /// A thread that could run and does not: it keeps what it holds.
    fn runnable(&self, party: &Party<'a>) -> Option<Suspect<'a>> {
        let began = Began::of(party.since, self.first);
        if party.length() < STARVED_MIN || !self.of_lock() {
            return None;
        }
        let stands = format!("it is runnable and has not run for {}", seconds(party.length()));
        if let Some(throttling) = self.scene.throttling(party) {
            let suspect = Suspect::new(Who::Thread(*party), Reason::ThrottledRunnable).ground(3, stands);
            return Some(self.throttled(suspect, throttling).timed(began));
        }
        // Behind others on its CPU: on a loaded host many are, so it must fit in every other respect.
        let fits = self.nature.is_some() && matches!(began, Began::Before | Began::Together);
        let suspect = Suspect::new(Who::Thread(*party), Reason::StarvedRunnable).ground(2, stands);
        fits.then(|| suspect.timed(began))
    }

    /// The grounds that a quota gives.
    fn throttled(&self, suspect: Suspect<'a>, throttling: Throttling) -> Suspect<'a> {
        let why = format!(
            "its group may use {} of a CPU and was throttled in {:.0} % of its last periods",
            cores(throttling.quota_cores),
            throttling.share * 100.0
        );
        if self.scene.throttle_keeps_locks {
            let suspect = suspect.ground(3, why);
            match self.nature {
                Some(Nature::Lock) => suspect.ground(1, "what they wait for is a lock, which some task has"),
                _ => suspect,
            }
        } else {
            let but = "but this kernel (from 6.18) throttles a task only where it holds no lock";
            suspect.ground(0, why).halved(but)
        }
    }

    /// A thread that burns CPU time in the kernel: it may have the lock, and no grace period ends beside it.
    fn spinning(&self, party: &Party<'a>) -> Option<Suspect<'a>> {
        let began = Began::of(party.since, self.first);
        if party.length() < SPIN_MIN {
            return None;
        }
        let length = seconds(party.length());
        // A holder in a throttled group runs a little in each period: it spins, slowly.
        if let Some(throttling) = self.scene.throttling(party).filter(|_| self.of_lock()) {
            let why = format!("it has not left the kernel for {length}, and may do so inside the lock");
            let suspect = Suspect::new(Who::Thread(*party), Reason::ThrottledRunnable).ground(2, why);
            return Some(self.throttled(suspect, throttling).timed(began));
        }
        let (tenths, meaning) = match self.nature? {
            Nature::GracePeriod => (6, "no grace period ends before each CPU has left the kernel"),
            Nature::KernelThread => (4, "the kernel threads of its CPU wait behind it"),
            // Some kernel threads poll all day.
            Nature::Lock | Nature::ObjectLock if began == Began::LongBefore => return None,
            Nature::Lock | Nature::ObjectLock => (2, "it may do so inside the lock"),
            Nature::Io | Nature::Other => return None,
        };
        let why = format!("it has not left the kernel for {length}, and {meaning}");
        Some(Suspect::new(Who::Thread(*party), Reason::KernelSpin).ground(tenths, why).timed(began))
    }

    /// A thread in D on something else: inside the same lock by its stack, or because it fell asleep in time.
    fn asleep(&self, party: &Party<'a>) -> Option<Suspect<'a>> {
        let resource = self.resource?;
        let (own, began) = (self.scene.waited_for(party), Began::of(party.since, self.first));
        if let Some(inside) = self.scene.resources.held_in(resource.name, party.stack) {
            let why = format!("its kernel stack is inside {inside}, which has {}", resource.title);
            let mut suspect = Suspect::new(Who::Thread(*party), Reason::AsleepInside).ground(7, why);
            if waits_for_a_lock(party.stack) {
                suspect = suspect.halved("but it waits for a lock there, perhaps the same");
            }
            if resource.nature == Nature::ObjectLock {
                suspect = suspect.halved("of some object, perhaps another one");
            }
            return Some(waits_itself(suspect, own, party).timed(began));
        }
        if !self.of_lock() || matches!(began, Began::After | Began::LongBefore) {
            return None;
        }
        let why = "it has been in D, on something else, since about the first of them waited, or before";
        let suspect = Suspect::new(Who::Thread(*party), Reason::AsleepElsewhere).ground(2, why);
        let suspect = match own.map(|own| own.nature) {
            // It is in a queue of its own: a victim of the same trouble rather than its cause.
            Some(Nature::Lock | Nature::ObjectLock) => return None,
            Some(Nature::GracePeriod) => {
                suspect.ground(2, "whoever waits for a grace period often has a lock")
            }
            _ => suspect.ground(1, "whoever sleeps in the kernel may have a lock"),
        };
        Some(waits_itself(suspect, own, party))
    }

    /// A device that completes nothing.
    fn silent(&self, device: StuckDevice<'a>) -> Option<Suspect<'a>> {
        let tenths = match self.nature {
            Some(Nature::Io) => 7,
            None => 2,
            Some(_) => return None,
        };
        let suspect =
            Suspect::new(Who::Device(device), Reason::DeviceSilent).ground(tenths, silence(&device));
        Some(suspect.timed(Began::of(device.since, self.first)))
    }
}

fn silence(device: &StuckDevice<'_>) -> String {
    let length = seconds(device.length());
    if device.suspended {
        format!("device mapper has held it back (suspended) for {length}")
    } else {
        format!("{} I/O in flight and none completed for {length}", device.inflight)
    }
}

/// The innermost functions are those of a lock.
fn waits_for_a_lock(stack: &[String]) -> bool {
    const LOCKS: [&str; 6] =
        ["mutex_lock", "rwsem_down", "down_read", "down_write", "__down", "percpu_rwsem"];
    let mut innermost = stack.iter().take(2).map(|frame| function(frame).trim_start_matches('_'));
    innermost.any(|called| LOCKS.iter().any(|lock| called.starts_with(lock.trim_start_matches('_'))))
}

/// The chain's next link.
fn waits_itself<'a>(suspect: Suspect<'a>, own: Option<Resource<'a>>, party: &Party<'a>) -> Suspect<'a> {
    match (own, party.wchan) {
        (Some(own), _) => suspect.ground(0, format!("it waits itself for {}", own.title)),
        (None, Some(wchan)) => suspect.ground(0, format!("it sleeps itself in {}", function(wchan))),
        (None, None) => suspect,
    }
}

/// The named ones, the most probable first; of equals whoever stands still longest.
fn ordered(mut suspects: Vec<Suspect<'_>>) -> Vec<Suspect<'_>> {
    suspects.retain(|suspect| suspect.score >= NAMED_FROM);
    let length = |suspect: &Suspect<'_>| match suspect.who {
        Who::Thread(party) => party.length(),
        Who::Device(device) => device.length(),
        Who::Group(_) => Duration::MAX,
    };
    suspects.sort_by_key(|suspect| std::cmp::Reverse((suspect.score, length(suspect))));
    suspects
}

/// A quota as people write it.
fn cores(cores: f64) -> String {
    let text = format!("{cores:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Seconds without a fraction, from ten on.
pub fn seconds(length: Duration) -> String {
    if length < Duration::from_secs(10) {
        format!("{:.1} s", length.as_secs_f64())
    } else {
        format!("{} s", length.as_secs())
    }
}
