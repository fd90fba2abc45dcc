//! `stalls`: what is stuck, in the terminal. Asks the exporter that runs; where none runs, looks for itself.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, value_parser};
use rustix::event::{Timespec, poll};
use rustix::termios::{Winsize, tcgetwinsize};

use super::fetch::{self, Target};
use super::{print, wait};
use crate::app;
use crate::config::{Config, duration};
use crate::exposition::stalls::json;
use crate::exposition::stalls::text::{self, Terminal};
use crate::snapshot::stall::Report;

/// Where lines are broken when nobody says how wide the terminal is.
const WIDTH: usize = 100;
/// How long to look when no exporter runs, unless told otherwise: longer than the default `blocked.threshold`.
const LOOK: Duration = Duration::from_secs(7);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Options {
    /// The exporter, as http://ADDRESS:PORT/ [default: where the configuration lets it listen]
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    pub url: Option<Target>,
    /// Print the report as JSON, one line for each
    #[arg(long)]
    pub json: bool,
    /// Print it again every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = value_parser!(u16).range(1..=3600))]
    pub watch: Option<u16>,
    /// How long to look when no exporter runs; a wait counts as blocked only from blocked.threshold on
    #[arg(long, value_name = "DURATION", default_value = "7s", value_parser = wait)]
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { url: None, json: false, watch: None, wait: LOOK }
    }
}

/// Prints what is stuck, once or until the reader or the user has had enough.
///
/// # Errors
/// One line: there is no report to be had, or it cannot be printed.
pub fn run(config: &Config, options: &Options) -> Result<(), String> {
    let screen = Screen::new(options);
    let Some(target) = options.url.clone().or_else(|| Target::listening(&config.web.listen)) else {
        return directly(config, options, &screen);
    };
    match target.get("/stalls.json") {
        // Another host's exporter is not replaced by a look at this one.
        Err(fetch::Error::Refused) if options.url.is_none() => {
            let wait = duration::show(options.wait);
            print::error(&format!(
                "{}: no exporter listens there; looking for ourselves, for {wait}",
                target.url
            ));
            directly(config, options, &screen)
        }
        Err(error) => Err(format!("{}: {error}", target.url)),
        Ok(body) => from_exporter(&target, body, options, &screen),
    }
}

fn from_exporter(target: &Target, first: Vec<u8>, options: &Options, screen: &Screen) -> Result<(), String> {
    let mut answer = Ok(first);
    loop {
        match answer {
            Ok(body) => {
                let report = json::decode(&body).map_err(|error| format!("{}: {error}", target.url))?;
                // The text itself, not the report made of it: what a newer exporter adds is passed on.
                let told =
                    Told { report: &report, json: String::from_utf8_lossy(&body).trim_end().to_owned() };
                if !screen.show(&told)? {
                    return Ok(());
                }
            }
            // An exporter that is started again is waited for.
            Err(error) => print::error(&format!("{}: {error}", target.url)),
        }
        let Some(every) = options.watch else { return Ok(()) };
        // No descriptors: a sleep that a signal ends.
        let _over = poll(&mut [], Some(&Timespec { tv_sec: every.into(), tv_nsec: 0 }));
        answer = target.get("/stalls.json");
    }
}

fn directly(config: &Config, options: &Options, screen: &Screen) -> Result<(), String> {
    let show = |report: &Report| {
        let json = json::encode(report).map_err(|error| error.to_string())?;
        screen.show(&Told { report, json: String::from_utf8_lossy(&json).trim_end().to_owned() })
    };
    let Some(every) = options.watch else {
        let page = app::page(config, options.wait, None).map_err(|error| error.to_string())?;
        return show(&page.report).map(|_reader_is_there| ());
    };
    let failed = std::cell::RefCell::new(None);
    let shown = |report: &Report| match show(report) {
        Ok(reader_is_there) => !reader_is_there,
        Err(why) => failed.replace(Some(why)).is_none(),
    };
    app::watch(config, options.wait, Duration::from_secs(every.into()), &shown)
        .map_err(|error| error.to_string())?;
    failed.into_inner().map_or(Ok(()), Err)
}

/// A report in both forms.
struct Told<'a> {
    report: &'a Report,
    json: String,
}

/// Where it is printed.
struct Screen {
    json: bool,
    watch: bool,
    /// A terminal that understands escape sequences.
    capable: bool,
    colour: bool,
    /// Its size at the start: behind the walls of a look of our own nobody can ask for it.
    size: Option<Winsize>,
}

impl Screen {
    fn new(options: &Options) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let capable = std::io::stdout().is_terminal() && set("TERM").is_some_and(|term| term != "dumb");
        // https://no-color.org: set and not empty.
        let colour = capable && set("NO_COLOR").is_none();
        Self { json: options.json, watch: options.watch.is_some(), capable, colour, size: size() }
    }

    /// Prints; false when the reader has gone.
    fn show(&self, told: &Told<'_>) -> Result<bool, String> {
        let text = if self.json { json::printable(&told.json) + "\n" } else { self.drawn(told.report) };
        print::part(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
    }

    fn drawn(&self, report: &Report) -> String {
        // Asked each time where that is possible: windows change.
        let size = size().or(self.size);
        let width = size.map_or(WIDTH, |size| size.ws_col.into());
        let mut text = text::table(report, Terminal { width, colour: self.colour });
        if self.watch && self.capable {
            if let Some(size) = size {
                text = top(&text, width, size.ws_row.into());
            }
            // Home, and what was there before is gone.
            text.insert_str(0, "\x1b[H\x1b[2J");
        }
        text
    }
}

/// The terminal's size, if it is one and says it.
fn size() -> Option<Winsize> {
    tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)
}

/// As many lines as fit, of a text that would push its own beginning out of the window.
fn top(text: &str, width: usize, height: usize) -> String {
    let rows = |line: &str| line.chars().count().div_ceil(width).max(1);
    if text.lines().map(rows).sum::<usize>() < height {
        return text.to_owned();
    }
    let mut left = height.saturating_sub(2);
    let mut shown: String = text
        .lines()
        .take_while(|line| {
            let fits = rows(line) <= left;
            left = left.saturating_sub(rows(line));
            fits
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    shown.push_str("… more in a larger window, or without --watch\n");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_text_keeps_its_beginning_in_the_window() {
        let text = "1\n2222222222\n3\n4\n5\n";
        assert_eq!(top(text, 80, 24), text);
        assert_eq!(top(text, 80, 5), "1\n2222222222\n3\n… more in a larger window, or without --watch\n");
        assert_eq!(top(text, 5, 5), "1\n2222222222\n… more in a larger window, or without --watch\n");
        assert_eq!(top(text, 80, 1).lines().count(), 1);
    }
}
