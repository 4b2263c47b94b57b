//! Turns a validated config into explicit, ordered lists of steps. Pure.
//!
//! A step is an intention, named after its man page, with its fallback as data. Its type decides
//! which process executes it: it is a [`RuntimeStep`], an [`EntryStep`] or an [`InitStep`]. Every
//! step names the property of the config that asks for it. So a failure in init, which is reported
//! as a [`Position`] and an errno, becomes a full error message.

pub mod annotations;
mod build;
pub mod cgroup;
pub mod devices;
pub mod diff;
mod exec;
pub mod hooks;
mod intel_rdt;
mod labels;
mod live_mounts;
mod mounts;
mod namespaces;
mod network;
mod position;
mod process;
mod restore;
mod rootfs;
pub mod seccomp;
mod step;
pub mod syscalls;
pub mod systemd;
mod text;

pub use build::{Options, ProcessOptions, Program, build};
pub use exec::exec;
pub use labels::{ExecLabel, Module};
pub use live_mounts::{add_mounts, remove_mounts, unbindable};
pub use mounts::types::{
    Bind, BindIdMap, BindSource, Filesystem, INERT, IfDenied, MountAttrs, Remount,
};
pub use namespaces::{is_same_map, map_text};
pub use position::{AnyStep, Found, List, Position};
pub use process::DEFAULT_PATH;
pub use restore::{Confinement, IdMap, RestoreSteps};
pub use step::{
    Credentials, DeviceNetwork, EntryStep, Exec, HookMoment, HookStep, IfGroupExists, IfMapDenied,
    InheritedStep, InitStep, MoveDevice, NewCgroup, Node, Opener, Planned, ResctrlGroup, Rlimit,
    RootSwitch, RuntimeStep, Steps, Symlink,
};
pub use text::Line;

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub use crate::config::seccomp::Listener;
pub use crate::config::{Attrs, Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};
pub use crate::config::{SourceLink, TargetLink};
use crate::error::Warning;

/// All steps: one list for each process and point in time, in the order of the fields. The lists of
/// the runtime and those of other processes have different types.
#[derive(Debug, Default)]
pub struct Plan {
    /// Executed by the runtime before it creates a process.
    pub prepare: Steps<RuntimeStep>,
    /// Executed by the runtime around clone3(2). It leaves again what it enters here.
    pub leave: Steps<EntryStep>,
    /// Executed by the runtime while the first process waits for it.
    pub beside_first: Steps<RuntimeStep>,
    /// Executed by the process between the runtime and init, if there is one.
    pub between: Steps<EntryStep>,
    /// Executed by the runtime while the init that the process between has created waits for it.
    pub beside_init: Steps<RuntimeStep>,
    /// Executed by the runtime while init works.
    pub meanwhile: Steps<RuntimeStep>,
    /// Executed by init until it waits for `start`.
    pub init: Steps<InitStep>,
    /// Executed by the runtime at [`InitStep::RuntimeHooks`]. The mounts exist, and `/` still is
    /// that of the host.
    pub hooks: Steps<HookStep>,
    /// Executed by the runtime when init has done its steps and is in all its namespaces.
    pub when_ready: Steps<RuntimeStep>,
    /// Executed by the runtime on init, at [`InitStep::WaitForStart`].
    pub ready: Steps<Rlimit>,
    /// Executed by init after `start` and before execve(2) returns.
    pub start: Steps<InitStep>,
    /// Executed by the runtime after the user process has executed.
    pub after_start: Steps<HookStep>,
    /// Executed by the runtime after it has removed the container.
    pub after_delete: Steps<HookStep>,
    /// `CLONE_NEW*` flags for clone3(2).
    pub clone_flags: u64,
    /// The process that creates init.
    pub entry: Entry,
    /// The cgroup that the process of `exec`, `mounts add` or `mounts remove` begins in.
    pub place: Place,
    /// The CPUs on which the process begins.
    pub cpus: Cpus,
    /// How long init is dumpable.
    pub dumpable: Dumpable,
    /// Which process makes init's procfs for its own use.
    pub procfs: OwnProcfs,
    /// What becomes of the mounts of init when a later step fails.
    pub after_failure: AfterFailure,
    /// The SELinux context of new file systems.
    pub mount_label: Option<CString>,
    /// Problems that are not errors.
    pub warnings: Vec<Warning>,
    /// What only `--debug` shows.
    pub details: Vec<Warning>,
}

/// The process that creates init, and executes the steps of [`Plan::between`] before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// The runtime itself.
    #[default]
    Direct,
    /// A process between the runtime and init that is in the container's user namespace, because
    /// only this namespace gives the privileges for the steps.
    ThroughUserNamespace,
    /// A process between the runtime and init that has the privileges of the runtime. The runtime
    /// itself is in a user namespace and could not return. Only init is in the new user namespace.
    ThroughRuntime,
}

/// The cgroup that a process of `exec` begins in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The container's; if that does not take processes, the one that the container's init is in.
    #[default]
    Container,
    /// `--cgroup`: this one below the container's.
    Below(PathBuf),
}

