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

#[cfg(test)]
mod tests {
    use crate::config::validate::trial::{checked, faults};

    #[test]
    fn a_resource_is_taken() {
        let text = "
            [[resource]]
            name = 'dpvs'
            title = 'the lock of dpvs'
            explain = 'It is.'
            waits = ['dpvs_ctl', 'dpvs_get.isra.0']
            holds = ['dpvs_work']
            [[resource]]
            name = 'rtnl'
            waits = ['kni_ioctl']
        ";
        let config = checked(text).unwrap();
        let [dpvs, rtnl] = config.resources.as_slice() else { panic!("two resources") };
        assert_eq!((dpvs.name.as_str(), dpvs.title.as_str()), ("dpvs", "the lock of dpvs"));
        assert_eq!((&dpvs.waits[1], &dpvs.holds[0]), (&"dpvs_get".to_owned(), &"dpvs_work".to_owned()));
        assert_eq!((rtnl.title.as_str(), rtnl.explain.as_str()), ("", ""));
    }

    fn list(count: usize) -> String {
        let names: String = (0..count).map(|at| format!("'f{at}',")).collect();
        format!("waits = [{names}]")
    }

    #[test]
    fn a_faulty_list_of_functions_is_one_line_with_its_place() {
        let no_function = |what: &str| {
            format!(
                "3:9: resource.waits: {what} is not a function of the kernel; \
                 give 1 to 64 of A-Z a-z 0-9 _ . in quotes, no dot first"
            )
        };
        let long = "f".repeat(65);
        for (keys, line) in [
            ("", "1:1: resource: has neither waits nor holds; add functions of the kernel"),
            (
                "wait = ['f']",
                "3:1: \"wait\" is not a known key of [[resource]]; the nearest known one is waits",
            ),
            ("waits = 'f'", "3:9: resource.waits: \"f\" is not a list; write [\"...\"]"),
            ("waits = ['a b']", &no_function("\"a b\"")),
            ("waits = ['.isra.0']", &no_function("\".isra.0\"")),
            ("waits = ['f', 3]", &no_function("3")),
            (&format!("waits = ['{long}']"), &no_function(&format!("\"{long}\""))),
            ("waits = []", "3:9: resource.waits: 0 functions; give 1 to 64"),
            (&list(65), "3:9: resource.waits: 65 functions; give 1 to 64"),
        ] {
            let text = format!("[[resource]]\nname = 'a'\n{keys}");
            assert_eq!(faults(&text), [format!("c.toml:{line}")], "{keys}");
        }
    }

    #[test]
    fn a_faulty_resource_is_one_line_with_its_place() {
        let title = format!("title = '{}'", "t".repeat(121));
        for (keys, line) in [
            (
                "waits = ['f']\ntitle = 'a lock.'",
                "4:9: resource.title: ends in a dot; leave it out: sentences go on behind the title",
            ),
            (title.as_str(), "3:9: resource.title: is no title; give 1 to 120 characters in one line"),
            (
                "waits = ['f']\nexplain = \"two\\nlines\"",
                "4:11: resource.explain: is no explain; give 1 to 500 characters in one line",
            ),
            (
                "waits = ['f', 'g']\n[[resource]]\nname = 'b'\nwaits = ['g.part.0']",
                "6:9: resource.waits: \"g\" is in the waits of line 3 too; leave one out",
            ),
            (
                "waits = ['f']\n[[resource]]\nname = 'a'\nwaits = ['g']",
                "5:8: resource.name: \"a\" is the name in line 2 too; choose another name",
            ),
        ] {
            let text = format!("[[resource]]\nname = 'a'\n{keys}");
            assert_eq!(faults(&text), [format!("c.toml:{line}")], "{keys}");
        }
    }

    #[test]
    fn what_is_too_many_or_no_list_of_tables_is_refused() {
        assert_eq!(faults("resource = 3\n[[resource.x]]").len(), 1, "what is no list of tables is one fault");
        assert_eq!(
            faults("resource = []\nservice = {}"),
            ["c.toml:2:1: service is a list of tables; write [[service]] before each one"]
        );
        let tables = |count: usize| {
            let table =
                |at| format!("[[resource]]\nname = 'r{at}'\n{}\n", list(64).replace('f', &format!("f{at}_")));
            (0..count).map(table).collect::<String>()
        };
        assert!(faults(&tables(64)).is_empty());
        assert_eq!(faults(&tables(66)), ["c.toml:193:1: resource: 66 resources; at most 64 can be told"]);
    }
}
