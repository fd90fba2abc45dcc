//! The join: who probably holds up those who wait, and why. Nobody can read the owner of a lock from outside; but
//! somebody who has it and gives it back to nobody is in a state of its own, and there are few such states: runnable
//! and not run (throttled, or behind something on its CPU), asleep elsewhere inside the same lock, spinning in the
//! kernel, or a device that completes nothing. Each ground adds to a score, which orders the suspects and is no
//! measured
//! probability; below [`NAMED_FROM`] nobody is named.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::track::resource::{Nature, Resource, function};
use crate::track::scene::{Party, Scene, StuckDevice};

/// A score from which on a suspect is named.
pub const NAMED_FROM: f64 = 0.3;
/// No score is higher: it is never certain.
const SCORE_MAX: f64 = 0.95;
/// What holds a lock up began before the first who waits for it; so much later its first look may have come.
const SLACK: Duration = Duration::from_secs(12);
/// Of two that fall asleep at the same time a walk may meet the waiter first, one walk and a look earlier.
const SAME_TIME: Duration = Duration::from_secs(6);
/// What a suspect whose trouble began later than the first wait is worth.
const LATER: f64 = 0.5;
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
    /// Asleep elsewhere, for as long as any who wait.
    AsleepLonger,
    /// It burns CPU time in the kernel and does not leave it.
    KernelSpin,
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
            Self::AsleepLonger => "asleep_longer",
            Self::KernelSpin => "kernel_spin",
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
    /// How sure, 0 to 1.
    pub score: f64,
    /// Why, in words, a clause each.
    pub because: Vec<String>,
}

impl<'a> Suspect<'a> {
    fn new(who: Who<'a>, reason: Reason) -> Self {
        Self { who, reason, score: 0.0, because: Vec::new() }
    }

    /// A spin as the one that keeps the threads of its CPU waiting.
    pub fn of_spin(party: Party<'a>) -> Self {
        let why =
            format!("it is on the same CPU and has not left the kernel for {}", seconds(party.length()));
        Self::new(Who::Thread(party), Reason::KernelSpin).ground(0.8, why)
    }

    fn ground(mut self, score: f64, why: impl Into<String>) -> Self {
        self.score += score;
        self.because.push(why.into());
        self
    }

    /// What holds a lock up began before those who wait for it, or its first look came within the slack.
    fn timed(self, since: Mono, first: Mono) -> Self {
        if since <= first.plus(SLACK) {
            self.ground(0.2, "that began before the first of them waited, or at the same time")
        } else {
            let mut later = self.ground(0.0, "but that began only after the first of them waited");
            later.score *= LATER;
            later
        }
    }
}

/// Who probably holds up those who wait for one thing, the most probable first. `victims` is not empty.
pub fn of_waiters<'a>(
    scene: &Scene<'a>,
    resource: Option<Resource<'a>>,
    victims: &[Party<'a>],
) -> Vec<Suspect<'a>> {
    let Some(first) = victims.iter().map(|victim| victim.since).min() else { return Vec::new() };
    let mut suspects = Vec::new();
    suspects.extend(
        scene.starved.iter().take(CANDIDATES_MAX).filter_map(|party| runnable(scene, resource, party, first)),
    );
    suspects.extend(
        scene
            .spinning
            .iter()
            .take(CANDIDATES_MAX)
            .filter_map(|party| spinning(scene, resource, party, first)),
    );
    let elsewhere = |party: &&Party<'_>| !victims.iter().any(|victim| victim.tid == party.tid);
    let asleep = scene.waiting.iter().filter(elsewhere).take(CANDIDATES_MAX);
    suspects.extend(asleep.filter_map(|party| asleep_elsewhere(scene, resource, party, first)));
    suspects.extend(scene.devices.iter().filter_map(|device| silent(resource, *device, first)));
    ordered(suspects)
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
        suspects.push(Suspect::new(Who::Group(group), Reason::Quota).ground(0.9, why));
    }
    let on_cpu = scene.spinning.iter().filter(|party| cpu.is_some() && party.cpu == cpu);
    for party in on_cpu.filter(|party| party.length() >= SPIN_MIN) {
        let why =
            format!("it is on the same CPU and has not left the kernel for {}", seconds(party.length()));
        suspects.push(Suspect::new(Who::Thread(*party), Reason::KernelSpin).ground(0.8, why));
    }
    ordered(suspects)
}

/// A thread that could run and does not: it keeps what it holds.
fn runnable<'a>(
    scene: &Scene<'a>,
    resource: Option<Resource<'a>>,
    party: &Party<'a>,
    first: Mono,
) -> Option<Suspect<'a>> {
    if party.length() < STARVED_MIN || resource.is_some_and(|resource| resource.nature == Nature::GracePeriod)
    {
        return None;
    }
    let stands = format!("it is runnable and has not run for {}", seconds(party.length()));
    let suspect = match scene.throttling(party) {
        Some(throttling) => {
            let suspect = Suspect::new(Who::Thread(*party), Reason::ThrottledRunnable).ground(0.3, stands);
            throttled(scene, suspect, throttling.quota_cores, throttling.share)
        }
        None => Suspect::new(Who::Thread(*party), Reason::StarvedRunnable).ground(0.2, stands),
    };
    Some(known_lock(suspect, resource).timed(party.since, first))
}

/// The grounds that a quota gives.
fn throttled<'a>(scene: &Scene<'a>, suspect: Suspect<'a>, quota_cores: f64, share: f64) -> Suspect<'a> {
    let why = format!(
        "its group may use {} of a CPU and was throttled in {:.0} % of its last periods",
        cores(quota_cores),
        share * 100.0
    );
    if scene.throttle_keeps_locks {
        suspect.ground(0.3, why)
    } else {
        let why = format!("{why}; but this kernel (from 6.18) throttles a task only where it holds no lock");
        suspect.ground(-0.2, why)
    }
}

