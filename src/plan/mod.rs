//! From a validated config to an explicit ordered list of steps. Pure.
//!
//! A [`Step`] is an intention with its fallback as data, named by its man page. Each step says
//! which property of the config it comes from, so that a failure in the init process, reported as
//! an index and an errno, becomes a sentence.

mod build;
pub mod cgroup;
pub mod devices;
mod exec;
mod hooks;
mod labels;
mod live_mounts;
mod mounts;
mod namespaces;
mod process;
mod rootfs;
pub mod seccomp;
pub mod syscalls;
pub mod systemd;
mod text;

pub use build::{Options, build};
pub use exec::exec;
pub use labels::{ExecLabel, Module};
pub use live_mounts::{add_mounts, remove_mounts};

use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::seccomp::Listener;
pub use crate::config::{Capabilities, ConsoleSize, DeviceKind, NamespaceKind, Propagation};
use crate::error::{Error, Result};

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

/// Where a bind mount's tree comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindSource {
    /// Opened by the runtime: before clone3(2), or when its turn comes with
    /// [`Plan::reach_for_init`].
    Host(CString),
    /// Opened by init when its turn comes: it lies below the rootfs, where an earlier mount may
    /// change what the path means.
    Rootfs(CString),
}

/// One bind mount: open_tree(2), mount_setattr(2), move_mount(2).
#[derive(Clone, Debug)]
pub struct Bind {
    pub source: BindSource,
    /// Absolute path in the container.
    pub target: CString,
    /// `rbind`.
    pub recursive: bool,
    pub attrs: BindAttrs,
    pub propagation: Vec<Propagation>,
    /// Files have other owners than in the file system.
    pub id_map: Option<BindIdMap>,
    /// The target may lie in the container's procfs: it is one of the files that tell about the
    /// machine, or the source is a procfs itself.
    pub on_proc: bool,
}

/// MOUNT_ATTR_IDMAP of mount_setattr(2). The runtime sets it on a tree that init has copied in its
/// own mount namespace, because it takes rights over the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindIdMap {
    /// The mounts below too.
    pub recursive: bool,
    /// The texts of a uid_map and a gid_map; `None` is the container's user namespace.
    pub maps: Option<(String, String)>,
}

/// What becomes of the attributes that the source's mount has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindAttrs {
    /// `MOUNT_ATTR_*` for the mount itself.
    pub set: u64,
    /// Cleared on the mount itself.
    pub clear: u64,
    /// Set on the whole tree.
    pub recursive_set: u64,
    /// Cleared on the whole tree.
    pub recursive_clear: u64,
    /// Bits that the words of the config clear by name. In a user namespace the attributes of the
    /// source are locked: those that no word names stay as they are, those named here are an error.
    pub asked_clear: u64,
    /// The source's attributes are kept, because the container has a user namespace.
    pub keep_source: bool,
}

/// A new file system: mount(2).
#[derive(Clone, Debug)]
pub struct Filesystem {
    pub fstype: CString,
    pub source: CString,
    pub target: CString,
    /// `MS_*`.
    pub flags: u64,
    pub data: CString,
    /// What to do when the kernel says EPERM or EBUSY.
    pub if_denied: IfDenied,
    /// Made before init is there, with these `MOUNT_ATTR_*` and the rights of the runtime: a procfs
    /// shows the pid namespace of its maker and a mqueue the ipc namespace, and a new user namespace
    /// lacks the rights over one that was joined. The process that makes it must be in that
    /// namespace by then: for `create` it has joined all, for `mounts add` the pid namespace at most,
    /// and so makes no mqueue.
    pub made_early: Option<u64>,
    /// The target must be a real directory, never a symbolic link: /proc and /sys are places that
    /// later steps and the container's masks rely on.
    pub real_directory: bool,
    /// Give the new root the mode of the directory that it covers.
    pub inherit_mode: bool,
    /// Copy what the directory holds into the new file system.
    pub copy_up: bool,
    /// A SELinux context for the root of a file system that knows no `context=`.
    pub label: Option<CString>,
    /// Attributes applied after the mount, on the whole tree.
    pub recursive_set: u64,
    pub recursive_clear: u64,
    pub propagation: Vec<Propagation>,
}

