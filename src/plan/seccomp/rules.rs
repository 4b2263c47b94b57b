//! The rules of a profile, sorted by the number of the call on one architecture.

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::answer::{Body, Clause, Verdict};
use super::encode;
use crate::config::seccomp::{Action, Arch, Argument, Operator, Seccomp};
use crate::plan::syscalls::{Syscall, multiplexed};

/// A profile whose names have been looked up.
pub(super) struct Profile<'a> {
    /// In the order of the profile.
    pub rules: Vec<Rule<'a>>,
    /// `SECCOMP_RET_*` for every call that no rule answers.
    pub default: u32,
    /// Whether the default action lets calls through. A tracer is expected to know new calls.
    pub permissive: bool,
    /// Names that no architecture has.
    pub unknown: Vec<String>,
}

/// One element of `linux.seccomp.syscalls`.
pub(super) struct Rule<'a> {
    /// Its position in the profile.
    pub index: usize,
    pub calls: Vec<(Syscall, &'a str)>,
    pub action: u32,
    /// Any of these is enough. Each is a list of arguments that must all match. Empty if the rule
    /// applies to any arguments.
    alternatives: Vec<Vec<&'a Argument>>,
}

/// A rule for one number.
pub(super) struct Entry<'a> {
    pub number: u32,
    /// The name by which the rule has the call.
    pub name: &'a str,
    pub rule: &'a Rule<'a>,
    /// The call behind a multiplexer of i386. The first argument of the multiplexer selects it.
    pub behind: Option<u32>,
}

impl<'a> Profile<'a> {
    /// Looks up the names of `profile`.
    pub(super) fn new(profile: &'a Seccomp) -> Self {
        let mut unknown = Vec::new();
        let mut rules = Vec::with_capacity(profile.rules.len());
        for (index, rule) in profile.rules.iter().enumerate() {
            let mut calls = Vec::with_capacity(rule.names.len());
            for name in &rule.names {
                match Syscall::named(name) {
                    Some(syscall) => calls.push((syscall, name.as_str())),
                    None => unknown.push(name.clone()),
                }
            }
            let alternatives = alternatives(&rule.args);
            rules.push(Rule {
                index,
                calls,
                action: encode(rule.action),
                alternatives,
            });
        }
        let permissive = matches!(
            profile.default_action,
            Action::Allow | Action::Log | Action::Trace(_)
        );
        Self {
            rules,
            default: encode(profile.default_action),
            permissive,
            unknown,
        }
    }

    /// The newest call below `limit` that the profile names, with any action. A call that i386
    /// reaches through a multiplexer names the multiplexer too, so that no rule has a higher number.
    pub(super) fn newest(&self, arch: Arch, limit: u32) -> Option<u32> {
        let calls = self.rules.iter().flat_map(|rule| &rule.calls);
        calls
            .flat_map(|(syscall, name)| [syscall.number(arch), behind(name, arch).map(|it| it.0)])
            .flatten()
            .filter(|number| *number < limit)
            .max()
    }

    /// The answer for each number that has a rule, in ascending order. Adds to `bodies` the answers
    /// that depend on arguments.
    pub(super) fn numbers(&self, arch: Arch, bodies: &mut Vec<Body>) -> Vec<(u32, Verdict)> {
        let entries = self.entries(arch);
        let keys = by_number(&entries);
        keys.chunk_by(|a, b| number(*a) == number(*b))
            .map(|chunk| {
                let rules = chunk.iter().map(|key| &entries[position(*key)]);
                (number(chunk[0]), self.verdict(rules, arch, bodies))
            })
            .collect()
    }

    /// The rules for each number on `arch`, in the order of the profile, without those that have no
    /// effect.
    pub(super) fn entries(&self, arch: Arch) -> Vec<Entry<'_>> {
        let mut entries = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.action != self.default) {
            for (syscall, name) in &rule.calls {
                if let Some(number) = syscall.number(arch) {
                    entries.push(Entry {
                        number,
                        name,
                        rule,
                        behind: None,
                    });
                }
                if let Some((number, call)) = behind(name, arch) {
                    entries.push(Entry {
                        number,
                        name,
                        rule,
                        behind: Some(call),
                    });
                }
            }
        }
        entries
    }

    /// The combined answer of all rules for one number.
    fn verdict<'e>(
        &self,
        entries: impl Iterator<Item = &'e Entry<'e>>,
        arch: Arch,
        bodies: &mut Vec<Body>,
    ) -> Verdict {
        let mut clauses = Vec::new();
        for entry in entries {
            if entry.behind.is_none() && entry.rule.alternatives.is_empty() {
                return Verdict::Return(entry.rule.action);
            }
            for all in entry.alternatives(arch) {
                if all.is_empty() {
                    return Verdict::Return(entry.rule.action);
                }
                clauses.push(Clause {
                    conditions: all.iter().map(|one| condition(one, arch)).collect(),
                    action: entry.rule.action,
                });
            }
        }
        let body = Body {
            clauses,
            otherwise: self.default,
        };
        let known = bodies.iter().position(|other| *other == body);
        Verdict::Match(known.unwrap_or_else(|| {
            bodies.push(body);
            bodies.len() - 1
        }))
    }
}

