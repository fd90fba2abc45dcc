//! `/stalls`: one page, no script, nothing loaded. The order of the source is the order of reading, so that a terminal
//! browser, which sees no style, shows the same story.

use std::fmt::{self, Write};

use super::words::{self, State};
use crate::exposition::style::sheet;
use crate::snapshot::stall::{KnownWait, Past, Report, Stall, Suspect, Task};

const HEAD: &str = concat!(
    r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
"##,
    sheet!(),
    r##"body { margin: 1.5rem auto; max-width: 60rem; overflow-wrap: anywhere; }
h1 { margin: .25rem 0; font-size: 1.75rem; line-height: 1.2; text-wrap: balance; }
h2 { margin: 2rem 0 .75rem; font-size: 1.25rem; line-height: 1.3; }
h3 { margin: 1.25rem 0 .25rem; font-size: .9375rem; }
p, ul, ol, pre { margin: .25rem 0; }
ul, ol { padding-left: 1.375rem; }
li { margin: .25rem 0; }
code, pre, .name { font-family: ui-monospace, "Cascadia Mono", "DejaVu Sans Mono", monospace; font-size: .875em; }
bdi, code, pre { unicode-bidi: isolate; }
.faint { color: var(--faint); font-size: .875rem; }
.stuck h1, .for strong, .avoid h3 { color: var(--bad); }
.well h1, .act h3 { color: var(--good); }
.unknown h1 { color: var(--warn); }
.notices { margin: 1rem 0; padding: .75rem 1rem; border-left: 4px solid var(--warn); background: var(--warn-paper);
  border-radius: 4px; }
.notices h2 { margin: 0 0 .25rem; font-size: .9375rem; color: var(--warn); }
nav { margin: 1rem 0; }
.stall { margin: 1.25rem 0; padding: 1rem 1.25rem 1.25rem; border: 1px solid var(--line); border-radius: 8px;
  border-left: 5px solid var(--bad); background: var(--panel); }
.stall h2 { margin: 0; }
.for { margin: .375rem 0 .625rem; color: var(--faint); }
.for strong { display: inline-block; font-size: 1.5rem; line-height: 1.2; }
.holder { margin: .25rem 0 .75rem; }
.holder .name { font-size: 1.0625rem; font-weight: 700; }
.score { display: inline-block; padding: 0 .5rem; border-radius: 1rem; background: var(--warn-paper);
  color: var(--warn); font-size: .875rem; font-weight: 600; white-space: nowrap; }
.do { display: grid; gap: 0 1rem; }
.act, .avoid { margin-top: 1rem; padding: .625rem 1rem; border-radius: 6px; }
.act { background: var(--good-paper); }
.avoid { background: var(--bad-paper); }
.act h3, .avoid h3 { margin: 0; }
.act code, .avoid code { user-select: all; }
.prove pre { margin: .375rem 0; padding: .375rem .625rem; user-select: all; }
details { margin-top: 1.25rem; }
summary { cursor: pointer; color: var(--link); }
pre { padding: .5rem .75rem; border-radius: 4px; background: var(--paper); border: 1px solid var(--line);
  white-space: pre-wrap; }
table { width: 100%; margin: .5rem 0; border-collapse: collapse; font-size: .875rem; }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
td.span { white-space: nowrap; }
@media (min-width: 46rem) {
  .do.both { grid-template-columns: 1fr 1fr; }
}
@media (max-width: 40rem) {
  body { padding: 0 .75rem; }
  .stall { padding: .875rem 1rem 1rem; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table, tbody, tr, td { display: block; }
  tr { padding: .375rem 0; border-bottom: 1px solid var(--line); }
  td { padding: 0 0 0 6rem; border: 0; min-height: 1.5em; }
  td:empty { display: none; }
  td::before { content: attr(data-name); float: left; margin-left: -6rem; color: var(--faint); }
}
</style>
"##
);

/// The whole page.
pub fn page(report: &Report) -> Vec<u8> {
    let mut out = Page(String::with_capacity(16 * 1024));
    out.top(report);
    out.notices(&report.notices);
    if report.stalls.len() > 1 {
        out.index(&report.stalls);
    }
    for (index, stall) in report.stalls.iter().enumerate() {
        out.stall(index.saturating_add(1), stall);
    }
    if report.stalls_left_out > 0 {
        let more = words::count(report.stalls_left_out, "more stall");
        out.put(format_args!("<p>{more} not shown here; /metrics counts all.</p>\n"));
    }
    out.known_waits(&report.known_waits);
    out.history(&report.history);
    out.end(report);
    out.0.into_bytes()
}

/// Text between tags or in an attribute: markup becomes text, and what would deceive the eye is written out.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in words::visible(self.0).chars() {
            match c {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A sentence, in which what stands between backticks is a command.
struct Sentence<'a>(&'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A backtick without a partner stands for itself.
        let mut rest = self.0;
        while let Some((before, command, after)) = rest
            .split_once('`')
            .and_then(|(before, rest)| rest.split_once('`').map(|(command, after)| (before, command, after)))
        {
            write!(out, "{}<code>{}</code>", Text(before), Text(command))?;
            rest = after;
        }
        Text(rest).fmt(out)
    }
}

