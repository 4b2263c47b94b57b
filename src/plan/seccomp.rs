//! Compiles `linux.seccomp` to the classic BPF program of seccomp(2).
//!
//! The program tests the architecture first. Then a binary tree over ranges of numbers with equal
//! answers tests the number of the call. For the few calls whose answer depends on them, the
//! program then tests the arguments. Container engines and their profiles were written against
//! libseccomp, so this compiler decides what the specification leaves open as libseccomp and runc
//! do:
//!
//! - The native architecture is always filtered, whether `architectures` names it or not.
//! - Several rules for one call: a rule without `args` beats those with `args`; among equals the
//!   first match wins. A rule whose action is the default action has no effect and is skipped.
//! - All `args` of a rule must match. But if two of them name the same index, each of them alone is
//!   enough.
//! - Architectures with 32-bit registers (also x32) compare the low halves of both sides.
//! - i386 also reaches sockets and System V IPC through `socketcall` and `ipc`. A rule for one of
//!   their calls also applies there, with the number of the call in place of its first argument.
//! - Names that no architecture knows are skipped and returned.
//! - Unless the default action lets calls through, calls newer than the newest that the profile
//!   names get ENOSYS, so that C libraries fall back to older calls.
//!
//! One answer differs on purpose: a call of an architecture that the profile does not list kills
//! the process. libseccomp kills only the thread, and the other threads would wait for it forever.

mod answer;
mod assemble;
mod describe;
mod description;
mod findings;
pub mod record;
mod rules;
mod text;

pub use describe::describe;
pub use description::{Answer, Architecture, Call, Description, Finding};

use libc::sock_filter;

use super::syscalls::{ARM_PRIVATE, X32_BIT};
use crate::config::seccomp::{Action, Arch, Seccomp};
use crate::error::{Error, Result};
use answer::{Body, Verdict};
use assemble::Section;
use rules::Profile;

/// The kernel's limit for one program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The answer to architectures that the profile does not list.
const FOREIGN: u32 = libc::SECCOMP_RET_KILL_PROCESS;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A program for seccomp(2), and the data for installing it.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The filter in classic BPF.
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// Installing returns a descriptor for the listener (`SCMP_ACT_NOTIFY` is used).
    pub listener: bool,
    /// Names in the profile that no architecture knows.
    pub unknown: Vec<String>,
}

/// Compiles `profile` for a host of the architecture `native`.
///
/// # Errors
/// `linux.seccomp`: the program would be longer than the kernel allows.
pub fn compile(profile: &Seccomp, native: Arch) -> Result<Filter> {
    let mut bodies = Vec::new();
    let rules = Profile::new(profile);
    let architectures = architectures(profile, native);
    let mut sections: Vec<Section> = Vec::new();
    for arch in &architectures {
        let audit = audit_arch(*arch);
        if sections.iter().all(|section| section.audit != audit) {
            let ranges = if audit == audit::X86_64 {
                x86_64_ranges(&rules, &architectures, &mut bodies)
            } else {
                let mut ranges = Ranges::default();
                ranges.fill(&rules, *arch, 0, &mut bodies);
                ranges
            };
            sections.push(Section {
                audit,
                ranges: ranges.0,
            });
        }
    }
    let program = assemble::assemble(&sections, &bodies, FOREIGN);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(too_long(program.len()));
    }
    let listener = profile.notifies();
    let flags = flags(profile.flags, listener);
    Ok(Filter {
        program,
        flags,
        listener,
        unknown: rules.unknown,
    })
}

fn too_long(length: usize) -> Error {
    Error::config(
        "linux.seccomp",
        format!("the filter needs {length} instructions, the kernel allows {MAX_INSTRUCTIONS}"),
    )
    .hint("use fewer rules with args, or fewer architectures")
}

/// All architectures to filter. The native one comes first because most calls are for it.
fn architectures(profile: &Seccomp, native: Arch) -> Vec<Arch> {
    let mut all = vec![native];
    for arch in &profile.architectures {
        if !all.contains(arch) {
            all.push(*arch);
        }
    }
    all
}

