//! Law 2 as the kernel sees it: what the processes open, make and execute, compared with the table that
//! `stall_exporter sources` prints.
//!
//! How: strace writes down every call of every process from the first on; the table's patterns become matchers. The
//! first process has three phases:
//!
//! 1. *loader*, until it opens the configuration file, the first thing it does by itself: the dynamic loader and the
//!    standard library's start open what `LOADER` lists;
//! 2. *start*, until the `socketpair` of the warden: the configuration, the roots, its own rows;
//! 3. *serve*, for the rest of its life: rows of reader front, which are SAFE.
//!
//! The warden names no path ever. A probe names the roots and rows of readers front and probe. All of them together
//! make one kind of socket, no ioctl, and no execve but the first.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use regex_automata::meta::Regex;
use rustix::process::Signal;

use crate::client::Scraper;
use crate::support::exporter::Exporter;
use crate::support::fault::Fault;
use crate::support::page::Page;
use crate::support::process::{self, Family, Pid};
use crate::support::{wait_for, wait_until};
use crate::trace::{CALLS, Call, Role, Trace};

/// strace slows every traced call down by two switches to another process.
const PATIENCE: Duration = Duration::from_secs(60);

/// What may be opened before `main`: the loader's cache and the libraries that we link; std asks `maps` for the bounds
/// of the main thread's stack.
const LOADER: &str = concat!(
    r"^(/etc/ld\.so\.(cache|preload)",
    r"|(/usr)?/lib(64)?(/[a-z0-9_-]+)?/lib(c|m|gcc_s)\.so\.[0-9]+",
    r"|/proc/self/maps)$"
);

/// FORBIDDEN rows that are no paths: every socket and every ioctl is judged by a rule of its own.
const NO_PATHS: [&str; 2] = ["netlink sockets", "interface ioctls"];

/// One row of the table.
struct Row {
    pattern: String,
    class: String,
    reader: String,
    paths: Vec<Regex>,
}

impl Row {
    fn is(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.is_match(path))
    }
}

/// The table, and what its variable parts stand for in this run.
struct Rules {
    rows: Vec<Row>,
    loader: Regex,
    roots: [String; 3],
    config: String,
}

impl Rules {
    fn read(cgroupfs: &str, config: &str) -> Self {
        let output = Exporter::run(&["sources"]);
        assert!(output.status.success(), "{output:?}");
        let table = String::from_utf8(output.stdout).expect("UTF-8");
        let rows: Vec<Row> = table
            .lines()
            .skip(2)
            .map(|line| {
                let cells: Vec<&str> =
                    line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
                let paths = matchers(cells[0], cgroupfs, config);
                let [pattern, class, reader] = [0, 1, 2].map(|cell| cells[cell].to_owned());
                Row { pattern, class, reader, paths }
            })
            .collect();
        assert!(rows.len() > 30, "{table}");
        for row in &rows {
            assert_eq!(row.paths.is_empty(), NO_PATHS.contains(&row.pattern.as_str()), "{}", row.pattern);
            assert_eq!(row.class == "FORBIDDEN", row.reader == "nobody", "{}", row.pattern);
        }
        let roots = ["/proc".to_owned(), "/sys".to_owned(), cgroupfs.to_owned()];
        Self { rows, loader: Regex::new(LOADER).expect("a pattern"), roots, config: config.to_owned() }
    }

    /// Everything that is wrong with a trace.
    fn judge(&self, trace: &Trace) -> Vec<String> {
        let position = |what: &dyn Fn(&Call) -> bool| trace.calls.iter().position(what);
        let begun = position(&|call| call.path().as_deref() == Some(&self.config));
        let served = position(&|call| call.name == "socketpair");
        let mut wrong = Vec::new();
        for (index, call) in trace.calls.iter().enumerate() {
            let phase = match (begun.is_none_or(|begun| index < begun), served.is_none_or(|at| index < at)) {
                (true, _) => Phase::Loader,
                (false, true) => Phase::Start,
                (false, false) => Phase::Serve,
            };
            let role = trace.role(call.tid);
            if let Err(why) = self.judge_call(call, role, phase, index) {
                wrong.push(format!("{role:?}, {phase:?}: {why}: {}({})", call.name, call.args));
            }
        }
        wrong
    }

