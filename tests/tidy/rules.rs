//! The rules, each a function from files to complaints. The tables at the top are what one amends.

use std::collections::BTreeSet;

use super::text::{File, words};

/// What each room of `src/` may import of the crate. A room is a directory or a file at the top; its own parts it
/// may always import. `a::b` allows that and what is below it, and nothing else of `a`; `*` is everything, `!x`
/// takes `x` out of it.
pub const ROOMS: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli", "config", "app"]),
    ("app", &["*", "!cli"]),
    (
        "engine",
        &[
            "base",
            "sample",
            "source",
            "track",
            "collector",
            "runtime",
            "snapshot",
            "exposition",
            "config",
            "health",
        ],
    ),
    (
        "cli",
        &[
            "config",
            "app",
            "base",
            "exposition",
            "http",
            "source",
            "collector",
            "lane",
            "snapshot",
            "runtime::sandbox",
        ],
    ),
    ("config", &["base"]),
    // The ground floor: plain data and pure machines.
    ("base", &[]),
    ("sample", &["base"]),
    ("health", &["base", "sample"]),
    ("track", &["base", "sample"]),
    // What touches the kernel.
    ("source", &["base", "sample", "config::Roots"]),
    ("lane", &["base", "sample", "source", "config"]),
    ("runtime", &["base", "sample", "source", "config", "lane", "health", "snapshot"]),
    // What becomes of it.
    ("collector", &["base", "sample", "track", "snapshot", "exposition::desc", "config", "health"]),
    ("snapshot", &["base", "exposition::desc", "track"]),
    ("exposition", &["base", "snapshot"]),
    ("http", &["base", "config", "exposition", "runtime", "snapshot"]),
];

/// The rooms that each third-party crate may be named in. Every dependency in `Cargo.toml` has a row.
pub const OWNERS: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("env_logger", &["runtime/logging.rs"]),
    ("flate2", &["http"]),
    ("httparse", &["http"]),
    ("landlock", &["runtime/sandbox"]),
    // config: the flag of an open that does not wait; sandbox: the numbers of calls.
    ("libc", &["runtime/process.rs", "runtime/sandbox", "config"]),
    ("log", &["*", "!track", "!base", "!sample"]),
    ("postcard", &["runtime"]),
    ("procfs", &["source"]),
    ("prometheus", &["http", "exposition"]),
    ("regex_automata", &["config", "lane"]),
    ("rustix", &["base/clock.rs", "source", "runtime", "http", "config", "app.rs", "engine.rs", "cli"]),
    ("seccompiler", &["runtime/sandbox"]),
    ("serde", &["config", "base", "sample", "runtime", "snapshot", "exposition/stalls"]),
    ("serde_json", &["exposition/stalls"]),
    ("signal_hook", &["runtime", "app.rs"]),
    ("tiny_http", &["http"]),
    ("toml", &["config"]),
];

/// Rooms that are functions of their arguments, and what they must not name.
const PURE: &[&str] = &["track"];
const IMPURE: &[&str] = &["log::", "clock::now", "clock::wall", "std::fs", "std::thread", "rustix"];

/// The only files with `unsafe` code: two of the program, the forbidden system calls for which nobody has a safe face,
/// and the allocator that counts for the fuzz tests.
const UNSAFE: &[&str] =
    &["src/runtime/process.rs", "src/runtime/shared.rs", "tests/abuse/sandbox.rs", "tests/fuzz/heap.rs"];

/// The only places with a path of the kernel's in a string: the table, the defaults of the roots, and the commands
/// that people are told.
const KERNEL_PATHS: &[&str] = &["src/source/paths.rs", "src/config", "src/collector/suspect"];

/// What must not be left behind in code. Joined here from halves, so that this table does not find itself.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("X", "XX")];

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 120;

/// A complaint: `file:line: what is wrong; what to do`.
fn complaint(file: &File, at: usize, what: &str) -> String {
    format!("{}:{}: {what}", file.path, file.line(at))
}

/// Every file opens with a module doc.
pub fn module_doc(files: &[File]) -> Vec<String> {
    let silent = files.iter().filter(|file| !file.text.starts_with("//! "));
    silent
        .map(|file| complaint(file, 0, "no module doc; open the file with `//! ` and what it is for"))
        .collect()
}

