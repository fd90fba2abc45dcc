//! The output of `strace -f -y`, taken apart: which process made which call with which path.

use std::collections::BTreeMap;

use crate::support::process::Pid;

/// What strace is to show: everything with a path, everything that makes a socket, a process, a name or a wall, and the
/// ways around them. A `?` lets a name pass that this strace does not know.
pub const CALLS: &str = "trace=%file,socket,socketpair,connect,ioctl,clone,clone3,fork,vfork,prctl,?seccomp,\
                         ?landlock_restrict_self,?open_by_handle_at,?io_uring_setup,?ptrace,?process_vm_readv,\
                         ?pidfd_getfd,?bpf,?perf_event_open";

/// One system call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The thread that made it.
    pub tid: Pid,
    /// Its name.
    pub name: String,
    /// Everything between the parentheses.
    pub args: String,
    /// What it gave; `None` when the thread ended in it.
    pub result: Option<i64>,
}

impl Call {
    /// The path it names, made absolute; `None` for a call that works on a descriptor alone.
    pub fn path(&self) -> Option<String> {
        if self.name == "prctl" {
            return None;
        }
        let (before, quoted) = self.args.split_once('"')?;
        let (given, _flags) = quoted.split_once('"')?;
        let base =
            before.split_once('<').and_then(|(_number, rest)| rest.rsplit_once('>')).map(|(base, _)| base);
        match (given, base) {
            ("", _) => None,
            (given, _) if given.starts_with('/') => Some(given.to_owned()),
            (".", Some(base)) => Some(base.to_owned()),
            (given, Some(base)) => Some(format!("{base}/{given}")),
            (given, None) => Some(given.to_owned()),
        }
    }

    /// Whether it makes a process or a thread.
    pub fn creates(&self) -> bool {
        matches!(self.name.as_str(), "clone" | "clone3" | "fork" | "vfork")
    }
}

/// Which of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first one.
    Front,
    /// Its child.
    Warden,
    /// A child of the warden.
    Probe,
    /// Any other; there must be none.
    Stranger,
}

/// All calls in the order in which they began, and who the threads are.
#[derive(Debug)]
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
    /// The process of each thread, and its parent.
    processes: BTreeMap<Pid, (Pid, Option<Pid>)>,
    front: Pid,
}

impl Trace {
    /// Reads strace's file.
    pub fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut open: BTreeMap<Pid, usize> = BTreeMap::new();
        for line in text.lines() {
            let (tid, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no pid: {line}"));
            let (tid, rest): (Pid, &str) = (tid.parse().expect("a pid"), rest.trim_start());
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let (_name, tail) = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("{line}"));
                let begun = open.remove(&tid).unwrap_or_else(|| panic!("nothing to resume: {line}"));
                let (args, result) = end_of(tail);
                calls[begun].args.push_str(args);
                calls[begun].result = result;
                continue;
            }
            let (name, rest) = rest.split_once('(').unwrap_or_else(|| panic!("no call: {line}"));
            let (args, result) = match rest.split_once(" <unfinished ...>") {
                Some((args, _)) => {
                    open.insert(tid, calls.len());
                    (args, None)
                }
                None => end_of(rest),
            };
            calls.push(Call { tid, name: name.to_owned(), args: args.to_owned(), result });
        }
        let front = calls.first().expect("strace saw something").tid;
        let mut trace = Self { calls, processes: BTreeMap::from([(front, (front, None))]), front };
        trace.find_processes();
        trace
    }

    fn find_processes(&mut self) {
        for call in self.calls.iter().filter(|call| call.creates()) {
            let Some(child) = call.result.and_then(|id| Pid::try_from(id).ok()).filter(|id| *id > 0) else {
                continue;
            };
            let caller = self.processes.get(&call.tid).map_or(call.tid, |(process, _)| *process);
            let thread = call.args.contains("CLONE_THREAD");
            let parent = if thread { self.processes.get(&caller).and_then(|of| of.1) } else { Some(caller) };
            self.processes.insert(child, (if thread { caller } else { child }, parent));
        }
    }

    /// The process of a thread.
    pub fn process(&self, tid: Pid) -> Pid {
        self.processes.get(&tid).map_or(tid, |(process, _)| *process)
    }

    /// The role of a thread's process, by who made it.
    pub fn role(&self, tid: Pid) -> Role {
        let parent = |pid| self.processes.get(&pid).and_then(|(_, parent)| *parent);
        let process = self.process(tid);
        match (process == self.front, parent(process)) {
            (true, _) => Role::Front,
            (false, Some(parent_pid)) if parent_pid == self.front => Role::Warden,
            (false, Some(parent_pid)) if parent(parent_pid) == Some(self.front) => Role::Probe,
            _ => Role::Stranger,
        }
    }

    /// The processes of a role, ascending.
    pub fn processes(&self, role: Role) -> Vec<Pid> {
        let leaders = self.processes.iter().filter(|(tid, (process, _))| *tid == process);
        leaders.map(|(tid, _)| *tid).filter(|tid| self.role(*tid) == role).collect()
    }

    /// The names that the threads of a process took, in their order.
    pub fn names(&self, process: Pid) -> Vec<&str> {
        let named =
            self.calls.iter().filter(|call| self.process(call.tid) == process && call.name == "prctl");
        named.filter_map(|call| call.args.strip_prefix("PR_SET_NAME, \"")?.split('"').next()).collect()
    }
}

/// `args) = result …`, without what strace explains about the result.
fn end_of(text: &str) -> (&str, Option<i64>) {
    let Some((args, result)) = text.rsplit_once(" = ") else { return (text, None) };
    let digits = result.split([' ', '<']).next().unwrap_or_default();
    (args.trim_end().trim_end_matches(')'), digits.parse().ok())
}
