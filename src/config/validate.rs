//! From what was typed, in the file and on the command line, to a checked [`Config`]. Never stops at the first
//! fault, never exits, never logs.

use super::fault::{Fault, Place};
use super::file::Document;
use super::settings::{SETTINGS, Setting};
use super::{Config, Flags, Given, resource, service};

/// Two settings of which one must not exceed the other.
struct Order {
    low: &'static str,
    high: &'static str,
    holds: fn(&Config) -> bool,
}

const ORDERS: [Order; 3] = [
    Order {
        low: "tasks.look-interval",
        high: "tasks.interval",
        holds: |config| config.tasks.look_interval <= config.tasks.interval,
    },
    Order {
        low: "tasks.interval",
        high: "tasks.letter-age-max",
        holds: |config| config.tasks.interval <= config.tasks.letter_age_max,
    },
    Order {
        low: "tasks.rows-max",
        high: "tasks.threads-max",
        holds: |config| config.tasks.rows_max <= config.tasks.threads_max,
    },
];

/// Lays the file and then the flags over the defaults.
///
/// # Errors
/// All faults, the document's own among them, in the order of the file, then of the flags.
pub fn check(document: Document, flags: &Flags) -> Result<Config, Vec<Fault>> {
    let Document { settings: from_file, collectors, services, resources, mut faults } = document;
    let mut config = Config::defaults();
    let given = |setting: &'static Setting| {
        from_file.iter().chain(&flags.settings).filter(|given| given.setting.flag == setting.flag)
    };
    let mut refused: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        for Given { typed, place, .. } in given(setting) {
            if let Err(refusal) = (setting.slot)(&mut config).take(typed) {
                refused.push(setting.flag);
                faults.push(Fault::new(place, refusal.what, refusal.todo));
            }
        }
    }
    for order in &ORDERS {
        // A refused value has left the default behind; comparing that would report a fault nobody typed.
        let comparable = !refused.contains(&order.low) && !refused.contains(&order.high);
        if comparable && !(order.holds)(&config) {
            let typed: Vec<&Given> = [order.low, order.high]
                .into_iter()
                .filter_map(Setting::by_flag)
                .filter_map(|setting| given(setting).next_back())
                .collect();
            faults.extend(typed.first().map(|given| disorder(order, &given.place, &mut config)));
        }
    }
    let (services, service_faults) = service::check(&services, &config.roots.cgroupfs);
    faults.extend(service_faults);
    config.services = services;
    let (resources, resource_faults) = resource::check(&resources);
    faults.extend(resource_faults);
    config.resources = resources;
    config.disabled = disabled(&collectors, &flags.collectors, &mut faults);
    faults.sort_by(|one, other| one.place.cmp(&other.place));
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn disorder(order: &Order, place: &Place, config: &mut Config) -> Fault {
    let mut shown = |flag: &str| {
        Setting::by_flag(flag)
            .map_or_else(String::new, |setting| format!("{} ({})", setting.key(), setting.show(config)))
    };
    let what = format!("{} is more than {}", shown(order.low), shown(order.high));
    Fault::new(place, what, "lower the first or raise the second")
}

