//! The C programs of `tests/faults`: compiled once per run, started, read up to their `ready` line.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::exporter::end;
use super::process::Pid;

/// A running fault. Dropping it ends it.
#[derive(Debug)]
pub struct Fault {
    name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    ready: Facts,
}

impl Fault {
    /// Compiles and starts a fault and waits until it has reached its state.
    ///
    /// The fault ends with the *thread* that started it: start it in the test that uses it.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new(compile(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {name}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        // No timeout of ours: every fault is bounded by its argument and then closes its stdout.
        stdout.read_line(&mut line).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Some(ready) = line.strip_prefix("ready ") else {
            end(&mut child, Duration::from_secs(1));
            panic!("{name} {args:?} never got ready: {line:?}");
        };
        Self { name: name.to_owned(), child, stdout, ready: Facts::parse(ready) }
    }

    /// The process that was started; of most faults the parent of those that are in the state.
    pub fn pid(&self) -> Pid {
        Pid::try_from(self.child.id()).expect("a pid fits")
    }

    /// The facts of the `ready` line.
    pub fn ready(&self) -> &Facts {
        &self.ready
    }

    /// The tasks that are in the state.
    pub fn tids(&self) -> Vec<Pid> {
        self.ready.list("tids")
    }

    /// When each of them entered it: `CLOCK_MONOTONIC` in ns, in the order of `tids`.
    pub fn since_ns(&self) -> Vec<u64> {
        self.ready.list("since_ns")
    }

    /// Waits for the fault's own end and returns the facts of the lines after `ready`, by their first word.
    pub fn finish(mut self) -> Vec<(String, Facts)> {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let status = self.child.wait().expect("our own child");
        assert!(status.success(), "{}: {status}", self.name);
        rest.lines()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
            .map(|(word, facts)| (word.to_owned(), Facts::parse(facts)))
            .collect()
    }

    /// Ends the fault now (SIGTERM), and returns what [`Fault::finish`] does.
    pub fn stop(self) -> Vec<(String, Facts)> {
        super::process::send_signal(self.pid(), rustix::process::Signal::TERM);
        self.finish()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        end(&mut self.child, Duration::from_secs(5));
    }
}

/// `key=value` pairs of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    fn parse(text: &str) -> Self {
        let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// The numbers of a comma-separated value.
    pub fn list<T: FromStr>(&self, key: &str) -> Vec<T> {
        let value = self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let value = value.unwrap_or_else(|| panic!("no {key}= in {:?}", self.0));
        let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{key}={value}: not numbers"));
        value.split(',').map(number).collect()
    }

    /// The only number of a value.
    pub fn number(&self, key: &str) -> u64 {
        let list = self.list(key);
        assert_eq!(list.len(), 1, "{key}= holds one number");
        list[0]
    }
}

/// The path of a compiled fault.
///
/// Compiled once by each test program and put in place by a rename, so test programs that run side by side never
/// start half a file and never one of yesterday's.
pub fn compile(name: &str) -> PathBuf {
    static DONE: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults");
    let binary = out.join(name);
    // Held while compiling: a second test that wants the same fault has to wait for it anyway.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !done.get_or_insert_default().insert(name.to_owned()) {
        return binary;
    }
    std::fs::create_dir_all(&out).expect("the target directory is ours");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults").join(format!("{name}.c"));
    let fresh = out.join(format!("{name}.{}", std::process::id()));
    let status = Command::new("gcc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .args([&fresh, &source])
        .status()
        .unwrap_or_else(|error| panic!("gcc, which builds tests/faults: {error}"));
    assert!(status.success(), "{} does not compile", source.display());
    std::fs::rename(&fresh, &binary).expect("rename within one directory");
    binary
}
