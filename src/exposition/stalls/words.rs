//! Durations, counts and the headline, the same words wherever a report is shown.

use std::borrow::Cow;
use std::time::Duration;

use crate::base::date::Utc;
use crate::snapshot::stall::{Report, Stall, Suspect, Task};

/// A walk older than this says nothing about now. One comes every `tasks.interval`, 5 s as a rule.
const WALK_OLD_SECONDS: f64 = 60.0;

/// What the host is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Somebody looked, and nothing is stuck.
    Well,
    /// Nobody looked or judged, or long ago.
    Unknown,
    /// Something is stuck.
    Stuck,
}

/// The first thing that is said.
pub fn headline(report: &Report) -> (State, String) {
    let longest = report.stalls.iter().map(|stall| stall.seconds).fold(0.0, f64::max);
    match (stalls(report), report.walk_age_seconds) {
        (0, _) if report.unjudged => (State::Unknown, "Unknown: what is stuck is not judged".to_owned()),
        (0, None) => (State::Unknown, "Nothing is known yet".to_owned()),
        (0, Some(age)) if age > WALK_OLD_SECONDS => {
            (State::Unknown, format!("Unknown: the threads were last looked at {} ago", span(age)))
        }
        (0, Some(_)) => (State::Well, "Nothing is stuck".to_owned()),
        (1, _) => (State::Stuck, format!("1 stall, for {}", span(longest))),
        (many, _) => (State::Stuck, format!("{many} stalls, the longest {}", span(longest))),
    }
}

/// How many stalls there are, those that were left out included.
pub fn stalls(report: &Report) -> u64 {
    (report.stalls.len() as u64).saturating_add(report.stalls_left_out)
}

/// How old the knowledge is.
pub fn walk(report: &Report) -> String {
    match report.walk_age_seconds {
        Some(age) => format!("all threads looked at {} ago", span(age)),
        None => "the threads have not been looked at yet".to_owned(),
    }
}

/// When the report was made.
pub fn time(report: &Report) -> Utc {
    Utc(Duration::try_from_secs_f64(report.time).unwrap_or_default())
}

/// A duration as one says it: two units at most.
pub fn span(seconds: f64) -> String {
    // Zero for what is no number, too.
    let seconds = seconds.max(0.0);
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match whole {
        0..10 => format!("{:.1} s", seconds.min(9.9)),
        10..60 => format!("{whole} s"),
        60..3600 => two(minutes, "min", whole % 60, "s"),
        3600..86_400 => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// A duration for who wants to calculate.
pub fn exact(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// How sure a score is, in a word.
pub fn sureness(score: f64) -> &'static str {
    if score >= 0.75 {
        "likely"
    } else if score >= 0.4 {
        "possible"
    } else {
        "weak"
    }
}

/// `1 task`, `7 tasks`.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// What a kind of stall does, in the words of a person.
pub fn kind(kind: &str) -> &str {
    match kind {
        "blocked" => "blocked in the kernel",
        "starved" => "waiting for a CPU",
        "kernel_spin" => "spinning in the kernel",
        "late" => "late again and again",
        "disk" => "disk without an answer",
        other => other,
    }
}

/// Where to find a suspect: its ids and its group, as far as they are known.
pub fn whereabouts(suspect: &Suspect) -> Vec<(&'static str, String)> {
    let ids = [("pid", suspect.pid), ("tid", suspect.tid.filter(|tid| Some(*tid) != suspect.pid))];
    let ids = ids.into_iter().filter_map(|(name, id)| Some((name, id?.to_string())));
    let told = suspect.cgroup.is_empty() || suspect.cgroup == suspect.comm;
    let group = (!told).then(|| ("in", suspect.cgroup.clone()));
    ids.chain(group).collect()
}

/// What the details of a stall hold.
pub fn evidence(stall: &Stall) -> &'static str {
    if stall.tasks.iter().any(|task| !task.stack.is_empty()) {
        "The tasks, where they sleep, and their kernel stacks"
    } else {
        "The tasks and where they sleep"
    }
}

/// The kernel stacks of some tasks, each once, and whose it is.
pub fn stacks(tasks: &[Task]) -> Vec<(&[String], String)> {
    let mut found: Vec<(&[String], &Task, u64)> = Vec::new();
    for task in tasks.iter().filter(|task| !task.stack.is_empty()) {
        match found.iter_mut().find(|(stack, ..)| *stack == task.stack.as_slice()) {
            Some((.., others)) => *others = others.saturating_add(1),
            None => found.push((&task.stack, task, 0)),
        }
    }
    let whose = |task: &Task, others| match others {
        0 => format!("{} ({})", task.comm, task.tid),
        _ => format!("{} ({}) and {} like it", task.comm, task.tid, count(others, "task")),
    };
    found.into_iter().map(|(stack, task, others)| (stack, whose(task, others))).collect()
}

/// Whether a character must not be shown as it is: it moves the cursor, turns the direction of writing, or takes no
/// place, and each of these makes a name look like another one.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text with everything [hidden](is_hidden) written out, as `\x1b` or `\u{202e}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if !is_hidden(c) {
            out.push(c);
        } else if c.is_ascii() {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            out.extend(c.escape_unicode());
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_people_say_them() {
        for (seconds, words) in [
            (0.0, "0.0 s"),
            (0.44, "0.4 s"),
            (9.99, "9.9 s"),
            (59.9, "59 s"),
            (60.0, "1 min"),
            (200.0, "3 min 20 s"),
            (4440.3, "1 h 14 min"),
            (7200.0, "2 h"),
            (280_000.0, "3 d 5 h"),
            (f64::NAN, "0.0 s"),
            (-3.0, "0.0 s"),
            (f64::INFINITY, "213503982334601 d 7 h"),
        ] {
            assert_eq!(span(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn nothing_is_called_well_that_nobody_has_looked_at() {
        let of = |age| headline(&Report { walk_age_seconds: age, ..Report::default() });
        assert_eq!(of(None), (State::Unknown, "Nothing is known yet".to_owned()));
        assert_eq!(of(Some(3.0)), (State::Well, "Nothing is stuck".to_owned()));
        let old = "Unknown: the threads were last looked at 5 min ago";
        assert_eq!(of(Some(300.0)), (State::Unknown, old.to_owned()));
        let unjudged = Report { unjudged: true, walk_age_seconds: Some(3.0), ..Report::default() };
        assert_eq!(headline(&unjudged).0, State::Unknown);
        let left_out = Report { stalls_left_out: 2, ..Report::default() };
        assert_eq!(headline(&left_out).0, State::Stuck);
    }

    #[test]
    fn what_would_deceive_the_eye_is_written_out() {
        assert_eq!(visible("größe 名"), "größe 名");
        assert_eq!(visible("a\u{1b}[2Jb\n\u{7f}"), "a\\x1b[2Jb\\x0a\\x7f");
        assert_eq!(visible("a\u{202e}b\u{9b}c\u{200b}\u{e0041}"), "a\\u{202e}b\\u{9b}c\\u{200b}\\u{e0041}");
    }
}
