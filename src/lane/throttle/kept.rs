//! The groups that have a quota, with their open files.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::base::bounded::{GROUP_MAX, label};
use crate::base::clock::Mono;
use crate::lane::throttle::walk::{Hierarchy, join, place};
use crate::sample::{GroupUsage, QuotaRow, QuotasMissed};
use crate::source::error::SourceError;
use crate::source::place::CgroupFile;
use crate::source::{Kept, Reader, cgroup};

/// What is read at a slower pace: v2's `cpu.stat`, because each read flushes statistics under a lock that the whole
/// host shares, and v1's CPU usage, because it would double the cost of a sample.
const SLOW: Duration = Duration::from_millis(4900);
/// A group whose throttled periods have not grown for this long throttles nobody: twice the slower pace.
const LATELY: Duration = Duration::from_secs(10);
/// Where v1's cpuacct is mounted when it is not together with cpu.
const CPUACCT: &[u8] = b"cpuacct";

/// Where a group is.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// Its hierarchy.
    pub hierarchy: Hierarchy,
    /// Its path there.
    pub group: &'a [u8],
    /// Its path below the cgroup root.
    pub path: &'a [u8],
}

/// The files of a group that are read again and again.
#[derive(Debug)]
enum Files {
    V1 { stat: Kept, usage: Option<Kept>, read: Option<Mono> },
    V2 { stat: Kept, local: Option<Kept>, read: Option<Mono> },
}

#[derive(Debug)]
struct Group {
    label: String,
    cores: f64,
    files: Files,
    /// The search that has seen it last.
    seen: u32,
    /// What front knows of it.
    told: Option<(f64, GroupUsage)>,
    /// The newest numbers; of v2 the older part of the next ones.
    last: Option<GroupUsage>,
    /// When its throttled periods were seen to grow.
    throttled: Option<Mono>,
}

/// The groups, by their path below the cgroup root.
#[derive(Debug)]
pub struct KeptGroups {
    most: usize,
    groups: BTreeMap<Vec<u8>, Group>,
    labels: HashSet<String>,
    /// Labels that front still shows.
    gone: Vec<String>,
}

impl KeptGroups {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { most, groups: BTreeMap::new(), labels: HashSet::new(), gone: Vec::new() }
    }

    /// No group has a quota, and front has been told so.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.gone.is_empty()
    }

    /// Closes every descriptor; what is found again is opened again.
    pub fn close_all(&mut self) {
        self.groups.clear();
        self.labels.clear();
        // Front keeps showing them: the whole frame at the end of the search says which are left.
    }

    /// A search has found a group with a quota.
    pub fn found(
        &mut self,
        home: Home<'_>,
        cores: f64,
        seen: u32,
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) {
        if let Some(group) = self.groups.get_mut(home.path) {
            (group.cores, group.seen) = (cores, seen);
            return;
        }
        if self.groups.len() >= self.most {
            missed.over_groups = missed.over_groups.saturating_add(1);
            return;
        }
        let label = label(&[b"/", home.group].concat(), GROUP_MAX);
        // Two names can have one label (a control character, and the four characters that stand for it). Two series
        // with the same labels would cost the whole page.
        if self.labels.contains(&label) {
            missed.unread = missed.unread.saturating_add(1);
            return;
        }
        match Files::open(home, reader) {
            Ok(files) => {
                self.labels.insert(label.clone());
                let group = Group { label, cores, files, seen, told: None, last: None, throttled: None };
                self.groups.insert(home.path.to_vec(), group);
            }
            Err(error) => missed.unread = missed.unread.saturating_add(u64::from(!error.vanished())),
        }
    }

    /// A search has found a group without a quota.
    pub fn lost(&mut self, path: &[u8]) {
        if let Some(group) = self.groups.remove(path) {
            Self::forget(group, &mut self.labels, &mut self.gone);
        }
    }

    /// A whole search is over: what it has not seen has ended.
    pub fn retain(&mut self, seen: u32) {
        self.drop_unless(|group| group.seen == seen);
    }

    fn drop_unless(&mut self, mut stays: impl FnMut(&mut Group) -> bool) {
        let Self { groups, labels, gone, .. } = self;
        for (_, group) in groups.extract_if(.., |_, group| !stays(group)) {
            Self::forget(group, labels, gone);
        }
    }

    fn forget(group: Group, labels: &mut HashSet<String>, gone: &mut Vec<String>) {
        labels.remove(&group.label);
        if group.told.is_some() {
            gone.push(group.label);
        }
    }

    /// Reads every group. Gives the rows that have changed, or all, and the labels that front must drop before it
    /// takes the rows.
    pub fn sample(
        &mut self,
        whole: bool,
        now: Mono,
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) -> (Vec<QuotaRow>, Vec<String>) {
        let mut rows = Vec::new();
        let mut unread = Vec::new();
        self.drop_unless(|group| {
            let usage = match group.files.read(group.last, now, reader) {
                Ok(usage) => usage,
                Err(error) if error.vanished() => return false,
                Err(_other) => None,
            };
            let periods = |usage: Option<GroupUsage>| usage.map(|usage| usage.throttled_periods);
            if group.last.is_some() && periods(usage) > periods(group.last) {
                group.throttled = Some(now);
            }
            group.last = usage;
            let Some(usage) = usage else {
                // Its old numbers would stand still on the page and say that it is not throttled.
                missed.unread = missed.unread.saturating_add(1);
                unread.extend(group.told.take().map(|_| group.label.clone()));
                return true;
            };
            let news = Some((group.cores, usage));
            if whole || group.told != news {
                rows.push(QuotaRow { group: group.label.clone(), quota_cores: group.cores, usage });
                group.told = news;
            }
            true
        });
        let mut ended = std::mem::take(&mut self.gone);
        ended.append(&mut unread);
        (rows, if whole { Vec::new() } else { ended })
    }

    /// Groups that throttle now or did so lately, by their path below the cgroup root, with their labels.
    pub fn throttling(&self, now: Mono) -> BTreeMap<&[u8], &str> {
        let lately = |group: &Group| group.throttled.is_some_and(|at| now.since(at) <= LATELY);
        let groups = self.groups.iter().filter(|(_, group)| lately(group));
        groups.map(|(path, group)| (path.as_slice(), group.label.as_str())).collect()
    }

    /// Number of groups.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.groups.len()
    }
}

