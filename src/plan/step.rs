//! The steps of a plan.

use std::ffi::CString;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use super::{Bind, Filesystem, Remount, cgroup, devices, labels, systemd};
use crate::config::seccomp::Listener;
use crate::config::{Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};

/// Steps of one executor at one moment, in their order.
#[derive(Clone, Debug)]
pub struct Steps<S>(Vec<Planned<S>>);

/// A step with its origin.
#[derive(Clone, Debug)]
pub struct Planned<S> {
    /// The property that asks for it, as in `linux.maskedPaths[3]`; or the rule that does, as in
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

/// What the runtime does for a process: for itself before it makes one, then for the first process
/// or for init.
#[derive(Clone, Debug)]
pub enum RuntimeStep {
    /// mkdir below the cgroup2 mount; each parent gets the controllers in `cgroup.subtree_control`.
    CreateCgroup(NewCgroup),
    /// A transient unit around the process, and with it its cgroup: StartTransientUnit.
    SystemdUnit(Box<systemd::Unit>),
    /// One control file of the container's cgroup.
    CgroupWrite(Box<cgroup::Write>),
    /// BPF_PROG_ATTACH of a BPF_CGROUP_DEVICE program.
    DeviceProgram(devices::Program),
    /// chown of the delegated files to the container's root.
    DelegateCgroup { uid: u32 },
    /// /proc/PID/uid_map or gid_map, one mapping a line.
    IdMap {
        group: bool,
        map: String,
        if_denied: IfMapDenied,
    },
    /// /proc/PID/oom_score_adj.
    OomScoreAdj(i32),
    /// unshare(CLONE_NEWNET) by the runtime, which goes back then; the new loopback interface goes
    /// up. Init waits for it in [`InitStep::EnterNetwork`].
    MakeNetwork,
}

/// A cgroup that the runtime makes.
#[derive(Clone, Debug)]
pub struct NewCgroup {
    /// Below the mount of the hierarchy.
    pub path: PathBuf,
    /// Needed by a limit.
    pub controllers: Vec<String>,
    /// Wanted for their statistics, and left out where the hierarchy refuses them.
    pub optional: Vec<String>,
    /// If not, a caller without the right to make it goes on without a cgroup.
    pub required: bool,
}

/// What leads into other namespaces: around clone3(2) by the runtime, which comes back, or by a
/// process between the runtime and init; or by init itself.
#[derive(Clone, Debug)]
pub enum EntryStep {
    /// setns(2).
    JoinNamespace {
        kind: NamespaceKind,
        path: CString,
        /// Why it may not be the namespace that the runtime itself is in, nor the host's.
        not_own: Option<String>,
    },
    /// setns(2) with a pidfd of the container's init process.
    EnterContainer {
        kinds: Vec<NamespaceKind>,
        /// Why its cgroup namespace must be another one than the runtime's.
        not_own: Option<String>,
    },
    /// /proc/self/uid_map or gid_map of a joined user namespace must say this.
    CheckIdMap { group: bool, map: String },
    /// unshare(2) of a time namespace and its offsets, for the child to enter.
    TimeOffsets { offsets: String },
    /// setgroups(2) where that is allowed, setresuid(2) and setresgid(2) to the user namespace's
    /// root.
    BecomeRoot,
}

/// What init does. What is large is boxed: a plan has dozens of steps, and most are small.
#[derive(Clone, Debug)]
pub enum InitStep {
    Enter(EntryStep),
    /// The root directory of the container that was entered.
    ContainerRoot,
    /// unshare(CLONE_NEWCGROUP): after init has arrived in its cgroup, which becomes the root.
    UnshareCgroup,
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING) without a name: a new one.
    SessionKeyring {
        /// The SELinux context of its keys.
        label: Option<CString>,
    },
    /// /proc/PID/attr: what the process becomes for a security module when it executes.
    ExecLabel(labels::ExecLabel),
    /// The loopback interface of a new network namespace goes up.
    LoopbackUp,
    /// setns(2) into the network namespace that the runtime makes meanwhile.
    EnterNetwork,
    /// The propagation of every mount of the new mount namespace.
    RootPropagation {
        flag: u64,
    },
    /// The rootfs becomes a mount of its own.
    BindRootfs {
        path: CString,
        opener: Opener,
        /// What the host mounts in the rootfs later does not show up in the container.
        private: bool,
        /// pivot_root(2) refuses a parent mount that is shared.
        private_parent: bool,
    },
    Filesystem(Box<Filesystem>),
    Bind(Box<Bind>),
    Remount(Box<Remount>),
    /// umount2(2) of what is mounted on a path of the container, without symbolic links in it.
    Unmount {
        target: CString,
    },
    Node(Node),
    Symlink(Symlink),
    /// A bind of the host's /dev/null, or a read-only tmpfs over a directory.
    MaskPath {
        path: CString,
    },
    /// A read-only bind of a path upon itself.
    ReadonlyPath {
        path: CString,
    },
    /// The rootfs becomes `/`.
    SwitchRoot {
        kind: RootSwitch,
        /// The old root's mounts propagate: they are made slaves before they are detached.
        shared: bool,
    },
    /// Propagation of `/` in the container.
    Propagate {
        propagation: Propagation,
    },
    /// A mount that had to stay writable until now.
    MountReadonly {
        path: CString,
    },
    /// mkdir(2) of the working directory below the rootfs, where it is missing.
    MakeCwd {
        path: CString,
    },
    /// A pseudo-terminal from the container's devpts becomes stdin, stdout, stderr and /dev/console.
    Console {
        size: Option<ConsoleSize>,
        uid: u32,
        /// /dev/console shows it too.
        bind: bool,
    },
    /// The three standard descriptors go to the user, and /dev/null is the container's.
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
    /// The runtime runs its hooks while init waits.
    RuntimeHooks,
    /// chdir(2), as root: the user may lack the right to walk the path.
    Cwd {
        path: CString,
    },
    /// chdir(2) once more if it failed as root, and getcwd(2): the directory must be in the root.
    CheckCwd {
        path: CString,
    },
    Credentials(Box<Credentials>),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// The last capabilities of setting up go.
    DropSysAdmin,
    /// seccomp(SECCOMP_SET_MODE_FILTER).
    Seccomp {
        program: Vec<libc::sock_filter>,
        flags: u64,
        /// Who answers for the calls that the filter asks about.
        listener: Option<Listener>,
    },
    /// `HOME` from this user's line of the container's /etc/passwd, else `/`: before a seccomp
    /// filter or a limit could forbid to open the file.
    FindHome {
        uid: u32,
    },
    /// The user process is looked up, so that `create` can say that it is missing.
    FindExecutable {
        candidates: Vec<CString>,
    },
    /// The runtime is told that all is ready; then init waits for `start`.
    WaitForStart,
    /// close_range(2) of what must not be inherited.
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

/// What to do when the kernel says EPERM to an id map. user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMapDenied {
    Fail,
    /// The map is one group, the runtime's own: deny setgroups(2) in the namespace and try again.
    DenySetgroups,
    /// newuidmap(1) and newgidmap(1) write what /etc/subuid and /etc/subgid grant.
    Helper,
}

