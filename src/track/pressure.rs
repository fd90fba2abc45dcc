//! Pressure totals: the newest ones of the host and of each group that was asked for, as the kernel gives them.

use std::collections::BTreeMap;

use crate::base::clock::Mono;
use crate::base::units::Resource;
use crate::sample::{PressureRow, Pressures};

/// Most groups that are remembered, whatever a lane sends: as many as `pressure.groups` can name.
pub const GROUPS_MAX: usize = 64;
/// Rows of as many groups.
pub const ROWS_MAX: usize = GROUPS_MAX * Resource::ALL.len();

/// Rows by group and resource, of one moment.
#[derive(Debug, Default)]
pub struct Totals {
    rows: BTreeMap<(String, Resource), PressureRow>,
    /// When they were read.
    pub at: Option<Mono>,
}

impl Totals {
    /// The rows, by group and resource.
    pub fn rows(&self) -> impl Iterator<Item = &PressureRow> {
        self.rows.values()
    }
}

/// All totals.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Of the host.
    pub host: Totals,
    /// Of the groups.
    pub groups: Totals,
    /// Rows that found no place.
    pub dropped: u64,
}

impl Pressure {
    /// Takes a frame: all there is of the host, or of the groups.
    pub fn observe(&mut self, pressures: Pressures) {
        let totals = if pressures.groups { &mut self.groups } else { &mut self.host };
        totals.at = Some(pressures.at);
        totals.rows.clear();
        for row in pressures.rows {
            if totals.rows.len() < ROWS_MAX {
                totals.rows.insert((row.group.clone(), row.resource), row);
            } else {
                self.dropped = self.dropped.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: usize, resource: Resource) -> PressureRow {
        PressureRow { group: format!("/{group}"), resource, waiting_us: Some(1), stalled_us: None }
    }

    #[test]
    fn a_frame_replaces_its_own_part_and_leaves_the_other() {
        let mut pressure = Pressure::default();
        let frame = |groups, rows| Pressures { at: Mono::from_nanos(5), groups, rows };
        pressure.observe(frame(false, vec![row(0, Resource::Io)]));
        pressure.observe(frame(true, vec![row(1, Resource::Io), row(2, Resource::Cpu)]));
        pressure.observe(frame(true, vec![row(2, Resource::Cpu)]));
        assert_eq!((pressure.host.rows().count(), pressure.groups.rows().count()), (1, 1));
        assert_eq!(pressure.host.at, Some(Mono::from_nanos(5)));
    }

    #[test]
    fn the_bound_holds_and_what_is_past_it_is_counted() {
        let mut pressure = Pressure::default();
        let rows = (0..GROUPS_MAX + 3).flat_map(|group| Resource::ALL.map(|resource| row(group, resource)));
        pressure.observe(Pressures { groups: true, rows: rows.collect(), ..Pressures::default() });
        assert_eq!((pressure.groups.rows().count(), pressure.dropped), (ROWS_MAX, 12));
    }
}
