//! What is stuck, put together: those who wait for the same thing are one finding, with their suspects.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::track::resource::{Resource, function};
use crate::track::scene::{Party, Scene, StuckDevice};
use crate::track::suspect::{Suspect, of_starved, of_waiters};

/// Most groups of waiters that suspects are looked for; beyond these nothing is shown, and a tick must stay cheap.
const JOINED_MAX: usize = 40;

/// What a finding is about.
#[derive(Debug, Clone, Copy)]
pub enum On<'a> {
    /// Threads in D on functions that mean this.
    Resource(Resource<'a>),
    /// Threads in D in a function that means nothing to us; `None` when the kernel does not say which.
    Function(Option<&'a str>),
    /// Threads that do not run because of this group's quota.
    Group(&'a str),
    /// Threads that do not run, in the queue of this CPU, where it is known.
    Cpu(Option<u32>),
    /// A thread that does not leave the kernel; the victims are those behind it on its CPU.
    Spin(Party<'a>),
    /// A device that completes nothing; the victims are those who wait for I/O.
    Device(StuckDevice<'a>),
}

/// One stall.
#[derive(Debug, Clone)]
pub struct Finding<'a> {
    /// What it is about.
    pub on: On<'a>,
    /// How long, at least.
    pub length: Duration,
    /// Who makes no progress because of it, the longest first.
    pub victims: Vec<Party<'a>>,
    /// Who probably holds it up, the most probable first.
    pub suspects: Vec<Suspect<'a>>,
}

impl<'a> Finding<'a> {
    fn new(on: On<'a>, victims: Vec<Party<'a>>, suspects: Vec<Suspect<'a>>) -> Self {
        let length = victims.iter().map(Party::length).max().unwrap_or_default();
        Self { on, length, victims, suspects }
    }

    /// The wait channels of the victims with their number, the most frequent first; `None` where the kernel does not
    /// say.
    pub fn wchans(&self) -> Vec<(Option<&'a str>, Vec<&Party<'a>>)> {
        let mut by_wchan: BTreeMap<Option<&str>, Vec<&Party<'a>>> = BTreeMap::new();
        for victim in &self.victims {
            by_wchan.entry(victim.wchan).or_default().push(victim);
        }
        let mut wchans: Vec<_> = by_wchan.into_iter().collect();
        wchans.sort_by_key(|(_, parties)| std::cmp::Reverse(parties.len()));
        wchans
    }
}

/// Everything that is stuck, the longest first.
pub fn findings<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let mut found = blocked(scene);
    found.extend(devices(scene));
    let (starved, spins) = off_cpu(scene);
    found.extend(starved);
    found.extend(spins);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.length));
    found
}

/// One finding for everybody in D who waits for the same thing, under whatever name.
fn blocked<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let mut groups: BTreeMap<&str, (On<'a>, Vec<Party<'a>>)> = BTreeMap::new();
    for party in &scene.waiting {
        let (key, on) = match (scene.waited_for(party), party.wchan) {
            (Some(resource), _) => (resource.name, On::Resource(resource)),
            (None, Some(wchan)) => (function(wchan), On::Function(Some(function(wchan)))),
            (None, None) => ("", On::Function(None)),
        };
        groups.entry(key).or_insert_with(|| (on, Vec::new())).1.push(*party);
    }
    let mut found: Vec<Finding<'a>> =
        groups.into_values().map(|(on, victims)| Finding::new(on, victims, Vec::new())).collect();
    found.sort_by_key(|finding| std::cmp::Reverse(finding.length));
    for finding in found.iter_mut().take(JOINED_MAX) {
        let resource = if let On::Resource(resource) = finding.on { Some(resource) } else { None };
        finding.suspects = of_waiters(scene, resource, &finding.victims);
    }
    found
}

/// Each device that completes nothing, with those who wait for I/O. Whose I/O it is cannot be read from outside.
fn devices<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let io = |party: &&Party<'a>| scene.waited_for(party).is_some_and(|resource| resource.io());
    let waiting: Vec<Party<'a>> = scene.waiting.iter().filter(io).copied().collect();
    let finding = |device: &StuckDevice<'a>| Finding {
        on: On::Device(*device),
        length: device.length(),
        victims: waiting.clone(),
        suspects: Vec::new(),
    };
    scene.devices.iter().map(finding).collect()
}

/// Who does not run, by the group whose quota holds it or by CPU; and who does not leave the kernel, with those of its
/// CPU.
fn off_cpu<'a>(scene: &Scene<'a>) -> (Vec<Finding<'a>>, Vec<Finding<'a>>) {
    let spins = scene.spinning.iter().filter(|party| party.length() >= scene.thresholds.spin);
    let mut spins: Vec<Finding<'a>> = spins
        .map(|party| Finding {
            length: party.length(),
            ..Finding::new(On::Spin(*party), Vec::new(), Vec::new())
        })
        .collect();
    let mut groups: BTreeMap<(Option<&str>, Option<u32>), Vec<Party<'a>>> = BTreeMap::new();
    let starved = scene.starved.iter().filter(|party| party.length() >= scene.thresholds.starved);
    for party in starved.chain(&scene.kthreads) {
        let throttled = party.group.filter(|group| scene.throttling_of(group).is_some());
        if throttled.is_none()
            && let Some(spin) = spins.iter_mut().find(|spin| spin.is_of_cpu(party.cpu))
        {
            spin.victims.push(*party);
            continue;
        }
        // Of a throttled group's threads each CPU is the same story.
        let cpu = if throttled.is_some() { None } else { party.cpu };
        groups.entry((throttled, cpu)).or_default().push(*party);
    }
    let finding = |((group, cpu), victims): ((Option<&'a str>, Option<u32>), Vec<Party<'a>>)| {
        let on = group.map_or(On::Cpu(cpu), On::Group);
        Finding::new(on, victims, of_starved(scene, group, cpu))
    };
    (groups.into_iter().map(finding).collect(), spins)
}

impl Finding<'_> {
    fn is_of_cpu(&self, cpu: Option<u32>) -> bool {
        matches!(self.on, On::Spin(party) if cpu.is_some() && party.cpu == cpu)
    }
}

#[cfg(test)]
mod tests;
