//! The report on a terminal: a table of what is stuck, then each stall in full, in the order of the page.

use super::words::{self, State};
use crate::snapshot::stall::{KnownWait, Past, Report, Stall, Suspect, Task};

/// Narrower than this nothing is wrapped well.
const WIDTH_MIN: usize = 40;

/// A sentence in a last column narrower than this has a line of its own instead.
const LAST_MIN: usize = 30;
/// Widest cell of a table but for the last of a row.
const CELL_MAX: usize = 32;

/// The terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Columns.
    pub width: usize,
    /// It takes colours.
    pub colour: bool,
}

/// The whole report, lines with their ends.
pub fn table(report: &Report, terminal: Terminal) -> String {
    let mut out = Lines { text: String::new(), terminal };
    out.top(report);
    if !report.stalls.is_empty() {
        out.overview(&report.stalls);
    }
    for (index, stall) in report.stalls.iter().enumerate() {
        out.stall(index.saturating_add(1), stall);
    }
    if report.stalls_left_out > 0 {
        let more = words::count(report.stalls_left_out, "more stall");
        out.wrap("", "", &format!("{more} not shown here; /metrics counts all."));
        out.empty();
    }
    out.known_waits(&report.known_waits);
    out.history(&report.history);
    out.text
}

/// SGR codes (ECMA-48).
#[derive(Debug, Clone, Copy)]
enum Style {
    Bold,
    Faint,
    Bad,
    Good,
    Warn,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Bad => "\x1b[1;31m",
            Self::Good => "\x1b[1;32m",
            Self::Warn => "\x1b[1;33m",
        }
    }
}

struct Lines {
    text: String,
    terminal: Terminal,
}

impl Lines {
    fn empty(&mut self) {
        self.text.push('\n');
    }

    /// One line as it is; names in it are made harmless here and nowhere else.
    fn line(&mut self, style: Option<Style>, line: &str) {
        let style = style.filter(|_| self.terminal.colour);
        self.text.push_str(style.map_or("", Style::code));
        self.text.push_str(&words::visible(line.trim_end()));
        self.text.push_str(if style.is_some() { "\x1b[0m\n" } else { "\n" });
    }

    /// A paragraph, broken between words and never inside a command: the first line behind `first`, the others behind
    /// as many blanks as `indent` and `first` have.
    fn wrap(&mut self, indent: &str, first: &str, paragraph: &str) {
        let paragraph = words::visible(paragraph);
        let room = self.terminal.width.max(WIDTH_MIN);
        let hanging = " ".repeat(columns(indent).saturating_add(columns(first)));
        let mut line = format!("{indent}{first}");
        let mut fresh = true;
        for word in unbroken(&paragraph) {
            if !fresh && columns(&line).saturating_add(columns(word)) >= room {
                self.line(None, &line);
                line.clone_from(&hanging);
                fresh = true;
            }
            line.push_str(if fresh { "" } else { " " });
            line.push_str(word);
            fresh = false;
        }
        self.line(None, &line);
    }

    fn top(&mut self, report: &Report) {
        let (state, headline) = words::headline(report);
        let style = match state {
            State::Well => Style::Good,
            State::Unknown => Style::Warn,
            State::Stuck => Style::Bad,
        };
        self.line(Some(style), &format!("{}: {headline}", report.host));
        let (walk, time) = (words::walk(report), words::time(report).spaced());
        self.line(Some(Style::Faint), &format!("{walk}; {time}; Linux {}", report.kernel));
        self.empty();
        for notice in &report.notices {
            self.wrap("", "! ", notice);
        }
        if !report.notices.is_empty() {
            self.empty();
        }
    }

    fn overview(&mut self, stalls: &[Stall]) {
        let rows = stalls.iter().enumerate().map(|(index, stall)| {
            let holder = stall.suspects.first().map_or_else(
                || "unknown".to_owned(),
                |suspect| format!("{}, {}", suspect.comm, words::sureness(suspect.score)),
            );
            let tasks = if stall.tasks_total == 0 { String::new() } else { stall.tasks_total.to_string() };
            let number = index.saturating_add(1).to_string();
            vec![number, words::span(stall.seconds), tasks, holder, stall.title.clone()]
        });
        self.columns("", &["", "AT LEAST", "TASKS", "PROBABLE HOLDER", "WHAT"], rows.collect());
        self.empty();
    }

    fn stall(&mut self, number: usize, stall: &Stall) {
        self.line(Some(Style::Bold), &format!("{number}. {}", stall.title));
        let (span, kind) = (words::span(stall.seconds), words::kind(&stall.kind));
        self.line(Some(Style::Bad), &format!("   for at least {span}, {kind}"));
        if !stall.explain.is_empty() {
            self.wrap("   ", "", &stall.explain);
        }
        self.title("Probable holder");
        if stall.suspects.is_empty() {
            self.line(None, "     unknown: there is no ground for a name");
        }
        stall.suspects.iter().for_each(|suspect| self.suspect(suspect));
        self.list("Prove it", &stall.prove, |lines, _, command| lines.line(None, &format!("     {command}")));
        self.list("Do first", &stall.act, |lines, number, act| {
            lines.wrap("     ", &format!("{number}. "), act);
        });
        self.list("Do not", &stall.avoid, |lines, _, act| lines.wrap("     ", "- ", act));
        self.evidence(stall);
        self.empty();
    }

    fn title(&mut self, title: &str) {
        self.line(Some(Style::Bold), &format!("   {title}"));
    }

