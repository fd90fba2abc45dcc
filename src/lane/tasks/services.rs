//! Which services a process belongs to: a bit per service. Bit 0 is PID 1, whatever the configuration says.

use std::sync::Arc;

use crate::base::units::Pid;
use crate::config::{Pattern, Selector, Service};
use crate::lane::handover::Members;

/// The bit of PID 1.
pub const INIT: u64 = 1;

/// Matches processes to services.
#[derive(Debug, Clone)]
pub struct Services {
    by_comm: Vec<(u64, Pattern)>,
    any_by_cgroup: bool,
    members: Arc<Members>,
}

impl Services {
    /// From the configuration; the service at index i has bit i + 1.
    pub fn new(services: &[Service]) -> Self {
        let by_comm = services.iter().enumerate().filter_map(|(index, service)| match &service.selector {
            Selector::Comm(pattern) => Some((bit(index), pattern.clone())),
            Selector::Cgroup(_) => None,
        });
        let any_by_cgroup = services.iter().any(|service| matches!(service.selector, Selector::Cgroup(_)));
        Self { by_comm: by_comm.collect(), any_by_cgroup, members: Arc::default() }
    }

    /// Some service is selected by control group.
    pub const fn need_members(&self) -> bool {
        self.any_by_cgroup
    }

    /// Takes the newest members of control groups.
    pub fn set_members(&mut self, members: Arc<Members>) {
        self.members = members;
    }

    /// Bits by the comm of a process's leader; asked again whenever that comm was read again.
    pub fn by_comm(&self, pid: Pid, comm: &[u8]) -> u64 {
        let init = if pid == 1 { INIT } else { 0 };
        self.by_comm
            .iter()
            .filter(|(_, pattern)| pattern.is_match(comm))
            .fold(init, |bits, (bit, _)| bits | bit)
    }

    /// Bits by control group.
    pub fn by_cgroup(&self, pid: Pid) -> u64 {
        self.members.get(&pid).copied().unwrap_or_default()
    }
}

/// The bit of the configured service at this index; zero past the limit of 63.
pub fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index.saturating_add(1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_belong_to_several_services() {
        let service = |name: &str, pattern: &str| Service {
            name: name.to_owned(),
            selector: Selector::Comm(Pattern::new(&format!("^(?:{pattern})$")).unwrap()),
        };
        let mut services = Services::new(&[service("bird", "bird6?"), service("all", ".*")]);
        assert_eq!(services.by_comm(9, b"bird6"), 0b110);
        assert_eq!(services.by_comm(1, b"systemd"), 0b101);
        assert_eq!(services.by_comm(9, b"birdcage"), 0b100);
        services.set_members(Arc::new(Members::from([(9, 0b1000)])));
        assert_eq!(services.by_cgroup(9), 0b1000);
        assert_eq!(services.by_cgroup(10), 0);
    }

    #[test]
    fn a_bit_past_the_last_is_no_bit() {
        assert_eq!(bit(0), 2);
        assert_eq!(bit(62), 1 << 63);
        assert_eq!(bit(63), 0);
    }
}
