//! The walls of `runtime::sandbox`, from inside and from outside.
//!
//! Inside: a thread makes every call of the table, raises the walls around itself, and makes them again. The walls of a
//! thread are its own, so the test program stays free. Most calls have arguments that can do no harm: without the wall
//! the kernel answers something else than EPERM to root, and with it does not get to look at them.
//!
//! Outside: what the kernel says of every thread of the real binary, what its page says, and what it does on a kernel
//! that has no walls. Needs root.
#![expect(unsafe_code, reason = "makes forbidden calls, by their numbers")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use libc::{c_int, c_long};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::Signal;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use stall_exporter::runtime::sandbox::calls::{BIRTHS, CALLS, Call};
use stall_exporter::runtime::sandbox::{self, Process};

use crate::support::exporter::Exporter;
use crate::support::process::{self, Pid, status_field};
use crate::support::wait_until;

/// Nowhere: a descriptor, an address, a process, flags that the kernel refuses.
const BAD: c_long = -1;
/// AF_PACKET by its name of Linux 2.0.
const SOCK_PACKET: c_int = 10;
const SIOCGIFFLAGS: c_long = 0x8913;
const SIOCETHTOOL: c_long = 0x8946;
const SIOCGIWNAME: c_long = 0x8b01;

/// What must stand in the table, whatever else does.
const MUST: [&str; 19] = [
    "socket",
    "ioctl",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "mount",
    "umount2",
    "move_mount",
    "bpf",
    "perf_event_open",
    "io_uring_setup",
    "execve",
    "execveat",
    "clone",
];

/// Makes a call; `Err` is its errno.
fn make(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> Result<c_long, i32> {
    // SAFETY: no argument is an address of something that the kernel could write to, but the one of `interface`.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(io::Error::last_os_error().raw_os_error().expect("an errno")) } else { Ok(result) }
}

/// `struct ifreq` of the loopback, which lives as long as the program.
fn interface() -> c_long {
    let mut request = [0_u8; 64];
    request[..2].copy_from_slice(b"lo");
    let address = Box::leak(Box::new(request)).as_mut_ptr();
    c_long::try_from(address.expose_provenance()).expect("an address of ours is low")
}

/// What to try of a call.
fn acts(call: &Call, of: &UdpSocket) -> Vec<[c_long; 6]> {
    let to = c_long::from(of.as_raw_fd());
    let family = |family: c_int, kind: c_int| [c_long::from(family), c_long::from(kind), 0, BAD, BAD, BAD];
    match call.name {
        "socket" => vec![
            family(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC),
            family(libc::AF_NETLINK, libc::SOCK_DGRAM),
            family(libc::AF_PACKET, libc::SOCK_DGRAM),
            family(libc::AF_PACKET, libc::SOCK_RAW),
            family(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_NONBLOCK),
            family(libc::AF_INET6, libc::SOCK_RAW),
            family(libc::AF_INET, SOCK_PACKET),
            family(libc::AF_VSOCK, libc::SOCK_STREAM),
        ],
        "setsockopt" | "getsockopt" => [libc::IPPROTO_IP, libc::IPPROTO_IPV6]
            .map(|level| [to, c_long::from(level), BAD, 0, 0, BAD])
            .to_vec(),
        "ioctl" => {
            [SIOCGIFFLAGS, SIOCETHTOOL, SIOCGIWNAME].map(|what| [to, what, interface(), 0, 0, 0]).to_vec()
        }
        // Threads that share their signals and not their memory are refused by every kernel.
        "clone" => vec![[c_long::from(libc::CLONE_SIGHAND), 0, 0, 0, 0, 0]],
        // With a length the kernel would first look for so much memory.
        "init_module" => vec![[BAD, 0, BAD, 0, 0, 0]],
        _ => vec![[BAD; 6]],
    }
}

/// Every act, by its call and arguments, with its answer.
fn answers(calls: &[&Call], of: &UdpSocket) -> BTreeMap<(&'static str, Vec<c_long>), Result<c_long, i32>> {
    let mut all = BTreeMap::new();
    for call in calls {
        for act in acts(call, of) {
            let mut answer = make(call.number, act);
            if let (Ok(fd), "socket") = (answer, call.name) {
                make(libc::SYS_close, [fd, 0, 0, 0, 0, 0]).expect("it was just made");
                answer = Ok(0);
            }
            // The address of the interface differs from look to look.
            all.insert((call.name, act[..2].to_vec()), answer);
        }
    }
    all
}

/// Runs in a thread of its own, whose walls end with it.
fn apart<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

#[test]
fn every_call_of_the_table_is_refused() {
    let of = UdpSocket::bind("127.0.0.1:0").expect("the loopback");
    let mut table: Vec<&Call> = CALLS.iter().chain(BIRTHS).collect();
    let mut numbers: Vec<c_long> = table.iter().map(|call| call.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), table.len(), "a call stands twice in the table");
    for name in MUST {
        assert!(table.iter().any(|call| call.name == name), "{name} is not in the table");
    }
    // These have no arguments that make them fail: they are tried behind the wall only.
    table.retain(|call| !["fork", "vfork"].contains(&call.name));

    apart(|| {
        let before = answers(&table, &of);
        for (act, answer) in &before {
            assert_ne!(
                *answer,
                Err(libc::EPERM),
                "{act:?} is refused without our walls; this test says nothing"
            );
        }
        assert_ne!(make(libc::SYS_clone3, [0; 6]), Err(libc::ENOSYS));
        sandbox::seccomp(Process::Front, of.as_fd()).unwrap_or_else(|missing| panic!("{missing}"));
        for (act, answer) in answers(&table, &of) {
            assert_eq!(answer, Err(libc::EPERM), "{act:?}; before the wall {:?}", before[&act]);
        }
        for call in BIRTHS.iter().filter(|call| ["fork", "vfork"].contains(&call.name)) {
            assert_eq!(make(call.number, [0; 6]), Err(libc::EPERM), "{}", call.name);
        }
        assert_eq!(make(libc::SYS_clone3, [0; 6]), Err(libc::ENOSYS));
        assert_eq!(
            make(libc::SYS_getpid | 0x4000_0000, [0; 6]),
            Err(libc::ENOSYS),
            "a call of the x32 table"
        );
        eprintln!("sandbox: {} acts, {} calls", before.len(), table.len());
    });
}

