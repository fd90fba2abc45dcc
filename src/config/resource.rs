//! `[[resource]]`: what the kernel functions of this host's own modules wait for and hold.

use std::collections::HashMap;

use crate::base::resource::Extra;

use super::fault::{Fault, Place};
use super::table::{Head, Item, Raw, too_many};
use super::value::Typed;

/// The table's keys.
pub static HEAD: Head = Head {
    name: "resource",
    keys: &["name", "title", "explain", "waits", "holds"],
    todo: "write [[resource]] with name and waits",
};

/// Most resources, and most functions in each list: every wait is compared with all of them, at every tick.
pub const RESOURCES_MAX: usize = 64;
/// Longest name of a function.
const FUNCTION_CHARS_MAX: usize = 64;
/// Longest title and longest explanation: they stand in a page that is read on a phone.
const TITLE_CHARS_MAX: usize = 120;
const EXPLAIN_CHARS_MAX: usize = 500;

/// Checks all resources; faulty ones are reported and left out.
pub fn check(raw: &[Raw]) -> (Vec<Extra>, Vec<Fault>) {
    let mut resources = Vec::new();
    let mut faults: Vec<Fault> = too_many(raw, RESOURCES_MAX, "told").into_iter().collect();
    let mut waits: HashMap<String, &Place> = HashMap::new();
    for (index, table) in raw.iter().take(RESOURCES_MAX).enumerate() {
        match one(table, raw.get(..index).unwrap_or_default()) {
            Ok(extra) => {
                faults.extend(ambiguous(table, &extra, &mut waits));
                resources.push(extra);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (resources, faults)
}

fn one(table: &Raw, earlier: &[Raw]) -> Result<Extra, Fault> {
    let extra = Extra {
        name: table.name(earlier)?,
        title: words(table, "title", TITLE_CHARS_MAX)?,
        explain: words(table, "explain", EXPLAIN_CHARS_MAX)?,
        waits: functions(table, "waits")?,
        holds: functions(table, "holds")?,
    };
    if let (true, Some((_, place))) = (extra.title.ends_with('.'), table.text("title")?) {
        return Err(Fault::new(place, "ends in a dot", "leave it out: sentences go on behind the title"));
    }
    if extra.waits.is_empty() && extra.holds.is_empty() {
        return Err(Fault::new(&table.place, "has neither waits nor holds", "add functions of the kernel"));
    }
    Ok(extra)
}

/// One line of text; empty when it is not given.
fn words(table: &Raw, key: &str, most: usize) -> Result<String, Fault> {
    let Some((text, place)) = table.text(key)? else { return Ok(String::new()) };
    if text.trim().is_empty() || text.chars().count() > most || text.contains(char::is_control) {
        let todo = format!("give 1 to {most} characters in one line");
        return Err(Fault::new(place, format!("is no {key}"), todo));
    }
    Ok(text.to_owned())
}

/// Names of functions; none when the key is not given.
fn functions(table: &Raw, key: &str) -> Result<Vec<String>, Fault> {
    let Some(Item { typed, place, .. }) = table.get(key) else { return Ok(Vec::new()) };
    let Typed::List(items) = typed else {
        return Err(Fault::new(place, format!("{typed} is not a list"), "write [\"...\"]"));
    };
    if items.is_empty() || items.len() > RESOURCES_MAX {
        let what = format!("{} functions", items.len());
        return Err(Fault::new(place, what, format!("give 1 to {RESOURCES_MAX}")));
    }
    let function = |item: &Typed| match item {
        // A stack shows clones that compilers made (`.isra.0`); all clones of a function are that function.
        Typed::Text(name) if is_function(name) => Ok(name.split('.').next().unwrap_or(name).to_owned()),
        other => {
            let todo = format!("give 1 to {FUNCTION_CHARS_MAX} of A-Z a-z 0-9 _ . in quotes, no dot first");
            Err(Fault::new(place, format!("{other} is not a function of the kernel"), todo))
        }
    };
    items.iter().map(function).collect()
}

fn is_function(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    !name.is_empty()
        && name.len() <= FUNCTION_CHARS_MAX
        && name.chars().all(allowed)
        && !name.starts_with('.')
}

/// A function that waits for two things: which one it is would be a matter of their order.
fn ambiguous<'a>(table: &'a Raw, extra: &Extra, waits: &mut HashMap<String, &'a Place>) -> Option<Fault> {
    let place = &table.get("waits")?.place;
    let mut found = None;
    for function in &extra.waits {
        match waits.insert(function.clone(), place) {
            Some(Place::Line { line, .. }) if found.is_none() => {
                let what = format!("\"{function}\" is in the waits of line {line} too");
                found = Some(Fault::new(place, what, "leave one out"));
            }
            _ => {}
        }
    }
    found
}