/// Resolves combinations that the kernel refuses. WAIT_KILLABLE_RECV needs a listener. TSYNC with a
/// listener needs TSYNC_ESRCH (Linux 5.7), because both use the return value.
fn flags(mut flags: u64, listener: bool) -> u64 {
    if listener {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        if flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0 {
            flags |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        }
    } else {
        flags &= !libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    flags
}

/// `SECCOMP_RET_*` with its data.
fn encode(action: Action) -> u32 {
    match action {
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Action::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Allow => libc::SECCOMP_RET_ALLOW,
    }
}

/// `AUDIT_ARCH_*` of linux/audit.h: the ELF machine with bits for 64-bit and little endian.
mod audit {
    const LE: u32 = 0x4000_0000;
    const BITS_64: u32 = 0x8000_0000;
    pub(super) const X86_64: u32 = 62 | BITS_64 | LE;
    pub(super) const I386: u32 = 3 | LE;
    pub(super) const AARCH64: u32 = 183 | BITS_64 | LE;
    pub(super) const ARM: u32 = 40 | LE;
    pub(super) const RISCV64: u32 = 243 | BITS_64 | LE;
}

/// `seccomp_data.arch` of calls made on `arch`. x32 shares that of x86_64 and differs by
/// [`X32_BIT`] in the number.
pub fn audit_arch(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 | Arch::X32 => audit::X86_64,
        Arch::X86 => audit::I386,
        Arch::Aarch64 => audit::AARCH64,
        Arch::Arm => audit::ARM,
        Arch::Riscv64 => audit::RISCV64,
    }
}

/// Answers by number. Each element applies from its number up to that of the next element. The
/// first number is 0, and neighbours differ.
#[derive(Default)]
struct Ranges(Vec<(u32, Verdict)>);

impl Ranges {
    /// Makes `verdict` the answer from `start` on. `start` must not decrease.
    fn push(&mut self, start: u32, verdict: Verdict) {
        debug_assert!(self.0.last().is_none_or(|last| last.0 <= start));
        if self.0.last().is_some_and(|last| last.0 == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.1 != verdict) {
            self.0.push((start, verdict));
        }
    }

    /// Adds the answers for all numbers of `arch`, which start at `base`.
    fn fill(&mut self, rules: &Profile, arch: Arch, base: u32, bodies: &mut Vec<Body>) {
        let default = Verdict::Return(rules.default);
        let private = if arch == Arch::Arm {
            ARM_PRIVATE
        } else {
            u32::MAX
        };
        let numbers = rules.numbers(arch, bodies);
        let common = numbers.partition_point(|(number, _)| *number < private);
        let fill = |ranges: &mut Self, numbers: &[(u32, Verdict)]| {
            for (number, verdict) in numbers {
                ranges.push(*number, *verdict);
                ranges.push(*number + 1, default);
            }
        };
        self.push(base, default);
        fill(self, &numbers[..common]);
        if let Some(newest) = rules.newest(arch, private).filter(|_| !rules.permissive) {
            self.push(newest + 1, Verdict::Return(ENOSYS));
        }
        if private != u32::MAX {
            self.push(private, default);
            fill(self, &numbers[common..]);
        }
    }
}

/// x86_64 and x32 share one space of numbers. If x32 is not listed, its half is foreign, except for
/// -1, with which a tracer makes the kernel skip a call (seccomp(2), since Linux 4.8).
fn x86_64_ranges(rules: &Profile, architectures: &[Arch], bodies: &mut Vec<Body>) -> Ranges {
    let mut ranges = Ranges::default();
    let foreign = Verdict::Return(FOREIGN);
    if architectures.contains(&Arch::X86_64) {
        ranges.fill(rules, Arch::X86_64, 0, bodies);
    } else {
        ranges.push(0, foreign);
    }
    if architectures.contains(&Arch::X32) {
        ranges.fill(rules, Arch::X32, X32_BIT, bodies);
    } else {
        ranges.push(X32_BIT, foreign);
        ranges.push(u32::MAX, Verdict::Return(rules.default));
    }
    ranges
}