#[test]
fn what_the_processes_need_is_let_through() {
    let of = UdpSocket::bind("127.0.0.1:0").expect("the loopback");
    let clone = BIRTHS.iter().find(|call| call.name == "clone").expect("in the table");
    let forks = || make(libc::SYS_clone, acts(clone, &of)[0]) != Err(libc::EPERM);
    apart(|| {
        sandbox::seccomp(Process::Warden, of.as_fd()).expect("the kernel has seccomp");
        assert!(forks(), "the warden forks");
        // As in the fork of a probe: one filter upon the other.
        sandbox::seccomp(Process::Probe, of.as_fd()).expect("the kernel has seccomp");
        assert!(!forks(), "a probe does not");
        assert_eq!(thread::spawn(|| 7).join().expect("it ends well"), 7, "it makes threads");
        for (family, kind) in [
            (AddressFamily::INET, SocketType::STREAM),
            (AddressFamily::INET6, SocketType::STREAM),
            (AddressFamily::UNIX, SocketType::DGRAM),
        ] {
            socket(family, kind, None).unwrap_or_else(|errno| panic!("{family:?}: {errno}"));
        }
        assert!(File::open("/proc/loadavg").is_ok() && fs::read_dir("/proc").is_ok());
    });
    apart(|| {
        let missing = sandbox::seccomp(Process::Probe, of.as_fd()).expect_err("its warden has no walls");
        assert!(missing.to_string().contains("setns"), "{missing}");
    });
}

#[test]
fn front_is_shut_out_of_every_file_and_port() {
    let [scratch, open] = [(); 2].map(|()| tempfile::tempdir().expect("a scratch directory"));
    let (file, other) = (scratch.path().join("file"), scratch.path().join("other"));
    fs::write(&file, "x").expect("scratch");
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback");
    let port = listener.local_addr().expect("bound");
    let acts: [(&str, &(dyn Fn() -> io::Result<()> + Sync)); 6] = [
        ("reads a file", &|| File::open(&file).map(drop)),
        ("reads /proc", &|| File::open("/proc/self/stat").map(drop)),
        ("lists a directory", &|| fs::read_dir(scratch.path()).map(drop)),
        ("makes a file", &|| File::create(&other).map(drop)),
        ("binds a port", &|| TcpListener::bind("127.0.0.1:0").map(drop)),
        ("connects", &|| TcpStream::connect(port).map(drop)),
    ];
    apart(|| {
        for (name, act) in acts {
            act().unwrap_or_else(|error| panic!("{name}, without our walls: {error}"));
        }
        let mut kept = File::open(&file).expect("scratch");
        let writable = File::open(open.path()).expect("scratch");
        let domain = sandbox::landlock(Some(writable.as_fd())).unwrap_or_else(|missing| panic!("{missing}"));
        for (name, act) in acts {
            if domain.tcp || !["binds a port", "connects"].contains(&name) {
                let refused = act().expect_err(name);
                assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{name}: {refused}");
            }
        }
        let refused = fs::remove_file(&file).expect_err("removes a file");
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");

        let mut text = String::new();
        kept.read_to_string(&mut text).expect("what is open stays readable");
        let (new, old) = (open.path().join("new"), open.path().join("old"));
        fs::write(&new, text).and_then(|()| fs::rename(&new, &old)).expect("the page is written here");
        assert!(File::open(&old).is_err(), "written, not read");
    });
    fs::remove_file(&file).expect("whoever is free removes it");
    let client = TcpStream::connect(port).expect("the port is still there");
    listener.accept().expect("a listener from before goes on");
    drop(client);
}