/// A duration, the exact one for who points at it.
struct Span(f64);

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<span title=\"{}\">{}</span>", words::exact(self.0), words::span(self.0))
    }
}

struct Page(String);

impl Page {
    fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _infallible = self.0.write_fmt(text);
    }

    fn top(&mut self, report: &Report) {
        let (state, headline) = words::headline(report);
        let state = match state {
            State::Well => "well",
            State::Unknown => "unknown",
            State::Stuck => "stuck",
        };
        let Report { host, kernel, .. } = report;
        let (host, kernel, time) = (Text(host), Text(kernel), words::time(report));
        self.put(format_args!("{HEAD}<title>{headline} · {host}</title>\n</head>\n<body>\n"));
        self.put(format_args!(
            "<header class=\"{state}\">\n<p class=\"faint\">What is stuck on <b>{host}</b></p>\n"
        ));
        self.put(format_args!("<h1>{headline}</h1>\n<p class=\"faint\">{}", words::walk(report)));
        self.put(format_args!(
            " · <time datetime=\"{time}\">{}</time> · Linux {kernel}</p>\n",
            time.spaced()
        ));
        self.0.push_str(
            "<p class=\"faint\"><a href=\"/stalls\">look again</a> · <a href=\"/stalls?refresh=5\">every 5 s</a></p>\n\
             </header>\n<main>\n",
        );
    }

    fn notices(&mut self, notices: &[String]) {
        if !notices.is_empty() {
            self.0.push_str("<section class=\"notices\">\n<h2>About the exporter itself</h2>\n");
            self.list("ul", notices);
            self.0.push_str("</section>\n");
        }
    }

    fn index(&mut self, stalls: &[Stall]) {
        self.0.push_str("<nav>\n<ol>\n");
        for (index, stall) in stalls.iter().enumerate() {
            let (number, title, span) =
                (index.saturating_add(1), Text(&stall.title), words::span(stall.seconds));
            self.put(format_args!("<li><a href=\"#stall-{number}\">{title}</a>, {span}</li>\n"));
        }
        self.0.push_str("</ol>\n</nav>\n");
    }

    fn stall(&mut self, number: usize, stall: &Stall) {
        let title = Text(&stall.title);
        self.put(format_args!("<article class=\"stall\" id=\"stall-{number}\">\n<h2>{title}</h2>\n"));
        let (exact, span) = (words::exact(stall.seconds), words::span(stall.seconds));
        self.put(format_args!("<p class=\"for\">for at least <strong title=\"{exact}\">{span}</strong>"));
        self.put(format_args!(" · {}", Text(words::kind(&stall.kind))));
        if stall.tasks_total > 0 {
            self.put(format_args!(" · {}", words::count(stall.tasks_total, "task")));
        }
        self.0.push_str("</p>\n");
        if !stall.explain.is_empty() {
            self.put(format_args!("<p>{}</p>\n", Sentence(&stall.explain)));
        }
        self.holders(&stall.suspects);
        if !stall.prove.is_empty() {
            self.0.push_str("<section class=\"prove\">\n<h3>Prove it</h3>\n");
            for command in &stall.prove {
                self.put(format_args!("<pre>{}</pre>\n", Text(command)));
            }
            self.0.push_str("</section>\n");
        }
        self.advice(stall);
        self.details(stall);
        self.0.push_str("</article>\n");
    }

    fn holders(&mut self, suspects: &[Suspect]) {
        self.0.push_str("<section>\n<h3>Probable holder</h3>\n");
        if suspects.is_empty() {
            self.0.push_str("<p>Unknown: there is no ground for a name.</p>\n");
        }
        for suspect in suspects {
            let (sure, score) = (words::sureness(suspect.score), suspect.score);
            self.put(format_args!(
                "<div class=\"holder\">\n<p><bdi class=\"name\">{}</bdi> ",
                Text(&suspect.comm)
            ));
            self.put(format_args!("<span class=\"score\">{sure} ({score:.2})</span></p>\n"));
            let places = words::whereabouts(suspect);
            if !places.is_empty() {
                self.0.push_str("<p class=\"faint\">");
                for (index, (name, value)) in places.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    self.put(format_args!("{comma}{name} <code>{}</code>", Text(value)));
                }
                self.0.push_str("</p>\n");
            }
            self.list("ul", &suspect.because);
            self.0.push_str("</div>\n");
        }
        self.0.push_str("</section>\n");
    }

    fn advice(&mut self, stall: &Stall) {
        if stall.act.is_empty() && stall.avoid.is_empty() {
            return;
        }
        let class = if stall.act.is_empty() || stall.avoid.is_empty() { "do" } else { "do both" };
        self.put(format_args!("<div class=\"{class}\">\n"));
        for (class, title, list, items) in
            [("act", "Do first", "ol", &stall.act), ("avoid", "Do not", "ul", &stall.avoid)]
        {
            if !items.is_empty() {
                self.put(format_args!("<section class=\"{class}\">\n<h3>{title}</h3>\n"));
                self.list(list, items);
                self.0.push_str("</section>\n");
            }
        }
        self.0.push_str("</div>\n");
    }

    fn list(&mut self, tag: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.put(format_args!("<{tag}>\n"));
        for item in items {
            self.put(format_args!("<li>{}</li>\n", Sentence(item)));
        }
        self.put(format_args!("</{tag}>\n"));
    }

    fn details(&mut self, stall: &Stall) {
        if stall.tasks.is_empty() && stall.wchans.is_empty() {
            return;
        }
        self.put(format_args!("<details>\n<summary>{}</summary>\n", words::evidence(stall)));
        if !stall.wchans.is_empty() {
            self.0.push_str("<p>They sleep in ");
            for (index, wchan) in stall.wchans.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                self.put(format_args!("{comma}<code>{}</code> ({})", Text(&wchan.wchan), wchan.tasks));
            }
            self.0.push_str(".</p>\n");
        }
        self.tasks(&stall.tasks);
        let left_out = stall.tasks_total.saturating_sub(stall.tasks.len() as u64);
        if left_out > 0 {
            self.put(format_args!("<p>{} not shown here.</p>\n", words::count(left_out, "more task")));
        }
        for (stack, of) in words::stacks(&stall.tasks) {
            self.put(format_args!("<h3>Kernel stack of {}</h3>\n<pre>", Text(&of)));
            for (index, function) in stack.iter().enumerate() {
                let line_end = if index == 0 { "" } else { "\n" };
                self.put(format_args!("{line_end}{}", Text(function)));
            }
            self.0.push_str("</pre>\n");
        }
        self.0.push_str("</details>\n");
    }

    fn tasks(&mut self, tasks: &[Task]) {
        self.table_head(&["at least", "task", "sleeps in", "CPU", "group", "service"]);
        for task in tasks {
            let (tid, pid) = (task.tid, task.pid);
            self.put(format_args!(
                "<tr><td class=\"span\" data-name=\"at least\">{}</td>",
                Span(task.seconds)
            ));
            self.put(format_args!(
                "<td data-name=\"task\"><bdi class=\"name\">{}</bdi> {tid}",
                Text(&task.comm)
            ));
            if tid != pid {
                self.put(format_args!(" of {pid}"));
            }
            self.0.push_str("</td>");
            self.cell("sleeps in", &task.wchan);
            self.cell("CPU", &task.cpu.map(|cpu| cpu.to_string()).unwrap_or_default());
            self.cell("group", &task.cgroup);
            self.cell("service", &task.services.join(", "));
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody>\n</table>\n");
    }

    fn table_head(&mut self, names: &[&str]) {
        self.0.push_str("<table>\n<thead><tr>");
        for name in names {
            self.put(format_args!("<th scope=\"col\">{name}</th>"));
        }
        self.0.push_str("</tr></thead>\n<tbody>\n");
    }

    fn cell(&mut self, name: &str, value: &str) {
        self.put(format_args!("<td data-name=\"{name}\">{}</td>", Text(value)));
    }

    fn known_waits(&mut self, waits: &[KnownWait]) {
        if waits.is_empty() {
            return;
        }
        self.0.push_str("<section>\n<h2>Waits with a cause of their own: no stall</h2>\n<ul>\n");
        for wait in waits {
            let (tasks, span) = (words::count(wait.tasks, "task"), Span(wait.seconds));
            self.put(format_args!("<li><b>{}</b>: {tasks}, the longest {span}. ", Text(&wait.kind)));
            self.put(format_args!("{}</li>\n", Text(&wait.explain)));
        }
        self.0.push_str("</ul>\n</section>\n");
    }

    fn history(&mut self, history: &[Past]) {
        if history.is_empty() {
            return;
        }
        self.0.push_str("<section>\n<h2>The last minutes</h2>\n");
        self.table_head(&["began", "lasted", "what", "tasks", "probable holder"]);
        for past in history {
            self.put(format_args!(
                "<tr><td class=\"span\" data-name=\"began\">{} ago</td>",
                Span(past.began_seconds_ago)
            ));
            self.put(format_args!("<td class=\"span\" data-name=\"lasted\">{}", Span(past.seconds)));
            let goes_on = if past.ended_seconds_ago.is_none() { ", goes on" } else { "" };
            self.put(format_args!("{goes_on}</td>"));
            self.cell("what", &past.title);
            let tasks = if past.tasks_max == 0 { String::new() } else { past.tasks_max.to_string() };
            self.cell("tasks", &tasks);
            self.cell("holder", &past.suspect);
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody>\n</table>\n</section>\n");
    }

    fn end(&mut self, report: &Report) {
        self.0.push_str(
            "</main>\n<footer>\n<p>Every duration is a lower bound. In a terminal: <code>stall_exporter stalls</code>; \
             for programs: <a href=\"/stalls.json\">/stalls.json</a>; all numbers: \
             <a href=\"/metrics\">/metrics</a>.</p>\n",
        );
        let version = Text(&report.version);
        self.put(format_args!(
            "<p><a href=\"/\">stall_exporter</a> {version}</p>\n</footer>\n</body>\n</html>\n"
        ));
    }
}