/// No file is longer than one can hold in mind.
pub fn file_length(files: &[File]) -> Vec<String> {
    let long =
        files.iter().map(|file| (file, file.lines_without_tests())).filter(|(_, lines)| *lines > LINES_MAX);
    long.map(|(file, lines)| {
        format!(
            "{}:{lines}: {lines} lines without tests, more than {LINES_MAX}; split it by meaning",
            file.path
        )
    })
    .collect()
}

/// No line is wider than a page.
pub fn line_width(files: &[File]) -> Vec<String> {
    let mut wide = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let line = index + 1;
                wide.push(format!(
                    "{}:{line}: {columns} columns, more than {COLUMNS_MAX}; break it",
                    file.path
                ));
            }
        }
    }
    wide
}

/// Rooms import downwards only.
pub fn layers(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let room = room_of(&file.path);
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(complaint(
                file,
                0,
                &format!("room `{room}` is not in ROOMS; decide what it may import"),
            ));
            continue;
        };
        for (at, path) in file.paths() {
            let Some(target) = of_crate(file, &path) else { continue };
            if target.first().is_none_or(|first| *first == room) || permits(allowed, &target, "::") {
                continue;
            }
            let target = target.join("::");
            let what = format!("`{room}` must not import `{target}`; it may import {allowed:?} (ROOMS)");
            found.push(complaint(file, at, &what));
        }
    }
    found
}

/// Trackers are functions: no clock, no file, no log, no thread.
pub fn purity(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| PURE.contains(&room_of(&file.path))) {
        let spelled = IMPURE.iter().flat_map(|name| words(&file.code, name).map(move |at| (at, *name)));
        // The same by a `use` tree, `use std::{fs, io}`, where the name does not stand in one piece.
        let unfolded = file.paths().into_iter().filter_map(|(at, path)| {
            let path = path.join("::");
            let name =
                IMPURE.iter().find(|name| words(&path, name.trim_end_matches("::")).next().is_some())?;
            Some((at, *name))
        });
        let places: BTreeSet<(usize, &str)> = spelled
            .chain(unfolded)
            .filter(|(at, _)| !file.is_test(*at))
            .map(|(at, name)| (file.line(at), name))
            .collect();
        for (line, name) in places {
            found.push(format!(
                "{}:{line}: `{name}` in a pure room; pass the value in as an argument",
                file.path
            ));
        }
    }
    found
}

/// Each third-party crate is named in its owner's rooms only.
pub fn owners(files: &[File], dependencies: &[String]) -> Vec<String> {
    let mut found: Vec<String> = dependencies
        .iter()
        .filter(|name| OWNERS.iter().all(|(owned, _)| owned != *name))
        .map(|name| format!("Cargo.toml: `{name}` is not in OWNERS; decide which rooms may name it"))
        .collect();
    for file in files {
        let place: Vec<&str> = file.path.trim_start_matches("src/").split('/').collect();
        for (at, path) in file.paths() {
            let Some((name, rooms)) =
                OWNERS.iter().find(|(name, _)| path.first().is_some_and(|first| first == name))
            else {
                continue;
            };
            if !permits(rooms, &place, "/") {
                let what =
                    format!("crate `{name}` is owned by {rooms:?} (OWNERS); ask the owner for what you need");
                found.push(complaint(file, at, &what));
            }
        }
    }
    found
}

/// `unsafe` has few addresses.
/// `unsafe` has its few addresses.
pub fn unsafe_code(files: &[File]) -> Vec<String> {
    let others = files.iter().filter(|file| !UNSAFE.contains(&file.path.as_str()));
    others
        .flat_map(|file| words(&file.code, "unsafe").map(move |at| (file, at)))
        .map(|(file, at)| {
            complaint(file, at, &format!("`unsafe` outside {UNSAFE:?}; give it a safe face there"))
        })
        .collect()
}

