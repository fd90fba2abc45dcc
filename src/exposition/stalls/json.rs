//! `/stalls.json`: the report as it is, and back.

use std::fmt::{self, Write as _};

use serde::Deserialize;

use super::words::is_hidden;
use crate::snapshot::stall::{Report, SCHEMA};

/// The report as one line.
///
/// # Errors
/// None in practice: those of writing to memory.
pub fn encode(report: &Report) -> std::io::Result<Vec<u8>> {
    let mut text = printable(&serde_json::to_string(report)?);
    text.push('\n');
    Ok(text.into_bytes())
}

/// JSON that is safe to print: what moves a cursor or hides is written as an escape. Outside of its strings JSON has
/// no such characters but line ends and tabs, so what it says stays the same. A carriage return can stand nowhere
/// else, and is left out.
pub fn printable(json: &str) -> String {
    let mut out = String::with_capacity(json.len().saturating_add(1));
    for c in json.chars().filter(|c| *c != '\r') {
        if is_hidden(c) && !matches!(c, '\n' | '\t') {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Why text is no report that this version reads: what it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Reads a report. Fields that are not known here are left out, and those that are missing are empty.
///
/// # Errors
/// It is no report, or one of another major version of the schema.
pub fn decode(text: &[u8]) -> Result<Report, Unreadable> {
    /// Read first: what follows may have another form.
    #[derive(Deserialize)]
    struct Named {
        schema: String,
    }
    let foreign = |error: serde_json::Error| {
        Unreadable(format!("this is no report of stall_exporter ({error}); give the address of an exporter"))
    };
    let Named { schema } = serde_json::from_slice(text).map_err(foreign)?;
    let major = |schema: &str| -> Option<u64> {
        let (_, version) = schema.rsplit_once("/v")?;
        version.split('.').next()?.parse().ok()
    };
    let prefix = SCHEMA.trim_end_matches(|c: char| c.is_ascii_digit());
    match (schema.starts_with(prefix), major(&schema), major(SCHEMA)) {
        (true, Some(theirs), Some(ours)) if theirs == ours => serde_json::from_slice(text).map_err(foreign),
        (true, Some(_), Some(_)) => Err(Unreadable(format!(
            "it speaks {schema} and this command {SCHEMA}; use the command of the exporter's version"
        ))),
        _ => Err(Unreadable(format!(
            "{schema:?} is not a schema of ours; give the address of a stall_exporter"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::stall::{Stall, Task};

    #[test]
    fn a_report_comes_back_whatever_its_names_are() {
        let comm = "a\u{1b}[31m\"\\\n\u{7f}\u{9b}\u{202e}\u{e0041}<b>".to_owned();
        let task = Task { comm: comm.clone(), ..Task::default() };
        let stall = Stall { title: comm, tasks: vec![task], seconds: 0.1, ..Stall::default() };
        let report = Report { schema: SCHEMA.to_owned(), stalls: vec![stall], ..Report::default() };
        let text = String::from_utf8(encode(&report).unwrap()).unwrap();
        assert_eq!(text.matches(is_hidden).collect::<String>(), "\n", "only its end: {text:?}");
        assert_eq!(decode(text.as_bytes()).unwrap(), report);
    }

    #[test]
    fn printing_keeps_what_lines_say() {
        assert_eq!(printable("{\r\n\t\"a\": \"\u{9b}\"\r\n}"), "{\n\t\"a\": \"\\u009b\"\n}");
    }

    #[test]
    fn the_version_decides_what_is_read() {
        let read = |text: &str| decode(text.as_bytes()).map_err(|error| error.to_string());
        let newer = r#"{"schema":"stall_exporter/stalls/v1.7","host":"h","moon":[1,{"phase":2}]}"#;
        assert_eq!(read(newer).unwrap().host, "h", "the same major version, and a field nobody knew");
        let other = read(r#"{"schema":"stall_exporter/stalls/v2","host":{"name":"h"}}"#).unwrap_err();
        assert!(other.contains("/v2") && other.contains("use the command"), "{other}");
        for no_report in ["", "[]", "{}", "<html>", r#"{"schema":"x/v1"}"#, r#"{"schema":1}"#] {
            let error = read(no_report).unwrap_err();
            assert!(error.contains("stall_exporter") && error.lines().count() == 1, "{error}");
        }
    }
}
