//! The table of refused system calls, each with its reason. What is not here is allowed: a list of what is needed would
//! end the exporter with the next version of the C library, and what it must never do is short enough to write down.

use libc::c_long;
use seccompiler::SeccompCmpOp::{self, Eq, MaskedEq, Ne};

/// A refused call: it answers EPERM.
#[derive(Debug)]
pub struct Call {
    /// Its name in the manual.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: c_long,
    /// Refused when all conditions of one of these sets hold; without a set, always.
    pub when: &'static [&'static [Condition]],
    /// What it could do to the host.
    pub why: &'static str,
}

/// An argument (from 0), compared as an `int` of C with a value.
pub type Condition = (u8, SeccompCmpOp, u64);

const fn never(name: &'static str, number: c_long, why: &'static str) -> Call {
    Call { name, number, when: &[], why }
}

const fn if_any(
    name: &'static str,
    number: c_long,
    when: &'static [&'static [Condition]],
    why: &'static str,
) -> Call {
    Call { name, number, when, why }
}

const UNIX: u64 = libc::AF_UNIX as u64;
const INET: u64 = libc::AF_INET as u64;
const INET6: u64 = libc::AF_INET6 as u64;
/// Beside the type of a socket stand its flags (SOCK_TYPE_MASK).
const TYPE: u64 = 0xf;
const RAW: u64 = libc::SOCK_RAW as u64;
/// An AF_PACKET socket by its name of Linux 2.0, of whatever family.
const PACKET: u64 = 10;
const LEVEL_IP: u64 = libc::IPPROTO_IP as u64;
const LEVEL_IPV6: u64 = libc::IPPROTO_IPV6 as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;

/// Any family but three, and raw and packet sockets of these.
const ODD_SOCKET: &[&[Condition]] = &[
    &[(0, Ne, UNIX), (0, Ne, INET), (0, Ne, INET6)],
    &[(1, MaskedEq(TYPE), RAW)],
    &[(1, MaskedEq(TYPE), PACKET)],
];
const IP_LEVEL: &[&[Condition]] = &[&[(1, Eq, LEVEL_IP)], &[(1, Eq, LEVEL_IPV6)]];
const NO_THREAD: &[&[Condition]] = &[&[(0, MaskedEq(THREAD), 0)]];

