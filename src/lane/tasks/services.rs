//! Which services a process belongs to, and which of its threads matter to them: a bit per service. Bit 0 is PID 1,
//! whatever the configuration says.

use std::sync::Arc;

use crate::base::units::Pid;
use crate::config::{Pattern, Selector, Service, Threads};
use crate::lane::handover::Members;

/// The bit of PID 1.
pub const INIT: u64 = 1;

/// Matches processes to services.
#[derive(Debug, Clone)]
pub struct Services {
    by_comm: Vec<(u64, Pattern)>,
    any_by_cgroup: bool,
    /// Services of which only the first thread of each process matters.
    main: u64,
    /// Services of which only threads with a certain name matter.
    by_thread: Vec<(u64, Pattern)>,
    members: Arc<Members>,
}

impl Services {
    /// From the configuration; the service at index i has bit i + 1.
    pub fn new(services: &[Service]) -> Self {
        let (mut by_comm, mut any_by_cgroup, mut main, mut by_thread) = (Vec::new(), false, 0, Vec::new());
        for (index, service) in services.iter().enumerate() {
            match &service.selector {
                Selector::Comm(pattern) => by_comm.push((bit(index), pattern.clone())),
                Selector::Cgroup(_) => any_by_cgroup = true,
            }
            match &service.threads {
                Threads::All => {}
                Threads::Main => main |= bit(index),
                Threads::Comm(pattern) => by_thread.push((bit(index), pattern.clone())),
            }
        }
        Self { by_comm, any_by_cgroup, main, by_thread, members: Arc::default() }
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

    /// The services to which this thread matters if it is theirs; `first` is the first one of its process.
    pub fn matters_to(&self, first: bool, comm: &[u8]) -> u64 {
        let by_place = if first { u64::MAX } else { !self.main };
        let others = self.by_thread.iter().filter(|(_, pattern)| !pattern.is_match(comm));
        others.fold(by_place, |bits, (bit, _)| bits & !bit)
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
    use crate::config::Quorum;

    #[test]
    fn a_process_may_belong_to_several_services() {
        let service = |name: &str, pattern: &str| Service {
            name: name.to_owned(),
            selector: Selector::Comm(Pattern::new(&format!("^(?:{pattern})$")).unwrap()),
            threads: Threads::All,
            quorum: Quorum::Count(1),
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
    fn a_rule_for_threads_leaves_other_services_alone() {
        let service = |threads| Service {
            name: String::new(),
            selector: Selector::Comm(Pattern::new("").unwrap()),
            threads,
            quorum: Quorum::Count(1),
        };
        let named = Threads::Comm(Pattern::new("^(?:worker.*)$").unwrap());
        let services = Services::new(&[service(Threads::All), service(Threads::Main), service(named)]);
        assert_eq!(services.matters_to(true, b"bird"), !0b1000);
        assert_eq!(services.matters_to(false, b"bird"), !0b1100);
        assert_eq!(services.matters_to(false, b"worker/1"), !0b0100);
        assert_eq!(services.matters_to(true, b"worker/1"), u64::MAX);
    }

    #[test]
    fn a_bit_past_the_last_is_no_bit() {
        assert_eq!(bit(0), 2);
        assert_eq!(bit(62), 1 << 63);
        assert_eq!(bit(63), 0);
    }
}
