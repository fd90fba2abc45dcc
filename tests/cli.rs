//! The command line from outside: exit statuses, and one line on standard error for each thing that is wrong.
//!
//! How: the built binary, a scratch directory, no network. Every command line here ends before anything starts.
#![expect(clippy::disallowed_methods, reason = "this test runs the binary and reads the examples")]
#![expect(clippy::unwrap_used, reason = "what only tests call is a test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use stall_exporter::config::{self, Flags};

fn stall_exporter(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stall_exporter")).args(args).output().unwrap()
}

fn check(args: &[&str], status: i32, stderr: &str) {
    let output = stall_exporter(args);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), stderr, "{args:?}");
    assert_eq!(output.status.code(), Some(status), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}: standard output is for what was asked for");
}

#[test]
fn help_and_version_are_no_errors() {
    let version = stall_exporter(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(version.stdout, format!("stall_exporter {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    let help = stall_exporter(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("[default: :10100]"));
    assert!(help.stderr.is_empty());
}

#[test]
fn help_into_a_reader_that_has_gone_is_a_quiet_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_stall_exporter"))
        .arg("--help")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn wrong_flags_end_in_status_2_and_a_line_each() {
    check(
        &["--web.max-request", "3"],
        2,
        "stall_exporter: --web.max-request: is not a known flag; the nearest known one is --web.max-requests\n",
    );
    check(
        &["serve", "--web.max-requests=none", "--probe.stuck-after=1"],
        2,
        "stall_exporter: --probe.stuck-after: \"1\" has a number without a unit (ms, s, m, h, d); give 1s to 10m\n\
         stall_exporter: --web.max-requests: \"none\" is not a whole number; give 1 to 1024\n",
    );
    check(
        &["--two\nlines"],
        2,
        "stall_exporter: --two\\nlines: is not a known flag; --help lists all flags\n",
    );
}

#[test]
fn a_wrong_file_ends_in_status_2_and_a_line_each() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("c.toml");
    let file = path.to_str().unwrap();
    check(
        &["check", "--config.file", file],
        2,
        &format!(
            "stall_exporter: {file}: cannot be read: No such file or directory (os error 2); \
             name a readable file with --config.file\n"
        ),
    );
    std::fs::write(&path, "[web]\nmax_request = 3\n[[service]]\nname = \"a\"\ncomm = \"(\"\n").unwrap();
    check(
        &["--config.file", file],
        2,
        &format!(
            "stall_exporter: {file}:2:1: \"max_request\" is not a known key of [web]; \
             the nearest known one is max_requests\n\
             stall_exporter: {file}:5:8: service.comm: \"(\" is not a pattern (unclosed group); \
             correct the pattern; it must match the whole comm\n"
        ),
    );
}

#[test]
fn a_full_standard_error_does_not_keep_the_process() {
    let (_reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while std::io::Write::write(&mut writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let status =
        Command::new(env!("CARGO_BIN_EXE_stall_exporter")).arg("--nonsense").stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn every_example_loads_without_a_fault() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let question = std::fs::read_to_string(&path).unwrap();
            assert!(question.starts_with("# ") && question.contains('?'), "{}", path.display());
            let loaded = config::load(&Flags { file: Some(path.clone()), ..Flags::default() });
            assert!(loaded.is_ok(), "{:?}", loaded.err());
            names.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["database", "minimal", "router"]);
}
