//! From a validated config to an explicit ordered list of steps. Pure.
//!
//! A [`Step`] is an intention with its fallback as data, named by its man page. Each step says
//! which property of the config it comes from, so that a failure in the init process, reported as
//! an index and an errno, becomes a sentence.

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
pub use live_mounts::{add_mounts, remove_mounts};
pub use mounts::types::{
    Bind, BindAttrs, BindIdMap, BindSource, Filesystem, INERT, IfDenied, Remount,
};
pub use step::{
    Credentials, Exec, HookMoment, HookStep, IfMapDenied, Node, RootSwitch, Step, Symlink,
};

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

pub use crate::config::seccomp::Listener;
pub use crate::config::{Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};

/// When and where a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In the runtime, before any process exists.
    Prepare,
    /// Around clone3(2): in the runtime, undone afterwards, or in an intermediate process.
    Clone,
    /// In the runtime, as soon as init exists.
    Parent,
    /// In the init process, until it waits for `start`.
    Init,
    /// In the runtime, when the mounts are there and `/` is still the host's.
    Hooks,
    /// In the runtime, when init is ready to wait for `start`.
    Ready,
    /// In the init process, after `start` and before execve(2) returns.
    Start,
    /// In the runtime, after the user process has executed.
    Started,
    /// In the runtime, when the container is gone.
    Deleted,
}

/// A step with its moment and its origin.
#[derive(Clone, Debug)]
pub struct Planned {
    pub phase: Phase,
    /// The property that asks for it, as in `linux.maskedPaths[3]`; or the rule that does, as in
    /// `default devices`.
    pub field: String,
    pub step: Step,
}

/// Everything that will be done, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub steps: Vec<Planned>,
    /// `CLONE_NEW*` flags for clone3(2).
    pub clone_flags: u64,
    /// The container gets a user namespace of its own, whose maps the runtime writes.
    pub new_user_namespace: bool,
    /// The steps of [`Phase::Clone`] run in a process between the runtime and init, because only
    /// the container's user namespace gives the rights for them, or because the runtime, itself in
    /// a user namespace, could not come back.
    pub intermediate: bool,
    /// The intermediate process enters with the rights of the runtime, and init alone is in the
    /// new user namespace; otherwise both are.
    pub enters_before_user: bool,
    /// The runtime is not root: init stays dumpable until the runtime has written to its /proc
    /// files, which otherwise belong to root. proc_pid(5).
    pub dumpable_at_first: bool,
    /// The runtime opens the host's paths for init, in init's mount namespace: the root of the
    /// container's user namespace may lack the reach, and a tree copied in the runtime's own
    /// namespace would lack the locks that keep the container from clearing the flags of its
    /// mounts or uncovering what they hide. mount_namespaces(7). For mounts that come to a container
    /// later another process takes init's part.
    pub reach_for_init: bool,
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

impl Plan {
    /// Adds a step.
    pub fn push(&mut self, phase: Phase, field: impl Into<String>, step: Step) {
        self.steps.push(Planned {
            phase,
            field: field.into(),
            step,
        });
    }

    /// The steps of a phase with their positions in the plan.
    pub fn phase(&self, phase: Phase) -> impl Iterator<Item = (usize, &Planned)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, planned)| planned.phase == phase)
    }

    /// Whether init is in another mount namespace than the runtime.
    pub fn has_mount_namespace(&self) -> bool {
        let chroot = |planned: &Planned| {
            matches!(
                planned.step,
                Step::SwitchRoot {
                    kind: RootSwitch::Chroot,
                    ..
                }
            )
        };
        !self.steps.iter().any(chroot)
    }

    /// Whether the process of clone3(2) waits for the runtime: for its id maps, or for a cgroup that
    /// is made only around a process.
    pub fn first_waits(&self) -> bool {
        let unit = |planned: &Planned| matches!(planned.step, Step::SystemdUnit(_));
        self.first_has_maps() || self.steps.iter().any(unit)
    }

    /// Whether the runtime makes a network namespace for init.
    pub fn makes_network(&self) -> bool {
        let made = |planned: &Planned| matches!(planned.step, Step::MakeNetwork);
        self.steps.iter().any(made)
    }

    /// Whether the config limits this resource. getrlimit(2).
    pub fn limits(&self, wanted: u32) -> bool {
        let limits =
            |step: &Step| matches!(step, Step::Rlimit { resource, .. } if *resource == wanted);
        self.steps.iter().any(|planned| limits(&planned.step))
    }

    /// Whether hooks run between `start` and execve(2).
    pub fn has_start_hooks(&self) -> bool {
        let start = HookMoment::StartContainer;
        let is = |step: &Step| matches!(step, Step::Hook(hook) if hook.moment == start);
        self.steps.iter().any(|planned| is(&planned.step))
    }

    /// Whether the process of clone3(2) is in the new user namespace, and not only a later one.
    pub fn first_has_maps(&self) -> bool {
        self.new_user_namespace && !self.enters_before_user
    }

    /// Whether a phase has any step.
    pub fn has(&self, phase: Phase) -> bool {
        self.steps.iter().any(|planned| planned.phase == phase)
    }
}

/// A C string of a value of the config, in which [`crate::config`] has refused NUL bytes; or of the
/// command line or the environment, which cannot have one.
#[must_use]
pub fn c_string(value: impl AsRef<OsStr>) -> CString {
    CString::new(value.as_ref().as_bytes()).expect("Config has no NUL byte")
}
