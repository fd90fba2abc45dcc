//! `[[service]]`: essential services, from what was typed to checked selectors.

use std::path::Path;

use regex_automata::util::syntax;

use super::fault::{Fault, Place};
use super::settings::SERVICES_MAX;
use super::table::{Head, Raw, too_many};
use super::value::Typed;
use super::{Pattern, Quorum, Selector, Service, Threads, value};

/// The table's keys.
pub static HEAD: Head = Head {
    name: "service",
    keys: &["name", "comm", "cgroup", "threads", "thread_comm", "quorum"],
    todo: "write [[service]] with name and comm or cgroup",
};

/// Watched always, so no other service may take its label value.
const RESERVED_NAME: &str = "init";
/// A pattern for comms of 15 bytes is small; what compiles to more is a mistake or an attack on our memory.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Largest number in a quorum: the most threads that Linux has on 64 bits (PID_MAX_LIMIT).
const QUORUM_MAX: u32 = 4_194_304;

/// Checks all services; faulty ones are reported and left out.
pub fn check(raw: &[Raw], cgroup_root: &Path) -> (Vec<Service>, Vec<Fault>) {
    let mut services: Vec<Service> = Vec::new();
    let mut faults: Vec<Fault> = too_many(raw, SERVICES_MAX, "watched").into_iter().collect();
    for (index, table) in raw.iter().take(SERVICES_MAX).enumerate() {
        let earlier = raw.get(..index).unwrap_or_default();
        match (name(table, earlier), selector(table, cgroup_root), threads(table), quorum(table)) {
            (Ok(name), Ok(selector), Ok(threads), Ok(quorum)) => {
                services.push(Service { name, selector, threads, quorum });
            }
            (name, selector, threads, quorum) => {
                faults
                    .extend([name.err(), selector.err(), threads.err(), quorum.err()].into_iter().flatten());
            }
        }
    }
    (services, faults)
}

fn name(table: &Raw, earlier: &[Raw]) -> Result<String, Fault> {
    if let Some((RESERVED_NAME, place)) = table.text("name")? {
        return Err(Fault::new(place, "\"init\" is PID 1 and always watched", "choose another name"));
    }
    table.name(earlier)
}

fn selector(table: &Raw, cgroup_root: &Path) -> Result<Selector, Fault> {
    match (table.text("comm")?, table.text("cgroup")?) {
        (Some((text, place)), None) => comm(text, place).map(Selector::Comm),
        (None, Some((cgroup, place))) => value::group(cgroup, cgroup_root)
            .map(Selector::Cgroup)
            .map_err(|refusal| Fault::new(place, refusal.what, refusal.todo)),
        (Some(_), Some((_, place))) => {
            Err(Fault::new(place, "comm is given as well", "select by one of comm and cgroup"))
        }
        (None, None) => Err(Fault::new(&table.place, "has neither comm nor cgroup", "add one of them")),
    }
}

/// Two keys, so that no thread name has to be written differently because it is also a word of ours.
fn threads(table: &Raw) -> Result<Threads, Fault> {
    match (table.text("threads")?, table.text("thread_comm")?) {
        (None | Some(("all", _)), None) => Ok(Threads::All),
        (Some(("main", _)), None) => Ok(Threads::Main),
        (Some((other, place)), None) => {
            let what = format!("\"{other}\" is neither all nor main");
            Err(Fault::new(place, what, "give one of them, or a pattern for names as thread_comm"))
        }
        (None, Some((text, place))) => comm(text, place).map(Threads::Comm),
        (Some(_), Some((_, place))) => {
            Err(Fault::new(place, "threads is given as well", "leave out one of threads and thread_comm"))
        }
    }
}

fn quorum(table: &Raw) -> Result<Quorum, Fault> {
    let Some(item) = table.get("quorum") else { return Ok(Quorum::Count(1)) };
    let read = match &item.typed {
        Typed::Whole(number) => u32::try_from(*number).ok().map(Quorum::Count),
        Typed::Text(text) => {
            text.strip_suffix('%').and_then(|number| number.parse().ok()).map(Quorum::Percent)
        }
        _ => None,
    };
    match read {
        Some(quorum @ (Quorum::Count(1..=QUORUM_MAX) | Quorum::Percent(1..=100))) => Ok(quorum),
        _ => Err(Fault::new(
            &item.place,
            format!("{} is not a quorum", item.typed),
            "give a number of threads, as in 2, or a share of them, as in \"50%\"",
        )),
    }
}

