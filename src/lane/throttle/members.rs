//! Which of the groups that throttle a runnable process is in. A process cannot be asked (`/proc/PID/cgroup` takes
//! `cgroup_mutex` up to 6.6), so the groups are: only those that throttle, only when somebody starves or burns CPU
//! time, and the groups below them, because a quota holds for these as well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::units::Pid;
use crate::lane::throttle::kept::KeptGroups;
use crate::lane::throttle::walk::{join, place};
use crate::sample::QuotasMissed;
use crate::sample::runnable::Member;
use crate::source::error::SourceError;
use crate::source::place::CgroupFile;
use crate::source::{Reader, cgroup};

/// Most groups whose members are read in one search.
const GROUPS_MAX: usize = 64;
/// A process that was not found is looked for again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// And one that was found: it may have been moved.
const REPEAT: Duration = Duration::from_secs(30);

/// What has been answered.
#[derive(Debug, Default)]
pub struct Membership {
    /// Until when an answer stands, and whether it was a group.
    answered: HashMap<Pid, (Mono, bool)>,
    /// With which group the next search begins; not every search comes to all of them.
    next: usize,
}

impl Membership {
    /// Looks for the starved processes that there is no answer for.
    pub fn search(
        &mut self,
        starved: Vec<Pid>,
        kept: &KeptGroups,
        now: Mono,
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) -> Vec<Member> {
        let starved: HashSet<Pid> = starved.into_iter().collect();
        let throttling = if starved.is_empty() { BTreeMap::new() } else { kept.throttling(now) };
        // Where nothing throttles any more, that somebody is in such a group is no longer so.
        let stands = |until, grouped: bool| until > now && !(grouped && throttling.is_empty());
        self.answered.retain(|pid, (until, grouped)| starved.contains(pid) && stands(*until, *grouped));
        let wanted: HashSet<Pid> =
            starved.into_iter().filter(|pid| !self.answered.contains_key(pid)).collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        if throttling.is_empty() {
            self.answered.extend(wanted.iter().map(|pid| (*pid, (now.plus(AGAIN), false))));
            return wanted.into_iter().map(|pid| Member { pid, group: None }).collect();
        }
        let begin = self.next % throttling.len();
        let mut search = Search::new(&throttling, begin, wanted);
        while search.step(reader) {}
        self.next = begin.saturating_add(search.begun);
        missed.unread = missed.unread.saturating_add(search.unread);
        let left = throttling.len().saturating_sub(search.begun).saturating_add(search.open.len());
        if !search.wanted.is_empty() {
            missed.over_members = missed.over_members.saturating_add(u64::try_from(left).unwrap_or(u64::MAX));
        }
        let everywhere = left == 0 && search.unread == 0;
        let Search { mut found, wanted, .. } = search;
        self.answered.extend(found.iter().map(|member| (member.pid, (now.plus(REPEAT), true))));
        self.answered.extend(wanted.iter().map(|pid| (*pid, (now.plus(AGAIN), false))));
        if everywhere {
            found.extend(wanted.into_iter().map(|pid| Member { pid, group: None }));
        }
        found
    }
}

/// One search.
struct Search<'g> {
    throttling: &'g BTreeMap<&'g [u8], &'g str>,
    /// Groups that throttle, the next first.
    roots: Box<dyn Iterator<Item = (&'g [u8], &'g str)> + 'g>,
    /// How many of them were begun with.
    begun: usize,
    /// Groups below them to be read, each with the label of the group whose quota holds there.
    open: Vec<(Vec<u8>, &'g str)>,
    visited: HashSet<Vec<u8>>,
    wanted: HashSet<Pid>,
    found: Vec<Member>,
    unread: u64,
    names: Vec<Vec<u8>>,
}

impl<'g> Search<'g> {
    fn new(throttling: &'g BTreeMap<&'g [u8], &'g str>, begin: usize, wanted: HashSet<Pid>) -> Self {
        let pairs = || throttling.iter().map(|(path, label)| (*path, *label));
        Self {
            throttling,
            roots: Box::new(pairs().skip(begin).chain(pairs().take(begin))),
            begun: 0,
            open: Vec::new(),
            visited: HashSet::new(),
            wanted,
            found: Vec::new(),
            unread: 0,
            names: Vec::new(),
        }
    }

    /// Reads one group; false when all are found, everything was read, or enough.
    fn step(&mut self, reader: &mut Reader<'_>) -> bool {
        if self.wanted.is_empty() || self.visited.len() >= GROUPS_MAX {
            return false;
        }
        let next = self.open.pop().or_else(|| {
            let (path, label) = self.roots.next()?;
            self.begun = self.begun.saturating_add(1);
            Some((path.to_vec(), label))
        });
        let Some((path, label)) = next else { return false };
        if self.visited.insert(path.clone())
            && let Err(error) = self.read(&path, label, reader)
            && !error.vanished()
        {
            self.unread = self.unread.saturating_add(1);
        }
        true
    }

    fn read(&mut self, path: &[u8], label: &'g str, reader: &mut Reader<'_>) -> Result<(), SourceError> {
        for pid in cgroup::procs(reader.whole(&place(path, CgroupFile::Procs))?) {
            if self.wanted.remove(&pid) {
                self.found.push(Member { pid, group: Some(label.to_owned()) });
            }
        }
        if !self.wanted.is_empty() && reader.has_groups(path)? {
            let left_out = reader.list_groups(path, GROUPS_MAX, &mut self.names)?;
            self.unread = self.unread.saturating_add(left_out);
            for name in self.names.drain(..) {
                let path = join(path, &name);
                // The nearest quota is its own, if that throttles.
                let label = self.throttling.get(path.as_slice()).copied().unwrap_or(label);
                self.open.push((path, label));
            }
        }
        Ok(())
    }
}
