//! The findings in words, for someone who was woken by them and does not know the kernel.

use crate::collector::suspect::belongs;
use crate::collector::suspect::commands::{act_on, lift_quota, plain, prove};
use crate::config::Config;
use crate::snapshot::stall::{SUSPECTS_MAX, Stall, Suspect, TASKS_MAX, Task, Wchan};
use crate::track::findings::{Finding, On};
use crate::track::kind::Kind;
use crate::track::late::{LATE, WINDOW};
use crate::track::scene::{LatePackets, Party, StuckDevice};
use crate::track::suspect::{self, Who};

/// What a kind of wait is, and why it is no stall.
pub fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Hang => "A hang.",
        Kind::Vfork => {
            "A parent waits for the child that it made with vfork to start its program. It can be killed."
        }
        Kind::Freezer => {
            "Frozen on purpose: a paused container, a frozen group, a suspend. It goes on when thawed."
        }
        Kind::CoreDump => "Its process writes a core dump. Large processes take minutes.",
        Kind::Server => {
            "It waits for a file server (NFS, FUSE, SMB, 9p, Ceph) that does not answer. It can be killed."
        }
    }
}

/// A finding as a row of the report.
pub fn stall(finding: &Finding<'_>, config: &Config) -> Stall {
    let told = match finding.on {
        On::Resource(resource) => Told {
            kind: "blocked",
            on: resource.name.to_owned(),
            title: format!("{} for {}", who_waits(finding, config), resource.title),
            explain: resource.explain.to_owned(),
            act: owned(resource.act),
            avoid: owned(resource.avoid),
        },
        On::Function(function) => in_function(finding, function, config),
        On::Group(group) => throttled(finding, group),
        On::Cpu(cpu) => starved(finding, cpu),
        On::Spin(party) => spin(finding, &party),
        On::Packets(packets) => late(&packets),
        On::Device(device) => disk(&device),
    };
    // What frees them at once comes first.
    let act = finding.suspects.first().and_then(act_on).into_iter().chain(told.act).collect();
    Stall {
        key: format!("{}:{}", told.kind, told.on),
        kind: told.kind.to_owned(),
        title: told.title,
        seconds: finding.length.as_secs_f64(),
        explain: told.explain,
        wchans: wchans(finding),
        suspects: finding.suspects.iter().take(SUSPECTS_MAX).map(suspect_row).collect(),
        prove: prove(finding),
        act,
        avoid: told.avoid,
        tasks: listed(finding).into_iter().take(TASKS_MAX).map(|party| task(party, config)).collect(),
        tasks_total: finding.victims.tasks,
    }
}

/// What differs between the kinds.
struct Told {
    kind: &'static str,
    on: String,
    title: String,
    explain: String,
    act: Vec<String>,
    avoid: Vec<String>,
}

fn in_function(finding: &Finding<'_>, function: Option<&str>, config: &Config) -> Told {
    let who = who_waits(finding, config);
    let (title, explain) = match function {
        Some(function) => (
            format!("{who} in the kernel function {function}"),
            "What this function waits for is not in our table; its name is the hint. The configuration can add its \
             meaning ([[resource]]).",
        ),
        None => (
            format!("{who} in the kernel, which does not say where"),
            "The wait channel could not be read: it needs root, and a lane that is not stuck itself.",
        ),
    };
    Told {
        kind: "blocked",
        on: function.unwrap_or("unknown").to_owned(),
        title,
        explain: explain.to_owned(),
        act: Vec::new(),
        avoid: Vec::new(),
    }
}

fn throttled(finding: &Finding<'_>, group: &str) -> Told {
    let tasks = tasks(finding.victims.tasks);
    Told {
        kind: "starved",
        on: group.to_owned(),
        title: format!("The CPU quota of {group} is used up: {tasks} could run and must wait"),
        explain: "The kernel stops a group that has used up its quota wherever its tasks are. Up to 6.17 they keep the \
                  kernel locks that they have, and then all others wait for them."
            .to_owned(),
        act: vec![lift_quota(group)],
        avoid: Vec::new(),
    }
}

fn starved(finding: &Finding<'_>, cpu: Option<u32>) -> Told {
    let tasks = tasks(finding.victims.tasks);
    let (on, place) = match cpu {
        Some(cpu) => (format!("cpu{cpu}"), format!("CPU {cpu}")),
        None => ("unknown".to_owned(), "a CPU".to_owned()),
    };
    Told {
        kind: "starved",
        on,
        title: format!("{tasks} could run and must wait for {place}"),
        explain:
            "Something there has a higher priority, or does not let go of the CPU. What they hold, they keep."
                .to_owned(),
        act: vec![
            "Look for realtime tasks bound to that CPU, and give them less or another CPU (chrt, taskset)."
                .into(),
        ],
        avoid: Vec::new(),
    }
}

fn spin(finding: &Finding<'_>, party: &Party<'_>) -> Told {
    let place = party.cpu.map(|cpu| format!(" on CPU {cpu}")).unwrap_or_default();
    let behind = match finding.victims.tasks {
        0 => String::new(),
        number => format!("; {} behind it", tasks(number)),
    };
    let look = party.cpu.map(|cpu| format!("`perf top -C {cpu}` shows the function that it is in."));
    Told {
        kind: "kernel_spin",
        on: format!("{}/{}", party.name, party.tid),
        title: format!("{} ({}) works in the kernel without a pause{place}{behind}", party.name, party.tid),
        explain: "It neither sleeps nor comes back to user space, so nothing in user space can stop it. A work item \
        that \
                  does so for minutes is looping, often behind I/O or a lock that does not come."
            .to_owned(),
        act: look.into_iter().collect(),
        avoid: Vec::new(),
    }
}

