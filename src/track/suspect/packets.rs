//! Late packets: each stay of somebody in the kernel is too short for a stall, so the grounds are how much of the time
//! it was there, and how long at a time.

use std::cmp::Reverse;

use crate::track::late::LATE;
use crate::track::scene::{InKernel, LatePackets, Party, Scene};
use crate::track::suspect::{CANDIDATES_MAX, NAMED_FROM, Reason, SPIN_MIN, Suspect, Who, seconds};

/// Part of the time in the kernel that is much: others may want the CPU too, and then a third of it is all there is.
const MUCH_KERNEL_TIME: f64 = 0.25;

/// Who probably keeps a CPU's packets waiting, again and again: who was in the kernel there for a good part of the same
/// time. `ksoftirqd` is, when it catches up.
pub fn of_packets<'a>(scene: &Scene<'a>, packets: &LatePackets) -> Vec<Suspect<'a>> {
    let LatePackets { cpu, tid, lateness } = packets;
    let meanwhile = |party: &Party<'_>| party.since <= lateness.last && party.last >= lateness.first;
    let here = scene.in_kernel.iter().filter(|busy| busy.party.cpu == Some(*cpu) && busy.party.tid != *tid);
    let suspect = |busy: &InKernel<'a>| {
        let spins = |spin: &&Party<'_>| spin.tid == busy.party.tid && spin.length() >= SPIN_MIN;
        let spin = scene.spinning.iter().find(spins);
        spin.map_or_else(|| of_kernel_time(busy), |spin| Suspect::of_spin(*spin))
    };
    let mut suspects: Vec<Suspect<'a>> =
        here.filter(|busy| meanwhile(&busy.party)).take(CANDIDATES_MAX).map(suspect).collect();
    suspects.retain(|suspect| suspect.score >= NAMED_FROM);
    // Of equals whoever was there for the largest part.
    suspects.sort_by_key(|suspect| Reverse(suspect.score));
    suspects
}

/// Time in the kernel as what makes the packets of its CPU late.
fn of_kernel_time<'a>(busy: &InKernel<'a>) -> Suspect<'a> {
    let InKernel { party, part, at_a_time } = *busy;
    let (length, percent) = (seconds(party.length()), part * 100.0);
    let why =
        format!("it was in the kernel for {percent:.0} % of {length}, and on that CPU at both ends of them");
    let tenths = if part >= MUCH_KERNEL_TIME { 5 } else { 2 };
    let suspect = Suspect::new(Who::Thread(party), Reason::KernelTime).ground(tenths, why);
    if at_a_time < LATE {
        return suspect;
    }
    // Who can be preempted gives way within milliseconds to a ksoftirqd that waits.
    suspect.ground(4, format!("it was there for {} at a time", seconds(at_a_time)))
}
