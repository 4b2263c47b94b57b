//! `linux.seccomp`.

use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::check;
use crate::error::{Error, Result, Warning};

/// The action of a filter for a system call. Numbers as in seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Kills the process.
    KillProcess,
    /// Kills the thread.
    KillThread,
    /// Sends SIGSYS.
    Trap,
    /// With the errno to return.
    Errno(u16),
    /// With the value for the tracer.
    Trace(u16),
    /// Asks the listener at `listenerPath`.
    Notify,
    /// Allows the call and logs it.
    Log,
    /// Allows the call.
    Allow,
}

/// The architectures for which the filter compiler has system call tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the variants are named as the architectures")]
pub enum Arch {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
    Riscv64,
}

impl Arch {
    /// The architecture of this build.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture of this build.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
    /// The architecture of this build.
    #[cfg(target_arch = "riscv64")]
    pub const NATIVE: Self = Self::Riscv64;

    /// Its name, as uname(2) or the kernel's documentation has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::X32 => "x32",
            Self::X86 => "x86",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
        }
    }
}

/// `SCMP_CMP_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are named as the values of the property"
)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// 0 to 5.
    pub index: u8,
    /// The value; for `MaskedEqual` the mask.
    pub value: u64,
    /// For `MaskedEqual` the value that the masked argument must equal.
    pub value_two: u64,
    /// How the argument is compared.
    pub operator: Operator,
}

/// One element of `linux.seccomp.syscalls`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The system calls.
    pub names: Vec<String>,
    /// What happens if all `args` match.
    pub action: Action,
    /// The comparisons; without any the rule always matches.
    pub args: Vec<Argument>,
}

/// `linux.seccomp`, checked.
#[derive(Clone, Debug)]
pub struct Seccomp {
    /// `defaultAction`, with `defaultErrnoRet`: for calls that no rule matches.
    pub default_action: Action,
    /// In addition to that of this build, which is always filtered.
    pub architectures: Vec<Arch>,
    /// `SECCOMP_FILTER_FLAG_*`. An absent `flags` means SPEC_ALLOW, an empty one means no flag.
    pub flags: u64,
    /// `syscalls`.
    pub rules: Vec<Rule>,
    /// `listenerPath` and `listenerMetadata`.
    pub listener: Option<Listener>,
}

/// The listener that answers for `SCMP_ACT_NOTIFY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A Unix stream socket on the host.
    pub path: PathBuf,
    /// Passed on unchanged.
    pub metadata: String,
    /// Whether the runtime itself listens, and `path` is the file in which it records the calls.
    pub records: bool,
}

/// `SECCOMP_FILTER_FLAG_*`. Source: seccomp(2).
mod flag {
    pub(super) const TSYNC: u64 = 1;
    pub(super) const LOG: u64 = 2;
    pub(super) const SPEC_ALLOW: u64 = 4;
    pub(super) const WAIT_KILLABLE_RECV: u64 = 32;
}

/// The number of an action that carries one, when the config gives none.
#[expect(clippy::cast_possible_truncation, reason = "EPERM is 1")]
const DEFAULT_ERRNO: u16 = libc::EPERM as u16;
/// The largest errno that the kernel returns.
const MAX_ERRNO: u16 = 4095;

impl Seccomp {
    /// Checks `linux.seccomp`.
    ///
    /// # Errors
    /// An action that returns no errno has one, an argument index is above 5, a rule has no names,
    /// or `SCMP_ACT_NOTIFY` has no listener or is used where it would block init.
    pub(super) fn new(seccomp: &oci::LinuxSeccomp, warnings: &mut Vec<Warning>) -> Result<Self> {
        let default_action = Action::new(
            seccomp.default_action(),
            "linux.seccomp.defaultErrnoRet",
            seccomp.default_errno_ret(),
        )?;
        let rules = check::list(seccomp.syscalls()).iter().enumerate();
        let rules = rules
            .map(|(index, rule)| Rule::new(index, rule))
            .collect::<Result<Vec<_>>>()?;
        let listener = Listener::new(seccomp)?;
        let mut this = Self {
            default_action,
            architectures: architectures(check::list(seccomp.architectures()), warnings),
            flags: 0,
            rules,
            listener,
        };
        this.check_notify()?;
        this.flags = flags(seccomp.flags().as_deref(), this.notifies(), warnings);
        Ok(this)
    }

    /// Whether an action is `SCMP_ACT_NOTIFY`, so that the filter needs a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        let notify = Action::Notify;
        self.default_action == notify || self.rules.iter().any(|rule| rule.action == notify)
    }

    /// Checks the uses of `SCMP_ACT_NOTIFY`. After init has installed the filter, it reports the
    /// new listener with write(2). If the filter asked the listener about this call, init would
    /// wait forever. It then waits with read(2) until the runtime has the listener and has given it
    /// to the agent, which can answer that call.
    fn check_notify(&self) -> Result<()> {
        if self.notifies() && self.listener.is_none() {
            let field = "linux.seccomp.listenerPath";
            return Err(Error::config(field, "SCMP_ACT_NOTIFY needs a listener"));
        }
        if self.default_action == Action::Notify {
            let message = "SCMP_ACT_NOTIFY cannot be used as default action";
            return Err(Error::config("linux.seccomp.defaultAction", message));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.action == Action::Notify && rule.names.iter().any(|name| name == "write") {
                let field = format!("linux.seccomp.syscalls[{index}].action");
                let message = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
                return Err(Error::config(field, message)
                    .hint("init needs this call to hand over the listener"));
            }
        }
        Ok(())
    }
}

