//! `check`: what works on this host, one line each. It reads what the probe would read, in a process that serves
//! nobody.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::os::fd::AsFd;

use crate::base::units::Resource;
use crate::config::Config;
use crate::lane::tasks::marks::Marks;
use crate::runtime::sandbox::{self, Domain};
use crate::source::error::SourceError;
use crate::source::kernel::Version;
use crate::source::place::{Place, ThreadFile};
use crate::source::{Host, NoStamp, Reader, task};

/// The report, and whether everything the exporter needs is there.
#[derive(Debug)]
pub struct Report {
    /// One line per fact: `ok`, `weak` (works with less) or `bad`, what, and what follows.
    pub text: String,
    /// Nothing is bad.
    pub good: bool,
}

impl Report {
    fn add(&mut self, verdict: Verdict, what: &str, then: &str) {
        self.good &= verdict != Verdict::Bad;
        let word = match verdict {
            Verdict::Ok => "ok  ",
            Verdict::Weak => "weak",
            Verdict::Bad => "bad ",
        };
        // Writing into a string cannot fail.
        let _infallible = writeln!(self.text, "{word}  {what}: {then}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Weak,
    Bad,
}

/// Checks the host for a configuration that is itself in order.
pub fn report(config: &Config) -> Report {
    let mut report = Report { text: String::new(), good: true };
    report.add(Verdict::Ok, "configuration", &format!("{} services besides init", config.services.len()));
    kernel(&mut report);
    match Host::open(&config.roots) {
        Ok(host) => sources(&mut Reader::for_probe(&host, &NoStamp), &mut report),
        Err(error) => report.add(Verdict::Bad, "roots", &error.to_string()),
    }
    walls(config, &mut report);
    report
}

/// Raised for good, around this process: that is the only sure way to know, and it has nothing left to open.
fn walls(config: &Config, report: &mut Report) {
    if !config.sandbox.enabled {
        report.add(Verdict::Weak, "sandbox", "switched off by sandbox.enabled");
        return;
    }
    match sandbox::landlock(None) {
        Ok(Domain { tcp: true }) => {
            report.add(Verdict::Ok, "Landlock", "front is shut out of every file and every TCP port");
        }
        Ok(Domain { tcp: false }) => {
            report.add(
                Verdict::Weak,
                "Landlock",
                "front is shut out of every file; of TCP ports from 6.7 on",
            );
        }
        Err(missing) => report.add(Verdict::Weak, "Landlock", &missing.to_string()),
    }
    match sandbox::seccomp(sandbox::Process::Front, std::io::stdout().as_fd()) {
        Ok(()) => {
            let then = format!("{} system calls are refused in every process", sandbox::calls::CALLS.len());
            report.add(Verdict::Ok, "seccomp", &then);
        }
        Err(missing) => report.add(Verdict::Weak, "seccomp", &missing.to_string()),
    }
}

fn kernel(report: &mut Report) {
    let Some(version) = Version::running() else {
        report.add(
            Verdict::Weak,
            "kernel",
            "its release cannot be read as a version; careful choices are made",
        );
        return;
    };
    let quota = if version.throttle_keeps_locks() {
        "a throttled task keeps its kernel locks: run the exporter without a CPU quota"
    } else {
        "a throttled task holds no kernel lock"
    };
    report.add(Verdict::Ok, &format!("kernel {version}"), quota);
    if version.own_cgroup_is_safe() {
        report.add(Verdict::Ok, "own cgroup", "asking for it takes no cgroup_mutex");
    } else {
        let then =
            "asking for it would take cgroup_mutex; name it with --self.cgroup to have the own quota watched";
        report.add(Verdict::Weak, "own cgroup", then);
    }
}

fn sources(reader: &mut Reader<'_>, report: &mut Report) {
    let init = |file| Place::Thread { pid: 1, tid: 1, file };
    must(reader.read(&Place::LoadAvg).map(|_| ()), "load averages", report);
    must(reader.list_processes(usize::MAX, &mut Vec::new()).map(|_| ()), "process list", report);
    must(reader.read(&init(ThreadFile::Status)).map(|_| ()), "state letters", report);
    match Marks::of_this_kernel(reader) {
        Marks::Slices => report.add(Verdict::Ok, "progress", "time slices of schedstat"),
        Marks::Switches => {
            let then =
                "schedstat reads 0 0 0, context switches serve; a walk costs about three times as much";
            report.add(Verdict::Weak, "progress", then);
        }
    }
    let kthreadd = Place::Thread { pid: 2, tid: 2, file: ThreadFile::Wchan };
    match reader.read(&kthreadd).map(|text| task::wchan(text).is_some()) {
        Ok(true) => report.add(Verdict::Ok, "wait channels", "shown"),
        Ok(false) => {
            let then =
                "read 0; grant CAP_SYS_PTRACE, or blocked tasks have wchan unknown and kworkers no state";
            report.add(Verdict::Weak, "wait channels", then);
        }
        Err(error) => report.add(Verdict::Weak, "wait channels", &error.to_string()),
    }
    beside_tasks(reader, report);
}

fn beside_tasks(reader: &mut Reader<'_>, report: &mut Report) {
    match reader.list_disks(usize::MAX, &mut HashSet::new()) {
        Ok(()) => report.add(Verdict::Ok, "block devices", "whole ones are told from partitions"),
        Err(error) => report.add(Verdict::Weak, "block devices", &format!("none is watched: {error}")),
    }
    match reader.read(&Place::Pressure { resource: Resource::Cpu }) {
        Ok(_) => report.add(Verdict::Ok, "pressure", "the kernel keeps it"),
        Err(_) => report.add(Verdict::Weak, "pressure", "the kernel keeps none; boot with psi=1 if it can"),
    }
}

fn must(outcome: Result<(), SourceError>, what: &str, report: &mut Report) {
    match outcome {
        Ok(()) => report.add(Verdict::Ok, what, "readable"),
        Err(error) => report.add(Verdict::Bad, what, &error.to_string()),
    }
}