    fn judge_call(&self, call: &Call, role: Role, phase: Phase, index: usize) -> Result<(), &'static str> {
        if role == Role::Stranger {
            return Err("a process of no known parent");
        }
        match call.name.as_str() {
            "execve" if index == 0 => Ok(()),
            "execve" | "execveat" => Err("executes a program"),
            "clone" | "clone3" | "fork" | "vfork" | "prctl" | "seccomp" => Ok(()),
            // The others' walls are their own; a warden's domain would be its probes', whose wait channels it hides.
            "landlock_restrict_self" if role == Role::Front => Ok(()),
            "socket" => {
                let stream = ["AF_INET, SOCK_STREAM|", "AF_INET6, SOCK_STREAM|"]
                    .iter()
                    .any(|of| call.args.starts_with(of));
                let listener = role == Role::Front && phase == Phase::Serve;
                if stream && listener { Ok(()) } else { Err("a socket that is no listener") }
            }
            "socketpair" if role == Role::Front && call.args.starts_with("AF_UNIX, SOCK_SEQPACKET|") => {
                Ok(())
            }
            "access" | "newfstatat" | "fstat" | "stat" | "statx" | "openat" | "open" => match call.path() {
                Some(path) => self.judge_path(call, &path, role, phase),
                None => Ok(()),
            },
            _ => Err("a call that nobody here makes"),
        }
    }

    fn judge_path(&self, call: &Call, path: &str, role: Role, phase: Phase) -> Result<(), &'static str> {
        let loader = role == Role::Front && phase == Phase::Loader;
        if loader && self.loader.is_match(path) {
            return Ok(());
        }
        if self.rows.iter().any(|row| row.class == "FORBIDDEN" && row.is(path)) {
            return Err("a FORBIDDEN path");
        }
        if ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| call.args.contains(flag)) {
            return Err("opens for writing");
        }
        // A row that ends in a slash is a directory, to be listed or asked for its links; no file in it is meant.
        let directory = call.name == "newfstatat" || call.args.contains("O_DIRECTORY");
        let read_by = |readers: &[&str]| {
            let fits = |row: &Row| !row.pattern.ends_with('/') || directory;
            self.rows.iter().any(|row| readers.contains(&row.reader.as_str()) && row.is(path) && fits(row))
        };
        let root = self.roots.iter().any(|root| root == path) && call.args.contains("O_PATH");
        let allowed = match (role, phase) {
            (Role::Front, Phase::Loader) | (Role::Warden | Role::Stranger, _) => false,
            (Role::Front, Phase::Start) => root || path == self.config || read_by(&["front"]),
            (Role::Front, Phase::Serve) => read_by(&["front"]),
            (Role::Probe, _) => root || read_by(&["front", "probe"]),
        };
        if allowed { Ok(()) } else { Err("a path that is not in the table for this process") }
    }

    /// Whether a process of this role opened a path of this row.
    fn opened(&self, trace: &Trace, role: Role, pattern: &str) -> bool {
        let row = self.rows.iter().find(|row| row.pattern == pattern);
        let row = row.unwrap_or_else(|| panic!("{pattern} is not in the table"));
        let mut calls =
            trace.calls.iter().filter(|call| trace.role(call.tid) == role && call.name == "openat");
        calls.any(|call| call.path().is_some_and(|path| row.is(&path)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loader,
    Start,
    Serve,
}

/// The paths that a pattern of the table stands for.
fn matchers(pattern: &str, cgroupfs: &str, config: &str) -> Vec<Regex> {
    let own = |path: &str| vec![Regex::new(&format!("^{}$", escape(path))).expect("a path")];
    match pattern {
        name if NO_PATHS.contains(&name) => return Vec::new(),
        "--config.file" => return own(config),
        // No mode that serves knows its name.
        "textfile --output" => return own("textfile --output"),
        _ => {}
    }
    let (paths, note) = pattern.split_once(" (").unwrap_or((pattern, ""));
    // What is said of a process holds for each of its threads, except where the table tells them apart; `self` is
    // another name of ours.
    let process = match note {
        "whole process)" | "another process)" => "[0-9]+",
        _ => "(self|thread-self|[0-9]+)(/task/[0-9]+)?",
    };
    let forbids_all = matches!(note, "kworkers)") || paths.contains('{');
    let compile = |path: &str| {
        assert!(path.starts_with('/') || path.starts_with("CGROUP/"), "{pattern}: not a path: {path}");
        let mut escaped = escape(path)
            .replace(r"\*", "[^/]+")
            .replace("dm-N", "dm-[0-9]+")
            .replace(r"\[PID/task/\]TID", "([0-9]+/task/)?[0-9]+")
            .replace("PID/task/TID", "[0-9]+/task/[0-9]+");
        let plain = ["PID/task", "PID/schedstat"].iter().any(|of| path.ends_with(of)) && !forbids_all;
        escaped = escaped.replace("PID", if plain { "[0-9]+" } else { process });
        if escaped == "CGROUP/" {
            escaped = format!("{}(/.+)?", escape(cgroupfs));
        } else if let Some(file) = escaped.strip_prefix("CGROUP") {
            escaped = format!("{}(/.+)?{file}", escape(cgroupfs));
        }
        Regex::new(&format!("^{escaped}$")).unwrap_or_else(|error| panic!("{pattern}: {error}"))
    };
    alternatives(paths).iter().map(|path| compile(path)).collect()
}

/// The text as a pattern for itself.
fn escape(text: &str) -> String {
    let escaped = |c: char| if r"\.+*?()|[]{}^$".contains(c) { vec!['\\', c] } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}

/// `/a/{b,c}, /d` is `/a/b`, `/a/c` and `/d`.
fn alternatives(paths: &str) -> Vec<String> {
    let mut depth = 0_i32;
    let split = |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    };
    let mut all = Vec::new();
    for path in paths.split(split).map(str::trim) {
        match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
            None => all.push(path.to_owned()),
            Some((before, (inside, after))) => {
                all.extend(inside.split(',').map(|choice| format!("{before}{choice}{after}")));
            }
        }
    }
    all
}

