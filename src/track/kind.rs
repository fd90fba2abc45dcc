//! D is not always a hang. The waits in D that have a cause of their own, recognised by what the walk saw and by the
//! kernel function in which the thread sleeps.

use crate::sample::Hint;

/// What a wait in D is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing known excuses it.
    Hang,
    /// A vfork parent waits, killable, for its child to exec or exit.
    Vfork,
    /// Frozen by a freezer or by suspend.
    Freezer,
    /// Its process writes a core dump.
    CoreDump,
    /// Waits, killable, for a server: NFS, FUSE, SMB, 9p, Ceph.
    Server,
}

impl Kind {
    /// The kinds that are set apart from a hang, in label order.
    pub const APART: [Self; 4] = [Self::CoreDump, Self::Freezer, Self::Server, Self::Vfork];

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::Vfork => "vfork",
            Self::Freezer => "freezer",
            Self::CoreDump => "core_dump",
            Self::Server => "server",
        }
    }

    /// Whether a service that sits in such a wait does no work it should be doing. Frozen and forking ones do what
    /// they were told.
    pub const fn counts_as_blocked(self) -> bool {
        matches!(self, Self::Hang | Self::Server)
    }

    /// The kind of a wait. What the walk saw is proof; the function's name is the kernel's own word.
    pub fn of(hint: Hint, wchan: Option<&str>) -> Self {
        match hint {
            Hint::FrozenInPlace => Self::Freezer,
            Hint::CoreDump => Self::CoreDump,
            Hint::None | Hint::WorkItem => wchan.map_or(Self::Hang, Self::of_wchan),
        }
    }

    fn of_wchan(wchan: &str) -> Self {
        // Compilers append `.isra.0`, `.constprop.0`, `.part.0` to clones of a function.
        let name = wchan.split('.').next().unwrap_or(wchan);
        TABLE.iter().find(|(_, names)| names.contains(&name)).map_or(Self::Hang, |(kind, _)| *kind)
    }
}

/// Functions in which only such waits sleep. The freezer's second half are interruptible, freezable sleeps that take no
/// sleeping lock on the way: a thread cannot be in D there unless it was frozen where it stood (kernel/freezer.c, from
/// 6.1). Functions that also wait for a mutex (pipe_read, ep_poll, unix_stream_read_generic) are not among them.
const TABLE: &[(Kind, &[&str])] = &[
    (Kind::Vfork, &["kernel_clone", "_do_fork", "do_fork", "wait_for_vfork_done"]),
    (
        Kind::Freezer,
        &[
            "__refrigerator",
            "hrtimer_nanosleep",
            "do_nanosleep",
            "common_nsleep",
            "futex_wait_queue",
            "futex_wait_queue_me",
            "__futex_wait",
            "do_sys_poll",
            "do_poll",
            "do_select",
            "core_sys_select",
            "poll_schedule_timeout",
            "do_sigtimedwait",
            "unix_stream_data_wait",
        ],
    ),
    (Kind::CoreDump, &["coredump_task_exit", "do_coredump", "vfs_coredump", "coredump_wait", "dump_emit"]),
    (
        Kind::Server,
        &[
            "rpc_wait_bit_killable",
            "nfs_wait_bit_killable",
            "nfs_wait_on_request",
            "nfs4_delay_killable",
            "nfs4_handle_exception",
            "request_wait_answer",
            "fuse_wait_answer",
            "__fuse_request_send",
            "fuse_simple_request",
            "wait_for_response",
            "cifs_reconnect",
            "p9_client_rpc",
            "p9_virtio_request",
            "ceph_mdsc_wait_request",
            "ceph_mdsc_do_request",
            "ceph_get_caps",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_comes_before_names() {
        assert_eq!(Kind::of(Hint::FrozenInPlace, Some("rtnl_lock")), Kind::Freezer);
        assert_eq!(Kind::of(Hint::CoreDump, None), Kind::CoreDump);
        assert_eq!(Kind::of(Hint::None, Some("kernel_clone")), Kind::Vfork);
        assert_eq!(Kind::of(Hint::None, Some("request_wait_answer.isra.0")), Kind::Server);
        assert_eq!(Kind::of(Hint::None, Some("rtnl_lock")), Kind::Hang);
        assert_eq!(Kind::of(Hint::None, None), Kind::Hang, "an unknown channel excuses nothing");
    }

    #[test]
    fn a_function_that_also_waits_for_a_mutex_excuses_nothing() {
        for wchan in ["pipe_read", "anon_pipe_read", "ep_poll", "do_epoll_wait", "unix_stream_read_generic"] {
            assert_eq!(Kind::of(Hint::None, Some(wchan)), Kind::Hang, "{wchan}");
        }
    }

    #[test]
    fn no_function_stands_in_two_rows() {
        let mut names: Vec<&str> = TABLE.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
