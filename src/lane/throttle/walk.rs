//! The search: every group of every hierarchy that can have a CPU quota, one group a step.

use crate::lane::throttle::kept::{Home, KeptGroups};
use crate::sample::QuotasMissed;
use crate::source::Reader;
use crate::source::cgroup::{self, Quota};
use crate::source::error::SourceError;
use crate::source::place::{CgroupFile, Place};

/// Where v2 may be mounted below the cgroup root: there itself, or beside v1.
const V2: [&str; 2] = ["", "unified"];
/// Where v1's cpu controller may be: alone, together with cpuacct, or as the root itself.
const V1: [&str; 4] = ["cpu", "cpu,cpuacct", "cpuacct,cpu", ""];

/// A hierarchy whose groups can have a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its root below the cgroup root.
    pub mount: &'static str,
    /// v2.
    pub unified: bool,
}

impl Hierarchy {
    /// A group's path below the cgroup root. Both ends may be the root.
    pub fn path(&self, group: &[u8]) -> Vec<u8> {
        join(self.mount.as_bytes(), group)
    }
}

/// Two paths as one; an empty one brings no slash.
pub fn join(above: &[u8], below: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if above.is_empty() || below.is_empty() { b"" } else { b"/" };
    [above, slash, below].concat()
}

/// A search under way.
#[derive(Debug)]
pub struct Walk {
    /// Groups to be visited.
    open: Vec<(Hierarchy, Vec<u8>)>,
    names: Vec<Vec<u8>>,
    number: u32,
    /// Groups that may still be put into `open`.
    room: usize,
    /// It has looked everywhere so far.
    pub complete: bool,
    /// The newest failure that is not an end.
    pub failed: Option<SourceError>,
}

impl Walk {
    /// A search that looks at `most` groups, and begins at the roots that this host has.
    pub fn new(most: usize, number: u32, reader: &mut Reader<'_>) -> Self {
        let is_there =
            |mount: &&str, file, reader: &mut Reader<'_>| reader.read(&place(mount.as_bytes(), file)).is_ok();
        let v2 = V2.iter().find(|mount| reader.keep(&place(mount.as_bytes(), CgroupFile::Procs)).is_ok());
        let v1 = V1.iter().find(|mount| is_there(mount, CgroupFile::CfsQuota, reader));
        let roots = [v2.map(|mount| (mount, true)), v1.map(|mount| (mount, false))];
        let roots = roots.into_iter().flatten();
        let open = roots.map(|(mount, unified)| (Hierarchy { mount, unified }, Vec::new())).collect();
        Self { open, names: Vec::new(), number, room: most, complete: true, failed: None }
    }

    /// Visits one group; false when there is none left.
    pub fn step(
        &mut self,
        kept: &mut KeptGroups,
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) -> bool {
        let Some((hierarchy, group)) = self.open.pop() else { return false };
        let path = hierarchy.path(&group);
        // A root has no quota of its own, and is listed always.
        let visited = if group.is_empty() {
            self.list(hierarchy, &group, &path, reader, missed)
        } else {
            self.visit(hierarchy, &group, &path, kept, reader, missed)
        };
        // A group that has ended meanwhile is no loss; of one that cannot be read nothing is known, nor of those below.
        if let Err(error) = visited
            && !error.vanished()
        {
            missed.unread = missed.unread.saturating_add(1);
            self.complete = false;
            self.failed = Some(error);
        }
        true
    }

    fn visit(
        &mut self,
        hierarchy: Hierarchy,
        group: &[u8],
        path: &[u8],
        kept: &mut KeptGroups,
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) -> Result<(), SourceError> {
        // On v2 the file is there when the parent passes the controller on; where it is not, no group below has it.
        match quota(hierarchy, path, reader)? {
            Some(Quota::Cores(cores)) => {
                kept.found(Home { hierarchy, group, path }, cores, self.number, reader, missed);
            }
            Some(Quota::Unlimited) => kept.lost(path),
            None => missed.unread = missed.unread.saturating_add(1),
        }
        if reader.has_groups(path)? {
            self.list(hierarchy, group, path, reader, missed)?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        hierarchy: Hierarchy,
        group: &[u8],
        path: &[u8],
        reader: &mut Reader<'_>,
        missed: &mut QuotasMissed,
    ) -> Result<(), SourceError> {
        let left_out = reader.list_groups(path, self.room, &mut self.names)?;
        self.room = self.room.saturating_sub(self.names.len());
        self.open.extend(self.names.drain(..).map(|name| (hierarchy, join(group, &name))));
        if left_out > 0 {
            missed.over_walk = missed.over_walk.saturating_add(left_out);
            self.complete = false;
        }
        Ok(())
    }
}

/// A file of a group.
pub fn place(path: &[u8], file: CgroupFile) -> Place<'_> {
    Place::Cgroup { group: path, file }
}

/// A group's quota; `None` when the text is not what the kernel prints.
fn quota(hierarchy: Hierarchy, path: &[u8], reader: &mut Reader<'_>) -> Result<Option<Quota>, SourceError> {
    if hierarchy.unified {
        return reader.read(&place(path, CgroupFile::CpuMax)).map(cgroup::max_quota);
    }
    let text = reader.read(&place(path, CgroupFile::CfsQuota))?;
    match cgroup::cfs_limited(text) {
        None => Ok(None),
        Some(false) => Ok(Some(Quota::Unlimited)),
        Some(true) => {
            let quota = text.to_vec();
            let period = reader.read(&place(path, CgroupFile::CfsPeriod))?;
            Ok(cgroup::cfs_quota(&quota, period).map(Quota::Cores))
        }
    }
}