// ---- the real thing

/// A directory that stands in for the cgroup tree: one group with a member and a quota.
fn cgroup_tree(root: &Path, member: Pid) {
    let group = root.join("service.slice");
    std::fs::create_dir(&group).expect("scratch");
    for (name, text) in [
        ("cgroup.procs", format!("{member}\n")),
        ("cpu.max", "50000 100000\n".to_owned()),
        ("cpu.stat", "usage_usec 1\nnr_periods 10\nnr_throttled 4\nthrottled_usec 5\n".to_owned()),
    ] {
        std::fs::write(group.join(name), text).expect("scratch");
    }
}

/// Runs everything under strace for this long, and judges what it wrote down.
pub fn nothing_but_the_table(time: Duration) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| scratch.path().join(name).to_str().expect("UTF-8").to_owned();
    let (output, config, cgroupfs) = (at("strace"), at("config.toml"), at("cgroup"));
    let stuck = Fault::start("vfork_parent", &["300", "2"]);
    std::fs::create_dir(&cgroupfs).expect("scratch");
    cgroup_tree(Path::new(&cgroupfs), stuck.tids()[0]);
    let text = "[[service]]\nname = \"by_comm\"\ncomm = \"vfork_parent\"\n\
                [[service]]\nname = \"by_group\"\ncgroup = \"service.slice\"\n";
    std::fs::write(&config, text).expect("scratch");

    let mut command = Command::new("strace");
    // cargo's own; it would have the loader look for our libraries in the build tree.
    command.env_remove("LD_LIBRARY_PATH").args(["-f", "-y", "-e", CALLS, "-o", &output]);
    command.arg(env!("CARGO_BIN_EXE_stall_exporter")).args(["--web.listen-address", "127.0.0.1:0"]);
    command.args(["--config.file", &config, "--path.cgroupfs", &cgroupfs]);
    command.args(["--self.cgroup", &format!("{cgroupfs}/service.slice")]);
    command.args(["--tasks.interval", "1s", "--tasks.cpu-budget", "0.3", "--blocked.threshold", "1s"]);
    command.args(["--evidence.after", "1s"]);
    let exporter = Exporter::start_command(command);
    let front = process::children(exporter.pid())[0];
    let begun = Instant::now();
    let scraper = Scraper::start(&exporter);
    let known_wait = || exporter.scrape().sum("stall_known_wait_tasks", &[("kind", "vfork")]) >= 2.0;
    wait_for(PATIENCE, "the tasks in D are seen, and on what they wait", known_wait);

    let first = Family::of(front).probes[0];
    process::send_signal(first, Signal::KILL);
    let second = wait_until(PATIENCE, "another probe is forked", || {
        Family::of(front).probes.into_iter().find(|probe| *probe != first)
    });
    let tasks = |page: &Page, service: &str| page.expect("stall_service_tasks", &[("service", service)]);
    let walks = |page: &Page| page.expect("stall_probe_sweeps_total", &[("lane", "tasks")]);
    let walked = walks(&exporter.scrape());
    wait_for(PATIENCE, "it walks, and watches the services by comm and by group", || {
        let page = exporter.scrape();
        let watched = tasks(&page, "by_comm") >= 2.0 && tasks(&page, "by_group") >= 1.0;
        let evidence = page.expect("stall_evidence_stacks_total", &[]) >= 1.0;
        watched && evidence && process::threads(second).len() == 9 && walks(&page) >= walked + 2.0
    });
    thread::sleep(time.saturating_sub(begun.elapsed()));
    assert_eq!(exporter.scrape().expect("stall_exporter_quota_cores", &[]), 0.5, "our own quota is watched");
    let seen = scraper.stop();
    process::send_signal(front, Signal::TERM);
    wait_for(PATIENCE, "strace has seen the last of them", || !process::alive(exporter.pid()));

    let rules = Rules::read(&cgroupfs, &config);
    let trace = Trace::parse(&std::fs::read_to_string(&output).expect("strace wrote"));
    let wrong = rules.judge(&trace);
    assert!(wrong.is_empty(), "{} calls:\n{}", wrong.len(), wrong.join("\n"));
    what_was_meant_to_happen_happened(&rules, &trace, stuck.tids()[0]);
    let of = |role| {
        trace.calls.iter().filter(|call| trace.role(call.tid) == role && call.path().is_some()).count()
    };
    eprintln!(
        "walls: {} calls in {:.0?}; paths named by front {}, warden {}, {} probes {}; {}",
        trace.calls.len(),
        begun.elapsed(),
        of(Role::Front),
        of(Role::Warden),
        trace.processes(Role::Probe).len(),
        of(Role::Probe),
        seen.summary()
    );
}

