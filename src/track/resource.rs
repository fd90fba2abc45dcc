//! What the names of kernel functions mean: what a thread waits for that sleeps in one, and what a thread holds that
//! has one in its stack. The rows are data, in `table`; the configuration adds to them (`[[resource]]`).

mod table;

use crate::base::resource::Extra;
pub use table::TABLE;

/// Something in the kernel that tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Short name.
    pub name: &'a str,
    /// What it is, as the end of the sentence "9 tasks wait for …".
    pub title: &'a str,
    /// What that means, for someone who does not know the kernel's words.
    pub explain: &'a str,
    /// What can hold it up.
    pub nature: Nature,
    /// What to do, reversible acts first.
    pub act: &'a [&'a str],
    /// What not to do.
    pub avoid: &'a [&'a str],
}

/// What a resource is, as far as it matters to the question who holds it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A lock: some task has it, whatever that task does now.
    Lock,
    /// A lock of which there are many, one for each directory, process or device: two tasks with the same function in
    /// their stacks need not mean the same one.
    ObjectLock,
    /// I/O, or a lock that is only held across I/O: a device that completes nothing holds it up.
    Io,
    /// Every CPU has to pass through a quiet moment: one that does not leave the kernel holds it up.
    GracePeriod,
    /// A kernel thread has to run: whatever keeps it from its CPU holds it up.
    KernelThread,
    /// Anything else.
    Other,
}

/// A built-in row.
#[derive(Debug)]
pub struct Row {
    /// What it is.
    pub resource: Resource<'static>,
    /// Functions that sleep until it is free, separated by spaces.
    pub waits: &'static str,
    /// Functions that have it: a task with one in its stack, and asleep elsewhere, holds it.
    pub holds: &'static str,
}

/// What a table of the configuration says; where it is silent, the built-in row of that name.
fn of_extra(extra: &Extra) -> Resource<'_> {
    let row = TABLE.iter().find(|row| row.resource.name == extra.name).map(|row| row.resource);
    let plain = Resource {
        name: &extra.name,
        title: &extra.name,
        explain: "The configuration names it and does not say what it is.",
        nature: Nature::Lock,
        act: &[],
        avoid: &[],
    };
    overruled(row.unwrap_or(plain), extra)
}

fn overruled<'a>(resource: Resource<'a>, extra: &'a Extra) -> Resource<'a> {
    let or = |said: &'a str, otherwise: &'a str| if said.is_empty() { otherwise } else { said };
    Resource {
        title: or(&extra.title, resource.title),
        explain: or(&extra.explain, resource.explain),
        ..resource
    }
}

/// All rows: those of the configuration first, so that they may overrule.
#[derive(Debug, Clone, Copy)]
pub struct Resources<'a>(pub &'a [Extra]);

impl<'a> Resources<'a> {
    /// What a thread waits for that sleeps in `wchan`.
    pub fn waited_for(self, wchan: &str) -> Option<Resource<'a>> {
        let name = function(wchan);
        if let Some(extra) = self.0.iter().find(|extra| listed(&extra.waits, name)) {
            return Some(of_extra(extra));
        }
        let row = TABLE.iter().find(|row| has(row.waits, name))?.resource;
        let extra = self.0.iter().find(|extra| extra.name == row.name);
        Some(extra.map_or(row, |extra| overruled(row, extra)))
    }

    /// The first function of `stack` in which a thread has the resource `name`.
    pub fn held_in<'s>(self, name: &str, stack: &'s [String]) -> Option<&'s str> {
        let in_config =
            |called: &str| self.0.iter().any(|extra| extra.name == name && listed(&extra.holds, called));
        let of_table =
            |called: &str| TABLE.iter().any(|row| row.resource.name == name && has(row.holds, called));
        stack.iter().map(|frame| function(frame)).find(|called| in_config(called) || of_table(called))
    }
}

fn listed(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

fn has(names: &str, name: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known == name)
}

