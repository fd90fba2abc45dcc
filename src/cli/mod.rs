//! The command line: commands, flags, help. Parsing tells what was typed and does nothing.
//!
//! # Exit statuses
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed at run time: an address in use, a right that is missing, a file that cannot be written |
//! | 2 | the command line or the configuration is wrong; nothing was started |
//!
//! A scheduler or a package script may rely on them. `main` is the only place that decides between them.

pub mod check;
pub mod fetch;
mod flags;
pub mod print;
pub mod stalls;
pub mod tables;
pub mod textfile;

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Flags, duration};

/// How the program ends; the numbers are the exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed at run time.
    RunTime = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says what is stuck on a Linux host, since when and on what, and never gets stuck itself
#[derive(Debug, Parser)]
#[command(name = "stall_exporter", version, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 done, 1 failed at run time, 2 wrong flags or configuration.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file; flags overrule it
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    settings: flags::Settings,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve metrics over HTTP (the default)
    Serve,
    /// Print the exposition once to standard output
    Once {
        /// How long to watch before printing; a wait counts as blocked only from blocked.threshold on
        #[arg(long, value_name = "DURATION", default_value = "7s", value_parser = wait)]
        wait: Duration,
    },
    /// Write the exposition into a file for a node_exporter's textfile collector
    Textfile {
        /// The file; replaced as a whole, never seen half written
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// How long to watch before writing; a wait counts as blocked only from blocked.threshold on
        #[arg(long, value_name = "DURATION", default_value = "7s", value_parser = wait)]
        wait: Duration,
    },
    /// Print what is stuck, as the exporter on this host sees it
    Stalls(stalls::Options),
    /// Check configuration, kernel support and rights
    Check,
    /// Print every path that may be read, with its lock class
    Sources,
    /// Print every metric
    Metrics,
}

/// What was typed.
#[derive(Debug)]
pub struct Asked {
    /// The command, `serve` when none was typed.
    pub command: Command,
    /// The configuration's part.
    pub flags: Flags,
}

/// Why there is nothing to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help or version was asked for: text for standard output.
    Text(String),
    /// One line about what is wrong.
    Usage(String),
}

/// Reads the command line.
///
/// # Errors
/// [`Stop`]: help was asked for, or something is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Asked, Stop> {
    let cli = Cli::try_parse_from(args).map_err(|error| stop(&error))?;
    Ok(Asked {
        command: cli.command.unwrap_or(Command::Serve),
        flags: Flags { file: cli.config_file, ..cli.settings.into_flags() },
    })
}

/// The longest look of `once`: longer ones are what `serve` is for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Below this no two looks fit in.
const WAIT_MIN: Duration = Duration::from_millis(100);

pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    let todo = || format!("give {} to {}", duration::show(WAIT_MIN), duration::show(WAIT_MAX));
    match duration::parse(text) {
        Ok(wait) if (WAIT_MIN..=WAIT_MAX).contains(&wait) => Ok(wait),
        Ok(_) => Err(format!("is out of range; {}", todo())),
        Err(why) => Err(format!("{why}; {}", todo())),
    }
}

fn stop(error: &clap::Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Text(error.render().to_string()),
        kind => Stop::Usage(one_line(kind, error)),
    }
}

/// clap explains in paragraphs; a log of a service manager wants one line: where, what, what to do.
fn one_line(kind: ErrorKind, error: &clap::Error) -> String {
    let context = |kind| error.get(kind).map(context_text).unwrap_or_default();
    let near = |kind, otherwise: &str| match context(kind) {
        near if near.is_empty() => otherwise.to_owned(),
        near => format!("the nearest known one is {near}"),
    };
    let arg = context(ContextKind::InvalidArg);
    let name = arg.split([' ', '=']).next().unwrap_or_default();
    match kind {
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            let todo = near(ContextKind::SuggestedArg, "--help lists all flags");
            format!("{arg}: is not a known flag; {todo}")
        }
        ErrorKind::UnknownArgument => format!("{arg}: is one word too many; --help shows the usage"),
        ErrorKind::InvalidSubcommand => {
            let todo = near(ContextKind::SuggestedSubcommand, &format!("known are {}", commands()));
            format!("{}: is not a known command; {todo}", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::ArgumentConflict => format!("{name}: is given more than once; leave one out"),
        ErrorKind::MissingRequiredArgument => format!("{name}: is missing; give {arg}"),
        ErrorKind::InvalidValue => format!("{name}: has no value; give {arg}"),
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{name}: \"{}\" {why}", context(ContextKind::InvalidValue))
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; --help shows the usage", first.strip_prefix("error: ").unwrap_or(first))
        }
    }
}

