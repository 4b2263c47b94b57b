//! The steps of a plan. The type of a step says which process executes it; its file has the type
//! and the text.

mod entry;
mod inherited;
mod init;
mod runtime;

use std::ffi::CString;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub use entry::EntryStep;
pub use inherited::InheritedStep;
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
    /// What to do.
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
    /// The number of `RLIMIT_*`.
    pub resource: u32,
    /// Its name, for messages.
    pub name: String,
    /// In the unit of the resource; `u64::MAX` is no limit.
    pub soft: u64,
    /// The ceiling for the soft limit.
    pub hard: u64,
}

/// A device node: mknod(2), or a bind mount of the host's node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Absolute path in the container.
    pub path: CString,
    /// The type of the node.
    pub kind: DeviceKind,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// The permission bits, which the umask does not change.
    pub mode: u32,
    /// The owner, as an id of the container.
    pub uid: u32,
    /// The group, as an id of the container.
    pub gid: u32,
    /// Whether to bind-mount the host's node with the same path. mknod(2) is denied in a user
    /// namespace.
    pub bind: bool,
}

/// A symbolic link: symlink(2).
#[derive(Clone, Debug)]
pub struct Symlink {
    /// The text of the link.
    pub target: CString,
    /// The link itself: an absolute path in the container.
    pub path: CString,
    /// Whether to make the link only if the target exists.
    pub if_target_exists: bool,
    /// Whether to replace an existing file. Otherwise the file is kept and no link is made.
    pub replace: bool,
}

/// A hook.
#[derive(Clone, Debug)]
pub struct HookStep {
    /// The program, absolute.
    pub path: CString,
    /// All of argv, with the name of the program.
    pub args: Vec<CString>,
    /// `None` for that of the runtime or, for `startContainer`, that of the container's process.
    pub env: Option<Vec<CString>>,
    /// After it the hook is killed, and has failed.
    pub timeout: Option<Duration>,
    /// When the hook runs.
    pub moment: HookMoment,
    /// Files of the host to which the hook's stdout and stderr are appended.
    pub streams: [Option<CString>; 2],
}

/// The six points in the lifecycle at which the specification runs hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are named as the properties")]
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
    /// Real, effective, saved and file system uid.
    pub uid: u32,
    /// The same of the group.
    pub gid: u32,
    /// `None` to keep those of the caller.
    pub groups: Option<Vec<u32>>,
    /// The file mode creation mask.
    pub umask: u32,
    /// The five sets that the program begins with.
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
    /// argv.
    pub args: Vec<CString>,
    /// Each as `NAME=value`.
    pub env: Vec<CString>,
}

/// The process that opens a path of the host, in init's mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// Init itself.
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
