//! From what was typed to a field: the kinds of values, what each accepts, how each is printed.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{LogFormat, duration};

/// A value as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// From the command line, where nothing has a type yet.
    Word(String),
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Whole(i64),
    /// A number with a fraction, of the file.
    Float(f64),
    /// A switch of the file.
    Switch(bool),
    /// A list of the file, or a flag that was given several times.
    List(Vec<Typed>),
    /// What no setting takes, by the name of its type.
    Other(&'static str),
}

impl Typed {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Self::Word(word) => word.parse().ok(),
            Self::Whole(number) => Some(*number),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Word(word) => word.parse().ok(),
            Self::Whole(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Text(text) => write!(out, "\"{text}\""),
            Self::Whole(number) => write!(out, "{number}"),
            Self::Float(number) => write!(out, "{number}"),
            Self::Switch(on) => write!(out, "{on}"),
            Self::List(_) => out.write_str("a list"),
            Self::Other(kind) => write!(out, "a value of type {kind}"),
        }
    }
}

/// Why a value was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Refusal {
    fn new(what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { what: what.into(), todo: todo.into() }
    }
}

/// A field of the configuration with what it accepts.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A number of things.
    Count(&'a mut usize, RangeInclusive<usize>),
    /// A duration.
    Time(&'a mut Duration, RangeInclusive<Duration>),
    /// A share of one.
    Share(&'a mut f64, RangeInclusive<f64>),
    /// On or off.
    Switch(&'a mut bool),
    /// A directory. Not looked at here: a stat may walk into a hung mount.
    Path(&'a mut PathBuf),
    /// Listen addresses, at most so many.
    Listen(&'a mut Vec<SocketAddr>, usize),
    /// A path below the cgroup root (the second field).
    Group(&'a mut Option<PathBuf>, &'a Path),
    /// Paths below the cgroup root (the second field), at most so many.
    Groups(&'a mut Vec<PathBuf>, &'a Path, usize),
    /// A log level.
    Level(&'a mut log::LevelFilter),
    /// A log format.
    Format(&'a mut LogFormat),
}

impl Slot<'_> {
    /// The stand-in for the value in the help.
    pub fn value_name(&self) -> &'static str {
        match self {
            Self::Count(..) => "N",
            Self::Time(..) => "DURATION",
            Self::Share(..) => "SHARE",
            Self::Switch(_) => "BOOL",
            Self::Path(_) => "DIR",
            Self::Listen(..) => "ADDR",
            Self::Group(..) | Self::Groups(..) => "GROUP",
            Self::Level(_) => "LEVEL",
            Self::Format(_) => "FORMAT",
        }
    }

    /// Whether the flag may be given several times.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Listen(..) | Self::Groups(..))
    }

    /// Puts a typed value into the field, or leaves the field as it was.
    ///
    /// # Errors
    /// What is wrong with the value, and what to type instead.
    pub fn take(self, typed: &Typed) -> Result<(), Refusal> {
        match self {
            Self::Count(to, range) => *to = count(typed, &range)?,
            Self::Time(to, range) => *to = time(typed, &range)?,
            Self::Share(to, range) => *to = share(typed, &range)?,
            Self::Switch(to) => *to = switch(typed)?,
            Self::Path(to) => *to = directory(typed)?,
            Self::Listen(to, most) => *to = list(typed, 1..=most, "addresses", address)?,
            Self::Group(to, root) => *to = Some(group(text(typed, "a cgroup path")?, root)?),
            Self::Groups(to, root, most) => {
                let path = |item: &Typed| group(text(item, "a cgroup path")?, root);
                *to = list(typed, 0..=most, "groups", path)?;
            }
            Self::Level(to) => *to = level(typed)?,
            Self::Format(to) => *to = format(typed)?,
        }
        Ok(())
    }
}

impl fmt::Display for Slot<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count, _) => write!(out, "{count}"),
            Self::Time(time, _) => out.write_str(&duration::show(**time)),
            Self::Share(share, _) => write!(out, "{share}"),
            Self::Switch(on) => write!(out, "{on}"),
            Self::Path(path) => write!(out, "{}", path.display()),
            Self::Listen(addresses, _) => {
                let addresses: Vec<String> = addresses.iter().map(show_address).collect();
                out.write_str(&addresses.join(", "))
            }
            Self::Group(path, _) => path.iter().try_for_each(|path| write!(out, "{}", path.display())),
            Self::Groups(paths, ..) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                out.write_str(&paths.join(", "))
            }
            Self::Level(level) => out.write_str(&level.as_str().to_ascii_lowercase()),
            Self::Format(LogFormat::Logfmt) => out.write_str("logfmt"),
            Self::Format(LogFormat::Json) => out.write_str("json"),
        }
    }
}

fn text<'a>(typed: &'a Typed, wanted: &str) -> Result<&'a str, Refusal> {
    typed
        .text()
        .ok_or_else(|| Refusal::new(format!("{typed} is not {wanted}"), format!("give {wanted} in quotes")))
}

fn count(typed: &Typed, range: &RangeInclusive<usize>) -> Result<usize, Refusal> {
    let todo = format!("give {} to {}", range.start(), range.end());
    let Some(number) = typed.whole() else { return Err(not_a(typed, "whole number", todo)) };
    usize::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| Refusal::new(format!("{number} is out of range"), todo))
}

