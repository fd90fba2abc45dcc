//! A log line: one line, of bounded length, whatever the message holds.

use std::fmt::{self, Write};
use std::time::Duration;

use log::Level;

use crate::base::date::Utc;
use crate::config::LogFormat;

/// Longest line, its newline included. A pipe takes this much in one piece, so lines of several writers never mix.
pub const LINE_BYTES_MAX: usize = 4096;
/// Longest target; ours are module paths.
const TARGET_BYTES_MAX: usize = 256;

const CUT: &str = "…[cut]";
/// Closing quote, closing brace, newline.
const TAIL_BYTES: usize = 3;

/// A line, newline included. `ts` is UTC with milliseconds.
pub fn render(
    format: LogFormat,
    wall: Duration,
    level: Level,
    target: &str,
    message: &dyn fmt::Display,
) -> String {
    let ts = Utc(wall);
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let (open, after_target, close) = match format {
        LogFormat::Logfmt => (format!("ts={ts} level={level} target="), " msg=\"", "\"\n"),
        LogFormat::Json => {
            (format!("{{\"ts\":\"{ts}\",\"level\":\"{level}\",\"target\":\""), "\",\"msg\":\"", "\"}\n")
        }
    };
    let mut line = open;
    let quote = format == LogFormat::Logfmt
        && !target.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:.-/".contains(&b));
    line.push_str(if quote { "\"" } else { "" });
    let target_end = line.len() + TARGET_BYTES_MAX;
    escape(&mut line, target_end, &target);
    line.push_str(if quote { "\"" } else { "" });
    line.push_str(after_target);
    escape(&mut line, LINE_BYTES_MAX - TAIL_BYTES, message);
    line.push_str(close);
    line
}

/// Appends `value`, escaped, until the line has `end` bytes at most; a value that does not fit ends in a mark.
fn escape(line: &mut String, end: usize, value: &dyn fmt::Display) {
    let mut escaped = Escaped { line, end: end - CUT.len(), cut: false };
    // An error is how a long value is stopped early, or a broken Display: what was written stands.
    let _stopped = write!(escaped, "{value}");
    if escaped.cut {
        line.push_str(CUT);
    }
}

/// Writes in the escapes of a JSON string, which are those of logfmt too.
struct Escaped<'a> {
    line: &'a mut String,
    end: usize,
    cut: bool,
}

impl Escaped<'_> {
    fn piece(&mut self, c: char) -> fmt::Result {
        match c {
            '"' => self.line.push_str("\\\""),
            '\\' => self.line.push_str("\\\\"),
            '\n' => self.line.push_str("\\n"),
            '\r' => self.line.push_str("\\r"),
            '\t' => self.line.push_str("\\t"),
            // The separators are line ends to some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                return write!(self.line, "\\u{:04x}", u32::from(c));
            }
            c => self.line.push(c),
        }
        Ok(())
    }
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.line.len();
            self.piece(c)?;
            if self.line.len() > self.end {
                self.line.truncate(before);
                self.cut = true;
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Duration = Duration::from_millis(1_767_323_045_678);

    #[test]
    fn lines_look_like_this() {
        let message = "say \"hi\"\tto C:\\\nend\u{1b}\u{2028}ü";
        for (format, target, line) in [
            (
                LogFormat::Logfmt,
                "stall_exporter::engine",
                "ts=2026-01-02T03:04:05.678Z level=warn target=stall_exporter::engine \
                 msg=\"say \\\"hi\\\"\\tto C:\\\\\\nend\\u001b\\u2028ü\"\n",
            ),
            (
                LogFormat::Json,
                "stall_exporter::engine",
                "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\",\"target\":\"stall_exporter::engine\",\
                 \"msg\":\"say \\\"hi\\\"\\tto C:\\\\\\nend\\u001b\\u2028ü\"}\n",
            ),
            (
                LogFormat::Logfmt,
                "a b=\"c\"",
                "ts=2026-01-02T03:04:05.678Z level=warn target=\"a b=\\\"c\\\"\" \
                 msg=\"say \\\"hi\\\"\\tto C:\\\\\\nend\\u001b\\u2028ü\"\n",
            ),
        ] {
            assert_eq!(render(format, AT, Level::Warn, target, &message), line);
        }
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark_and_stays_well_formed() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let line = render(format, AT, Level::Info, &"t".repeat(1000), &"\u{1}ü".repeat(5000));
            assert!(line.len() <= LINE_BYTES_MAX && line.len() > LINE_BYTES_MAX - 16, "{}", line.len());
            assert!(line.trim_end_matches(['}', '\n']).ends_with("…[cut]\""));
        }
    }

    proptest! {
        /// The oracle for the escapes is a basic string of TOML, which has them all.
        #[test]
        fn any_message_is_one_bounded_line_and_can_be_read_back(message: String, target: String, secs: u64) {
            for format in [LogFormat::Logfmt, LogFormat::Json] {
                let line = render(format, Duration::from_secs(secs), Level::Error, &target, &message);
                let (body, newline) = line.split_at(line.len() - 1);
                prop_assert_eq!(newline, "\n");
                prop_assert!(!body.chars().any(char::is_control));
                prop_assert!(line.len() <= LINE_BYTES_MAX);
                let (start, end) = match format {
                    LogFormat::Logfmt => (" msg=", ""),
                    LogFormat::Json => (",\"msg\":", "}"),
                };
                let quoted = body.strip_suffix(end).unwrap().rsplit_once(start).unwrap().1;
                if !quoted.ends_with("…[cut]\"") && !message.contains("msg") {
                    let read: toml::Table = toml::from_str(&format!("m = {quoted}")).unwrap();
                    prop_assert_eq!(read["m"].as_str(), Some(message.as_str()));
                }
            }
        }
    }
}