/// A key for each entry, by number and then by position, so that rules for one number stay in the
/// order of the profile.
pub(super) fn by_number(entries: &[Entry]) -> Vec<u64> {
    let keys = (0..).zip(entries);
    let mut keys: Vec<u64> = keys
        .map(|(position, entry): (u64, _)| u64::from(entry.number) << 32 | position)
        .collect();
    keys.sort_unstable();
    keys
}

/// The number in a key.
pub(super) const fn number(key: u64) -> u32 {
    (key >> 32) as u32
}

/// The position of the entry with this key.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a key is two numbers of 32 bits"
)]
pub(super) const fn position(key: u64) -> usize {
    key as u32 as usize
}

/// The number of the multiplexer through which `arch` reaches the call too, and the number of the
/// call in its first argument.
fn behind(name: &str, arch: Arch) -> Option<(u32, u32)> {
    if arch != Arch::X86 {
        return None;
    }
    let (multiplexer, call) = multiplexed(name)?;
    Some((Syscall::named(multiplexer)?.number(arch)?, call))
}

/// Whether programs of `arch` can make the call, also through a multiplexer.
pub(super) fn has((syscall, name): &(Syscall, &str), arch: Arch) -> bool {
    syscall.number(arch).is_some() || behind(name, arch).is_some()
}

/// All arguments must match, unless two of them have the same index: then each alone is enough.
/// runc treated lists of arguments this way at first, and profiles with such pairs rely on it.
fn alternatives(arguments: &[Argument]) -> Vec<Vec<&Argument>> {
    let repeated = arguments.iter().enumerate().any(|(at, argument)| {
        arguments[..at]
            .iter()
            .any(|other| other.index == argument.index)
    });
    if repeated {
        arguments.iter().map(|argument| vec![argument]).collect()
    } else if arguments.is_empty() {
        Vec::new()
    } else {
        vec![arguments.iter().collect()]
    }
}

impl Entry<'_> {
    /// The alternatives for the register width of `arch`. Each is a list of arguments that must all
    /// match; an empty one always matches.
    pub(super) fn alternatives(&self, arch: Arch) -> Vec<Vec<Argument>> {
        let any = [Vec::new()];
        let alternatives = match &self.rule.alternatives[..] {
            [] => &any[..],
            some => some,
        };
        let call = self.behind.map(|call| Argument {
            index: 0,
            value: u64::from(call),
            value_two: 0,
            operator: Operator::Equal,
        });
        let one = |all: &Vec<&Argument>| {
            // A multiplexer uses its first argument itself.
            let rest = all
                .iter()
                .filter(|it| call.is_none() || it.index != 0)
                .filter_map(|it| narrowed(it, arch));
            call.into_iter().chain(rest).collect()
        };
        alternatives.iter().map(one).collect()
    }
}

/// The widest value of a register that the filter compares.
pub(super) fn register(arch: Arch) -> u64 {
    match arch {
        Arch::X86_64 | Arch::Aarch64 | Arch::Riscv64 => u64::MAX,
        Arch::X32 | Arch::X86 | Arch::Arm => u64::from(u32::MAX),
    }
}

/// The argument for the register width of `arch`. `None` for a mask without bits, which any argument
/// satisfies.
fn narrowed(argument: &Argument, arch: Arch) -> Option<Argument> {
    let bits = register(arch);
    let value = argument.value & bits;
    let value_two = argument.value_two & bits;
    let always = argument.operator == Operator::MaskedEqual && value == 0;
    (!always).then_some(Argument {
        value,
        value_two,
        ..*argument
    })
}

fn condition(argument: &Argument, arch: Arch) -> SeccompCondition {
    let length = if register(arch) == u64::MAX {
        SeccompCmpArgLen::Qword
    } else {
        SeccompCmpArgLen::Dword
    };
    let mut value = argument.value;
    let operator = match argument.operator {
        Operator::NotEqual => SeccompCmpOp::Ne,
        Operator::Less => SeccompCmpOp::Lt,
        Operator::LessOrEqual => SeccompCmpOp::Le,
        Operator::Equal => SeccompCmpOp::Eq,
        Operator::GreaterOrEqual => SeccompCmpOp::Ge,
        Operator::Greater => SeccompCmpOp::Gt,
        Operator::MaskedEqual => {
            let mask = std::mem::replace(&mut value, argument.value_two);
            SeccompCmpOp::MaskedEq(mask)
        }
    };
    SeccompCondition::new(argument.index, length, operator, value)
        .expect("indexes are checked when the profile is read")
}

/// The conditions as instructions. If all conditions match, execution falls through. Otherwise it
/// continues after the RET that the caller puts behind these instructions.
pub(super) fn instructions(conditions: &[SeccompCondition]) -> seccompiler::BpfProgram {
    let rule = SeccompRule::new(conditions.to_vec()).expect("an empty list was a verdict");
    let mut program = seccompiler::BpfProgram::from(rule);
    // The first two instructions only jump into and around the rule.
    program.drain(..2);
    program
}
