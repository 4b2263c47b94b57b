//! What a filter answers to a call.

use seccompiler::SeccompCondition;

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `SECCOMP_RET_*`.
    Return(u32),
    /// The answer of the body with this index.
    Match(usize),
}

/// An answer that depends on arguments: that of the first clause that matches.
#[derive(PartialEq)]
pub(super) struct Body {
    pub clauses: Vec<Clause>,
    /// `SECCOMP_RET_*` if no clause matches.
    pub otherwise: u32,
}

/// If all conditions hold, the answer is `action`.
#[derive(PartialEq)]
pub(super) struct Clause {
    pub conditions: Vec<SeccompCondition>,
    pub action: u32,
}
