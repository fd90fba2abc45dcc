//! The configuration file: read within bounds, then taken apart into settings, switches and tables, each with its
//! line and column. Says what was typed; whether it makes sense is `validate`'s business.
//!
//! The document is walked as toml's spanned tree, not derived into a struct: a derived reader stops at the first
//! fault, and its message cannot name the nearest known key.
#![expect(clippy::disallowed_methods, reason = "this file is the owner of the configuration file")]

use std::fs::OpenOptions;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place};
use super::settings::{COLLECTORS, SETTINGS, Setting};
use super::suggest::nearest;
use super::table::{Head, Item, Raw};
use super::value::Typed;
use super::{Given, resource, service};

/// A configuration is a few KiB; what is larger is some other file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the file says.
#[derive(Debug, Default)]
pub struct Document {
    /// Settings, in the order of the file.
    pub settings: Vec<Given>,
    /// Switches of `[collector]`.
    pub collectors: Vec<(&'static str, bool)>,
    /// Tables `[[service]]`.
    pub services: Vec<Raw>,
    /// Tables `[[resource]]`.
    pub resources: Vec<Raw>,
    /// What could not be understood.
    pub faults: Vec<Fault>,
}

/// Reads and takes apart a file.
pub fn load(path: &Path) -> Document {
    match read(path) {
        Ok(text) => parse(path, &text),
        Err(fault) => Document { faults: vec![fault], ..Document::default() },
    }
}

/// Reads a whole file. Non-blocking, because opening a FIFO without a writer would wait for one.
fn read(path: &Path) -> Result<String, Fault> {
    let place = Place::File(path.to_owned());
    let failed = |cause: &std::io::Error| {
        Fault::new(&place, format!("cannot be read: {cause}"), "name a readable file with --config.file")
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|cause| failed(&cause))?;
    let regular = file.metadata().map_err(|cause| failed(&cause))?.is_file();
    if !regular {
        return Err(Fault::new(&place, "is not a regular file", "name a TOML file with --config.file"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|cause| failed(&cause))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Fault::new(&place, "is larger than 1 MiB", "name a TOML file with --config.file"));
    }
    String::from_utf8(bytes).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Fault::new(&place, format!("is not UTF-8 from byte {at} on"), "save it as UTF-8")
    })
}

/// Takes a text apart.
pub fn parse(path: &Path, text: &str) -> Document {
    let source = Source { path, text };
    let mut document = Document::default();
    match DeTable::parse(text) {
        Ok(root) => document.root(&source, root.get_ref()),
        Err(error) => {
            let place = source.place(&error.span().unwrap_or_default(), None);
            document.fault(&place, flat(error.message()), "correct the TOML");
        }
    }
    document
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Value<'i> = Spanned<DeValue<'i>>;

impl Document {
    fn root(&mut self, source: &Source<'_>, root: &DeTable<'_>) {
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            match (name, value.get_ref()) {
                ("service", value) => self.services = self.tables(source, &service::HEAD, key, value),
                ("resource", value) => self.resources = self.tables(source, &resource::HEAD, key, value),
                ("collector", DeValue::Table(table)) => {
                    table.iter().for_each(|(key, value)| self.switch(source, key, value));
                }
                (_, value) if sections().any(|section| section == name) => match value {
                    DeValue::Table(table) => {
                        table.iter().for_each(|(key, value)| self.setting(source, name, key, value));
                    }
                    _ => {
                        let todo = format!("write [{name}] on a line of its own and the keys below it");
                        self.fault(&source.key(key), format!("{name} is a section"), todo);
                    }
                },
                _ => self.unknown(source, key, "section", sections()),
            }
        }
    }

    fn setting(&mut self, source: &Source<'_>, section: &str, key: &Key<'_>, value: &Value<'_>) {
        let name = key.get_ref().as_ref();
        let known = |setting: &&Setting| setting.section_and_key() == (section, name.to_owned());
        match SETTINGS.iter().find(known) {
            Some(setting) => {
                let place = source.place(&value.span(), Some(setting.key()));
                self.settings.push(Given { setting, typed: typed(value.get_ref()), place });
            }
            None => {
                let keys: Vec<String> = SETTINGS
                    .iter()
                    .map(Setting::section_and_key)
                    .filter_map(|(other, key)| (other == section).then_some(key))
                    .collect();
                self.unknown(source, key, &format!("key of [{section}]"), keys.iter().map(String::as_str));
            }
        }
    }

    fn switch(&mut self, source: &Source<'_>, key: &Key<'_>, value: &Value<'_>) {
        let name = key.get_ref().as_ref();
        match (COLLECTORS.iter().find(|collector| collector.name == name), value.get_ref()) {
            (Some(collector), DeValue::Boolean(on)) => self.collectors.push((collector.name, *on)),
            (Some(collector), other) => {
                let place = source.place(&value.span(), Some(format!("collector.{}", collector.name)));
                self.fault(&place, format!("{} is not a switch", typed(other)), "give true or false");
            }
            (None, _) => self.unknown(source, key, "collector", COLLECTORS.iter().map(|known| known.name)),
        }
    }

    fn tables(
        &mut self,
        source: &Source<'_>,
        head: &'static Head,
        key: &Key<'_>,
        value: &DeValue<'_>,
    ) -> Vec<Raw> {
        let name = head.name;
        let DeValue::Array(tables) = value else {
            let what = format!("{name} is a list of tables");
            self.fault(&source.key(key), what, format!("write [[{name}]] before each one"));
            return Vec::new();
        };
        tables.iter().filter_map(|table| self.table(source, head, table)).collect()
    }

    fn table(&mut self, source: &Source<'_>, head: &'static Head, table: &Value<'_>) -> Option<Raw> {
        let name = head.name;
        let place = source.place(&table.span(), Some(name.to_owned()));
        let DeValue::Table(keys) = table.get_ref() else {
            self.fault(&place, format!("a {name} is a table"), head.todo);
            return None;
        };
        let faults_before = self.faults.len();
        let mut items = Vec::new();
        for (key, value) in keys {
            match head.keys.iter().find(|known| **known == key.get_ref().as_ref()) {
                Some(known) => items.push(Item {
                    key: known,
                    typed: typed(value.get_ref()),
                    place: source.place(&value.span(), Some(format!("{name}.{known}"))),
                }),
                None => self.unknown(source, key, &format!("key of [[{name}]]"), head.keys.iter().copied()),
            }
        }
        // What was misspelt would be missed again by the checks: one fault, one line.
        (self.faults.len() == faults_before).then_some(Raw { head, place, items })
    }

    fn unknown<'a>(
        &mut self,
        source: &Source<'_>,
        key: &Key<'_>,
        kind: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let name = key.get_ref().as_ref();
        let known: Vec<&str> = known.into_iter().collect();
        let todo = match nearest(name, known.iter().copied()) {
            Some(near) => format!("the nearest known one is {near}"),
            None => format!("known are {}", known.join(", ")),
        };
        self.fault(&source.key(key), format!("\"{name}\" is not a known {kind}"), todo);
    }

    fn fault(&mut self, place: &Place, what: impl Into<String>, todo: impl Into<String>) {
        self.faults.push(Fault::new(place, what, todo));
    }
}