/// Refused in every process.
pub const CALLS: &[Call] = &[
    // The network's own lock, rtnl_mutex.
    if_any("socket", libc::SYS_socket, ODD_SOCKET, "netlink waits for rtnl_mutex; the others listen in"),
    if_any("setsockopt", libc::SYS_setsockopt, IP_LEVEL, "joining a group may wait for rtnl_mutex"),
    if_any("getsockopt", libc::SYS_getsockopt, IP_LEVEL, "its source lists may wait for rtnl_mutex"),
    never("ioctl", libc::SYS_ioctl, "an interface's waits for rtnl_mutex; we make none"),
    // Locks of other processes: exec_update_lock, mmap_lock.
    never("ptrace", libc::SYS_ptrace, "stops other processes"),
    never("process_vm_readv", libc::SYS_process_vm_readv, "waits for another process's mmap_lock"),
    never("process_vm_writev", libc::SYS_process_vm_writev, "waits for another process's mmap_lock"),
    never("process_madvise", libc::SYS_process_madvise, "waits for another process's mmap_lock"),
    never("process_mrelease", libc::SYS_process_mrelease, "takes the memory of another process apart"),
    never("move_pages", libc::SYS_move_pages, "waits for another process's mmap_lock"),
    never("migrate_pages", libc::SYS_migrate_pages, "waits for another process's mmap_lock"),
    never("kcmp", libc::SYS_kcmp, "waits for the exec_update_lock of two processes"),
    never("pidfd_getfd", libc::SYS_pidfd_getfd, "waits for another process's exec_update_lock"),
    never("get_robust_list", libc::SYS_get_robust_list, "looks into another process; nothing here needs it"),
    never("perf_event_open", libc::SYS_perf_event_open, "waits for another process's exec_update_lock"),
    never("userfaultfd", libc::SYS_userfaultfd, "whoever faults waits for us, with the locks it holds"),
    // The kernel itself.
    never("init_module", libc::SYS_init_module, "changes the kernel"),
    never("finit_module", libc::SYS_finit_module, "changes the kernel"),
    never("delete_module", libc::SYS_delete_module, "changes the kernel"),
    never("bpf", libc::SYS_bpf, "changes the kernel"),
    never("kexec_load", libc::SYS_kexec_load, "replaces the kernel"),
    never("kexec_file_load", libc::SYS_kexec_file_load, "replaces the kernel"),
    never("reboot", libc::SYS_reboot, "ends the host"),
    never("swapon", libc::SYS_swapon, "waits for swapon_mutex and for disks"),
    never("swapoff", libc::SYS_swapoff, "reads all of a swap device back"),
    // Mounts, all under namespace_sem.
    never("mount", libc::SYS_mount, "changes what others see; waits for namespace_sem"),
    never("umount2", libc::SYS_umount2, "changes what others see; waits for the filesystem"),
    never("pivot_root", libc::SYS_pivot_root, "changes what others see"),
    never("chroot", libc::SYS_chroot, "changes what a path means"),
    never("move_mount", libc::SYS_move_mount, "changes what others see"),
    never("open_tree", libc::SYS_open_tree, "copies mounts"),
    never("fsopen", libc::SYS_fsopen, "makes a mount"),
    never("fsconfig", libc::SYS_fsconfig, "makes a mount; may wait for a disk or a server"),
    never("fsmount", libc::SYS_fsmount, "makes a mount"),
    never("fspick", libc::SYS_fspick, "changes a mount"),
    never("mount_setattr", libc::SYS_mount_setattr, "changes mounts"),
    never("open_by_handle_at", libc::SYS_open_by_handle_at, "opens a file without a path"),
    // Namespaces and keys.
    never("setns", libc::SYS_setns, "enters another namespace"),
    never("unshare", libc::SYS_unshare, "makes namespaces, the network's under pernet_ops_rwsem"),
    never("add_key", libc::SYS_add_key, "nothing here has keys"),
    never("request_key", libc::SYS_request_key, "has the kernel start a program, and waits"),
    never("keyctl", libc::SYS_keyctl, "nothing here has keys"),
    // Ways past this table.
    never("io_uring_setup", libc::SYS_io_uring_setup, "its requests do not pass this table"),
    never("io_uring_enter", libc::SYS_io_uring_enter, "its requests do not pass this table"),
    never("io_uring_register", libc::SYS_io_uring_register, "its requests do not pass this table"),
    never("execve", libc::SYS_execve, "no process of ours becomes another program"),
    never("execveat", libc::SYS_execveat, "no process of ours becomes another program"),
];

/// Refused in front and in the probe beside these: they make threads, and only the warden makes processes.
pub const BIRTHS: &[Call] = &[
    if_any("clone", libc::SYS_clone, NO_THREAD, "makes a process"),
    #[cfg(target_arch = "x86_64")]
    never("fork", libc::SYS_fork, "makes a process"),
    #[cfg(target_arch = "x86_64")]
    never("vfork", libc::SYS_vfork, "makes a process"),
];

/// Answers ENOSYS everywhere: the flags of clone3 lie in memory, where no filter can see them, and the C library then
/// makes its threads by clone.
pub const UNSEEN: c_long = libc::SYS_clone3;

/// What a walk over all threads is made of; allowed before the table is looked at. Kernels before 5.11 run the filter
/// for every call, later ones know from the start what is allowed whatever its arguments.
pub const FREQUENT: [c_long; 6] = [
    libc::SYS_pread64,
    libc::SYS_openat,
    libc::SYS_read,
    libc::SYS_close,
    libc::SYS_getdents64,
    libc::SYS_newfstatat,
];