fn time(typed: &Typed, range: &RangeInclusive<Duration>) -> Result<Duration, Refusal> {
    let todo = || format!("give {} to {}", duration::show(*range.start()), duration::show(*range.end()));
    let text = typed.text().ok_or_else(|| {
        Refusal::new(format!("{typed} is not a duration"), format!("{}, in quotes", todo()))
    })?;
    let time = duration::parse(text).map_err(|why| Refusal::new(format!("{typed} {why}"), todo()))?;
    if range.contains(&time) {
        Ok(time)
    } else {
        Err(Refusal::new(format!("{typed} is out of range"), todo()))
    }
}

fn share(typed: &Typed, range: &RangeInclusive<f64>) -> Result<f64, Refusal> {
    let todo = format!("give {} to {}", range.start(), range.end());
    let Some(number) = typed.number() else { return Err(not_a(typed, "number", todo)) };
    // NaN is in no range.
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(Refusal::new(format!("{number} is out of range"), todo))
    }
}

/// `"40"` in the file is a string that looks like the number it should be.
fn not_a(typed: &Typed, kind: &str, todo: String) -> Refusal {
    let hint = if matches!(typed, Typed::Text(_)) { ", without quotes" } else { "" };
    Refusal::new(format!("{typed} is not a {kind}"), format!("{todo}{hint}"))
}

fn directory(typed: &Typed) -> Result<PathBuf, Refusal> {
    let text = text(typed, "a directory")?;
    if text.is_empty() || text.contains('\0') {
        return Err(Refusal::new(format!("{typed} is not a path"), "give the mount point"));
    }
    Ok(PathBuf::from(text))
}

/// A list, or a single item in place of one.
fn list<T: PartialEq>(
    typed: &Typed,
    range: RangeInclusive<usize>,
    what: &str,
    each: impl Fn(&Typed) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let items = match typed {
        Typed::List(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    if !range.contains(&items.len()) {
        let todo = format!("give {} to {}", range.start(), range.end());
        return Err(Refusal::new(format!("{} {what}", items.len()), todo));
    }
    let mut taken = Vec::with_capacity(items.len());
    for item in items {
        let value = each(item)?;
        if taken.contains(&value) {
            return Err(Refusal::new(format!("{item} is given twice"), "leave one out"));
        }
        taken.push(value);
    }
    Ok(taken)
}

fn address(typed: &Typed) -> Result<SocketAddr, Refusal> {
    let text = text(typed, "an address")?;
    let parsed = match text.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        Refusal::new(
            format!("{typed} is not a literal address with a port (names are not resolved)"),
            "give one like 127.0.0.1:10100, [::1]:10100 or :10100",
        )
    })
}

fn show_address(address: &SocketAddr) -> String {
    if address.ip() == Ipv6Addr::UNSPECIFIED { format!(":{}", address.port()) } else { address.to_string() }
}

/// A cgroup path, relative to `root`. An absolute one must say the root itself: `/system.slice` could mean either
/// the group or a directory of the host, and a wrong guess watches nothing without a word.
pub fn group(text: &str, root: &Path) -> Result<PathBuf, Refusal> {
    let shown = format!("\"{text}\"");
    let below = || format!("give a path below {}, as in system.slice/bird.service", root.display());
    let path = Path::new(text);
    if text.contains('\0') || path.components().any(|part| part == Component::ParentDir) {
        return Err(Refusal::new(format!("{shown} has a \"..\" or a NUL"), below()));
    }
    let relative = if path.is_absolute() { path.strip_prefix(root).ok() } else { Some(path) };
    let relative = relative.ok_or_else(|| {
        Refusal::new(
            format!("{shown} is not below the cgroup root {}", root.display()),
            "leave out the leading /",
        )
    })?;
    let relative: PathBuf = relative.components().filter(|part| *part != Component::CurDir).collect();
    if relative.as_os_str().is_empty() {
        return Err(Refusal::new(format!("{shown} is the cgroup root itself"), below()));
    }
    Ok(relative)
}

fn switch(typed: &Typed) -> Result<bool, Refusal> {
    match typed {
        Typed::Switch(on) => Ok(*on),
        Typed::Word(word) if word == "true" => Ok(true),
        Typed::Word(word) if word == "false" => Ok(false),
        other => Err(not_a(other, "switch", "give true or false".to_owned())),
    }
}

fn level(typed: &Typed) -> Result<log::LevelFilter, Refusal> {
    let todo = "give error, warn, info, debug or trace";
    match typed.text() {
        Some("error") => Ok(log::LevelFilter::Error),
        Some("warn") => Ok(log::LevelFilter::Warn),
        Some("info") => Ok(log::LevelFilter::Info),
        Some("debug") => Ok(log::LevelFilter::Debug),
        Some("trace") => Ok(log::LevelFilter::Trace),
        _ => Err(Refusal::new(format!("{typed} is not a log level"), todo)),
    }
}

fn format(typed: &Typed) -> Result<LogFormat, Refusal> {
    match typed.text() {
        Some("logfmt") => Ok(LogFormat::Logfmt),
        Some("json") => Ok(LogFormat::Json),
        _ => Err(Refusal::new(format!("{typed} is not a log format"), "give logfmt or json")),
    }
}
