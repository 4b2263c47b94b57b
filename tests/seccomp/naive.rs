//! A direct evaluation of a profile, without tables, ranges and instructions.

use sampan::config::seccomp::{Action, Arch, Argument, Operator, Rule, Seccomp};
use sampan::plan::seccomp::audit_arch;
use sampan::plan::syscalls::{ARM_PRIVATE, Syscall, X32_BIT, multiplexed};

use crate::bpf::Call;

/// The answer to `call`, `SECCOMP_RET_*`.
pub fn answer(profile: &Seccomp, native: Arch, call: &Call) -> u32 {
    let Some(arch) = arch_of(profile, native, call) else {
        return 0x8000_0000;
    };
    let default = profile.default_action;
    let rules = || profile.rules.iter().filter(|rule| rule.action != default);
    let mut always = rules().filter(|rule| {
        direct(rule, arch, call)
            && alternatives(&rule.args)
                .iter()
                .any(|all| trivial(all, arch))
    });
    if let Some(rule) = always.next() {
        return code(rule.action);
    }
    let mut matching = rules().filter(|rule| {
        (direct(rule, arch, call) && matches(&rule.args, arch, call, false))
            || (behind(rule, arch, call) && matches(&rule.args, arch, call, true))
    });
    match matching.next() {
        Some(rule) => code(rule.action),
        None if too_new(profile, arch, call) => code(Action::Errno(libc::ENOSYS as u16)),
        None => code(default),
    }
}

/// The listed architecture that `call` was made on.
fn arch_of(profile: &Seccomp, native: Arch, call: &Call) -> Option<Arch> {
    let listed = |arch: &Arch| *arch == native || profile.architectures.contains(arch);
    let arch = [
        Arch::X86_64,
        Arch::X86,
        Arch::Aarch64,
        Arch::Arm,
        Arch::Riscv64,
    ]
    .into_iter()
    .find(|arch| audit_arch(*arch) == call.arch)?;
    if arch == Arch::X86_64 && call.number >= X32_BIT {
        let skipped_by_tracer = call.number == u32::MAX;
        return if listed(&Arch::X32) {
            Some(Arch::X32)
        } else {
            Some(arch).filter(listed).filter(|_| skipped_by_tracer)
        };
    }
    Some(arch).filter(listed)
}

fn number(name: &str, arch: Arch) -> Option<u32> {
    Syscall::named(name)?.number(arch)
}

/// Whether the rule names this call.
fn direct(rule: &Rule, arch: Arch, call: &Call) -> bool {
    rule.names
        .iter()
        .any(|name| number(name, arch) == Some(call.number))
}

/// Whether the rule names the call behind this use of an i386 multiplexer.
fn behind(rule: &Rule, arch: Arch, call: &Call) -> bool {
    arch == Arch::X86
        && rule
            .names
            .iter()
            .filter_map(|name| multiplexed(name))
            .any(|(multiplexer, sub)| {
                number(multiplexer, arch) == Some(call.number) && sub == call.args[0] as u32
            })
}

/// Whether the call is newer than all calls that the profile names, and the default is to refuse.
fn too_new(profile: &Seccomp, arch: Arch, call: &Call) -> bool {
    let private = |number: u32| arch == Arch::Arm && number >= ARM_PRIVATE;
    let mut names: Vec<&str> = Vec::new();
    for name in profile.rules.iter().flat_map(|rule| &rule.names) {
        names.push(name);
        if arch == Arch::X86 {
            names.extend(multiplexed(name).map(|(multiplexer, _)| multiplexer));
        }
    }
    let newest = names
        .into_iter()
        .filter_map(|name| number(name, arch))
        .filter(|n| !private(*n))
        .max();
    let refuses = !matches!(
        profile.default_action,
        Action::Allow | Action::Log | Action::Trace(_)
    );
    let skipped_by_tracer = arch == Arch::X86_64 && call.number == u32::MAX;
    refuses
        && !skipped_by_tracer
        && !private(call.number)
        && newest.is_some_and(|newest| call.number > newest)
}

/// Lists of arguments. It is enough that one list matches.
fn alternatives(args: &[Argument]) -> Vec<Vec<&Argument>> {
    let mut seen = [0; 6];
    args.iter()
        .for_each(|argument| seen[usize::from(argument.index)] += 1);
    if seen.iter().any(|count| *count > 1) {
        args.iter().map(|argument| vec![argument]).collect()
    } else {
        vec![args.iter().collect()]
    }
}

/// Whether the list matches any arguments.
fn trivial(all: &[&Argument], arch: Arch) -> bool {
    all.iter().all(|argument| {
        argument.operator == Operator::MaskedEqual && argument.value & bits(arch) == 0
    })
}

fn bits(arch: Arch) -> u64 {
    match arch {
        Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 => u64::MAX,
        Arch::X32 | Arch::X86 | Arch::Arm => u64::from(u32::MAX),
    }
}

/// Whether the arguments of the call match the rule. A multiplexer uses the first argument itself.
fn matches(args: &[Argument], arch: Arch, call: &Call, behind: bool) -> bool {
    let one = |argument: &&Argument| {
        (behind && argument.index == 0) || compare(argument, bits(arch), call)
    };
    alternatives(args).iter().any(|all| all.iter().all(one))
}

pub fn compare(argument: &Argument, bits: u64, call: &Call) -> bool {
    let actual = call.args[usize::from(argument.index)] & bits;
    let value = argument.value & bits;
    match argument.operator {
        Operator::NotEqual => actual != value,
        Operator::Less => actual < value,
        Operator::LessOrEqual => actual <= value,
        Operator::Equal => actual == value,
        Operator::GreaterOrEqual => actual >= value,
        Operator::Greater => actual > value,
        Operator::MaskedEqual => actual & value == argument.value_two & value,
    }
}

/// `SECCOMP_RET_*` from seccomp(2).
pub fn code(action: Action) -> u32 {
    match action {
        Action::KillProcess => 0x8000_0000,
        Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(errno) => 0x0005_0000 + u32::from(errno),
        Action::Notify => 0x7fc0_0000,
        Action::Trace(message) => 0x7ff0_0000 + u32::from(message),
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
    }
}