/// A device node: mknod(2), or a bind of the host's node.
#[derive(Clone, Debug)]
pub struct Node {
    pub path: CString,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bind the host's node of the same path: mknod(2) is denied in a user namespace.
    pub bind: bool,
}

/// A symbolic link: symlink(2).
#[derive(Clone, Debug)]
pub struct Symlink {
    pub target: CString,
    pub path: CString,
    /// Made only where the target exists.
    pub if_target_exists: bool,
    /// What is in the way goes; otherwise it stays, and no link is made.
    pub replace: bool,
}

/// A program that runs at a hook moment.
#[derive(Clone, Debug)]
pub struct HookStep {
    pub path: CString,
    pub args: Vec<CString>,
    /// `None`: that of the runtime, or of the container's process at its start.
    pub env: Option<Vec<CString>>,
    pub timeout: Option<Duration>,
    pub moment: HookMoment,
}

/// The six moments of the specification.
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
    /// CAP_SYS_ADMIN stays until the seccomp filter is loaded, because without no_new_privs the
    /// kernel asks for it.
    pub keep_sys_admin: bool,
}

/// The user process: execve(2).
#[derive(Clone, Debug)]
pub struct Exec {
    /// `args[0]` itself if it has a slash, else it below each directory of `PATH`.
    pub candidates: Vec<CString>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
}

/// Which process opens a path of the host, in init's mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    Init,
    /// For init, which may lack the reach as root of another user namespace.
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