/// A lock is held by a task; what else is waited for need not be.
fn known_lock<'a>(suspect: Suspect<'a>, resource: Option<Resource<'a>>) -> Suspect<'a> {
    match resource {
        Some(resource) if resource.nature == Nature::Lock => {
            suspect.ground(0.1, "what they wait for is a lock, which some task has")
        }
        _ => suspect,
    }
}

/// A thread that burns CPU time in the kernel: it may have the lock, and no grace period ends beside it.
fn spinning<'a>(
    scene: &Scene<'a>,
    resource: Option<Resource<'a>>,
    party: &Party<'a>,
    first: Mono,
) -> Option<Suspect<'a>> {
    if party.length() < SPIN_MIN {
        return None;
    }
    let (score, meaning) = match resource.map(|resource| resource.nature) {
        Some(Nature::GracePeriod) => (0.6, "and no grace period ends before each CPU has left the kernel"),
        Some(Nature::KernelThread) => (0.4, "and the kernel threads of its CPU wait behind it"),
        Some(Nature::Lock) | None => (0.2, "and may do so inside the lock"),
        Some(Nature::Io | Nature::Other) => (0.1, "and may be what they wait for"),
    };
    let why = format!("it has not left the kernel for {}, {meaning}", seconds(party.length()));
    // A holder in a throttled group runs a little in each period: it spins, slowly.
    if let Some(throttling) = scene.throttling(party) {
        let suspect = Suspect::new(Who::Thread(*party), Reason::ThrottledRunnable).ground(score, why);
        let suspect = throttled(scene, suspect, throttling.quota_cores, throttling.share);
        return Some(known_lock(suspect, resource).timed(party.since, first));
    }
    let suspect = Suspect::new(Who::Thread(*party), Reason::KernelSpin).ground(score, why);
    Some(suspect.timed(party.since, first))
}

/// A thread in D on another channel: inside the same lock by its stack, or because nobody waits longer.
fn asleep_elsewhere<'a>(
    scene: &Scene<'a>,
    resource: Option<Resource<'a>>,
    party: &Party<'a>,
    first: Mono,
) -> Option<Suspect<'a>> {
    let own = scene.waited_for(party);
    if let Some(resource) = resource
        && own.is_none_or(|own| own.name != resource.name)
        && let Some(inside) = scene.resources.held_in(resource.name, party.stack)
    {
        let why = format!("its kernel stack is inside {inside}, which has {}", resource.title);
        let suspect = Suspect::new(Who::Thread(*party), Reason::AsleepInside).ground(0.7, why);
        return Some(waits_itself(suspect, own, party).timed(party.since, first));
    }
    // Who waits for the same thing under another name is no holder.
    let same = match (own, resource) {
        (Some(own), Some(resource)) => own.name == resource.name,
        _ => false,
    };
    let lock = resource.is_none_or(|resource| resource.nature == Nature::Lock);
    if same || !lock || party.since > first.plus(SAME_TIME) {
        return None;
    }
    let length = seconds(party.length());
    let why = format!("it has been in D for {length}, as long as any of them, and on something else");
    let suspect = Suspect::new(Who::Thread(*party), Reason::AsleepLonger).ground(0.2, why);
    let suspect = match own.map(|own| own.nature) {
        // It is in a queue of its own: a victim of the same trouble rather than its cause.
        Some(Nature::Lock) => return None,
        Some(Nature::GracePeriod) => suspect.ground(0.2, "whoever waits for a grace period often has a lock"),
        _ => suspect.ground(0.1, "and whoever sleeps in the kernel may have a lock"),
    };
    Some(waits_itself(suspect, own, party))
}

/// The chain's next link.
fn waits_itself<'a>(suspect: Suspect<'a>, own: Option<Resource<'a>>, party: &Party<'a>) -> Suspect<'a> {
    match (own, party.wchan) {
        (Some(own), _) => suspect.ground(0.0, format!("it waits itself for {}", own.title)),
        (None, Some(wchan)) => suspect.ground(0.0, format!("it sleeps itself in {}", function(wchan))),
        (None, None) => suspect,
    }
}

/// A device that completes nothing.
fn silent<'a>(resource: Option<Resource<'a>>, device: StuckDevice<'a>, first: Mono) -> Option<Suspect<'a>> {
    let score = match resource.map(|resource| resource.nature) {
        Some(Nature::Io) => 0.7,
        None => 0.3,
        Some(_) => return None,
    };
    let length = seconds(device.length());
    let why = if device.suspended {
        format!("device mapper has held it back (suspended) for {length}")
    } else {
        format!("{} I/O in flight and none completed for {length}", device.inflight)
    };
    let suspect = Suspect::new(Who::Device(device), Reason::DeviceSilent).ground(score, why);
    Some(suspect.timed(device.since, first))
}

/// The named ones, the most probable first; of equals whoever stands still longest.
fn ordered(mut suspects: Vec<Suspect<'_>>) -> Vec<Suspect<'_>> {
    suspects.retain(|suspect| suspect.score >= NAMED_FROM);
    for suspect in &mut suspects {
        suspect.score = suspect.score.min(SCORE_MAX);
    }
    let length = |suspect: &Suspect<'_>| match suspect.who {
        Who::Thread(party) => party.length(),
        Who::Device(device) => device.length(),
        Who::Group(_) => Duration::MAX,
    };
    suspects.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| length(b).cmp(&length(a))));
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
