//! What is stuck, put together: those who wait for the same thing are one finding, with their suspects.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::track::resource::{Nature, Resource, function};
use crate::track::scene::{LatePackets, Party, Scene, StuckDevice, longest};
use crate::track::suspect::{Suspect, of_packets, of_starved, of_waiters};

/// Most stalls of each sort that suspects and victims are looked for, the longest first. Of the others only how long is
/// told.
const JOINED_MAX: usize = 40;
/// Most victims that are listed; all are counted.
pub const VICTIMS_MAX: usize = 64;

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
    /// Packets of a CPU that come late again and again; nobody is listed, as nobody stands still for long.
    Packets(LatePackets),
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
    /// Who makes no progress because of it.
    pub victims: Victims<'a>,
    /// Who probably holds it up, the most probable first.
    pub suspects: Vec<Suspect<'a>>,
}

/// Threads that make no progress for one cause: all are counted, and a few are listed.
#[derive(Debug, Clone, Default)]
pub struct Victims<'a> {
    /// How many.
    pub tasks: u64,
    /// The longest first, at most [`VICTIMS_MAX`], beside which those of services are listed as well.
    pub listed: Vec<Party<'a>>,
    /// The services that they belong to, a bit each.
    pub services: u64,
    /// When the first of them was first seen so.
    pub first: Option<Mono>,
    /// Their wait channels, `None` where the kernel does not say: how many, and the longest.
    pub wchans: BTreeMap<Option<&'a str>, (u64, Duration)>,
}

impl<'a> Victims<'a> {
    /// Those of `parties`, which come the longest first.
    fn of(parties: impl IntoIterator<Item = Party<'a>>) -> Self {
        let mut victims = Self::default();
        parties.into_iter().for_each(|party| victims.add(party));
        victims
    }

    fn add(&mut self, party: Party<'a>) {
        self.tasks = self.tasks.saturating_add(1);
        let of_new_service = party.services & !self.services != 0;
        self.services |= party.services;
        self.first = Some(self.first.map_or(party.since, |first| first.min(party.since)));
        let (tasks, longest) = self.wchans.entry(party.wchan).or_default();
        *tasks = tasks.saturating_add(1);
        *longest = party.length().max(*longest);
        if self.listed.len() < VICTIMS_MAX || of_new_service {
            self.listed.push(party);
        }
    }

    /// The longest wait among them.
    pub fn longest(&self) -> Option<Duration> {
        self.wchans.values().map(|(_, longest)| *longest).max()
    }
}

/// Everything that is stuck, the longest first.
pub fn findings<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let mut found = blocked(scene);
    found.extend(devices(scene));
    found.extend(off_cpu(scene));
    found.extend(packets(scene));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.length));
    found
}

/// One finding for everybody in D who waits for the same thing, under whatever name.
fn blocked<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let mut groups: HashMap<&str, (On<'a>, Victims<'a>)> = HashMap::new();
    for party in &scene.waiting {
        let (key, on) = match (scene.waited_for(party), party.wchan) {
            (Some(resource), _) => (resource.name, On::Resource(resource)),
            (None, Some(wchan)) => (function(wchan), On::Function(Some(function(wchan)))),
            (None, None) => ("", On::Function(None)),
        };
        groups.entry(key).or_insert_with(|| (on, Victims::default())).1.add(*party);
    }
    let finding = |(on, victims): (On<'a>, Victims<'a>)| Finding {
        on,
        length: victims.longest().unwrap_or_default(),
        victims,
        suspects: Vec::new(),
    };
    let mut found: Vec<Finding<'a>> = groups.into_values().map(finding).collect();
    found.sort_by_key(|finding| std::cmp::Reverse(finding.length));
    for finding in found.iter_mut().take(JOINED_MAX) {
        let resource = if let On::Resource(resource) = finding.on { Some(resource) } else { None };
        finding.suspects = of_waiters(scene, resource, &finding.victims);
    }
    found
}

/// Each device that completes nothing, with those who wait for I/O. Whose I/O it is cannot be read from outside.
fn devices<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    if scene.devices.is_empty() {
        return Vec::new();
    }
    let io =
        |party: &&Party<'a>| scene.waited_for(party).is_some_and(|resource| resource.nature == Nature::Io);
    let waiting = Victims::of(scene.waiting.iter().filter(io).copied());
    let finding = |(number, device): (usize, &StuckDevice<'a>)| Finding {
        on: On::Device(*device),
        length: device.length(),
        victims: if number < JOINED_MAX { waiting.clone() } else { Victims::default() },
        suspects: vec![Suspect::of_device(*device)],
    };
    scene.devices.iter().enumerate().map(finding).collect()
}

/// Who does not run, by the group whose quota holds it or by CPU; and who does not leave the kernel, with those of its
/// CPU.
fn off_cpu<'a>(scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let spins = scene.spinning.iter().filter(|party| party.length() >= scene.thresholds.spin);
    let mut spins: Vec<Finding<'a>> = spins
        .map(|party| Finding {
            on: On::Spin(*party),
            length: party.length(),
            victims: Victims::default(),
            suspects: vec![Suspect::of_spin(*party)],
        })
        .collect();
    let by_cpu: HashMap<u32, usize> =
        spins.iter().enumerate().rev().filter_map(|(at, spin)| Some((spin.cpu()?, at))).collect();
    let mut groups: BTreeMap<(Option<&str>, Option<u32>), Victims<'a>> = BTreeMap::new();
    for party in late(scene) {
        let throttled = party.group.filter(|group| scene.throttling_of(group).is_some());
        let spin = party.cpu.and_then(|cpu| by_cpu.get(&cpu)).and_then(|at| spins.get_mut(*at));
        match spin.filter(|_| throttled.is_none()) {
            Some(spin) => spin.victims.add(party),
            // Of a throttled group's threads each CPU is the same story.
            None => {
                let cpu = if throttled.is_some() { None } else { party.cpu };
                groups.entry((throttled, cpu)).or_default().add(party);
            }
        }
    }
    let starved = groups.into_iter().map(|((group, cpu), victims)| Finding {
        on: group.map_or(On::Cpu(cpu), On::Group),
        length: victims.longest().unwrap_or_default(),
        victims,
        suspects: of_starved(scene, group, cpu),
    });
    let mut found: Vec<Finding<'a>> = starved.collect();
    found.extend(spins);
    found
}

/// The CPUs whose packets come late. Where `ksoftirqd` stands still for good, that is the story.
fn packets<'a>(scene: &Scene<'a>) -> impl Iterator<Item = Finding<'a>> {
    let stands = |packets: &&LatePackets| scene.kthreads.iter().any(|party| party.tid == packets.tid);
    scene.packets.iter().filter(move |packets| !stands(packets)).map(|packets| Finding {
        on: On::Packets(*packets),
        length: packets.lateness.last.since(packets.lateness.first),
        victims: Victims::default(),
        suspects: of_packets(scene, packets),
    })
}

/// Who does not get a CPU, each thread once: a kernel thread may be known by two lanes.
fn late<'a>(scene: &Scene<'a>) -> Vec<Party<'a>> {
    let starved = scene.starved.iter().filter(|party| party.length() >= scene.thresholds.starved);
    let mut seen = HashSet::new();
    let mut parties = longest(starved.chain(&scene.kthreads).copied());
    parties.retain(|party| seen.insert(party.tid));
    parties
}

impl Finding<'_> {
    fn cpu(&self) -> Option<u32> {
        if let On::Spin(party) = self.on { party.cpu } else { None }
    }
}

#[cfg(test)]
mod tests;