/// The function's name without what compilers append to clones (`.isra.0`, `.constprop.0`, `.part.0`) and without the
/// offset that stacks carry.
pub fn function(name: &str) -> &str {
    name.split(['.', '+']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_says_two_things() {
        for of in [|row: &Row| row.waits, |row: &Row| row.holds] {
            let mut names: Vec<&str> =
                TABLE.iter().flat_map(|row| of(row).split_ascii_whitespace()).collect();
            let count = names.len();
            names.sort_unstable();
            let twice: Vec<&str> =
                names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
            assert_eq!((count, twice), (names.len(), Vec::new()));
        }
    }

    #[test]
    fn every_row_can_be_read_out() {
        for row in TABLE {
            let Resource { name, title, explain, .. } = row.resource;
            assert!(!row.waits.is_empty() && !title.ends_with('.') && explain.ends_with('.'), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            for act in row.resource.act.iter().chain(row.resource.avoid) {
                assert!(act.ends_with('.'), "{name}: {act}");
            }
        }
        let mut names: Vec<&str> = TABLE.iter().map(|row| row.resource.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    /// What the lab saw in the five incidents and in the foreign locks, on 6.1 and 6.12.
    #[test]
    fn the_wait_channels_of_the_incidents_are_known() {
        let of = |wchan| Resources(&[]).waited_for(wchan).map(|resource| resource.name);
        for wchan in ["rtnetlink_rcv_msg", "dev_ioctl", "__netlink_dump_start", "rtnl_dumpit"] {
            assert_eq!(of(wchan), Some("rtnl"), "{wchan}");
        }
        for (wchan, name) in [
            ("cgroup_kn_lock_live", "cgroup_mutex"),
            ("filename_create", "directory"),
            ("wait_rcu_gp", "rcu"),
            ("jbd2_log_wait_commit", "journal"),
            ("folio_wait_bit_common", "block_io"),
            ("percpu_rwsem_wait", "freeze_or_migration"),
        ] {
            assert_eq!(of(wchan), Some(name), "{wchan}");
        }
        assert_eq!(of("somebodys_own_ioctl"), None);
    }

    #[test]
    fn the_configuration_adds_and_overrules() {
        let extra = Extra {
            name: "dpvs".into(),
            title: "the lock of dpvs".into(),
            waits: vec!["dpvs_ctl".into(), "dev_ioctl".into()],
            holds: vec!["dpvs_work".into()],
            ..Extra::default()
        };
        let resources = Resources(std::slice::from_ref(&extra));
        assert_eq!(resources.waited_for("dpvs_ctl").map(|resource| resource.name), Some("dpvs"));
        assert_eq!(resources.waited_for("dev_ioctl.isra.0").map(|resource| resource.name), Some("dpvs"));
        assert_eq!(resources.waited_for("rtnl_lock").map(|resource| resource.name), Some("rtnl"));
        assert_eq!(resources.waited_for("dpvs_ctl").map(|resource| resource.title), Some("the lock of dpvs"));
        let stack = ["msleep+0x2d/0x40".to_owned(), "dpvs_work+0x1/0x2".to_owned()];
        assert_eq!(resources.held_in("dpvs", &stack), Some("dpvs_work"));
        assert_eq!(resources.held_in("rtnl", &stack), None);
    }

    #[test]
    fn a_table_of_a_built_in_name_adds_to_its_row() {
        let told = |extra: &Extra, wchan: &str| {
            let resources = Resources(std::slice::from_ref(extra));
            resources
                .waited_for(wchan)
                .map(|told| (told.title.to_owned(), told.explain.to_owned(), told.nature))
        };
        let rtnl = Resources(&[]).waited_for("rtnl_lock").unwrap();
        let built_in = Some((rtnl.title.to_owned(), rtnl.explain.to_owned(), rtnl.nature));
        let mut extra = Extra { name: "rtnl".into(), waits: vec!["kni_ioctl".into()], ..Extra::default() };
        assert_eq!(told(&extra, "kni_ioctl"), built_in, "what it does not say is the row's");
        assert_eq!(told(&extra, "rtnl_lock"), built_in);
        extra.title = "the lock of our routers".into();
        for wchan in ["kni_ioctl", "rtnl_lock"] {
            let (title, explain, _) = told(&extra, wchan).unwrap();
            assert_eq!((title.as_str(), explain.as_str()), ("the lock of our routers", rtnl.explain));
        }
        extra = Extra { name: "journal".into(), title: String::new(), ..extra };
        assert_eq!(told(&extra, "kni_ioctl").unwrap().2, Nature::Io, "the nature is the row's too");
        extra.name = "kni".into();
        assert_eq!(told(&extra, "kni_ioctl").unwrap().0, "kni", "a title is what can be said at least");
        let stack = ["dev_ioctl+0x1/0x2".to_owned()];
        assert_eq!(Resources(&[extra]).held_in("rtnl", &stack), Some("dev_ioctl"));
    }
}