/// The sections of the file, those with several tables among them, each once.
fn sections() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.section_and_key().0).collect();
    names.dedup();
    names.into_iter().chain(["collector", service::HEAD.name, resource::HEAD.name])
}

fn typed(value: &DeValue<'_>) -> Typed {
    match value {
        DeValue::String(text) => Typed::Text(text.to_string()),
        // A number too large for the type is no setting's value; its digits say so in the fault.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Typed::Other("integer beyond 64 bits"), Typed::Whole),
        DeValue::Float(number) => number.as_str().parse().map_or(Typed::Other("float"), Typed::Float),
        DeValue::Array(items) => Typed::List(items.iter().map(|item| typed(item.get_ref())).collect()),
        DeValue::Boolean(on) => Typed::Switch(*on),
        DeValue::Datetime(_) | DeValue::Table(_) => Typed::Other(value.type_str()),
    }
}

/// A parser's message in one line.
fn flat(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text with its name, to tell places.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn key(&self, key: &Key<'_>) -> Place {
        self.place(&key.span(), None)
    }

    fn place(&self, span: &Range<usize>, key: Option<String>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let (line, line_start) = match before.rfind('\n') {
            Some(newline) => (before.matches('\n').count() + 1, newline + 1),
            None => (1, 0),
        };
        let column = before.get(line_start..).map_or(0, |head| head.chars().count()) + 1;
        Place::Line { file: self.path.to_owned(), line, column, key }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn told(path: &Path) -> String {
        let faults = load(path).faults;
        let [fault] = faults.as_slice() else { panic!("one fault: {faults:?}") };
        fault.to_string().replace(&path.display().to_string(), "F")
    }

    /// A FIFO without a writer would hold an ordinary open for good: that this test ends is its point.
    #[test]
    fn what_is_no_readable_text_file_is_refused_without_waiting() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { scratch.path().join(name) };
        std::fs::write(path("latin1"), b"# \xe9\n").unwrap();
        std::fs::write(path("huge"), vec![b'#'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1]).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), mode).unwrap();
        for (name, line) in [
            (
                "missing",
                "F: cannot be read: No such file or directory (os error 2); name a readable file with --config.file",
            ),
            ("latin1", "F: is not UTF-8 from byte 2 on; save it as UTF-8"),
            ("huge", "F: is larger than 1 MiB; name a TOML file with --config.file"),
            ("fifo", "F: is not a regular file; name a TOML file with --config.file"),
            (".", "F: is not a regular file; name a TOML file with --config.file"),
        ] {
            assert_eq!(told(&path(name)), line);
        }
    }

    #[test]
    fn a_file_of_the_greatest_size_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("full.toml");
        std::fs::write(&path, vec![b'\n'; usize::try_from(FILE_BYTES_MAX).unwrap()]).unwrap();
        assert!(load(&path).faults.is_empty());
    }
}
