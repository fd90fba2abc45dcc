//! Tables that the file may have several of (`[[service]]`, `[[resource]]`): their keys as they were typed.

use super::fault::{Fault, Place};
use super::value::Typed;

/// Longest name.
pub const NAME_CHARS_MAX: usize = 64;

/// What a table of this sort may hold.
#[derive(Debug)]
pub struct Head {
    /// The word between the brackets.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
    /// How one is written.
    pub todo: &'static str,
}

/// One table.
#[derive(Debug)]
pub struct Raw {
    /// Its sort.
    pub head: &'static Head,
    /// Where it begins.
    pub place: Place,
    /// Its keys, all of them known.
    pub items: Vec<Item>,
}

/// The value of one key.
#[derive(Debug)]
pub struct Item {
    /// The key.
    pub key: &'static str,
    /// The value.
    pub typed: Typed,
    /// Where the value was typed.
    pub place: Place,
}

impl Raw {
    /// The value of `key`, if it is there.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    /// The same, as a string.
    ///
    /// # Errors
    /// It is something else.
    pub fn text(&self, key: &str) -> Result<Option<(&str, &Place)>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Item { typed: Typed::Text(text), place, .. }) => Ok(Some((text, place))),
            Some(Item { typed, place, .. }) => {
                Err(Fault::new(place, format!("{typed} is not a string"), "write it in quotes"))
            }
        }
    }

    /// Its name, which no table of `earlier` has.
    ///
    /// # Errors
    /// There is none, it is not one, or it is taken.
    pub fn name(&self, earlier: &[Self]) -> Result<String, Fault> {
        let Some((text, place)) = self.text("name")? else {
            return Err(Fault::new(&self.place, "has no name", "add name = \"...\""));
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if text.is_empty() || text.chars().count() > NAME_CHARS_MAX || !text.chars().all(allowed) {
            let what = format!("\"{text}\" is not a {} name", self.head.name);
            return Err(Fault::new(
                place,
                what,
                format!("give 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 _ . : -"),
            ));
        }
        let mut others = earlier.iter().filter_map(|other| other.text("name").ok().flatten());
        match others.find(|(other, _)| *other == text) {
            Some((_, Place::Line { line, .. })) => Err(Fault::new(
                place,
                format!("\"{text}\" is the name in line {line} too"),
                "choose another name",
            )),
            Some(_) => Err(Fault::new(place, format!("\"{text}\" is given twice"), "choose another name")),
            None => Ok(text.to_owned()),
        }
    }
}

/// The fault of too many tables: of the first of `raw` past `most`.
pub fn too_many(raw: &[Raw], most: usize, done: &str) -> Option<Fault> {
    raw.get(most).map(|first_over| {
        let what = format!("{} {}s", raw.len(), first_over.head.name);
        Fault::new(&first_over.place, what, format!("at most {most} can be {done}"))
    })
}