fn context_text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(text) => text.clone(),
        ContextValue::Strings(texts) => texts.join(", "),
        _ => String::new(),
    }
}

fn commands() -> String {
    let names: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config};

    fn typed(line: &str) -> Result<Asked, Stop> {
        parse(std::iter::once("stall_exporter").chain(line.split_whitespace()).map(OsString::from))
    }

    fn loaded(line: &str) -> Config {
        config::load(&typed(line).unwrap().flags).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_read() {
        let file = PathBuf::from("f");
        for (line, command) in [
            ("", Command::Serve),
            ("serve", Command::Serve),
            ("once", Command::Once { wait: Duration::from_secs(7) }),
            ("once --wait 500ms", Command::Once { wait: Duration::from_millis(500) }),
            ("textfile --output f", Command::Textfile { output: file, wait: Duration::from_secs(7) }),
            ("stalls", Command::Stalls(stalls::Options::default())),
            (
                "stalls --url http://127.0.0.1:1/x --json --watch",
                Command::Stalls(stalls::Options {
                    url: Some(fetch::Target::parse("127.0.0.1:1").unwrap()),
                    json: true,
                    watch: Some(2),
                    ..stalls::Options::default()
                }),
            ),
            (
                "stalls --watch 5",
                Command::Stalls(stalls::Options { watch: Some(5), ..stalls::Options::default() }),
            ),
            ("check", Command::Check),
            ("sources", Command::Sources),
            ("metrics", Command::Metrics),
        ] {
            assert_eq!(typed(line).unwrap().command, command, "{line}");
        }
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for line in [
            "--web.max-requests 3 --no-collector.load",
            "--web.max-requests=3 serve --no-collector.load",
            "serve --web.max-requests 3 --no-collector.load",
        ] {
            let config = loaded(line);
            assert_eq!((config.web.max_requests, config.disabled), (3, vec!["load".to_owned()]), "{line}");
        }
        let listen = loaded("check --web.listen-address :1 --web.listen-address 127.0.0.1:2").web.listen;
        assert_eq!(listen, ["[::]:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
    }

    #[test]
    fn help_tells_every_setting_and_its_default() {
        let Err(Stop::Text(help)) = typed("--help") else { panic!("help is text") };
        let mut defaults = Config::defaults();
        for setting in config::settings::SETTINGS {
            assert!(help.contains(&format!("--{} <", setting.flag)), "{}", setting.flag);
            let shown = setting.show(&mut defaults);
            assert!(shown.is_empty() || help.contains(&format!("{shown}]")), "{}: {shown}", setting.flag);
        }
    }

    #[test]
    fn a_wrong_command_line_is_one_line() {
        for (line, expected) in [
            (
                "--web.max-request 3",
                "--web.max-request: is not a known flag; the nearest known one is --web.max-requests",
            ),
            ("-x", "-x: is not a known flag; --help lists all flags"),
            ("servee", "servee: is not a known command; the nearest known one is serve"),
            (
                "xyzzy",
                "xyzzy: is not a known command; known are serve, once, textfile, stalls, check, sources, metrics",
            ),
            ("serve more", "more: is one word too many; --help shows the usage"),
            ("--web.max-requests", "--web.max-requests: has no value; give --web.max-requests <N>"),
            ("--log.queue 16 --log.queue 17", "--log.queue: is given more than once; leave one out"),
            ("textfile", "--output: is missing; give --output <FILE>"),
            ("once --wait 2", "--wait: \"2\" has a number without a unit (ms, s, m, h, d); give 100ms to 1m"),
            (
                "stalls --url http://h:1/",
                "--url: \"http://h:1/\" is no literal address and port; names are not looked up; \
                 give http://ADDRESS:PORT/",
            ),
            ("stalls --watch 0", "--watch: \"0\" 0 is not in 1..=3600"),
            ("once --wait 0s", "--wait: \"0s\" is out of range; give 100ms to 1m"),
        ] {
            assert_eq!(typed(line).unwrap_err(), Stop::Usage(expected.to_owned()), "{line}");
        }
    }
}