/// The CPUs on which the process begins, whatever the caller of the runtime is pinned to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cpus {
    /// Every CPU of its cgroup.
    #[default]
    All,
    /// Those that a [`RuntimeStep::Cpus`] gives to the runtime, to the process, or to both.
    Planned,
}

/// The owner of a process's /proc files is root unless the process is dumpable. proc_pid(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dumpable {
    /// Not before execve(2).
    #[default]
    Never,
    /// The runtime is not root, and must write to init's /proc files first.
    UntilMapped,
}

/// Which process makes a procfs that only init uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnProcfs {
    /// Init, when a step needs it.
    #[default]
    MadeByInit,
    /// For the reason of [`Filesystem::made_early`].
    MadeEarly,
}

/// What becomes of mounts that were made before a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterFailure {
    /// They go with the mount namespace or the rootfs's mount.
    #[default]
    MountsStay,
    /// All mounts are made, or none.
    MountsTakenOff,
}

impl Plan {
    /// Whether a process between the runtime and init creates init.
    pub fn has_process_between(&self) -> bool {
        self.entry != Entry::Direct
    }

    /// Whether clone3(2) creates a user namespace.
    pub const fn makes_user_namespace(&self) -> bool {
        self.clone_flags & NamespaceKind::User.clone_flag() != 0
    }

    /// Whether the first process, and not only a later one, is in the new user namespace.
    pub fn first_has_maps(&self) -> bool {
        self.makes_user_namespace() && self.entry != Entry::ThroughRuntime
    }

    /// Whether the first process waits for the runtime.
    pub fn first_waits(&self) -> bool {
        !self.beside_first.is_empty()
    }

    /// The steps that the runtime executes while a process waits for it or works.
    pub fn beside(&self) -> impl Iterator<Item = &Planned<RuntimeStep>> {
        let lists = [&self.beside_first, &self.beside_init, &self.meanwhile];
        lists.into_iter().flat_map(|list| list.iter())
    }

    /// The list for steps that the runtime executes on init. If init waits for the runtime anyway,
    /// the steps come before init continues; otherwise init works in the meantime.
    fn for_init(&mut self) -> &mut Steps<RuntimeStep> {
        match self.entry {
            Entry::Direct if self.first_has_maps() => &mut self.beside_first,
            Entry::Direct => &mut self.meanwhile,
            Entry::ThroughUserNamespace | Entry::ThroughRuntime => &mut self.beside_init,
        }
    }

    /// How init makes the rootfs `/`. `None` if it enters a container that exists.
    fn root_switch(&self) -> Option<RootSwitch> {
        self.init.iter().find_map(|planned| match planned.step {
            InitStep::SwitchRoot { kind, .. } => Some(kind),
            _ => None,
        })
    }

    /// Whether init detaches the mounts of the host before a process of a container can see it or
    /// its mount namespace.
    pub fn hides_init_until_pivot(&self) -> bool {
        let own = NamespaceKind::Pid.clone_flag() | NamespaceKind::Mount.clone_flag();
        self.clone_flags & own == own && self.root_switch() == Some(RootSwitch::Pivot)
    }

    /// Whether init is in a mount namespace other than that of the runtime.
    pub fn has_mount_namespace(&self) -> bool {
        self.root_switch() != Some(RootSwitch::Chroot)
    }

    /// Whether the config limits this resource. getrlimit(2).
    pub fn limits(&self, resource: u32) -> bool {
        self.ready.iter().any(|it| it.step.resource == resource)
    }

    /// Whether hooks run between `start` and execve(2).
    pub fn has_start_hooks(&self) -> bool {
        let is_hook = |step: &InitStep| matches!(step, InitStep::Hook(_));
        self.start.iter().any(|planned| is_hook(&planned.step))
    }

    /// The program to execute. `None` if the config has no process.
    pub fn exec(&self) -> Option<&Exec> {
        match self.start.last().map(|planned| &planned.step) {
            Some(InitStep::Exec(exec)) => Some(exec),
            _ => None,
        }
    }
}

/// Converts a value to a C string. [`crate::config`] has refused NUL bytes in values of the config,
/// and those of the command line and the environment cannot have any.
#[must_use]
pub fn c_string(value: impl AsRef<OsStr>) -> CString {
    CString::new(value.as_ref().as_bytes()).expect("Config has no NUL byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_is_hidden_only_by_namespaces_of_its_own_and_pivot_root() {
        let plan = |flags, kind| {
            let mut plan = Plan {
                clone_flags: flags,
                ..Plan::default()
            };
            let shared = false;
            plan.init.add("root", InitStep::SwitchRoot { kind, shared });
            plan
        };
        let pid = NamespaceKind::Pid.clone_flag();
        let mount = NamespaceKind::Mount.clone_flag();
        let ipc = NamespaceKind::Ipc.clone_flag();
        assert!(plan(pid | mount | ipc, RootSwitch::Pivot).hides_init_until_pivot());
        for (flags, kind) in [
            (pid | ipc, RootSwitch::Pivot),
            (mount | ipc, RootSwitch::Pivot),
            (pid | mount, RootSwitch::Move),
            (pid | mount, RootSwitch::Chroot),
        ] {
            assert!(!plan(flags, kind).hides_init_until_pivot());
        }
        assert!(!Plan::default().hides_init_until_pivot());
    }
}
