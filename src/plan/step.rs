//! The steps of a plan.

use std::ffi::CString;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use super::{Bind, Filesystem, Remount, cgroup, devices, labels, systemd};
use crate::config::seccomp::Listener;
use crate::config::{Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};

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

/// A step that the runtime executes: before it creates a process, or on the first process, or on
/// init.
#[derive(Clone, Debug)]
pub enum RuntimeStep {
    /// mkdir(2) below the cgroup2 mount. Enables the controllers in the `cgroup.subtree_control` of
    /// each parent.
    CreateCgroup(NewCgroup),
    /// A transient unit for the process, which also creates its cgroup: StartTransientUnit.
    SystemdUnit(Box<systemd::Unit>),
    /// One control file of the container's cgroup.
    CgroupWrite(Box<cgroup::Write>),
    /// BPF_PROG_ATTACH of a BPF_CGROUP_DEVICE program.
    DeviceProgram(devices::Program),
    /// chown of the delegated files to the container's root.
    DelegateCgroup { uid: u32 },
    /// /proc/PID/uid_map or gid_map, one mapping per line.
    IdMap {
        group: bool,
        map: String,
        if_denied: IfMapDenied,
    },
    /// /proc/PID/oom_score_adj.
    OomScoreAdj(i32),
    /// unshare(CLONE_NEWNET) by the runtime, which brings up the new loopback interface and returns
    /// to its own namespace. Init waits for it in [`InitStep::EnterNetwork`].
    MakeNetwork,
}

/// A cgroup that the runtime creates.
#[derive(Clone, Debug)]
pub struct NewCgroup {
    /// Relative to the mount of the hierarchy.
    pub path: PathBuf,
    /// The controllers that limits need.
    pub controllers: Vec<String>,
    /// Controllers for statistics. They are left out if the hierarchy refuses them.
    pub optional: Vec<String>,
    /// If false, a caller that is not permitted to create the cgroup continues without it.
    pub required: bool,
}

/// A step that enters other namespaces. It is executed by the runtime around clone3(2), which then
/// returns, by a process between the runtime and init, or by init itself.
#[derive(Clone, Debug)]
pub enum EntryStep {
    /// setns(2).
    JoinNamespace {
        kind: NamespaceKind,
        path: CString,
        /// The reason why it must not be the namespace of the runtime or of the host.
        not_own: Option<String>,
    },
    /// setns(2) with a pidfd of the container's init process.
    EnterContainer {
        kinds: Vec<NamespaceKind>,
        /// The reason why its cgroup namespace must not be that of the runtime.
        not_own: Option<String>,
    },
    /// /proc/self/uid_map or gid_map of a joined user namespace must have this content.
    CheckIdMap { group: bool, map: String },
    /// unshare(2) of a time namespace, with its offsets. The child enters it.
    TimeOffsets { offsets: String },
    /// setgroups(2) if it is allowed, setresuid(2) and setresgid(2) to root of the user namespace.
    BecomeRoot,
}

