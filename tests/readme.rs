//! README is part of the product: its tables are the program's own, and its commands exist.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the tables anew.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test reads README, runs the program, and fails"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use stall_exporter::config::{self, Flags};
use stall_exporter::exposition::stalls::json;
use stall_exporter::snapshot::stall::{KnownWait, Past, Report, SCHEMA, Stall, Suspect, Task, Wchan};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const LAB_RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/RESULTS.md");

fn printed(table: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_stall_exporter")).arg(table).output().expect("it starts");
    assert!(output.status.success(), "{table}: {output:?}");
    String::from_utf8(output.stdout).expect("a table is text")
}

/// README with the table between its markers replaced by what the program prints.
fn with_table(readme: &str, table: &str) -> String {
    let begin = format!("<!-- stall_exporter {table} -->\n");
    let (before, rest) = readme.split_once(&begin).expect("the table has its marker");
    let (_, after) = rest.split_once("<!-- end -->").expect("the table has its end");
    format!("{before}{begin}{}<!-- end -->{after}", printed(table))
}

#[test]
fn the_tables_are_the_programs_own() {
    let readme = fs::read_to_string(README).expect("README.md is there");
    let current = with_table(&with_table(&readme, "metrics"), "sources");
    if std::env::var_os("UPDATE_README").is_some() {
        fs::write(README, &current).expect("README.md can be written");
        return;
    }
    assert!(readme == current, "the tables are old; run UPDATE_README=1 cargo test --test readme");
}

#[test]
fn the_labs_table_is_that_of_its_results() {
    let readme = fs::read_to_string(README).expect("README.md is there");
    let results = fs::read_to_string(LAB_RESULTS).expect("RESULTS.md is there");
    let (_, rest) = readme.split_once("<!-- tests/lab/run all -->\n").expect("the table has its marker");
    let (table, _) = rest.split_once("<!-- end -->").expect("the table has its end");
    assert!(table.lines().count() > 10, "{table}");
    assert!(results.contains(table), "one of the two was edited; run tests/lab/run all");
}

#[test]
fn every_mode_that_readme_names_exists() {
    let readme = fs::read_to_string(README).expect("README.md is there");
    let help = Command::new(env!("CARGO_BIN_EXE_stall_exporter")).arg("--help").output().expect("it starts");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let flags: Vec<&str> = readme
        .split(|letter: char| !letter.is_ascii_alphanumeric() && !"-._".contains(letter))
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase()) && name.contains('.'))
        .collect();
    assert!(flags.len() >= 5, "{flags:?}");
    for flag in flags {
        let flag = format!("--{}", flag.trim_end_matches('.'));
        assert!(help.contains(&flag), "README names {flag}, which --help does not know");
    }
}

#[test]
fn the_configuration_in_readme_is_taken() {
    let readme = fs::read_to_string(README).expect("README.md is there");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for (number, block) in blocks.iter().enumerate() {
        let file = scratch.path().join(format!("{number}.toml"));
        fs::write(&file, block).expect("scratch");
        let loaded = config::load(&Flags { file: Some(file), ..Flags::default() });
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }
}
/// The places of a JSON value: `stalls[].tasks[].tid`. Each list is a place, too.
fn places(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                places(value, &at, found);
            }
        }
        Value::Array(items) => {
            let at = format!("{at}[]");
            found.insert(at.clone());
            items.iter().for_each(|item| places(item, &at, found));
        }
        _ => drop(found.insert(at.to_owned())),
    }
}

fn places_of(json: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    places(&serde_json::from_str(json).expect("it is JSON"), "", &mut found);
    found
}

/// The table of fields is the struct, and the example has all of them.
#[test]
fn the_schema_of_stalls_is_the_documented_one() {
    let text = || vec![String::new()];
    let stall = Stall {
        wchans: vec![Wchan::default()],
        suspects: vec![Suspect { because: text(), ..Suspect::default() }],
        prove: text(),
        act: text(),
        avoid: text(),
        tasks: vec![Task { services: text(), stack: text(), ..Task::default() }],
        ..Stall::default()
    };
    let report = Report {
        notices: text(),
        stalls: vec![stall],
        known_waits: vec![KnownWait::default()],
        history: vec![Past::default()],
        ..Report::default()
    };
    let fields = places_of(&serde_json::to_string(&report).expect("it can be written"));

    let readme = fs::read_to_string(README).expect("README.md is there");
    let (_, table) = readme.split_once("<!-- /stalls.json -->\n").expect("the table has its marker");
    let (table, _) = table.split_once("<!-- end -->").expect("the table has its end");
    let names = table.lines().skip(2).flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
    let mut documented: BTreeSet<String> =
        names.map(|name| name.trim().trim_matches('`').to_owned()).collect();
    // A list is documented by the fields of what it lists.
    let lists: Vec<String> =
        documented.iter().filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned())).collect();
    documented.extend(lists);
    assert_eq!(documented, fields, "README's table and snapshot/stall.rs differ");
    assert!(table.contains(SCHEMA));

    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stalls.json");
    let example = fs::read_to_string(example).expect("the example is there");
    assert_eq!(json::decode(example.as_bytes()).expect("the example is a report").schema, SCHEMA);
    assert_eq!(places_of(&example), fields, "examples/stalls.json does not show every field");
}
