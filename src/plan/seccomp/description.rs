//! A profile as data.

use crate::config::seccomp::{Action, Arch, Argument, Operator};

/// What a filter answers, and what is wrong with its profile.
#[derive(Clone, Debug)]
pub struct Description {
    /// The answer to a call that has no other.
    pub default: Action,
    /// Those that the filter knows, the native one first. Calls of others kill the process.
    pub architectures: Vec<Architecture>,
    /// In the order of the rules.
    pub findings: Vec<Finding>,
}

/// The answers to the calls of one architecture.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The architecture.
    pub arch: Arch,
    /// Calls with a higher number get ENOSYS.
    pub newest: Option<u32>,
    /// Those for which the profile has an answer, sorted by name.
    pub calls: Vec<Call>,
    /// Calls that the profile names, and that only others of its architectures have; sorted.
    pub lacking: Vec<String>,
}

/// The answers to one call. The first whose arguments match is given, otherwise the default.
#[derive(Clone, Debug)]
pub struct Call {
    /// As the profile has it.
    pub name: String,
    /// As in `seccomp_data.nr`.
    pub number: u32,
    /// In the order in which the filter tries them.
    pub answers: Vec<Answer>,
}

/// An answer, and the rule that gives it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What happens to the call.
    pub action: Action,
    /// All must match. Without any, the answer does not depend on arguments.
    pub args: Vec<Argument>,
    /// The call that the first argument of a multiplexer of i386 selects.
    pub behind: Option<String>,
    /// The position of the rule in `linux.seccomp.syscalls`.
    pub rule: usize,
}

/// Something that the author of a profile probably did not intend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The position of the rule in `linux.seccomp.syscalls`.
    pub rule: usize,
    /// The calls of the rule that it applies to, sorted; none if it applies to the whole rule.
    pub names: Vec<String>,
    /// A sentence without its subject.
    pub what: String,
    /// The architectures that it applies to; none if it applies to all that have the calls.
    pub architectures: Vec<Arch>,
}

/// A comparison, as in C.
pub(super) fn condition(argument: &Argument) -> String {
    let Argument {
        index,
        value,
        value_two,
        operator,
    } = argument;
    let operator = match operator {
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Equal => "==",
        Operator::GreaterOrEqual => ">=",
        Operator::Greater => ">",
        Operator::MaskedEqual => return format!("arg {index} & {value:#x} == {value_two:#x}"),
    };
    format!("arg {index} {operator} {value:#x}")
}