/// The fallback of a [`Filesystem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfDenied {
    Fail,
    /// Bind this host directory instead (`/sys`, or the container's own cgroup).
    Bind(CString),
    /// Bind it if it is there, as the container's own cgroup is unless an unprivileged runtime
    /// could not make it; else show an empty read-only directory.
    BindOrMask(CString),
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

/// A change of a mount that is there already: mount(2) with MS_REMOUNT.
#[derive(Clone, Debug)]
pub struct Remount {
    pub target: CString,
    /// `bind` too: the attributes of this mount, not those of its file system.
    pub bind: bool,
    pub attrs: BindAttrs,
    pub flags: u64,
    pub data: CString,
    pub propagation: Vec<Propagation>,
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
    /// `None` inherits the caller's environment.
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
    /// `None` leaves the groups alone, because setgroups(2) is denied in this user namespace.
    pub groups: Option<Vec<u32>>,
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

/// One thing to do. What is large is boxed: a plan has dozens of steps, and most are small.
#[derive(Clone, Debug)]
pub enum Step {
    /// mkdir below the cgroup2 mount; each parent gets the controllers in `cgroup.subtree_control`.
    CreateCgroup {
        path: PathBuf,
        /// Needed by a limit.
        controllers: Vec<String>,
        /// Wanted for their statistics, and left out where the hierarchy refuses them.
        optional: Vec<String>,
        /// If not, a caller without the right to make it goes on without a cgroup.
        required: bool,
    },
    /// A transient unit around the new process, and with it its cgroup: StartTransientUnit.
    SystemdUnit(Box<systemd::Unit>),
    /// One control file of the container's cgroup.
    CgroupWrite(Box<cgroup::Write>),
    /// BPF_PROG_ATTACH of a BPF_CGROUP_DEVICE program.
    DeviceProgram(devices::Program),
    /// chown of the delegated files to the container's root.
    DelegateCgroup {
        uid: u32,
    },
    /// /proc/PID/uid_map or gid_map, one mapping a line.
    IdMap {
        group: bool,
        map: String,
        if_denied: IfMapDenied,
    },
    /// /proc/self/uid_map or gid_map of a joined user namespace must say this.
    CheckIdMap {
        group: bool,
        map: String,
    },
    /// /proc/PID/oom_score_adj.
    OomScoreAdj(i32),
    /// prlimit(2).
    Rlimit {
        resource: u32,
        name: String,
        soft: u64,
        hard: u64,
    },
    /// A hook of the runtime or of init, as its phase says.
    Hook(Box<HookStep>),
    /// setns(2).
    JoinNamespace {
        kind: NamespaceKind,
        path: CString,
    },
    /// setns(2) with a pidfd of the container's init process.
    EnterContainer {
        kinds: Vec<NamespaceKind>,
    },
    /// The root directory of the container that was entered.
    ContainerRoot,
    /// unshare(2) of a time namespace and its offsets, for the child to enter.
    TimeOffsets {
        offsets: String,
    },
    /// setresuid(2) and setresgid(2) to the user namespace's root.
    BecomeRoot {
        setgroups: bool,
    },
    /// unshare(CLONE_NEWCGROUP): after init has arrived in its cgroup, which becomes the root.
    UnshareCgroup,
    /// keyctl(KEYCTL_JOIN_SESSION_KEYRING).
    SessionKeyring {
        name: CString,
        /// The SELinux context of its keys.
        label: Option<CString>,
    },
    /// /proc/PID/attr: what the process becomes for a security module when it executes.
    ExecLabel(labels::ExecLabel),
    /// The loopback interface of a new network namespace goes up.
    LoopbackUp,
    /// The propagation of every mount of the new mount namespace.
    RootPropagation {
        flag: u64,
        recursive: bool,
    },
    /// The rootfs becomes a mount of its own.
    BindRootfs {
        path: CString,
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

/// A C string of a property's value.
///
/// # Errors
/// The value has a NUL byte.
pub fn c_string(field: &str, value: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(value).map_err(|_| Error::config(field, "a NUL byte in the value"))
}

/// A C string of a path.
///
/// # Errors
/// The path has a NUL byte.
pub fn c_path(field: &str, path: &std::path::Path) -> Result<CString> {
    c_string(
        field,
        std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()),
    )
}