/// A trace in which nothing happened would please the rules as well.
fn what_was_meant_to_happen_happened(rules: &Rules, trace: &Trace, stuck: Pid) {
    for pattern in [
        "/proc",
        "/proc/PID/task",
        "/proc/[PID/task/]TID/schedstat",
        "/proc/[PID/task/]TID/status",
        "/proc/[PID/task/]TID/sched",
        "/proc/[PID/task/]TID/wchan",
        "/proc/PID/task/TID/stat",
        "/proc/[PID/task/]TID/stack",
        "CGROUP/cgroup.procs",
        "CGROUP/cpu.max",
        "CGROUP/cpu.stat",
        "/proc/diskstats",
        "/sys/block",
    ] {
        assert!(rules.opened(trace, Role::Probe, pattern), "no probe ever opened {pattern}");
    }
    assert!(rules.opened(trace, Role::Front, "/proc/loadavg"));
    for file in [format!("/proc/{stuck}/task/{stuck}/stat"), format!("/proc/{stuck}/wchan")] {
        assert!(
            trace.calls.iter().any(|call| call.path().as_deref() == Some(&file)),
            "{file} was never opened"
        );
    }
    let (wardens, probes) = (trace.processes(Role::Warden), trace.processes(Role::Probe));
    assert_eq!((wardens.len(), probes.len()), (1, 2), "one warden, and the probe was replaced once");
    assert_eq!(trace.names(wardens[0]), ["stall-warden"]);
    // Threads name themselves, in whatever order they get a CPU.
    let names = |process| {
        let mut names = trace.names(process);
        names.sort_unstable();
        names
    };
    for probe in probes {
        let lanes = [
            "cgroups",
            "detail",
            "devices",
            "evidence",
            "kthreads",
            "pressure",
            "stall-probe",
            "tasks",
            "throttle",
        ];
        assert_eq!(names(probe), lanes);
    }
    let front = trace.processes(Role::Front)[0];
    assert_eq!(names(front), ["http", "log"]);
    for (role, wall) in [
        (Role::Front, "landlock_restrict_self"),
        (Role::Front, "seccomp"),
        (Role::Warden, "seccomp"),
        (Role::Probe, "seccomp"),
    ] {
        for process in trace.processes(role) {
            let first = |what: &dyn Fn(&Call) -> bool| {
                trace.calls.iter().position(|call| trace.process(call.tid) == process && what(call))
            };
            let raised = first(&|call| call.name == wall && call.result == Some(0));
            let thread = |call: &Call| role != Role::Front || call.args.contains("CLONE_THREAD");
            let born = first(&|call| call.creates() && call.result > Some(0) && thread(call));
            assert!(
                raised.is_some() && raised < born,
                "{role:?}: {wall} at {raised:?}, first child at {born:?}"
            );
        }
    }
}

