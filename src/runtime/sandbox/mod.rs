//! The walls: what our processes can no longer do once they have opened what they need, whatever a defect makes them
//! try. They are raised before a process has a second thread, and there is no way back.
//!
//! | process | seccomp refuses | Landlock |
//! |---|---|---|
//! | front | `CALLS`, `BIRTHS` | no file is opened, no TCP port bound or connected to |
//! | warden | `CALLS` | none: its probes would inherit it |
//! | probe | `CALLS`, inherited; `BIRTHS` | none: in a domain `wchan` reads 0 and `stack` is refused |
//!
//! A refused call answers EPERM. Whatever comes in by the entry for 32-bit programs or with an x32 number answers
//! ENOSYS: its number means another call. A kernel without one of the walls is a warning, and 0 on the page.

pub mod calls;

use std::env::consts::ARCH;
use std::fmt;
use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::thread::move_into_link_name_space;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter, sock_filter,
};

use calls::{BIRTHS, CALLS, Call, FREQUENT, UNSEEN};

/// Whose walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The serving process.
    Front,
    /// Forks the probes.
    Warden,
    /// Forked by a warden that has its own walls.
    Probe,
}

impl Process {
    /// The tables that it adds to what it has inherited.
    const fn tables(self) -> &'static [&'static [Call]] {
        match self {
            Self::Front => &[CALLS, BIRTHS],
            Self::Warden => &[CALLS],
            Self::Probe => &[BIRTHS],
        }
    }
}

/// A wall that does not stand, in one line.
#[derive(Debug)]
pub struct Missing {
    wall: &'static str,
    why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wall, why } = self;
        write!(out, "no {wall}: {why}; the exporter works as well, with one wall less")
    }
}

/// Refuses the calls of this process's tables to the calling thread and to all that it will make, and makes sure of it:
/// to enter a namespace by `witness`, any descriptor that is none, is refused before the kernel looks at it.
///
/// # Errors
/// The kernel has no seccomp filters, or one of the container around us forbids them.
pub fn seccomp(process: Process, witness: BorrowedFd<'_>) -> Result<(), Missing> {
    let missing = |why: String| Missing { wall: "seccomp filter", why };
    let program = program(process.tables()).map_err(|error| missing(error.to_string()))?;
    apply_filter(&program).map_err(|error| missing(error.to_string()))?;
    match move_into_link_name_space(witness, None) {
        Err(Errno::PERM) => Ok(()),
        other => Err(missing(format!("the kernel took it, but setns(2) answers {other:?}"))),
    }
}

/// How much of a Landlock domain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// Binding and connecting TCP is refused too, not only files (from 6.7).
    pub tcp: bool,
}

/// The newest kernel interface whose rights are refused. What later ones add is to be looked at first: ABI 9 would
/// refuse the socket of a service manager.
const INTERFACE: ABI = ABI::V7;

/// Shuts the calling thread, and all that it will make, out of every file that is not open already: in `writable` alone
/// a file may be made and replaced. Kernels that know fewer rights refuse fewer.
///
/// # Errors
/// The kernel has no Landlock, or it is not switched on.
pub fn landlock(writable: Option<BorrowedFd<'_>>) -> Result<Domain, Missing> {
    let replace: BitFlags<AccessFs> =
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let rules = writable.map(|directory| Ok(PathBeneath::new(directory, replace)));
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(INTERFACE))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(INTERFACE)))
        // Not signals: the one by which the warden ends with front counts as sent by front, and would not arrive.
        .and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rules(rules))
        .and_then(landlock::RulesetCreated::restrict_self);
    let missing = |why: String| Err(Missing { wall: "Landlock", why });
    match status {
        Err(error) => missing(error.to_string()),
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => match status.landlock {
            LandlockStatus::NotEnabled => {
                missing("the kernel has it switched off (boot parameter lsm=)".into())
            }
            _ => missing("this kernel has none (from 5.13)".into()),
        },
        Ok(status) => {
            let LandlockStatus::Available { effective_abi, .. } = status.landlock else {
                return missing("the kernel took it, but says that it has none".into());
            };
            Ok(Domain { tcp: effective_abi >= ABI::V4 })
        }
    }
}

/// A number with this bit is of the x32 table (`__X32_SYSCALL_BIT`); no other table has numbers so high.
const X32: u32 = 0x4000_0000;
const OK: u32 = libc::SECCOMP_RET_ALLOW;
const NOT_HERE: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
/// `offsetof(struct seccomp_data, …)`.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;

/// The filter: first what is the same for all, written here instruction by instruction, because a compiled table knows
/// one answer only; then the compiled tables.
fn program(tables: &[&[Call]]) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(ARCH)?;
    let rules = tables
        .iter()
        .copied()
        .flatten()
        .map(|call| Ok((call.number, rules(call)?)))
        .collect::<Result<_, seccompiler::BackendError>>()?;
    let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let compiled: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()?;

    // Each comparison is followed by its answer, which the others jump over.
    let (load, answer) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_RET | libc::BPF_K);
    let (equal, at_least) = (libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_JMP | libc::BPF_JGE);
    let mut all = vec![
        instruction(load, 0, 0, MACHINE),
        instruction(equal, 1, 0, audit_arch(arch)),
        instruction(answer, 0, 0, NOT_HERE),
        instruction(load, 0, 0, NUMBER),
        instruction(at_least, 0, 1, X32),
        instruction(answer, 0, 0, NOT_HERE),
    ];
    for (call, reply) in FREQUENT.map(|call| (call, OK)).into_iter().chain([(UNSEEN, NOT_HERE)]) {
        let number = u32::try_from(call).unwrap_or(u32::MAX);
        all.extend([instruction(equal, 0, 1, number), instruction(answer, 0, 0, reply)]);
    }
    all.extend(compiled);
    Ok(all)
}

fn rules(call: &Call) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let condition = |(argument, operator, value): &calls::Condition| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
    };
    let rule =
        |set: &&[calls::Condition]| SeccompRule::new(set.iter().map(condition).collect::<Result<_, _>>()?);
    call.when.iter().map(rule).collect()
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k }
}

/// `AUDIT_ARCH_…`: the machine's number in ELF, and that it has 64 bits, the low ones first.
const fn audit_arch(arch: TargetArch) -> u32 {
    const LITTLE_64: u32 = 0xc000_0000;
    LITTLE_64
        | match arch {
            TargetArch::x86_64 => libc::EM_X86_64 as u32,
            TargetArch::aarch64 => libc::EM_AARCH64 as u32,
            TargetArch::riscv64 => libc::EM_RISCV as u32,
        }
}