impl Listener {
    fn new(seccomp: &oci::LinuxSeccomp) -> Result<Option<Self>> {
        let metadata = seccomp.listener_metadata().clone().unwrap_or_default();
        let path = seccomp.listener_path().clone().unwrap_or_default();
        if path.as_os_str().is_empty() {
            return if metadata.is_empty() {
                Ok(None)
            } else {
                Err(Error::config(
                    "linux.seccomp.listenerMetadata",
                    "needs listenerPath",
                ))
            };
        }
        check::absolute("linux.seccomp.listenerPath", &path)?;
        Ok(Some(Self {
            path,
            metadata,
            records: false,
        }))
    }
}

impl Action {
    fn new(action: oci::LinuxSeccompAction, errno_field: &str, errno: Option<u32>) -> Result<Self> {
        use oci::LinuxSeccompAction as Scmp;

        let number = |max: u16| -> Result<u16> {
            let Some(errno) = errno else {
                return Ok(DEFAULT_ERRNO);
            };
            check::narrowed(errno_field, errno, 0..=u32::from(max))
        };
        let plain = match action {
            Scmp::ScmpActErrno => return number(MAX_ERRNO).map(Self::Errno),
            Scmp::ScmpActTrace => return number(u16::MAX).map(Self::Trace),
            Scmp::ScmpActNotify => Self::Notify,
            Scmp::ScmpActKill | Scmp::ScmpActKillThread => Self::KillThread,
            Scmp::ScmpActKillProcess => Self::KillProcess,
            Scmp::ScmpActTrap => Self::Trap,
            Scmp::ScmpActLog => Self::Log,
            Scmp::ScmpActAllow => Self::Allow,
        };
        match errno {
            None => Ok(plain),
            Some(_) => Err(Error::config(
                errno_field,
                format!("{action} returns no errno"),
            )),
        }
    }
}

/// Programs of an architecture that has no table cannot run on this host. For the filter they
/// belong to the unlisted architectures.
fn architectures(list: &[oci::Arch], warnings: &mut Vec<Warning>) -> Vec<Arch> {
    let mut out = Vec::new();
    for (index, arch) in list.iter().enumerate() {
        match Arch::new(*arch) {
            Some(arch) if out.contains(&arch) => {}
            Some(arch) => out.push(arch),
            None => {
                let field = format!("linux.seccomp.architectures[{index}]");
                let message = format!("{arch} has no table in this build, ignored");
                warnings.push(Error::no_effect(field, message));
            }
        }
    }
    out
}

impl Arch {
    fn new(arch: oci::Arch) -> Option<Self> {
        match arch {
            oci::Arch::ScmpArchNative => Some(Self::NATIVE),
            oci::Arch::ScmpArchX86 => Some(Self::X86),
            oci::Arch::ScmpArchX86_64 => Some(Self::X86_64),
            oci::Arch::ScmpArchX32 => Some(Self::X32),
            oci::Arch::ScmpArchArm => Some(Self::Arm),
            oci::Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            oci::Arch::ScmpArchRiscv64 => Some(Self::Riscv64),
            _ => None,
        }
    }
}

fn flags(
    flags: Option<&[oci::LinuxSeccompFilterFlag]>,
    notifies: bool,
    warnings: &mut Vec<Warning>,
) -> u64 {
    use oci::LinuxSeccompFilterFlag as Flag;

    let Some(flags) = flags else {
        return flag::SPEC_ALLOW;
    };
    let mut out = 0;
    for (index, one) in flags.iter().enumerate() {
        out |= match one {
            Flag::SeccompFilterFlagLog => flag::LOG,
            Flag::SeccompFilterFlagTsync => flag::TSYNC,
            Flag::SeccompFilterFlagSpecAllow => flag::SPEC_ALLOW,
            Flag::SeccompFilterFlagWaitKillableRecv if notifies => flag::WAIT_KILLABLE_RECV,
            Flag::SeccompFilterFlagWaitKillableRecv => {
                let field = format!("linux.seccomp.flags[{index}]");
                let message = format!("{one} has no effect without SCMP_ACT_NOTIFY");
                warnings.push(Error::no_effect(field, message));
                0
            }
        };
    }
    out
}

impl Rule {
    fn new(index: usize, rule: &oci::LinuxSyscall) -> Result<Self> {
        let field = format!("linux.seccomp.syscalls[{index}]");
        let names = rule.names();
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(Error::config(format_args!("{field}.names"), "needs a name"));
        }
        let action = Action::new(
            rule.action(),
            &format!("{field}.errnoRet"),
            rule.errno_ret(),
        )?;
        let args = check::list(rule.args()).iter().enumerate();
        let args = args.map(|(index, arg)| Argument::new(&format!("{field}.args[{index}]"), arg));
        Ok(Self {
            names: names.clone(),
            action,
            args: args.collect::<Result<_>>()?,
        })
    }
}

impl Argument {
    fn new(field: &str, arg: &oci::LinuxSeccompArg) -> Result<Self> {
        use oci::LinuxSeccompOperator as Scmp;

        let index = check::narrowed(format_args!("{field}.index"), arg.index(), 0..=5)?;
        Ok(Self {
            index,
            value: arg.value(),
            value_two: arg.value_two().unwrap_or(0),
            operator: match arg.op() {
                Scmp::ScmpCmpNe => Operator::NotEqual,
                Scmp::ScmpCmpLt => Operator::Less,
                Scmp::ScmpCmpLe => Operator::LessOrEqual,
                Scmp::ScmpCmpEq => Operator::Equal,
                Scmp::ScmpCmpGe => Operator::GreaterOrEqual,
                Scmp::ScmpCmpGt => Operator::Greater,
                Scmp::ScmpCmpMaskedEq => Operator::MaskedEqual,
            },
        })
    }
}
