//! The rules of the house as tests: what the compiler and clippy do not check, checked on the tree as it is.
//!
//! Each rule is a function from files to complaints (`tidy/rules.rs`, whose tables are there to be amended), tried
//! here twice: on the tree, where it must be silent, and on a small sample that breaks it, where it must not.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "reads our own tree, and fails by panic"
)]

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/text.rs"]
mod text;

use std::path::{Path, PathBuf};

use text::File;

/// What stands at the top of the tree. Add to it what comes; nothing here goes away unnoticed.
const TOP: &[&str] = &["Cargo.toml", "LICENSE", "README.md", "examples", "src", "tests", ".ci/run"];

/// Pages that name metrics; checked as soon as they exist.
const PAGES: &[&str] = &["README.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files with these extensions below a directory of the tree, in the order of their paths.
fn files_below(directory: &str, extensions: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension))
            {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let relative = |path: &Path| path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned();
    paths.iter().map(|path| File::new(&relative(path), &read(path))).collect()
}

fn src() -> Vec<File> {
    files_below("src", &["rs"])
}

fn src_and_tests() -> Vec<File> {
    src().into_iter().chain(files_below("tests", &["rs"])).collect()
}

fn silent(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The rule complains exactly once, about this place, with these words.
fn complains(complaints: Vec<String>, place: &str, words: &str) {
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    assert!(complaints[0].starts_with(place) && complaints[0].contains(words), "{complaints:#?}");
}

fn one(path: &str, text: &str) -> [File; 1] {
    [File::new(path, text)]
}

#[test]
fn every_file_says_what_it_is() {
    silent(rules::module_doc(&src_and_tests()));
    complains(rules::module_doc(&one("src/base/x.rs", "use std::fs;\n")), "src/base/x.rs:1", "no module doc");
}

#[test]
fn no_file_is_too_long() {
    silent(rules::file_length(&src()));
    let code = "fn a() {}\n".repeat(400);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"fn b() {}\n".repeat(50) + "}\n";
    silent(rules::file_length(&one("src/x.rs", &(code.clone() + &tests))));
    silent(rules::file_length(&one("src/x/tests.rs", &code.repeat(2))));
    complains(
        rules::file_length(&one("src/x.rs", &(code + "fn c() {}\n" + &tests))),
        "src/x.rs:401",
        "split it",
    );
}

#[test]
fn no_line_is_too_wide() {
    silent(rules::line_width(&src_and_tests()));
    let wide = format!("// {}\n", "é".repeat(118));
    complains(rules::line_width(&one("src/x.rs", &wide)), "src/x.rs:1", "121 columns");
    silent(rules::line_width(&one("src/x.rs", &wide.replacen('é', "", 1))));
}

#[test]
fn rooms_import_downwards() {
    silent(rules::layers(&src()));
    let refused = [
        ("src/base/x.rs", "use crate::sample::Sweep;", "`sample::Sweep`"),
        ("src/track/x.rs", "use crate::{base::clock::Mono, source::Host};", "`source::Host`"),
        ("src/track/x.rs", "use super::super::engine;", "`engine`"),
        ("src/source/x.rs", "use crate::config::{Roots, Web};", "`config::Web`"),
        ("src/source/x.rs", "use crate::config;", "`config`"),
        ("src/http/server/x.rs", "use super::super::super::cli::Cli;", "`cli::Cli`"),
        ("src/snapshot.rs", "fn a() { crate::exposition::render(); }", "`exposition::render`"),
        ("src/app.rs", "use crate::cli::Args;", "`cli::Args`"),
        ("src/main.rs", "use stall_exporter::engine::run;", "`engine::run`"),
        ("src/runtime/x.rs", "use crate::collector::blocked;", "`collector::blocked`"),
        ("src/attic.rs", "", "not in ROOMS"),
    ];
    for (path, code, words) in refused {
        complains(rules::layers(&one(path, code)), path, words);
    }
    let fine = [
        ("src/source/x.rs", "use crate::config::Roots; use crate::source::paths::Path; use super::y;"),
        ("src/app.rs", "use crate::{engine, http::server};"),
        ("src/main.rs", "use stall_exporter::cli;"),
        ("src/base/x.rs", "// crate::engine\nconst A: &str = \"crate::engine\"; use super::clock::Mono;"),
        ("src/track/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::source::Host;\n}\n"),
        ("src/collector/node/mod.rs", "use super::blocked; use crate::exposition::desc::Desc;"),
    ];
    for (path, code) in fine {
        silent(rules::layers(&one(path, code)));
    }
}

#[test]
fn trackers_are_pure() {
    silent(rules::purity(&src()));
    for code in [
        "fn a() { log::warn!(\"\"); }",
        "use crate::base::clock::now;",
        "use crate::base::clock::{self, Mono}; fn a() -> Mono { clock::now() }",
        "use std::{fs, io};",
        "use std::thread;",
        "use rustix::time::Timespec;",
    ] {
        complains(rules::purity(&one("src/track/x.rs", code)), "src/track/x.rs:1", "in a pure room");
        silent(rules::purity(&one("src/engine.rs", code)));
    }
    silent(rules::purity(&one("src/track/x.rs", "use crate::base::clock::Mono; fn catalog() {}")));
}

#[test]
fn each_crate_has_its_owner() {
    let manifest = read(&root().join("Cargo.toml"));
    silent(rules::owners(&src(), &rules::dependencies(&manifest)));
    let refused = [
        ("src/engine.rs", "use clap::Parser;", "`clap`"),
        ("src/track/x.rs", "fn a() { log::info!(\"\"); }", "`log`"),
        ("src/sample.rs", "use log::info;", "`log`"),
        ("src/base/units.rs", "use rustix::time;", "`rustix`"),
        ("src/runtime/probe.rs", "fn a() { unsafe { libc::fork() }; }", "`libc`"),
        ("src/http/mod.rs", "use {std::io, toml::Value};", "`toml`"),
        ("src/cli/mod.rs", "use ::regex_automata;", "`regex_automata`"),
    ];
    for (path, code, words) in refused {
        complains(rules::owners(&one(path, code), &[]), path, words);
    }
    let fine = [
        ("src/base/clock.rs", "use rustix::time;"),
        ("src/runtime/process.rs", "use libc::fork;"),
        (
            "src/engine.rs",
            "use log::info; use crate::http::flate2; #[cfg(test)]\nmod tests { use procfs::X; }",
        ),
    ];
    for (path, code) in fine {
        silent(rules::owners(&one(path, code), &[]));
    }
    complains(rules::owners(&[], &["left_pad".to_owned()]), "Cargo.toml", "not in OWNERS");
}

#[test]
fn unsafe_code_has_few_addresses() {
    silent(rules::unsafe_code(&src_and_tests()));
    complains(
        rules::unsafe_code(&one("src/http/x.rs", "\nfn a() { unsafe {} }")),
        "src/http/x.rs:2",
        "`unsafe`",
    );
    silent(rules::unsafe_code(&one("src/runtime/process.rs", "fn a() { unsafe {} }")));
    silent(rules::unsafe_code(&one("src/lib.rs", "#![deny(unsafe_code)] // unsafe\n")));
}

#[test]
fn kernel_paths_stand_in_one_table() {
    silent(rules::kernel_paths(&src()));
    for literal in [r#""/proc/stat""#, r##"r#"/sys"#"##, r#"b"/proc/""#, r#"c"/sys/fs""#] {
        let code = format!("const A: X = {literal};");
        complains(rules::kernel_paths(&one("src/engine.rs", &code)), "src/engine.rs:1", "add a row");
        silent(rules::kernel_paths(&one("src/source/paths.rs", &code)));
    }
    let fine = "/// `\"/proc/stat\"`\nconst A: &str = \"/system\"; #[cfg(test)]\nfn t() { a(\"/proc/1\") }";
    silent(rules::kernel_paths(&one("src/engine.rs", fine)));
}

#[test]
fn nothing_is_left_for_later() {
    silent(rules::unfinished(&src_and_tests()));
    // The scanner reads C well enough: its comments and literals are Rust's.
    silent(rules::unfinished(&files_below("tests/faults", &["c", "h"])));
    for code in ["fn a() { todo!() }", "#[test] #[ignore = \"slow\"] fn a() {}", "fn a() { dbg!(1); }"] {
        complains(rules::unfinished(&one("tests/x.rs", code)), "tests/x.rs:1", "in the tree");
    }
    let mark = concat!("// FIX", "ME: later\n");
    complains(rules::unfinished(&one("src/x.rs", mark)), "src/x.rs:1", "write an issue");
    silent(rules::unfinished(&one("src/x.rs", "const A: &str = \"todo!\"; // not a todo\n")));
}

#[test]
fn dependencies_have_reasons() {
    silent(rules::reasons(&read(&root().join("Cargo.toml"))));
    let manifest =
        "[package]\nname = \"a\"\n\n[dependencies]\n# Why.\nb = \"1\"\nc = \"1\"\n\n[profile.dev]\nx = 1\n";
    complains(rules::reasons(manifest), "Cargo.toml:7", "`c` without a reason");
    complains(rules::reasons("[dev-dependencies]\nd = \"1\"\n"), "Cargo.toml:2", "`d` without a reason");
    assert_eq!(rules::dependencies(manifest), ["b", "c"]);
}

#[test]
fn pages_name_metrics_that_exist() {
    for page in PAGES.iter().filter(|page| root().join(page).exists()) {
        silent(rules::documented_metrics(page, &read(&root().join(page)), &src()));
    }
    let files = one("src/x.rs", "const A: &str = \"stall_tasks\"; const B: &str = \"stall_wait_seconds\";");
    let fine = "`stall_tasks{state}`, stall_wait_seconds_bucket and stall_wait_* of stall_exporter, not node_exporter";
    silent(rules::documented_metrics("README.md", fine, &files));
    complains(
        rules::documented_metrics("README.md", "\n`stall_task`", &files),
        "README.md:2",
        "`stall_task`",
    );
    complains(rules::documented_metrics("README.md", "stall_no_*", &files), "README.md:1", "`stall_no_*`");
}

#[test]
fn the_top_of_the_tree_is_whole() {
    let missing: Vec<_> = TOP.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "missing at the top of the tree: {missing:?}");
}