fn comm(text: &str, place: &Place) -> Result<Pattern, Fault> {
    pattern(text).map_err(|why| Fault::new(place, why, "correct the pattern; it must match the whole comm"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate::trial::{checked, faults};

    #[test]
    fn a_rule_for_threads_is_taken() {
        let with = |keys: &str| format!("[[service]]\nname = 'a'\ncomm = 'x'\n{keys}");
        let taken = |keys: &str| {
            let config = checked(&with(keys)).unwrap();
            let service = config.services.into_iter().next().unwrap();
            (service.threads, service.quorum)
        };
        assert!(matches!(taken(""), (Threads::All, Quorum::Count(1))));
        assert!(matches!(
            taken("threads = 'all'\nquorum = 4194304"),
            (Threads::All, Quorum::Count(4_194_304))
        ));
        assert!(matches!(taken("threads = 'main'\nquorum = '100%'"), (Threads::Main, Quorum::Percent(100))));
        let (Threads::Comm(pattern), Quorum::Percent(1)) = taken("thread_comm = 'main|all'\nquorum = '1%'")
        else {
            panic!("a name that is also a word of ours is a pattern like any other")
        };
        assert!(pattern.is_match(b"main") && !pattern.is_match(b"mainly"));
    }

    #[test]
    fn a_faulty_rule_for_threads_is_one_line_with_its_place() {
        let with = |keys: &str| format!("[[service]]\nname = 'a'\ncomm = 'x'\n{keys}");
        let quorum = "give a number of threads, as in 2, or a share of them, as in \"50%\"";
        for (keys, line) in [
            (
                "threads = 'worker.*'",
                "4:11: service.threads: \"worker.*\" is neither all nor main; \
                 give one of them, or a pattern for names as thread_comm",
            ),
            (
                "threads = 'main'\nthread_comm = 'w'",
                "5:15: service.thread_comm: threads is given as well; leave out one of threads and thread_comm",
            ),
            (
                "thread_comm = '('",
                "4:15: service.thread_comm: \"(\" is not a pattern (unclosed group); \
                 correct the pattern; it must match the whole comm",
            ),
            ("threads = 2", "4:11: service.threads: 2 is not a string; write it in quotes"),
            ("quorum = 0", &format!("4:10: service.quorum: 0 is not a quorum; {quorum}")),
            ("quorum = 4194305", &format!("4:10: service.quorum: 4194305 is not a quorum; {quorum}")),
            ("quorum = '0%'", &format!("4:10: service.quorum: \"0%\" is not a quorum; {quorum}")),
            ("quorum = '101%'", &format!("4:10: service.quorum: \"101%\" is not a quorum; {quorum}")),
            ("quorum = '2'", &format!("4:10: service.quorum: \"2\" is not a quorum; {quorum}")),
            ("quorum = 0.5", &format!("4:10: service.quorum: 0.5 is not a quorum; {quorum}")),
            (
                "quorom = 2",
                "4:1: \"quorom\" is not a known key of [[service]]; the nearest known one is quorum",
            ),
        ] {
            assert_eq!(faults(&with(keys)), [format!("c.toml:{line}")], "{keys}");
        }
    }

    #[test]
    fn a_share_is_rounded_up_and_never_nobody() {
        for (quorum, selected, needed) in [
            (Quorum::Count(4), 3, 4),
            (Quorum::Percent(50), 3, 2),
            (Quorum::Percent(33), 3, 1),
            (Quorum::Percent(34), 3, 2),
            (Quorum::Percent(100), 7, 7),
            (Quorum::Percent(1), 0, 1),
            (Quorum::Percent(100), u32::MAX, u32::MAX),
        ] {
            assert_eq!(quorum.of(selected), needed, "{quorum:?} of {selected}");
        }
    }
}
