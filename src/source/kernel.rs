//! Facts about the running kernel, asked once, from system calls that take no sleeping lock.

use std::fmt;

use crate::base::bounded::{LABEL_MAX, label};

/// A kernel release, as far as behaviour depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, zero where there is none.
    pub patch: u32,
}

impl Version {
    /// A version by its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// The running kernel's, from `uname(2)`.
    pub fn running() -> Option<Self> {
        Self::parse(rustix::system::uname().release().to_str().ok()?)
    }

    /// Reads a release string such as `6.1.0-18-cloud-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers.next().and_then(|text| text.parse().ok()).unwrap_or_default();
        Some(Self { major, minor, patch })
    }

    /// Whether `/proc/self/cgroup` is read under RCU. `proc_cgroup_show` took `cgroup_mutex` up to 6.6 and does not
    /// in 6.12; the versions between were not read, so they count as if it did.
    pub fn own_cgroup_is_safe(self) -> bool {
        self >= Self::new(6, 12, 0)
    }

    /// Whether a runnable task in a throttled group keeps its kernel locks (up to 6.17, CFS bandwidth dequeues a
    /// group wherever its tasks are).
    pub fn throttle_keeps_locks(self) -> bool {
        self < Self::new(6, 18, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The host's name and the kernel's release, from `uname(2)`.
pub fn names() -> (String, String) {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| label(name.to_bytes(), LABEL_MAX);
    (text(uname.nodename()), text(uname.release()))
}

/// Load averages of `sysinfo(2)` in the kernel's own 11-bit fixed point (do_sysinfo, kernel/sys.c): one, five and
/// fifteen minutes. No file, no lock.
#[allow(clippy::useless_conversion, reason = "unsigned long is narrower on 32 bit")]
pub fn load_averages() -> [u64; 3] {
    // SI_LOAD_SHIFT (16) minus FSHIFT (11): do_sysinfo shifts left by the difference and adds no rounding.
    rustix::system::sysinfo().loads.map(|load| u64::from(load) >> 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(Version::parse("6.1.0-18-cloud-amd64"), Some(Version::new(6, 1, 0)));
        assert_eq!(Version::parse("3.10.0-1160.el7.x86_64"), Some(Version::new(3, 10, 0)));
        assert_eq!(Version::parse("6.18.44"), Some(Version::new(6, 18, 44)));
        assert_eq!(Version::parse("7.0-rc1"), Some(Version::new(7, 0, 0)));
        assert_eq!(Version::parse("linux"), None);
        assert!(Version::running().is_some());
        let (host, release) = names();
        assert!(!host.is_empty() && Version::parse(&release) == Version::running());
    }

    #[test]
    fn behaviour_follows_the_version() {
        assert!(!Version::new(6, 6, 99).own_cgroup_is_safe());
        assert!(Version::new(6, 12, 0).own_cgroup_is_safe());
        assert!(Version::new(6, 17, 9).throttle_keeps_locks());
        assert!(!Version::new(6, 18, 2).throttle_keeps_locks());
    }
}