/// Names that end up off. A flag overrules the file; two flags that contradict each other do not.
fn disabled(
    from_file: &[(&'static str, bool)],
    from_flags: &[(&'static str, bool)],
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let mut off: Vec<String> = Vec::new();
    for (name, on) in from_file.iter().chain(from_flags) {
        off.retain(|other| other != name);
        if !on {
            off.push((*name).to_owned());
        }
    }
    for (name, _) in from_flags.iter().filter(|(name, on)| !on && from_flags.contains(&(*name, true))) {
        let place = Place::Flag(format!("--no-collector.{name}"));
        faults.push(Fault::new(&place, format!("--collector.{name} is given as well"), "leave one out"));
    }
    off
}

/// What becomes of a file's text, and its faults as a person sees them.
#[cfg(test)]
pub mod trial {
    use std::path::Path;

    use super::super::file;
    use super::{Config, Flags, check};

    /// With these flags.
    pub fn with(text: &str, flags: &Flags) -> Result<Config, Vec<String>> {
        check(file::parse(Path::new("c.toml"), text), flags)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    /// Without flags.
    pub fn checked(text: &str) -> Result<Config, Vec<String>> {
        with(text, &Flags::default())
    }

    /// The faults alone.
    pub fn faults(text: &str) -> Vec<String> {
        checked(text).err().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::value::Typed;
    use super::super::{LogFormat, Selector, file};
    use super::*;

    fn flags(typed: &[(&'static str, &str)]) -> Flags {
        let settings = typed
            .iter()
            .map(|(flag, word)| Given {
                setting: Setting::by_flag(flag).unwrap(),
                typed: Typed::Word((*word).to_owned()),
                place: Place::Flag(format!("--{flag}")),
            })
            .collect();
        Flags { settings, ..Flags::default() }
    }

    fn faults(text: &str, flags: &Flags) -> Vec<String> {
        trial::with(text, flags).err().unwrap_or_default()
    }

    #[test]
    fn a_flag_overrules_the_file_and_the_file_the_default() {
        let text = "
            [web]
            listen_address = ['127.0.0.1:1', '[::1]:0']
            max_requests = 7
            scrape_deadline = '1s'
            [tasks]
            cpu_budget = 1
            [self]
            cgroup = '/sys/fs/cgroup/system.slice/./exporter.service/'
            [collector]
            load = false
            blocked = false
            [log]
            level = 'debug'
            format = 'json'
            [[service]]
            name = 'bird'
            comm = 'bird[46]?'
            [[service]]
            name = 'dpvs'
            cgroup = 'system.slice/dpvs.service'
        ";
        let mut over = flags(&[("web.max-requests", "8"), ("web.write-deadline", "1m")]);
        over.collectors.push(("load", true));
        let config = check(file::parse(Path::new("c.toml"), text), &over).unwrap();
        assert_eq!(config.web.max_requests, 8, "flag over file");
        assert_eq!(config.web.write_deadline, Duration::from_secs(60), "flag over default");
        assert_eq!(config.web.scrape_deadline, Duration::from_secs(1), "file over default");
        assert_eq!(config.web.head_deadline, Duration::from_secs(2), "default");
        let listen: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap(), "[::1]:0".parse().unwrap()];
        assert_eq!(config.web.listen, listen);
        assert_eq!(config.tasks.cpu_budget, 1.0);
        assert_eq!(config.own.cgroup, Some(PathBuf::from("system.slice/exporter.service")));
        assert_eq!(config.disabled, ["blocked"]);
        assert_eq!(config.log.level, log::LevelFilter::Debug);
        assert_eq!(config.log.format, LogFormat::Json);
        let [bird, dpvs] = config.services.as_slice() else { panic!("two services") };
        assert_eq!((bird.name.as_str(), dpvs.name.as_str()), ("bird", "dpvs"));
        let Selector::Comm(comm) = &bird.selector else { panic!("by comm") };
        assert!(comm.is_match(b"bird6") && !comm.is_match(b"birdwatch") && !comm.is_match(b"xbird"));
        assert!(
            matches!(&dpvs.selector, Selector::Cgroup(path) if path == Path::new("system.slice/dpvs.service"))
        );
    }

    #[test]
    fn what_is_not_known_is_one_line_with_its_place() {
        for (text, line) in [
            ("[web\n", "c.toml:1:5: unclosed table, expected `]`; correct the TOML"),
            ("[web]\nmax_requests = 1\nmax_requests = 2", "c.toml:3:1: duplicate key; correct the TOML"),
            ("[wep]\n", "c.toml:1:2: \"wep\" is not a known section; the nearest known one is web"),
            (
                "web = 3",
                "c.toml:1:1: web is a section; write [web] on a line of its own and the keys below it",
            ),
            (
                "[web]\n  max_request = 3",
                "c.toml:2:3: \"max_request\" is not a known key of [web]; the nearest known one is max_requests",
            ),
            (
                "[web]\nmax-requests = 3",
                "c.toml:2:1: \"max-requests\" is not a known key of [web]; the nearest known one is max_requests",
            ),
            (
                "[log]\nxyz = 3",
                "c.toml:2:1: \"xyz\" is not a known key of [log]; known are level, format, queue",
            ),
        ] {
            assert_eq!(faults(text, &Flags::default()), [line], "{text}");
        }
    }

    #[test]
    fn a_refused_number_is_one_line_with_its_place() {
        for (text, line) in [
            (
                "[web]\nmax_requests = '40'",
                "c.toml:2:16: web.max_requests: \"40\" is not a whole number; give 1 to 1024, without quotes",
            ),
            ("[web]\nmax_requests = 0", "c.toml:2:16: web.max_requests: 0 is out of range; give 1 to 1024"),
            ("[web]\nmax_requests = -1", "c.toml:2:16: web.max_requests: -1 is out of range; give 1 to 1024"),
            (
                "[web]\nmax_requests = 1.5",
                "c.toml:2:16: web.max_requests: 1.5 is not a whole number; give 1 to 1024",
            ),
            (
                "[web]\nmax_requests = 99999999999999999999",
                "c.toml:2:16: web.max_requests: a value of type integer beyond 64 bits is not a whole number; \
                 give 1 to 1024",
            ),
            (
                "[probe]\nstuck_after = 5",
                "c.toml:2:15: probe.stuck_after: 5 is not a duration; give 1s to 10m, in quotes",
            ),
            (
                "[probe]\nstuck_after = '500ms'",
                "c.toml:2:15: probe.stuck_after: \"500ms\" is out of range; give 1s to 10m",
            ),
            (
                "# ünïcödé\n[probe] # ü\nstuck_after = '5'",
                "c.toml:3:15: probe.stuck_after: \"5\" has a number without a unit (ms, s, m, h, d); give 1s to 10m",
            ),
            ("[tasks]\ncpu_budget = 0", "c.toml:2:14: tasks.cpu_budget: 0 is out of range; give 0.0001 to 1"),
            (
                "[tasks]\ncpu_budget = nan",
                "c.toml:2:14: tasks.cpu_budget: NaN is out of range; give 0.0001 to 1",
            ),
            (
                "[tasks]\ncpu_budget = 1.1",
                "c.toml:2:14: tasks.cpu_budget: 1.1 is out of range; give 0.0001 to 1",
            ),
            (
                "[tasks]\ninterval = '100ms'",
                "c.toml:2:12: tasks.interval: tasks.look_interval (250ms) is more than tasks.interval (100ms); \
                 lower the first or raise the second",
            ),
            (
                "[tasks]\nthreads_max = 1000",
                "c.toml:2:15: tasks.threads_max: tasks.rows_max (16384) is more than tasks.threads_max (1000); \
                 lower the first or raise the second",
            ),
        ] {
            assert_eq!(faults(text, &Flags::default()), [line], "{text}");
        }
    }

    #[test]
    fn a_refused_word_is_one_line_with_its_place() {
        use crate::config::settings::COLLECTORS;
        let known: Vec<&str> = COLLECTORS.iter().map(|collector| collector.name).collect();
        let unknown =
            format!("c.toml:2:1: \"laod\" is not a known collector; known are {}", known.join(", "));
        for (text, line) in [
            (
                "[web]\nlisten_address = 'localhost:80'",
                "c.toml:2:18: web.listen_address: \"localhost:80\" is not a literal address with a port (names are \
                 not resolved); give one like 127.0.0.1:10100, [::1]:10100 or :10100",
            ),
            ("[web]\nlisten_address = []", "c.toml:2:18: web.listen_address: 0 addresses; give 1 to 16"),
            (
                "[web]\nlisten_address = [':1', '[::]:1']",
                "c.toml:2:18: web.listen_address: \"[::]:1\" is given twice; leave one out",
            ),
            (
                "[web]\nlisten_address = [1]",
                "c.toml:2:18: web.listen_address: 1 is not an address; give an address in quotes",
            ),
            ("[path]\nprocfs = ''", "c.toml:2:10: path.procfs: \"\" is not a path; give the mount point"),
            (
                "[log]\nlevel = 'loud'",
                "c.toml:2:9: log.level: \"loud\" is not a log level; give error, warn, info, debug or trace",
            ),
            (
                "[log]\nformat = true",
                "c.toml:2:10: log.format: true is not a log format; give logfmt or json",
            ),
            ("[collector]\nlaod = false", &unknown),
            (
                "[sandbox]\nenabled = 'no'",
                "c.toml:2:11: sandbox.enabled: \"no\" is not a switch; give true or false, without quotes",
            ),
            ("[collector]\nload = 0", "c.toml:2:8: collector.load: 0 is not a switch; give true or false"),
        ] {
            assert_eq!(faults(text, &Flags::default()), [line], "{text}");
        }
    }

    #[test]
    fn a_faulty_service_is_one_line_with_its_place() {
        for (keys, line) in [
            ("comm = 'x'", "1:1: service: has no name; add name = \"...\""),
            ("name = 'a'", "1:1: service: has neither comm nor cgroup; add one of them"),
            (
                "name = 'a'\ncomm = 'x'\ncgroup = 'y'",
                "4:10: service.cgroup: comm is given as well; select by one of comm and cgroup",
            ),
            ("name = 'a'\ncomm = 3", "3:8: service.comm: 3 is not a string; write it in quotes"),
            (
                "name = 'a'\ncom = 'x'",
                "3:1: \"com\" is not a known key of [[service]]; the nearest known one is comm",
            ),
            (
                "name = 'init'\ncomm = 'x'",
                "2:8: service.name: \"init\" is PID 1 and always watched; choose another name",
            ),
            (
                "name = 'a'\ncomm = 'x'\n[[service]]\nname = 'a'\ncomm = 'y'",
                "5:8: service.name: \"a\" is the name in line 2 too; choose another name",
            ),
            (
                "name = 'a'\ncomm = 'a)|(b'",
                "3:8: service.comm: \"a)|(b\" is not a pattern (unopened group); \
                 correct the pattern; it must match the whole comm",
            ),
            (
                "name = 'a'\ncomm = '(((a{1000}){1000}){1000})'",
                "3:8: service.comm: \"(((a{1000}){1000}){1000})\" is too large a pattern; \
                 correct the pattern; it must match the whole comm",
            ),
            (
                "name = 'a'\ncgroup = '../x'",
                "3:10: service.cgroup: \"../x\" has a \"..\" or a NUL; \
                 give a path below /sys/fs/cgroup, as in system.slice/bird.service",
            ),
            (
                "name = 'a'\ncgroup = '/system.slice/x'",
                "3:10: service.cgroup: \"/system.slice/x\" is not below the cgroup root /sys/fs/cgroup; \
                 leave out the leading /",
            ),
            (
                "name = 'a'\ncgroup = '/sys/fs/cgroup/'",
                "3:10: service.cgroup: \"/sys/fs/cgroup/\" is the cgroup root itself; \
                 give a path below /sys/fs/cgroup, as in system.slice/bird.service",
            ),
        ] {
            let text = format!("[[service]]\n{keys}\n");
            assert_eq!(faults(&text, &Flags::default()), [format!("c.toml:{line}")], "{text}");
        }
    }

    #[test]
    fn groups_are_a_list_of_different_paths_that_is_not_too_long() {
        let many = |count: usize| (0..count).map(|group| format!("'g{group}', ")).collect::<String>();
        let text = |groups: &str| format!("[pressure]\ngroups = [{groups}]");
        let taken = |groups: &str| {
            let document = file::parse(Path::new("c.toml"), &text(groups));
            check(document, &Flags::default()).map(|config| config.pressure.groups.len()).ok()
        };
        assert_eq!([taken(""), taken(&many(64)), taken(&many(65))], [Some(0), Some(64), None]);
        for (groups, line) in [
            (many(65).as_str(), "65 groups; give 0 to 64"),
            ("'a', 'a/.'", "\"a/.\" is given twice; leave one out"),
            ("3", "3 is not a cgroup path; give a cgroup path in quotes"),
        ] {
            let line = format!("c.toml:2:10: pressure.groups: {line}");
            assert_eq!(faults(&text(groups), &Flags::default()), [line], "{groups}");
        }
    }

    #[test]
    fn a_service_name_is_a_short_plain_word() {
        for name in ["", "a b", "ü", "a/b", &"x".repeat(65)] {
            let text = format!("[[service]]\nname = '{name}'\ncomm = 'x'\n");
            let what = format!("c.toml:2:8: service.name: \"{name}\" is not a service name");
            let todo = "give 1 to 64 of A-Z a-z 0-9 _ . : -";
            assert_eq!(faults(&text, &Flags::default()), [format!("{what}; {todo}")]);
        }
        let longest = format!("[[service]]\nname = '{}'\ncomm = 'x'\n", "x".repeat(64));
        assert!(faults(&longest, &Flags::default()).is_empty());
    }

    #[test]
    fn the_sixty_fourth_service_is_refused() {
        let services = |count: usize| {
            let table = |index| format!("[[service]]\nname = 's{index}'\ncomm = 'x'\n");
            (0..count).map(table).collect::<String>()
        };
        assert!(faults(&services(63), &Flags::default()).is_empty());
        assert_eq!(
            faults(&services(66), &Flags::default()),
            ["c.toml:190:1: service: 66 services; at most 63 can be watched"]
        );
    }

    #[test]
    fn all_faults_are_told_at_once_from_top_to_bottom() {
        let text =
            "[web]\nmax_requests = 0\nmax_request = 1\n[log]\nlevel = 'x'\n[[service]]\nname = 'init'\n";
        let mut over = flags(&[("tasks.interval", "1"), ("blocked.top", "65")]);
        over.collectors = vec![("load", true), ("load", false)];
        let places: Vec<String> = check(file::parse(Path::new("c.toml"), text), &over)
            .unwrap_err()
            .iter()
            .map(|fault| fault.place.to_string())
            .collect();
        assert_eq!(
            places,
            [
                "c.toml:2:16: web.max_requests",
                "c.toml:3:1",
                "c.toml:5:9: log.level",
                "c.toml:6:1: service",
                "c.toml:7:8: service.name",
                "--blocked.top",
                "--no-collector.load",
                "--tasks.interval",
            ]
        );
    }

    #[test]
    fn a_refused_value_is_not_compared() {
        let over = flags(&[("tasks.interval", "100ms"), ("tasks.look-interval", "fast")]);
        assert_eq!(faults("", &over).len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused_with_places(text: String) {
            let _ = check(file::parse(Path::new("c.toml"), &text), &Flags::default());
        }

        #[test]
        fn any_value_of_any_setting_is_taken_or_refused(index in 0..SETTINGS.len(), word: String) {
            let _ = check(Document::default(), &flags(&[(SETTINGS[index].flag, &word)]));
        }
    }
}