/// A step that init executes. Large variants are boxed, because a plan has dozens of steps and most
/// are small.
#[derive(Clone, Debug)]
pub enum InitStep {
    Enter(EntryStep),
    /// Opens the root directory of the container that was entered.
    ContainerRoot,
    /// unshare(CLONE_NEWCGROUP). Init must be in its cgroup by then, because this becomes the root.
    UnshareCgroup,
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING) without a name, which creates a new keyring.
    SessionKeyring {
        /// The SELinux context of its keys.
        label: Option<CString>,
    },
    /// /proc/PID/attr: the label that a security module gives the process when it executes.
    ExecLabel(labels::ExecLabel),
    /// Brings up the loopback interface of a new network namespace.
    LoopbackUp,
    /// setns(2) into the network namespace that the runtime creates in the meantime.
    EnterNetwork,
    /// Sets the propagation of all mounts in the new mount namespace.
    RootPropagation {
        flag: u64,
    },
    /// Makes the rootfs a mount.
    BindRootfs {
        path: CString,
        opener: Opener,
        /// Whether later mounts of the host in the rootfs do not appear in the container.
        private: bool,
        /// Whether to make the parent mount private, because pivot_root(2) refuses a shared one.
        private_parent: bool,
    },
    Filesystem(Box<Filesystem>),
    Bind(Box<Bind>),
    Remount(Box<Remount>),
    /// umount2(2) of the mount on a path of the container, without following symbolic links.
    Unmount {
        target: CString,
    },
    Node(Node),
    Symlink(Symlink),
    /// A bind mount of the host's /dev/null, or a read-only tmpfs over a directory.
    MaskPath {
        path: CString,
    },
    /// A read-only bind mount of a path onto itself.
    ReadonlyPath {
        path: CString,
    },
    /// Makes the rootfs `/`.
    SwitchRoot {
        kind: RootSwitch,
        /// Whether the mounts of the old root propagate. If so, they are made slaves before they
        /// are detached.
        shared: bool,
    },
    /// Sets the propagation of `/` in the container.
    Propagate {
        propagation: Propagation,
    },
    /// Makes a mount read-only that had to be writable until now.
    MountReadonly {
        path: CString,
    },
    /// mkdir(2) of the working directory below the rootfs, if it is missing.
    MakeCwd {
        path: CString,
    },
    /// Makes a pseudo-terminal of the container's devpts stdin, stdout, stderr and /dev/console.
    Console {
        size: Option<ConsoleSize>,
        uid: u32,
        /// Whether /dev/console is the terminal too.
        bind: bool,
    },
    /// Gives the three standard descriptors to the user. A /dev/null among them becomes that of the
    /// container.
    Stdio {
        uid: u32,
    },
    /// A hook that runs in the container.
    Hook(Box<HookStep>),
    /// setrlimit(2), of init itself.
    Rlimit(Rlimit),
    Hostname(CString),
    Domainname(CString),
    /// A file below /proc/sys.
    Sysctl {
        path: CString,
        value: CString,
    },
    /// personality(2).
    Personality(u64),
    /// Waits while the runtime runs its hooks.
    RuntimeHooks,
    /// chdir(2) as root, because the user may not be permitted to search the path.
    Cwd {
        path: CString,
    },
    /// chdir(2) again if it failed as root, and getcwd(2): the directory must be below the root.
    CheckCwd {
        path: CString,
    },
    Credentials(Box<Credentials>),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// Drops the last capability that the setup needed.
    DropSysAdmin,
    /// seccomp(SECCOMP_SET_MODE_FILTER).
    Seccomp {
        program: Vec<libc::sock_filter>,
        flags: u64,
        /// The listener for the calls about which the filter asks.
        listener: Option<Listener>,
    },
    /// `HOME` from the line of this user in the container's /etc/passwd, otherwise `/`. This comes
    /// before a seccomp filter or a limit could prevent opening the file.
    FindHome {
        uid: u32,
    },
    /// Looks up the user process, so that `create` can report that it is missing.
    FindExecutable {
        candidates: Vec<CString>,
    },
    /// Reports to the runtime that everything is ready, then waits for `start`.
    WaitForStart,
    /// close_range(2) of the descriptors that must not be inherited.
    CloseRange {
        first: u32,
    },
    Exec(Exec),
}

/// A resource limit: prlimit(2).
#[derive(Clone, Debug)]
pub struct Rlimit {
    pub resource: u32,
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// What to do when the kernel refuses an id map with EPERM. user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMapDenied {
    Fail,
    /// Deny setgroups(2) in the namespace and try again: the map only has the runtime's own group.
    DenySetgroups,
    /// Let newuidmap(1) or newgidmap(1) write the map, if /etc/subuid or /etc/subgid grants it.
    Helper,
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
    pub groups: Vec<u32>,
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