/// Paths of the kernel's stand in one table.
pub fn kernel_paths(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !KERNEL_PATHS.iter().any(|owner| file.path.starts_with(owner))) {
        for (at, string) in file.strings.iter().filter(|(at, _)| !file.is_test(*at)) {
            if ["/proc", "/sys"].iter().any(|root| string == root || string.starts_with(&format!("{root}/")))
            {
                let what =
                    format!("path {string:?} outside source/paths.rs; add a row with its lock class there");
                found.push(complaint(file, *at, &what));
            }
        }
    }
    found
}

/// Nothing is left for later, and no test is skipped.
pub fn unfinished(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for name in UNFINISHED.iter().chain(&["#[ignore"]) {
            let places = words(&file.code, name);
            found.extend(
                places.map(|at| {
                    complaint(file, at, &format!("`{name}` in the tree; finish it or take it out"))
                }),
            );
        }
        for mark in MARKS {
            let places = words(&file.prose, mark);
            found
                .extend(places.map(|at| {
                    complaint(file, at, &format!("`{mark}` in the tree; do it or write an issue"))
                }));
        }
    }
    found
}

/// A page for readers names no metric that the program does not have.
pub fn documented_metrics(page: &str, text: &str, files: &[File]) -> Vec<String> {
    let literals = files.iter().flat_map(|file| file.strings.iter().filter(|(at, _)| !file.is_test(*at)));
    let known: BTreeSet<&str> = literals.map(|(_, string)| string.as_str()).collect();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '*')) {
            if !is_metric_name(word) {
                continue;
            }
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word);
            let exists = match word.strip_suffix('*') {
                Some(prefix) => known.iter().any(|name| name.starts_with(prefix)),
                None => known.contains(word) || known.contains(family),
            };
            if !exists {
                let line = index + 1;
                found.push(format!(
                    "{page}:{line}: no metric `{word}` in the program; correct the name or the page"
                ));
            }
        }
    }
    found
}

/// `stall_…` and `node_…`, but not the names of the programs.
fn is_metric_name(word: &str) -> bool {
    let programs = ["stall_exporter", "node_exporter"];
    (word.starts_with("stall_") || word.starts_with("node_")) && !programs.contains(&word) && word.len() > 6
}

/// Each dependency says why it is there, in the line above it.
pub fn reasons(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = "";
    let mut in_dependencies = false;
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) =
            (in_dependencies && !line.starts_with('#'), line.split_once('='))
            && !before.starts_with('#')
        {
            let (line, name) = (index + 1, name.trim());
            found.push(format!(
                "Cargo.toml:{line}: `{name}` without a reason; write it in a comment line above"
            ));
        }
        before = line;
    }
    found
}

/// The crates under `[dependencies]`, by the names that code uses.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let after = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = after.split("\n[").next().unwrap_or_default();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.split_once('=')?.0.trim().replace('-', "_"))).collect()
}

/// `src/base/clock.rs` → `base`, `src/main.rs` → `main`.
fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// Where in the crate a path leads, or nothing when it leads elsewhere or stays inside the room.
fn of_crate<'a>(file: &'a File, path: &'a [String]) -> Option<Vec<&'a str>> {
    let parts = || path.iter().map(String::as_str);
    match path.first()?.as_str() {
        "crate" | "stall_exporter" => Some(parts().skip(1).collect()),
        "super" => {
            let inside = file.path.strip_prefix("src/")?.trim_end_matches(".rs").trim_end_matches("/mod");
            let mut module: Vec<&str> = inside.split('/').collect();
            let up = parts().take_while(|part| *part == "super").count();
            // Inline modules are not counted, so this may climb one too high; nobody has a reason to do that either.
            let left = module.len().saturating_sub(up);
            module.truncate(left);
            Some(module.into_iter().chain(parts().skip(up)).collect())
        }
        _ => None,
    }
}

/// Whether one of the rows is a prefix of `target`, part by part.
fn permits(rows: &[&str], target: &[&str], separator: &str) -> bool {
    let covers = |row: &str| {
        let parts: Vec<&str> = row.split(separator).collect();
        target.starts_with(&parts) || target.first().is_some_and(|first| first.trim_end_matches(".rs") == row)
    };
    let refused = rows.iter().filter_map(|row| row.strip_prefix('!')).any(covers);
    !refused && rows.iter().any(|row| *row == "*" || covers(row))
}
