//! The cgroups lane: members of services that are selected by control group, and our own quota. Everything here goes
//! through kernfs, whose locks a removal elsewhere may hold, so it may hang alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::config::{Selector, Service};
use crate::lane::handover::{Handover, Members};
use crate::lane::tasks::services::bit;
use crate::lane::{Tools, Work};
use crate::sample::{Frame, Lane, OwnGroup};
use crate::source::error::SourceError;
use crate::source::kernel::Version;
use crate::source::place::{CgroupFile, Place};
use crate::source::{Reader, cgroup};

/// Distance between two turns.
const INTERVAL: Duration = Duration::from_secs(5);
/// Where the cpu controller may be mounted below the cgroup root: v2 alone, v2 beside v1, v1.
const MOUNTS: [&str; 4] = ["", "unified/", "cpu/", "cpu,cpuacct/"];
/// Deepest group whose ancestors are asked for a quota.
const DEPTH_MAX: usize = 32;

/// The lane.
pub struct CgroupsLane {
    handover: Arc<Handover>,
    services: Vec<(u64, String)>,
    own: Option<PathBuf>,
    kernel: Option<Version>,
}

impl CgroupsLane {
    /// A lane for these services. `own` is the configured path of our own group.
    pub fn new(handover: Arc<Handover>, services: &[Service], own: Option<PathBuf>) -> Self {
        let services = services.iter().enumerate().filter_map(|(index, service)| match &service.selector {
            Selector::Cgroup(path) => Some((bit(index), path.display().to_string())),
            Selector::Comm(_) => None,
        });
        Self { handover, services: services.collect(), own, kernel: Version::running() }
    }

    /// Reads the members of each service's group. A group that is not there has none; one that cannot be read keeps
    /// those it had. Returns the last failure.
    fn members(&self, reader: &mut Reader<'_>) -> (Members, Option<SourceError>) {
        let before = self.handover.members().unwrap_or_default();
        let (mut members, mut failed) = (Members::new(), None);
        for (bit, group) in &self.services {
            let place = Place::Cgroup { group: group.trim_start_matches('/'), file: CgroupFile::Procs };
            let pids: Vec<u32> = match reader.whole(&place) {
                Ok(text) => cgroup::procs(text).collect(),
                Err(error) if error.vanished() => Vec::new(),
                Err(error) => {
                    failed = Some(error);
                    before.iter().filter(|(_, bits)| *bits & bit != 0).map(|(pid, _)| *pid).collect()
                }
            };
            for pid in pids {
                *members.entry(pid).or_default() |= bit;
            }
        }
        (members, failed)
    }

    /// Our own groups, below the cgroup root: the configured one, or the kernel's answer where asking is lock-safe.
    fn own_groups(&self, reader: &mut Reader<'_>) -> Vec<String> {
        if let Some(own) = &self.own {
            return vec![own.display().to_string()];
        }
        if !self.kernel.is_some_and(Version::own_cgroup_is_safe) {
            return Vec::new();
        }
        let Ok(text) = reader.read(&Place::OwnCgroup) else { return Vec::new() };
        let ours = cgroup::own_groups(text).filter(|(controllers, _)| {
            controllers.is_empty() || controllers.split(|byte| *byte == b',').any(|name| name == b"cpu")
        });
        ours.filter_map(|(_, path)| std::str::from_utf8(path).ok().map(str::to_owned)).collect()
    }

    /// The smallest quota of our group and its ancestors, and how often that group was throttled.
    fn own(&self, reader: &mut Reader<'_>) -> OwnGroup {
        let groups = self.own_groups(reader);
        let mut own = OwnGroup { known: !groups.is_empty(), ..OwnGroup::default() };
        for group in groups.iter().flat_map(|path| ancestors(path)) {
            let Some(cores) = quota(&group, reader) else { continue };
            if own.quota_cores.is_none_or(|least| cores < least) {
                own.quota_cores = Some(cores);
                let place = Place::Cgroup { group: &group, file: CgroupFile::CpuStat };
                let stat = reader.read(&place).ok().and_then(cgroup::cpu_stat);
                own.throttled_periods = stat.map(|stat| stat.throttled_periods);
            }
        }
        own
    }
}

/// A group and its ancestors, in every mount in which the cpu controller may be.
fn ancestors(path: &str) -> Vec<String> {
    let path = path.trim_matches('/');
    let mut ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    ends.push(path.len());
    let groups =
        ends.iter().rev().take(DEPTH_MAX).filter_map(|end| path.get(..*end)).filter(|path| !path.is_empty());
    groups.flat_map(|group| MOUNTS.iter().map(move |mount| format!("{mount}{group}"))).collect()
}

fn quota(group: &str, reader: &mut Reader<'_>) -> Option<f64> {
    let mut text = |file| reader.read(&Place::Cgroup { group, file }).ok().map(<[u8]>::to_vec);
    if let Some(max) = text(CgroupFile::CpuMax) {
        return cgroup::cpu_max(&max);
    }
    cgroup::cfs_quota(&text(CgroupFile::CfsQuota)?, &text(CgroupFile::CfsPeriod)?)
}

impl Work for CgroupsLane {
    fn turn(&mut self, tools: &mut Tools<'_>) -> Mono {
        if !self.services.is_empty() {
            let (members, failed) = self.members(&mut tools.reader);
            self.handover.set_members(members);
            if let Some(error) = failed {
                (tools.send)(&Frame::Failed { lane: Lane::Cgroups, why: error.to_string() });
            }
        }
        (tools.send)(&Frame::Own(self.own(&mut tools.reader)));
        clock::now().plus(INTERVAL)
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ancestor_is_asked_in_every_mount_and_the_root_is_not() {
        let groups = ancestors("/system.slice/x.service");
        assert_eq!(groups.len(), 8);
        assert_eq!(groups.first().map(String::as_str), Some("system.slice/x.service"));
        assert!(groups.contains(&"cpu/system.slice".to_owned()));
        assert!(ancestors("/").is_empty());
        assert_eq!(ancestors(&"/a".repeat(100)).len(), DEPTH_MAX * MOUNTS.len());
    }
}
