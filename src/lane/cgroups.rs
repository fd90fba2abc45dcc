//! The cgroups lane: members of services that are selected by control group, and our own quota. Everything here goes
//! through kernfs, whose locks a removal elsewhere may hold, so it may hang alone.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Mono};
use crate::config::{Selector, Service};
use crate::lane::handover::{Handover, Members};
use crate::lane::tasks::services::bit;
use crate::lane::{Tools, Work};
use crate::sample::{Dying, Frame, Lane, OwnGroup};
use crate::source::error::{Cause, SourceError};
use crate::source::kernel::Version;
use crate::source::place::{CgroupFile, Place};
use crate::source::{Reader, cgroup};

/// Distance between two turns.
const INTERVAL: Duration = Duration::from_secs(5);
/// Where the cpu controller may be mounted below the cgroup root: v2 alone, v2 beside v1, v1.
const MOUNTS: [&str; 4] = ["", "unified/", "cpu/", "cpu,cpuacct/"];
/// Where v2 may be mounted below the cgroup root: there itself, or beside v1.
const UNIFIED: [&[u8]; 2] = [b"", b"unified"];
/// Deepest group whose ancestors are asked for a quota.
const DEPTH_MAX: usize = 32;

/// The lane.
pub struct CgroupsLane {
    handover: Arc<Handover>,
    services: Vec<(u64, Vec<u8>)>,
    own: Option<PathBuf>,
    kernel: Option<Version>,
}

impl CgroupsLane {
    /// A lane for these services. `own` is the configured path of our own group.
    pub fn new(handover: Arc<Handover>, services: &[Service], own: Option<PathBuf>) -> Self {
        let services = services.iter().enumerate().filter_map(|(index, service)| match &service.selector {
            Selector::Cgroup(path) => Some((bit(index), below_root(path))),
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
            let place = Place::Cgroup { group, file: CgroupFile::Procs };
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
    fn own_groups(&self, reader: &mut Reader<'_>) -> Vec<Vec<u8>> {
        if let Some(own) = &self.own {
            return vec![below_root(own)];
        }
        if !self.kernel.is_some_and(Version::own_cgroup_is_safe) {
            return Vec::new();
        }
        let Ok(text) = reader.read(&Place::OwnCgroup) else { return Vec::new() };
        let ours = cgroup::own_groups(text).filter(|(controllers, _)| {
            controllers.is_empty() || controllers.split(|byte| *byte == b',').any(|name| name == b"cpu")
        });
        ours.map(|(_, path)| path.to_vec()).collect()
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

/// Groups that were removed and are still held, counted at the v2 root.
fn dying(reader: &mut Reader<'_>) -> Result<Option<u64>, SourceError> {
    for group in UNIFIED {
        let place = Place::Cgroup { group, file: CgroupFile::Stat };
        match reader.read(&place) {
            Ok(text) => {
                let malformed = || SourceError::at(place.row(), 0, Cause::Malformed);
                return cgroup::dying(text).ok_or_else(malformed).map(Some);
            }
            Err(error) if matches!(error.cause, Cause::Vanished | Cause::NoTree) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The bytes of a configured path, without the slash that would lead out of the tree.
fn below_root(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.get(bytes.iter().take_while(|byte| **byte == b'/').count()..).unwrap_or_default().to_vec()
}

/// A group and its ancestors, in every mount in which the cpu controller may be.
fn ancestors(path: &[u8]) -> Vec<Vec<u8>> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
    let groups = (1..=names.len()).rev().take(DEPTH_MAX).filter_map(|depth| names.get(..depth));
    let groups = groups.map(|names| names.join(&b'/'));
    groups.flat_map(|group| MOUNTS.iter().map(move |mount| [mount.as_bytes(), &group].concat())).collect()
}

fn quota(group: &[u8], reader: &mut Reader<'_>) -> Option<f64> {
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
        let at = clock::now();
        let frame = dying(&mut tools.reader).map(|groups| Frame::Dying(Dying { at, groups }));
        let failed = |error: SourceError| Frame::Failed { lane: Lane::Cgroups, why: error.to_string() };
        (tools.send)(&frame.unwrap_or_else(failed));
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
        let groups = ancestors(b"/system.slice/x.service");
        assert_eq!(groups.len(), 8);
        assert_eq!(groups.first().map(Vec::as_slice), Some(&b"system.slice/x.service"[..]));
        assert!(groups.contains(&b"cpu/system.slice".to_vec()));
        assert!(ancestors(b"/").is_empty());
        assert_eq!(below_root(Path::new("//a/b")), b"a/b");
        assert_eq!(ancestors("/a".repeat(100).as_bytes()).len(), DEPTH_MAX * MOUNTS.len());
    }
}