    fn list(&mut self, title: &str, items: &[String], show: impl Fn(&mut Self, usize, &str)) {
        if !items.is_empty() {
            self.title(title);
        }
        for (index, item) in items.iter().enumerate() {
            show(self, index.saturating_add(1), item);
        }
    }

    fn suspect(&mut self, suspect: &Suspect) {
        let places: Vec<_> = words::whereabouts(suspect)
            .into_iter()
            .map(|(name, value)| format!(", {name} {value}"))
            .collect();
        let (sure, score) = (words::sureness(suspect.score), suspect.score);
        self.wrap("     ", "", &format!("{}{}: {sure} ({score:.2})", suspect.comm, places.concat()));
        for because in &suspect.because {
            self.wrap("       ", "- ", because);
        }
    }

    fn evidence(&mut self, stall: &Stall) {
        if !stall.tasks.is_empty() {
            self.title("Tasks");
            let rows = stall.tasks.iter().map(row).collect();
            self.columns(
                "     ",
                &["AT LEAST", "TID", "PID", "NAME", "SLEEPS IN", "CPU", "SERVICE", "GROUP"],
                rows,
            );
            let left_out = stall.tasks_total.saturating_sub(stall.tasks.len() as u64);
            if left_out > 0 {
                self.line(None, &format!("     and {}", words::count(left_out, "more task")));
            }
        }
        for (stack, of) in words::stacks(&stall.tasks) {
            self.title(&format!("Kernel stack of {of}"));
            for function in stack {
                self.line(None, &format!("     {function}"));
            }
        }
    }

    fn known_waits(&mut self, waits: &[KnownWait]) {
        if waits.is_empty() {
            return;
        }
        self.line(Some(Style::Bold), "Waits with a cause of their own: no stall");
        for wait in waits {
            let (tasks, span) = (words::count(wait.tasks, "task"), words::span(wait.seconds));
            let said = format!("{}: {tasks}, the longest {span}. {}", wait.kind, wait.explain);
            self.wrap("  ", "- ", &said);
        }
        self.empty();
    }

    fn history(&mut self, history: &[Past]) {
        if history.is_empty() {
            return;
        }
        self.line(Some(Style::Bold), "The last minutes");
        let rows = history.iter().map(|past| {
            let goes_on = if past.ended_seconds_ago.is_none() { ", goes on" } else { "" };
            let holder = if past.suspect.is_empty() { "unknown" } else { &past.suspect };
            vec![
                format!("{} ago", words::span(past.began_seconds_ago)),
                format!("{}{goes_on}", words::span(past.seconds)),
                holder.to_owned(),
                past.title.clone(),
            ]
        });
        self.columns("  ", &["BEGAN", "LASTED", "PROBABLE HOLDER", "WHAT"], rows.collect());
        self.empty();
    }

    /// Rows under their heads. The last column takes what is left of the line and goes on below itself, or has a line
    /// of its own where little is left.
    fn columns(&mut self, indent: &str, heads: &[&str], rows: Vec<Vec<String>>) {
        let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
        let rows: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| row.iter().map(|cell| words::visible(cell).into_owned()).collect())
            .collect();
        let used = |at: usize| rows.iter().filter_map(|row| row.get(at)).any(|cell| !cell.is_empty());
        let width = |at: usize| {
            rows.iter()
                .chain([&heads])
                .filter_map(|row| row.get(at))
                .map(|cell| columns(cell))
                .max()
                .unwrap_or(0)
                .min(CELL_MAX)
        };
        let shown: Vec<(usize, usize)> =
            (0..heads.len()).filter(|&at| used(at)).map(|at| (at, width(at))).collect();
        let Some((&(last, _), before)) = shown.split_last() else { return };
        for (number, row) in [&heads].into_iter().chain(&rows).enumerate() {
            let cell = |at: usize| row.get(at).map_or("", String::as_str);
            let mut line = String::new();
            for &(at, width) in before {
                let shown = short(cell(at));
                line.push_str(&shown);
                line.push_str(&" ".repeat(width.saturating_sub(columns(&shown)).saturating_add(2)));
            }
            let left = self.terminal.width.saturating_sub(columns(indent).saturating_add(columns(&line)));
            if number == 0 {
                self.line(Some(Style::Faint), &format!("{indent}{line}{}", cell(last)));
            } else if left < LAST_MIN && cell(last).contains(' ') && left < columns(cell(last)) {
                self.line(None, &format!("{indent}{line}"));
                self.wrap(indent, "   ", cell(last));
            } else {
                self.wrap(indent, &line, cell(last));
            }
        }
    }
}

fn row(task: &Task) -> Vec<String> {
    vec![
        words::span(task.seconds),
        task.tid.to_string(),
        task.pid.to_string(),
        task.comm.clone(),
        task.wchan.clone(),
        task.cpu.map(|cpu| cpu.to_string()).unwrap_or_default(),
        task.services.join(","),
        task.cgroup.clone(),
    ]
}

/// The words of a paragraph; what stands between backticks is one, so that it can be copied.
fn unbroken(paragraph: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    let words = paragraph.split(move |c: char| {
        inside ^= c == '`';
        c.is_whitespace() && !inside
    });
    words.filter(|word| !word.is_empty())
}

fn short(cell: &str) -> String {
    if columns(cell) <= CELL_MAX {
        return cell.to_owned();
    }
    cell.chars().take(CELL_MAX.saturating_sub(1)).chain(['…']).collect()
}

/// A column for each character: wide ones and marks shift a table and harm nothing else.
fn columns(text: &str) -> usize {
    text.chars().count()
}