impl Files {
    fn open(home: Home<'_>, reader: &mut Reader<'_>) -> Result<Self, SourceError> {
        let stat = reader.keep(&place(home.path, CgroupFile::CpuStat))?;
        if home.hierarchy.unified {
            let local = reader.keep(&place(home.path, CgroupFile::CpuStatLocal)).ok();
            return Ok(Self::V2 { stat, local, read: None });
        }
        let elsewhere = join(CPUACCT, home.group);
        let mut usage = |path: &[u8]| reader.keep(&place(path, CgroupFile::CpuacctUsage)).ok();
        let usage = usage(home.path).or_else(|| usage(&elsewhere));
        Ok(Self::V1 { stat, usage, read: None })
    }

    /// The numbers now; `None` when they are not what the kernel prints.
    fn read(
        &mut self,
        last: Option<GroupUsage>,
        now: Mono,
        reader: &mut Reader<'_>,
    ) -> Result<Option<GroupUsage>, SourceError> {
        match self {
            Self::V1 { stat, usage, read } => {
                let Some(mut new) = cgroup::cpu_stat(reader.again(stat)?).map(from_stat) else {
                    return Ok(None);
                };
                new.usage_ns = last.and_then(|last| last.usage_ns);
                if due(*read, last, now) {
                    // The cpuacct group of this name is another directory when it is another mount, and may have
                    // ended before this one.
                    let text = usage.as_ref().and_then(|kept| reader.again(kept).ok());
                    new.usage_ns = text.and_then(cgroup::cpuacct_usage);
                    *read = Some(now);
                }
                Ok(Some(new))
            }
            Self::V2 { stat, local, read } => {
                let mut new = last;
                if due(*read, last, now) {
                    let text = reader.again(stat)?;
                    let usage_ns = cgroup::usage(text);
                    new = cgroup::cpu_stat(text).map(|stat| GroupUsage { usage_ns, ..from_stat(stat) });
                    *read = Some(now);
                }
                if let (Some(new), Some(local)) = (&mut new, local) {
                    let Some(throttled) = cgroup::throttled_local(reader.again(local)?) else {
                        return Ok(None);
                    };
                    new.throttled_ns = throttled;
                }
                Ok(new)
            }
        }
    }
}

/// Whether what is read at the slower pace is to be read now.
fn due(read: Option<Mono>, last: Option<GroupUsage>, now: Mono) -> bool {
    last.is_none() || read.is_none_or(|at| now.since(at) >= SLOW)
}

fn from_stat(stat: cgroup::CpuStat) -> GroupUsage {
    let cgroup::CpuStat { periods, throttled_periods, throttled_ns } = stat;
    GroupUsage { periods, throttled_periods, throttled_ns, usage_ns: None }
}
