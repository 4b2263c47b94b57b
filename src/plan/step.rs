//! The steps of a plan. The type of a step says which process executes it; its file has the type
//! and the text.

mod entry;
mod init;
mod runtime;

use std::ffi::CString;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub use entry::EntryStep;
pub use init::InitStep;
pub use runtime::{
    DeviceNetwork, IfGroupExists, IfMapDenied, MoveDevice, NewCgroup, ResctrlGroup, RuntimeStep,
};

use crate::config::{Capabilities, DeviceKind};

/// The steps of one process at one point in time, in their order.
#[derive(Clone, Debug)]
pub struct Steps<S>(Vec<Planned<S>>);

/// A step with its origin.
#[derive(Clone, Debug)]
pub struct Planned<S> {
    /// The property that asks for it, such as `linux.maskedPaths[3]`, or the rule, such as
    /// `default devices`.
    pub field: String,
    pub step: S,
}

impl<S> Steps<S> {
    /// Adds a step.
    pub fn add(&mut self, field: impl Into<String>, step: S) {
        let field = field.into();
        self.0.push(Planned { field, step });
    }
}

impl<S> Default for Steps<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S> Deref for Steps<S> {
    type Target = Vec<Planned<S>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<S> DerefMut for Steps<S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// A resource limit: prlimit(2).
#[derive(Clone, Debug)]
pub struct Rlimit {
    pub resource: u32,
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// A device node: mknod(2), or a bind mount of the host's node.
#[derive(Clone, Debug)]
pub struct Node {
    pub path: CString,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Whether to bind-mount the host's node with the same path. mknod(2) is denied in a user
    /// namespace.
    pub bind: bool,
}

/// A symbolic link: symlink(2).
#[derive(Clone, Debug)]
pub struct Symlink {
    pub target: CString,
    pub path: CString,
    /// Whether to make the link only if the target exists.
    pub if_target_exists: bool,
    /// Whether to replace an existing file. Otherwise the file is kept and no link is made.
    pub replace: bool,
}

/// A hook.
#[derive(Clone, Debug)]
pub struct HookStep {
    pub path: CString,
    pub args: Vec<CString>,
    /// `None` for that of the runtime or, for `startContainer`, that of the container's process.
    pub env: Option<Vec<CString>>,
    pub timeout: Option<Duration>,
    pub moment: HookMoment,
    /// Files of the host to which the hook's stdout and stderr are appended.
    pub streams: [Option<CString>; 2],
}

/// The six points in the lifecycle at which the specification runs hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookMoment {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// `user` of the process, ids inside the container.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// `None` to keep those of the caller.
    pub groups: Option<Vec<u32>>,
    pub umask: u32,
    pub capabilities: Capabilities,
    /// Highest capability number to drop from the bounding set.
    pub last_capability: u8,
    /// Whether to keep CAP_SYS_ADMIN until the seccomp filter is loaded, because without
    /// no_new_privs the kernel requires it.
    pub keep_sys_admin: bool,
}

/// The user process: execve(2).
#[derive(Clone, Debug)]
pub struct Exec {
    /// `args[0]` if it has a slash, otherwise `args[0]` in each directory of `PATH`.
    pub candidates: Vec<CString>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
}

/// The process that opens a path of the host, in init's mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    Init,
    /// The runtime, for init, which may be unable to reach the path as root of another user
    /// namespace.
    Runtime,
}

/// How the container's root becomes `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSwitch {
    /// pivot_root(2).
    Pivot,
    /// `--no-pivot`: MS_MOVE and chroot(2).
    Move,
    /// No mount namespace: chroot(2) alone.
    Chroot,
}
