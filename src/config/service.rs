//! `[[service]]`: essential services, from what was typed to checked selectors.

use std::path::Path;

use regex_automata::util::syntax;

use super::fault::{Fault, Place};
use super::settings::SERVICES_MAX;
use super::{Pattern, Selector, Service, value};

/// Watched always, so no other service may take its label value.
pub const RESERVED_NAME: &str = "init";
/// Longest label value.
pub const NAME_CHARS_MAX: usize = 64;
/// A pattern for comms of 15 bytes is small; what compiles to more is a mistake or an attack on our memory.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A table `[[service]]` as it was typed.
#[derive(Debug)]
pub struct Raw {
    /// The table's head.
    pub place: Place,
    /// `name`.
    pub name: Option<Item>,
    /// `comm`.
    pub comm: Option<Item>,
    /// `cgroup`.
    pub cgroup: Option<Item>,
}

/// A string with its place.
#[derive(Debug)]
pub struct Item {
    /// The string.
    pub text: String,
    /// Where it was typed.
    pub place: Place,
}

/// Checks all services; faulty ones are reported and left out.
pub fn check(raw: &[Raw], cgroup_root: &Path) -> (Vec<Service>, Vec<Fault>) {
    let mut services: Vec<Service> = Vec::new();
    let mut faults = Vec::new();
    if let Some(first_over) = raw.get(SERVICES_MAX) {
        let what = format!("{} services", raw.len());
        faults.push(Fault::new(&first_over.place, what, format!("at most {SERVICES_MAX} can be watched")));
    }
    for (index, table) in raw.iter().take(SERVICES_MAX).enumerate() {
        let earlier = raw.iter().take(index).filter_map(|other| other.name.as_ref());
        match (name(table, earlier), selector(table, cgroup_root)) {
            (Ok(name), Ok(selector)) => services.push(Service { name, selector }),
            (name, selector) => faults.extend(name.err().into_iter().chain(selector.err())),
        }
    }
    (services, faults)
}

fn name<'a>(table: &Raw, mut earlier: impl Iterator<Item = &'a Item>) -> Result<String, Fault> {
    let Some(Item { text, place }) = &table.name else {
        return Err(Fault::new(&table.place, "has no name", "add name = \"...\""));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if text.is_empty() || text.chars().count() > NAME_CHARS_MAX || !text.chars().all(allowed) {
        let what = format!("\"{text}\" is not a service name");
        return Err(Fault::new(place, what, format!("give 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 _ . : -")));
    }
    if text == RESERVED_NAME {
        return Err(Fault::new(place, "\"init\" is PID 1 and always watched", "choose another name"));
    }
    match earlier.find(|other| other.text == *text) {
        Some(Item { place: Place::Line { line, .. }, .. }) => Err(Fault::new(
            place,
            format!("\"{text}\" is the name in line {line} too"),
            "choose another name",
        )),
        Some(_) => Err(Fault::new(place, format!("\"{text}\" is given twice"), "choose another name")),
        None => Ok(text.clone()),
    }
}

fn selector(table: &Raw, cgroup_root: &Path) -> Result<Selector, Fault> {
    match (&table.comm, &table.cgroup) {
        (Some(comm), None) => pattern(&comm.text)
            .map(Selector::Comm)
            .map_err(|why| Fault::new(&comm.place, why, "correct the pattern; it must match the whole comm")),
        (None, Some(cgroup)) => value::group(&cgroup.text, cgroup_root)
            .map(Selector::Cgroup)
            .map_err(|refusal| Fault::new(&cgroup.place, refusal.what, refusal.todo)),
        (Some(_), Some(cgroup)) => {
            Err(Fault::new(&cgroup.place, "comm is given as well", "select by one of comm and cgroup"))
        }
        (None, None) => Err(Fault::new(&table.place, "has neither comm nor cgroup", "add one of them")),
    }
}

/// A pattern for a whole comm. It is compiled alone first: `a)|(b` would be valid between our own parentheses.
fn pattern(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("the pattern is empty".to_owned());
    }
    compile(text, text).and_then(|_alone| compile(&format!("^(?:{text})$"), text))
}

/// Compiles; faults are told of the pattern as it was `typed`.
fn compile(text: &str, typed: &str) -> Result<Pattern, String> {
    // One thread, the tasks lane, matches at a time. Left open, the number of CPUs would be asked for, and that is read
    // from files that can block.
    let limits = Pattern::config().nfa_size_limit(Some(PATTERN_BYTES_MAX)).utf8_empty(false).pool_capacity(1);
    // A comm is bytes, so `.` is a byte.
    let bytes = syntax::Config::new().unicode(false).utf8(false);
    Pattern::builder().configure(limits).syntax(bytes).build(text).map_err(|error| {
        match (error.size_limit(), error.syntax_error()) {
            (Some(_), _) => format!("\"{typed}\" is too large a pattern"),
            (None, Some(why)) => format!("\"{typed}\" is not a pattern ({})", last_line(&why.to_string())),
            (None, None) => format!("\"{typed}\" is not a pattern ({error})"),
        }
    })
}

/// The parser draws the pattern with a caret below; the reason is in the last line.
fn last_line(message: &str) -> &str {
    let last = message.lines().last().unwrap_or(message).trim();
    last.strip_prefix("error: ").unwrap_or(last)
}
