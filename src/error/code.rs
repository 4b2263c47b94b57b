//! The codes of failures: one stable word each, for programs that act on a failure.
//!
//! A failure gets its code where it is made, if only that place knows it. For the failure of a step
//! of the plan, `run/failure/code.rs` derives the code from the step, the errno and the note. The
//! rest follows from the class or the errno: [`Code::of`]. sampan-errors(7) describes every code.

use nix::errno::Errno;

use super::Facts;
use super::Kind;

/// Defines [`Code`] with the word of each code. A word never changes its meaning.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a failure is, in one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $word] #[doc = ""] $(#[$doc])* $name,)*
        }

        /// All words in order, each with a line end. One text needs no pointers, which the program
        /// would relocate at each start.
        const WORDS: &str = concat!($($word, "\n"),*);

        impl Code {
            /// Every code, in the order of the manual page.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    // The command line.
    UsageInvalid = "usage.invalid",
    // The bundle and its config.
    BundleNotFound = "bundle.not-found",
    BundleNoConfig = "bundle.no-config",
    ConfigSyntax = "config.syntax",
    ConfigMissing = "config.missing",
    /// Also each failure that blames a property and has no errno.
    ConfigInvalid = "config.invalid",
    ConfigUnsupported = "config.unsupported",
    ConfigNamespaceMissing = "config.namespace-missing",
    // The container and its state.
    ContainerInvalidId = "container.invalid-id",
    /// [`Kind::NotFound`].
    ContainerNotFound = "container.not-found",
    ContainerIncomplete = "container.incomplete",
    ContainerExists = "container.exists",
    ContainerNotRunning = "container.not-running",
    /// It may exist where the caller cannot look.
    ContainerUnseen = "container.unseen",
    /// [`Kind::Status`].
    ContainerWrongStatus = "container.wrong-status",
    StateBroken = "state.broken",
    StateUntrusted = "state.untrusted",
    /// A directory that is not a container's.
    StateForeign = "state.foreign",
    // The root file system.
    RootfsNotFound = "rootfs.not-found",
    RootfsInvalid = "rootfs.invalid",
    RootfsFailed = "rootfs.failed",
    // Mounts and files in the root file system.
    MountSourceMissing = "mount.source-missing",
    MountTypeUnknown = "mount.type-unknown",
    MountOptionRefused = "mount.option-refused",
    MountWrongKind = "mount.wrong-kind",
    MountUnsafeTarget = "mount.unsafe-target",
    MountIdMap = "mount.id-map",
    MountDenied = "mount.denied",
    MountFailed = "mount.failed",
    DeviceFailed = "device.failed",
    SysctlUnknown = "sysctl.unknown",
    SysctlFailed = "sysctl.failed",
    // Namespaces and the network.
    NamespaceNotFound = "namespace.not-found",
    NamespaceInvalid = "namespace.invalid",
    NamespaceFailed = "namespace.failed",
    IdMapRefused = "id-map.refused",
    NetworkDeviceMissing = "network.device-missing",
    NetworkFailed = "network.failed",
    // Cgroups and other limits.
    CgroupControllerMissing = "cgroup.controller-missing",
    CgroupInUse = "cgroup.in-use",
    CgroupFull = "cgroup.full",
    CgroupNotDelegated = "cgroup.not-delegated",
    CgroupLimitRefused = "cgroup.limit-refused",
    CgroupFailed = "cgroup.failed",
    SystemdUnreachable = "systemd.unreachable",
    SystemdTimedOut = "systemd.timed-out",
    SystemdRefused = "systemd.refused",
    ResctrlFailed = "resctrl.failed",
    // The process.
    ProcessCwd = "process.cwd",
    ProcessUser = "process.user",
    ProcessRlimit = "process.rlimit",
    ProcessScheduling = "process.scheduling",
    ProcessLabel = "process.label",
    ProcessTerminal = "process.terminal",
    ProcessFailed = "process.failed",
    SeccompFailed = "seccomp.failed",
    SeccompListener = "seccomp.listener",
    ExecNotFound = "exec.not-found",
    ExecNotExecutable = "exec.not-executable",
    ExecWrongFormat = "exec.wrong-format",
    ExecInterpreterMissing = "exec.interpreter-missing",
    ExecFailed = "exec.failed",
    /// [`Kind::Hook`].
    HookFailed = "hook.failed",
    HookTimedOut = "hook.timed-out",
    InitDied = "init.died",
    RestoreRefused = "restore.refused",
    // The host.
    HostUnsupported = "host.unsupported",
    HostCallMissing = "host.call-missing",
    HostNoSpace = "host.no-space",
    HostNoMemory = "host.no-memory",
    HostNoDescriptors = "host.no-descriptors",
    HostNoProcesses = "host.no-processes",
    HostReadOnly = "host.read-only",
    HostDenied = "host.denied",
    HostNotFound = "host.not-found",
    /// [`Kind::Interrupted`].
    RuntimeInterrupted = "runtime.interrupted",
    /// Everything else.
    RuntimeFailed = "runtime.failed",
    // Warnings.
    WarningUnknownProperty = "warning.unknown-property",
    WarningNoEffect = "warning.no-effect",
    WarningReadAs = "warning.read-as",
    WarningUnknownCapability = "warning.unknown-capability",
    WarningCapabilityNotGranted = "warning.capability-not-granted",
    WarningUnknownCall = "warning.unknown-call",
    WarningLabel = "warning.label",
    WarningNotRecorded = "warning.not-recorded",
    WarningEnded = "warning.ended",
    WarningRemains = "warning.remains",
}