fn late(packets: &LatePackets) -> Told {
    let LatePackets { cpu, lateness, .. } = packets;
    let longest = lateness.longest.as_secs_f64();
    Told {
        kind: "late",
        on: format!("cpu{cpu}"),
        title: format!(
            "Packets of CPU {cpu} may come late: ksoftirqd/{cpu} had to wait for it {} times in the last {} s, up \
             to {longest:.2} s",
            lateness.times,
            WINDOW.as_secs()
        ),
        explain: format!(
            "What interrupts leave behind on this CPU, received packets above all, waits for ksoftirqd; waits of {:.1} \
             s and more are counted. Connections whose packets arrive there may stand still meanwhile, and those of \
             other CPUs do not. Usually somebody reads in the kernel for long at a time, such as an agent that reads \
             the memory.stat of many control groups.",
            LATE.as_secs_f64()
        ),
        act: vec![
            format!(
                "`perf record -a -C {cpu} -g sleep 10` shows who is on that CPU, and in which kernel function."
            ),
            "Let that program read less often, or bind it to other CPUs (taskset).".to_owned(),
        ],
        avoid: Vec::new(),
    }
}

fn disk(device: &StuckDevice<'_>) -> Told {
    let name = plain(device.device);
    let (title, explain, act) = if device.suspended {
        (
            format!("Device mapper holds {name} back: it is suspended"),
            "I/O for a suspended device waits until somebody resumes it: a snapshot, a resize or a tool that died \
             half way.",
            format!("Resume it, once nobody works on it: `dmsetup resume $(cat /sys/block/{name}/dm/name)`."),
        )
    } else {
        (
            format!("Disk {name} has {} I/O in flight and completes none", device.inflight),
            "What was handed to the device has not come back. Whoever waits for it cannot be killed, and a filesystem \
             on it stops at its next commit.",
            "Look at the disk, or at what serves it: hypervisor, array, network. When I/O comes back, all go on."
                .to_owned(),
        )
    };
    Told {
        kind: "disk",
        on: name,
        title,
        explain: explain.to_owned(),
        act: vec![act],
        avoid: vec!["Do not run sync, df or fsck: they join the queue.".to_owned()],
    }
}

/// "9 tasks wait", with the services among them.
fn who_waits(finding: &Finding<'_>, config: &Config) -> String {
    let number = finding.victims.tasks;
    let among = |bit: u32| belongs(finding.victims.services, bit);
    let services: Vec<&str> = services(config)
        .filter(|(bit, _)| among(*bit))
        .map(|(_, name)| if name == "init" { "PID 1" } else { name })
        .collect();
    let (tasks, wait) = (tasks(number), if number == 1 { "waits" } else { "wait" });
    match services.split_last() {
        None => format!("{tasks} {wait}"),
        // A single task is that service.
        Some((last, [])) if number == 1 => format!("{tasks} ({last}) {wait}"),
        Some((last, [])) => format!("{tasks} ({last} among them) {wait}"),
        Some((last, rest)) => format!("{tasks} ({} and {last} among them) {wait}", rest.join(", ")),
    }
}

/// The services with their bits, PID 1 first.
fn services(config: &Config) -> impl Iterator<Item = (u32, &str)> {
    (0..).zip(std::iter::once("init").chain(config.services.iter().map(|service| service.name.as_str())))
}

fn tasks(number: u64) -> String {
    if number == 1 { "1 task".to_owned() } else { format!("{number} tasks") }
}

/// The services' tasks first, then whoever waits longest.
fn listed<'f, 'a>(finding: &'f Finding<'a>) -> Vec<&'f Party<'a>> {
    let mut listed: Vec<&Party<'_>> = finding.victims.listed.iter().collect();
    listed.sort_by_key(|party| party.services == 0);
    listed
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn wchans(finding: &Finding<'_>) -> Vec<Wchan> {
    if !matches!(finding.on, On::Resource(_) | On::Function(_)) {
        return Vec::new();
    }
    let row = |(wchan, (tasks, _)): (&Option<&str>, &(u64, _))| Wchan {
        wchan: wchan.unwrap_or("unknown").to_owned(),
        tasks: *tasks,
    };
    let mut wchans: Vec<Wchan> = finding.victims.wchans.iter().map(row).collect();
    wchans.sort_by_key(|wchan| std::cmp::Reverse(wchan.tasks));
    wchans
}

fn suspect_row(suspect: &suspect::Suspect<'_>) -> Suspect {
    let (comm, ids, cgroup) = match suspect.who {
        Who::Thread(party) => {
            (party.name.to_string(), Some((party.pid, party.tid)), party.group.unwrap_or(""))
        }
        Who::Device(device) => (device.device.to_owned(), None, ""),
        Who::Group(group) => (group.to_owned(), None, group),
    };
    Suspect {
        comm,
        pid: ids.map(|(pid, _)| pid),
        tid: ids.map(|(_, tid)| tid),
        cgroup: cgroup.to_owned(),
        reason: suspect.reason.name().to_owned(),
        score: f64::from(suspect.score) / 10.0,
        because: suspect.because.clone(),
    }
}

fn task(party: &Party<'_>, config: &Config) -> Task {
    Task {
        tid: party.tid,
        pid: party.pid,
        comm: party.name.to_string(),
        seconds: party.length().as_secs_f64(),
        wchan: party.wchan.unwrap_or_default().to_owned(),
        cpu: party.cpu,
        cgroup: party.group.unwrap_or_default().to_owned(),
        services: services(config)
            .filter(|(bit, _)| belongs(party.services, *bit))
            .map(|(_, name)| name.to_owned())
            .collect(),
        stack: party.stack.to_vec(),
    }
}