/// The scanner on what is easy to get wrong.
#[test]
fn comments_strings_and_tests_are_told_apart() {
    let source = concat!(
        "let a = \"x // \\\" y\"; // c \"d\"\n",
        "let b = r#\"e\"f\"#; /* g /* h */ i */ let c = '\"'; let d = '\\''; let e: &'a str = b\"j\";\n",
        "#[cfg(test)]\nuse k::{l, m};\nfn n() {}\n",
        "#[cfg(test)]\n#[allow(x)]\nfn o(p: [u8; 2]) {\n    '}'\n}\nfn q() {}\n",
    );
    let file = File::new("src/x.rs", source);
    let strings: Vec<&str> = file.strings.iter().map(|(_, string)| string.as_str()).collect();
    assert_eq!(strings, ["x // \\\" y", "e\"f", "j"]);
    assert_eq!(file.code.len(), source.len());
    for gone in ["// c", "g /*", "h */", "e\"f"] {
        assert!(!file.code.contains(gone), "{gone}: {}", file.code);
    }
    assert!(file.prose.contains("// c \"d\"") && file.prose.contains("h */ i"));
    for (item, is_test) in [("use k", true), ("fn n", false), ("fn o", true), ("fn q", false)] {
        assert_eq!(source.find(item).map(|at| file.is_test(at)), Some(is_test), "{item}");
    }
    let tree = File::new("src/x.rs", "pub use a::{self, b::{c, d as e}, f::*};\nfn g() -> h::I<j::K> {}");
    let paths: Vec<String> = tree.paths().into_iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(paths, ["a", "a::b::c", "a::b::d", "a::f", "h::I", "j::K"]);
}