// ---- the real thing

/// Filters around the test itself; what it starts inherits them.
fn filters(tid: Pid) -> u32 {
    status_field(tid, "Seccomp_filters").expect("from 5.9").parse().expect("a number")
}

/// Every thread of a process has so many filters more than we.
fn assert_walls(pid: Pid, expected: u32) {
    let own = filters(Pid::try_from(std::process::id()).expect("a pid fits"));
    for tid in process::threads(pid) {
        let field = |name| status_field(tid, name).expect("a field of status");
        let name = field("Name");
        assert_eq!(filters(tid) - own, expected, "{name}");
        assert_eq!([field("Seccomp"), field("NoNewPrivs")], ["2", "1"], "{name}");
    }
}

fn page_says(exporter: &Exporter, expected: f64) -> bool {
    let page = exporter.scrape();
    let all = [("front", "seccomp"), ("front", "landlock"), ("warden", "seccomp"), ("probe", "seccomp")];
    let said = all
        .map(|(process, wall)| page.value("stall_exporter_sandbox", &[("process", process), ("wall", wall)]));
    said == [Some(expected); 4]
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn every_thread_of_the_family_is_behind_the_walls() {
    let exporter = Exporter::start(&[]);
    wait_until(PATIENCE, "all walls stand, by the page", || page_says(&exporter, 1.0).then_some(()));
    let first = exporter.family();
    process::send_signal(first.probes[0], Signal::KILL);
    let second = wait_until(PATIENCE, "another probe is at work", || {
        let family = exporter.family();
        let new = family.probes.first().is_some_and(|probe| !first.probes.contains(probe));
        (new && process::threads(family.probes[0]).len() == 9 && page_says(&exporter, 1.0)).then_some(family)
    });
    assert_eq!(process::threads(second.front).len(), 3, "front, log, http");
    assert_walls(second.front, 1);
    assert_walls(second.warden.expect("a warden"), 1);
    assert_walls(second.probes[0], 2);
    let check = String::from_utf8(Exporter::run(&["check"]).stdout).expect("UTF-8");
    for wall in ["ok    Landlock: ", "ok    seccomp: "] {
        assert!(check.lines().any(|line| line.starts_with(wall)), "{check}");
    }
    let warned = exporter.log().into_iter().find(|line| line.contains("one wall less"));
    assert_eq!(warned, None);
}

#[test]
fn a_kernel_without_walls_is_a_warning() {
    // What it starts inherits the filter of this thread.
    apart(|| {
        let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        let calls = [libc::SYS_seccomp, libc::SYS_landlock_create_ruleset].map(|call| (call, Vec::new()));
        let arch = std::env::consts::ARCH.try_into().expect("a machine that seccompiler knows");
        let filter = SeccompFilter::new(calls.into(), SeccompAction::Allow, absent, arch);
        let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
        seccompiler::apply_filter(&program).expect("the kernel has seccomp");

        let exporter = Exporter::start(&[]);
        wait_until(PATIENCE, "no wall stands, by the page", || page_says(&exporter, 0.0).then_some(()));
        let log = exporter.log();
        for wall in ["no Landlock: ", "no seccomp filter: "] {
            let told: Vec<&String> = log.iter().filter(|line| line.contains(wall)).collect();
            assert!(told.len() == 1 && told[0].contains("level=warn"), "{wall}: {log:#?}");
        }
        let check = Exporter::run(&["check"]);
        let said = String::from_utf8(check.stdout).expect("UTF-8");
        assert!(check.status.success(), "{said}");
        for wall in ["weak  Landlock: ", "weak  seccomp: "] {
            assert!(said.lines().any(|line| line.starts_with(wall)), "{said}");
        }
    });
    let off = Exporter::start(&["--sandbox.enabled", "false"]);
    wait_until(PATIENCE, "no wall stands, by the page", || page_says(&off, 0.0).then_some(()));
    let own = filters(Pid::try_from(std::process::id()).expect("a pid fits"));
    assert!(off.family().all().into_iter().flat_map(process::threads).all(|tid| filters(tid) == own));
}
