//! From a validated config to an explicit ordered list of steps. Pure.
//!
//! A step is an intention with its fallback as data, named by its man page. Its type says who
//! executes it: a [`RuntimeStep`], an [`EntryStep`] or an [`InitStep`]. Each step says which property
//! of the config it comes from, so that a failure in the init process, reported as a [`Position`]
//! and an errno, becomes a sentence.

pub mod annotations;
mod build;
pub mod cgroup;
pub mod devices;
mod exec;
mod hooks;
mod labels;
mod live_mounts;
mod mounts;
mod namespaces;
mod network;
mod position;
mod process;
mod rootfs;
pub mod seccomp;
mod step;
pub mod syscalls;
pub mod systemd;
mod text;

pub use build::{Options, ProcessOptions, build};
pub use exec::exec;
pub use labels::{ExecLabel, Module};
pub use live_mounts::{add_mounts, remove_mounts, unbindable};
pub use mounts::types::{
    Bind, BindAttrs, BindIdMap, BindSource, Filesystem, INERT, IfDenied, Remount,
};
pub use position::{AnyStep, Found, List, Position};
pub use step::{
    Credentials, EntryStep, Exec, HookMoment, HookStep, IfMapDenied, InitStep, NewCgroup, Node,
    Opener, Planned, Rlimit, RootSwitch, RuntimeStep, Steps, Symlink,
};

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

pub use crate::config::seccomp::Listener;
pub use crate::config::{Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};

/// Everything that will be done: a list of steps for each executor and moment, in the order of the
/// fields. The lists of the runtime and those of the other processes have types of their own.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The runtime, before it makes a process.
    pub prepare: Steps<RuntimeStep>,
    /// The runtime, around clone3(2): what it enters here it leaves again.
    pub leave: Steps<EntryStep>,
    /// The runtime, while the first process waits for it.
    pub beside_first: Steps<RuntimeStep>,
    /// The process between the runtime and init, if there is one.
    pub between: Steps<EntryStep>,
    /// The runtime, while the init that the process between has made waits for it.
    pub beside_init: Steps<RuntimeStep>,
    /// The runtime, while init is at work.
    pub meanwhile: Steps<RuntimeStep>,
    /// The init process, until it waits for `start`.
    pub init: Steps<InitStep>,
    /// The runtime, at [`InitStep::RuntimeHooks`]: the mounts are there and `/` is still the host's.
    pub hooks: Steps<HookStep>,
    /// The runtime, for init, at [`InitStep::WaitForStart`].
    pub ready: Steps<Rlimit>,
    /// The init process, after `start` and before execve(2) returns.
    pub start: Steps<InitStep>,
    /// The runtime, after the user process has executed.
    pub after_start: Steps<HookStep>,
    /// The runtime, when the container is gone.
    pub after_delete: Steps<HookStep>,
    /// `CLONE_NEW*` flags for clone3(2).
    pub clone_flags: u64,
    /// Which process makes init.
    pub entry: Entry,
    /// The runtime is not root: init stays dumpable until the runtime has written to its /proc
    /// files, which otherwise belong to root. proc_pid(5).
    pub dumpable_at_first: bool,
    /// Init's procfs for its own use is made early too, for the reason of
    /// [`Filesystem::made_early`].
    pub early_procfs: bool,
    /// The mounts of init are taken off again when a later step fails.
    pub all_mounts_or_none: bool,
    /// The SELinux context of new file systems.
    pub mount_label: Option<CString>,
    /// What the user should know though it stops nothing.
    pub warnings: Vec<String>,
}

/// Which process makes init, and takes the steps of [`Plan::between`] before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// The runtime itself.
    #[default]
    Direct,
    /// One between the runtime and init that is in the container's user namespace, because only that
    /// gives the rights for the steps.
    ThroughUserNamespace,
    /// One between the runtime and init with the rights of the runtime, which itself is in a user
    /// namespace and could not come back; init alone is in the new one.
    ThroughRuntime,
}

impl Plan {
    /// How many steps there are.
    pub fn count(&self) -> usize {
        let lists = [
            self.prepare.len(),
            self.leave.len(),
            self.beside_first.len(),
            self.between.len(),
            self.beside_init.len(),
            self.meanwhile.len(),
            self.init.len(),
            self.hooks.len(),
            self.ready.len(),
            self.start.len(),
            self.after_start.len(),
            self.after_delete.len(),
        ];
        lists.into_iter().sum()
    }

    /// A process between the runtime and init makes init.
    pub fn has_process_between(&self) -> bool {
        self.entry != Entry::Direct
    }

    /// Whether clone3(2) makes a user namespace.
    pub const fn makes_user_namespace(&self) -> bool {
        self.clone_flags & NamespaceKind::User.flag() as u64 != 0
    }

    /// Whether the first process is in the new user namespace, and not only a later one.
    pub fn first_has_maps(&self) -> bool {
        self.makes_user_namespace() && self.entry != Entry::ThroughRuntime
    }

    /// Whether the first process waits for the runtime.
    pub fn first_waits(&self) -> bool {
        !self.beside_first.is_empty()
    }

    /// Where the runtime does for init what init must not overtake, or may do meanwhile.
    fn for_init(&mut self) -> &mut Steps<RuntimeStep> {
        match self.entry {
            Entry::Direct if self.first_has_maps() => &mut self.beside_first,
            Entry::Direct => &mut self.meanwhile,
            Entry::ThroughUserNamespace | Entry::ThroughRuntime => &mut self.beside_init,
        }
    }

    /// Whether init is in another mount namespace than the runtime.
    pub fn has_mount_namespace(&self) -> bool {
        let chroot = |planned: &Planned<InitStep>| {
            matches!(
                planned.step,
                InitStep::SwitchRoot {
                    kind: RootSwitch::Chroot,
                    ..
                }
            )
        };
        !self.init.iter().any(chroot)
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

    /// What will be executed; `None` if the config has no process.
    pub fn exec(&self) -> Option<&Exec> {
        match self.start.last().map(|planned| &planned.step) {
            Some(InitStep::Exec(exec)) => Some(exec),
            _ => None,
        }
    }
}

/// A C string of a value of the config, in which [`crate::config`] has refused NUL bytes; or of the
/// command line or the environment, which cannot have one.
#[must_use]
pub fn c_string(value: impl AsRef<OsStr>) -> CString {
    CString::new(value.as_ref().as_bytes()).expect("Config has no NUL byte")
}
