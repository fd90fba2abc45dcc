//! Runs the cases: those that sleep most of their time together, those that measure or fill the machine alone,
//! afterwards. Understands of libtest's arguments what `cargo test` is given every day: a part of a name, `--exact`,
//! `--skip`, `--list`. Prints what libtest prints.

use std::process::ExitCode;
use std::time::Instant;

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(),
    alone: bool,
}

impl Case {
    /// A case that does not mind company.
    pub const fn together(name: &'static str, run: fn()) -> Self {
        Self { name, run, alone: false }
    }

    /// A case that wants the machine for itself.
    pub const fn alone(name: &'static str, run: fn()) -> Self {
        Self { name, run, alone: true }
    }
}

#[derive(Default)]
struct Asked {
    names: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => asked.exact = true,
                "--list" => asked.list = true,
                "--skip" => asked.skipped.extend(words.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(words.next()),
                _ if word.starts_with('-') => {}
                _ => asked.names.push(word),
            }
        }
        asked
    }

    fn wants(&self, case: &Case) -> bool {
        let fits =
            |part: &String| if self.exact { case.name == part } else { case.name.contains(part.as_str()) };
        (self.names.is_empty() || self.names.iter().any(fits)) && !self.skipped.iter().any(fits)
    }
}

/// Runs what the command line asks for of these cases; the exit status of the test program.
pub fn run(cases: &[&[Case]]) -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    let all = cases.iter().copied().flatten();
    let (wanted, left): (Vec<&Case>, Vec<&Case>) = all.partition(|case| asked.wants(case));
    if asked.list {
        wanted.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let start = Instant::now();
    let (alone, together): (Vec<&Case>, Vec<&Case>) = wanted.into_iter().partition(|case| case.alone);
    let running: Vec<_> = together.into_iter().map(|case| (case, spawn(case))).collect();
    let mut failed: Vec<&str> = Vec::new();
    let mut passed = 0;
    let mut book = |case: &Case, thread: std::thread::JoinHandle<()>| match thread.join() {
        Ok(()) => passed += 1,
        Err(_told_by_the_hook) => failed.push(case.name),
    };
    running.into_iter().for_each(|(case, thread)| book(case, thread));
    alone.into_iter().for_each(|case| book(case, spawn(case)));
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    let (wrong, left, time) = (failed.len(), left.len(), start.elapsed().as_secs_f64());
    println!(
        "\ntest result: {verdict}. {passed} passed; {wrong} failed; 0 ignored; 0 measured; {left} filtered out; \
         finished in {time:.2}s\n"
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A thread that carries the case's name, which a panic's message then tells. Everything a case starts ends with it.
fn spawn(case: &Case) -> std::thread::JoinHandle<()> {
    let Case { name, run, .. } = *case;
    let body = move || {
        let start = Instant::now();
        run();
        println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread")
}
