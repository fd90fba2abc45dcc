//! README is part of the product: its tables are the program's own, and its commands exist.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the tables anew.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "a test reads README, runs the program, and fails"
)]

use std::fs;
use std::process::Command;

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