impl Code {
    /// The word.
    pub fn word(self) -> &'static str {
        WORDS.lines().nth(self as usize).unwrap_or_default()
    }

    /// The phase of a failure before there is a plan, whose steps have phases of their own.
    pub fn phase(self) -> Option<&'static str> {
        match self {
            Self::UsageInvalid => Some("command-line"),
            Self::BundleNotFound
            | Self::BundleNoConfig
            | Self::ConfigSyntax
            | Self::ConfigMissing
            | Self::ConfigInvalid
            | Self::ConfigUnsupported
            | Self::ConfigNamespaceMissing => Some("config"),
            _ => None,
        }
    }

    /// The code of a failure that has not got one where it was made.
    pub(super) fn of(failure: &Facts) -> Self {
        match (failure.kind, failure.errno) {
            (Kind::NotFound, _) => Self::ContainerNotFound,
            (Kind::Status, _) => Self::ContainerWrongStatus,
            (Kind::Hook, _) => Self::HookFailed,
            (Kind::Interrupted(_), _) => Self::RuntimeInterrupted,
            (Kind::Other, Some(errno)) => Self::of_errno(errno).unwrap_or(Self::RuntimeFailed),
            (Kind::Other, None) if failure.field.is_some() => Self::ConfigInvalid,
            (Kind::Other, None) => Self::RuntimeFailed,
        }
    }

    /// The code of a failure of which only the errno is known.
    fn of_errno(errno: Errno) -> Option<Self> {
        Self::of_host(errno).or(match errno {
            Errno::EACCES | Errno::EPERM => Some(Self::HostDenied),
            Errno::ENOENT | Errno::ENOTDIR => Some(Self::HostNotFound),
            _ => None,
        })
    }

    /// The code of an errno that means the same whatever call it comes from: the host lacks what
    /// the call needs.
    pub fn of_host(errno: Errno) -> Option<Self> {
        Some(match errno {
            Errno::ENOSYS => Self::HostCallMissing,
            Errno::ENOSPC | Errno::EDQUOT => Self::HostNoSpace,
            Errno::ENOMEM => Self::HostNoMemory,
            Errno::EMFILE | Errno::ENFILE => Self::HostNoDescriptors,
            Errno::EROFS => Self::HostReadOnly,
            _ => return None,
        })
    }
}

/// For tests: the messages in the manual page.
#[cfg(test)]
pub(super) mod page {
    use crate::error::Error;

    const PAGE: &str = include_str!("../../man/sampan-errors.7");

    /// Checks the code of `error`, whose text is the example of the code in the page.
    #[track_caller]
    pub fn has_example(error: impl Into<anyhow::Error>, code: &str) -> Error {
        let error = Error::of_chain(error.into());
        assert_eq!(error.code().word(), code, "{error}");
        let start = format!(".TP\n.B {code}\n");
        let entry = PAGE.split_once(&start).map_or("", |(_, rest)| rest);
        let example = entry.split(".IP\n").nth(1).unwrap_or_default();
        let example = example.trim_end().replace("\\-", "-").replace("\\e", "\\");
        assert_eq!(example, format!("\\fI{error}\\fR"), "{code}");
        error
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Error;
    use crate::sys::Fail;
    use page::has_example;

    #[test]
    fn words_are_unique_and_plain() {
        let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|it| it.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        let plain = |c: char| c.is_ascii_lowercase() || ".-".contains(c);
        assert!(
            words
                .iter()
                .all(|word| word.contains('.') && word.chars().all(plain))
        );
        assert_eq!(Code::UsageInvalid.word(), "usage.invalid");
        assert_eq!(Code::RuntimeFailed.word(), "runtime.failed");
    }

    #[test]
    fn an_errno_alone_says_what_the_host_lacks() {
        let failed =
            |path: &str, call, errno| Error::failed(Path::new(path), Fail::new(call, errno));
        let state = "/run/sampan/web/state.json";
        has_example(failed(state, "write", Errno::ENOSPC), "host.no-space");
        has_example(failed(state, "read", Errno::ENOMEM), "host.no-memory");
        has_example(failed(state, "open", Errno::EMFILE), "host.no-descriptors");
        has_example(
            failed("/run/sampan/web", "mkdir", Errno::EROFS),
            "host.read-only",
        );
        has_example(
            failed("/run/sampan/web", "mkdir", Errno::EACCES),
            "host.denied",
        );
        let missing = failed("own binary", "memfd_create", Errno::ENOSYS);
        has_example(missing, "host.call-missing");
        has_example(
            failed("standard output", "write", Errno::EPIPE),
            "runtime.failed",
        );
    }

    #[test]
    fn a_class_has_a_code() {
        for (kind, code) in [
            (Kind::NotFound, "container.not-found"),
            (Kind::Status, "container.wrong-status"),
            (Kind::Hook, "hook.failed"),
        ] {
            assert_eq!(Error::of(kind, "text").code().word(), code);
        }
        let ended = Error::of(Kind::Interrupted(15), "interrupted by SIGTERM");
        has_example(ended, "runtime.interrupted");
        assert_eq!(Error::config("root", "odd").code().word(), "config.invalid");
    }
}