// ---- the judge

const GOOD: &str = r#"10 execve("./stall_exporter", ["./stall_exporter"], 0x7ff /* 35 vars */) = 0
10 access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)
10 openat(AT_FDCWD</tmp>, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
10 newfstatat(3</etc/ld.so.cache>, "", {st_mode=S_IFREG|0644, st_size=47031, ...}, AT_EMPTY_PATH) = 0
10 openat(AT_FDCWD</tmp>, "/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY|O_CLOEXEC) = 3</usr/lib/libc.so.6>
10 openat(AT_FDCWD</tmp>, "/proc/self/maps", O_RDONLY|O_CLOEXEC) = 3</proc/10/maps>
10 openat(AT_FDCWD</tmp>, "/c.toml", O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC) = 3</c.toml>
10 openat(AT_FDCWD</tmp>, "/proc", O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY) = 3</proc>
10 socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, [5<socket:[1]>, 6<socket:[2]>]) = 0
10 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7fc) = 11
11 prctl(PR_SET_NAME, "stall-warden" <unfinished ...>
10 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP) = 6<socket:[3]>
11 <... prctl resumed>) = 0
10 openat(3</proc>, "loadavg", O_RDONLY|O_CLOEXEC) = 11</proc/loadavg>
11 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7fc <unfinished ...>
12 prctl(PR_SET_NAME, "stall-probe") = 0
12 seccomp(SECCOMP_SET_MODE_FILTER, 0, {len=31, filter=0x55d}) = 0
11 <... clone resumed>) = 12
12 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0} => {parent_tid=[13]}, 88) = 13
13 openat(3</proc>, ".", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 6</proc>
13 openat(3</proc>, "1/stack", O_RDONLY|O_CLOEXEC) = 7</proc/1/stack>
13 newfstatat(3</proc>, "1/task", {st_mode=S_IFDIR|0555, st_size=0, ...}, 0) = 0
13 openat(3</proc>, "1/task/59/schedstat", O_RDONLY|O_CLOEXEC <unfinished ...>
12 openat(4</cg>, "a.slice/cpu.max", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
12 openat(4</cg>, "a.slice", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 7</cg/a.slice>
12 newfstatat(4</cg>, "a.slice", {st_mode=S_IFDIR|0555, st_size=0, ...}, 0) = 0
13 <... openat resumed>) = ?
13 +++ killed by SIGKILL +++
"#;

#[test]
fn the_judge_lets_the_innocent_pass() {
    let trace = Trace::parse(GOOD);
    assert_eq!(Rules::read("/cg", "/c.toml").judge(&trace), [""; 0]);
    assert_eq!(
        [10, 11, 12, 13].map(|tid| trace.role(tid)),
        [Role::Front, Role::Warden, Role::Probe, Role::Probe]
    );
    assert_eq!((trace.names(11), trace.processes(Role::Probe)), (vec!["stall-warden"], vec![12]));
}

#[test]
fn the_judge_refuses_every_kind_of_trespass() {
    let rules = Rules::read("/cg", "/c.toml");
    let refused = |line: &str, why: &str| {
        let wrong = rules.judge(&Trace::parse(&format!("{GOOD}{line}\n")));
        assert_eq!(wrong.len(), 1, "{line}: {wrong:#?}");
        assert!(wrong[0].contains(why), "{line}: {}", wrong[0]);
    };
    let open = |tid: u32, path: &str| format!("{tid} openat(3</proc>, \"{path}\", O_RDONLY|O_CLOEXEC) = 7");
    for path in [
        "/proc/7/cmdline",
        "7/task/8/maps",
        "self/maps",
        "7/smaps_rollup",
        "7/io",
        "7/task/8/syscall",
        "7/cgroup",
        "7/comm",
        "7/stat",
        "7/fd",
        "locks",
        "slabinfo",
        "mounts",
        "7/mountinfo",
        "net/wireless",
        "/sys/class/net/eth0/speed",
        "/sys/class/net/eth0/phys_port_id",
        "/sys/class/net/eth0/address",
        "/cg/a/memory.stat",
        "/cg/freezer.state",
    ] {
        refused(&open(13, path), "a FORBIDDEN path");
        refused(&open(10, path), "a FORBIDDEN path");
    }
    for (tid, path) in [
        (10, "1/schedstat"),
        (10, "7/stack"),
        (11, "7/stack"),
        (10, "."),
        (10, "/etc/hosts"),
        (10, "/c.toml"),
        (10, "/etc/ld.so.cache"),
        (11, "loadavg"),
        (13, "stat"),
        (13, "7/task/8/comm2"),
        (13, "/cg/a/cpu.weight"),
        (13, "/c.toml"),
        (13, "/sys/block/sda/queue/scheduler"),
        (13, "/sys/block/dm-1/dm/name"),
        (10, "/sys/block/dm-1/dm/suspended"),
        (10, "diskstats"),
    ] {
        refused(&open(tid, path), "not in the table for this process");
    }
    refused("13 openat(3</proc>, \"loadavg\", O_RDWR|O_CREAT, 0600) = 7", "for writing");
    refused("10 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 7", "no listener");
    refused("10 socket(AF_PACKET, SOCK_RAW, 768) = 7", "no listener");
    refused("10 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 7", "no listener");
    refused("13 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 7", "no listener");
    refused("10 ioctl(7<socket:[1]>, SIOCGIFFLAGS, {ifr_name=\"eth0\"}) = 0", "nobody here makes");
    refused("12 execve(\"/bin/sh\", [\"sh\"], 0x7ff /* 35 vars */) = 0", "executes a program");
    refused("12 landlock_restrict_self(5, 0) = 0", "nobody here makes");
    refused("13 readlink(\"/proc/self/exe\", \"x\", 4096) = 1", "nobody here makes");
    refused("99 prctl(PR_SET_NAME, \"x\") = 0", "no known parent");
}
