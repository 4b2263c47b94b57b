//! `linux.seccomp`.

/// What a filter answers. Numbers as in seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    KillProcess,
    KillThread,
    Trap,
    /// With the errno to return.
    Errno(u16),
    /// With the value for the tracer.
    Trace(u16),
    /// Asks the listener of `listenerPath`.
    Notify,
    Log,
    Allow,
}

/// The architectures whose tables the compiler has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
    Riscv64,
}

impl Arch {
    /// What this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// What this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
    /// What this program was built for.
    #[cfg(target_arch = "riscv64")]
    pub const NATIVE: Self = Self::Riscv64;
}

/// `SCMP_CMP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

/// One comparison of a system call argument.
#[derive(Clone, Debug)]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// The value; for `MaskedEqual` the mask.
    pub value: u64,
    /// For `MaskedEqual` the value that the masked argument must equal.
    pub value_two: u64,
    pub operator: Operator,
}

/// One element of `linux.seccomp.syscalls`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    pub args: Vec<Argument>,
}

/// `linux.seccomp`, checked.
#[derive(Clone, Debug)]
pub struct Seccomp {
    pub default_action: Action,
    /// Beside the host's own, which is always filtered.
    pub architectures: Vec<Arch>,
    /// `SECCOMP_FILTER_FLAG_*`; an absent `flags` asks for SPEC_ALLOW, an empty one for nothing.
    pub flags: u64,
    pub rules: Vec<Rule>,
}
