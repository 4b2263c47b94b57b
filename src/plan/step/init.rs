//! The steps of init, and their text.

use std::ffi::CString;
use std::fmt::{self, Display};

use super::super::text::parts::{
    detail, detail_if, write_bind, write_credentials, write_exec_label, write_filesystem,
    write_hook, write_node, write_remount, write_rlimit, write_switch, write_symlink,
};
use super::super::text::words::{
    filter_flag_words, join, lossy, propagation_word, quoted, write_words,
};
use super::super::{Bind, Filesystem, Remount, labels};
use super::{
    Credentials, EntryStep, Exec, HookStep, InheritedStep, Node, Opener, Rlimit, RootSwitch,
    Symlink,
};
use crate::config::scheduling::Scheduler;
use crate::config::seccomp::Listener;
use crate::config::{ConsoleSize, NamespaceKind, Propagation};

/// A step that init executes. Large variants are boxed, because a plan has dozens of steps and most
/// are small.
#[derive(Clone, Debug)]
pub enum InitStep {
    /// A step that enters a namespace, executed by init itself.
    Enter(EntryStep),
    /// Opens the root directory of the container that was entered.
    ContainerRoot,
    /// unshare(2) of a namespace that clone3(2) would make too early: a cgroup namespace begins at
    /// the cgroup that init is in, and a message queue file system belongs to the user that makes
    /// its ipc namespace.
    Unshare(NamespaceKind),
    /// A step that sets what init and each later process of the container inherit.
    Inherited(InheritedStep),
    /// /proc/PID/attr: the label that a security module gives the process when it executes.
    ExecLabel(labels::ExecLabel),
    /// Brings up the loopback interface of a new network namespace.
    LoopbackUp,
    /// setns(2) into the network namespace that the runtime creates in the meantime.
    EnterNetwork,
    /// Sets the propagation of all mounts in the new mount namespace.
    RootPropagation {
        /// `MS_SLAVE` or another propagation flag, with `MS_REC`.
        flag: u64,
    },
    /// Makes the rootfs a mount.
    BindRootfs {
        /// `root.path`, absolute.
        path: CString,
        /// The process that can reach it.
        opener: Opener,
        /// Whether later mounts of the host in the rootfs do not appear in the container.
        private: bool,
        /// Whether to make the parent mount private, because pivot_root(2) refuses a shared one.
        private_parent: bool,
    },
    /// A new file system: mount(2).
    Filesystem(Box<Filesystem>),
    /// A bind mount: open_tree(2), mount_setattr(2), move_mount(2).
    Bind(Box<Bind>),
    /// A change of an existing mount: mount(2) with MS_REMOUNT.
    Remount(Box<Remount>),
    /// umount2(2) of the mount on a path of the container, without following symbolic links.
    Unmount {
        /// Absolute path in the container.
        target: CString,
    },
    /// A device node: mknod(2).
    Node(Node),
    /// A symbolic link: symlink(2).
    Symlink(Symlink),
    /// A bind mount of the host's /dev/null, or a read-only tmpfs over a directory.
    MaskPath {
        /// Absolute path in the container.
        path: CString,
    },
    /// A read-only bind mount of a path onto itself.
    ReadonlyPath {
        /// Absolute path in the container.
        path: CString,
    },
    /// Makes the rootfs `/`.
    SwitchRoot {
        /// The call that does it.
        kind: RootSwitch,
        /// Whether the mounts of the old root propagate. If so, they are made slaves before they
        /// are detached.
        shared: bool,
    },
    /// Sets the propagation of `/` in the container.
    Propagate {
        /// Of `/` alone, or of all mounts below it too.
        propagation: Propagation,
    },
    /// Makes a mount read-only that had to be writable until now.
    MountReadonly {
        /// Absolute path in the container.
        path: CString,
    },
    /// mkdir(2) of the working directory below the rootfs, if it is missing.
    MakeCwd {
        /// Absolute path in the container.
        path: CString,
    },
    /// Makes a pseudo-terminal of the container's devpts stdin, stdout, stderr and /dev/console.
    Console {
        /// In characters; `None` leaves it to the kernel.
        size: Option<ConsoleSize>,
        /// The owner of the terminal, as an id of the container.
        uid: u32,
        /// Whether /dev/console is the terminal too.
        bind: bool,
    },
    /// Gives the three standard descriptors to the user. A /dev/null among them becomes that of the
    /// container.
    Stdio {
        /// The program's user, as an id of the container.
        uid: u32,
    },
    /// A hook that runs in the container.
    Hook(Box<HookStep>),
    /// setrlimit(2), of init itself.
    Rlimit(Rlimit),
    /// sethostname(2).
    Hostname(CString),
    /// setdomainname(2).
    Domainname(CString),
    /// A file below /proc/sys.
    Sysctl {
        /// Relative to /proc/sys.
        path: CString,
        /// What is written to the file.
        value: CString,
    },
    /// Waits while the runtime runs its hooks.
    RuntimeHooks,
    /// chdir(2) as root, because the user may not be permitted to search the path.
    Cwd {
        /// Absolute path in the container.
        path: CString,
    },
    /// chdir(2) again if it failed as root, and getcwd(2): the directory must be below the root.
    CheckCwd {
        /// Absolute path in the container.
        path: CString,
    },
    /// sched_setattr(2), while init still may raise its priority.
    Scheduler(Box<Scheduler>),
    /// setgroups(2), setresgid(2), setresuid(2), capset(2) and prctl(2).
    Credentials(Box<Credentials>),
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// Drops the last capability that the setup needed.
    DropSysAdmin,
    /// seccomp(SECCOMP_SET_MODE_FILTER).
    Seccomp {
        /// The filter in classic BPF.
        program: Vec<libc::sock_filter>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u64,
        /// The listener for the calls about which the filter asks.
        listener: Option<Listener>,
    },
    /// `HOME` from the line of this user in the container's /etc/passwd, otherwise `/`. This comes
    /// before a seccomp filter or a limit could prevent opening the file.
    FindHome {
        /// The program's user, as an id of the container.
        uid: u32,
    },
    /// Looks up the user process, so that `create` can report that it is missing.
    FindExecutable {
        /// See [`Exec::candidates`].
        candidates: Vec<CString>,
    },
    /// Reports to the runtime that everything is ready, then waits for `start`.
    WaitForStart,
    /// close_range(2) of the descriptors that must not be inherited.
    CloseRange {
        /// All descriptors from this number on are closed.
        first: u32,
    },
    /// execve(2).
    Exec(Exec),
}

impl InitStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enter(step) => step.name(),
            Self::Rlimit(_) => "rlimit",
            Self::Hook(_) => "hook",
            Self::ContainerRoot => "container-root",
            Self::Unshare(_) => "unshare",
            Self::Inherited(step) => step.name(),
            Self::ExecLabel(_) => "exec-label",
            Self::LoopbackUp => "loopback-up",
            Self::EnterNetwork => "enter-network",
            Self::RootPropagation { .. } => "root-propagation",
            Self::BindRootfs { .. } => "bind-rootfs",
            Self::Filesystem(_) => "mount",
            Self::Bind(_) => "bind",
            Self::Remount(_) => "remount",
            Self::Unmount { .. } => "unmount",
            Self::Node(_) => "node",
            Self::Symlink(_) => "symlink",
            Self::MaskPath { .. } => "mask-path",
            Self::ReadonlyPath { .. } => "readonly-path",
            Self::SwitchRoot { .. } => "switch-root",
            Self::Propagate { .. } => "propagate",
            Self::MountReadonly { .. } => "mount-readonly",
            Self::MakeCwd { .. } => "make-cwd",
            Self::RuntimeHooks => "runtime-hooks",
            Self::Console { .. } => "console",
            Self::Stdio { .. } => "stdio",
            Self::Hostname(_) => "hostname",
            Self::Domainname(_) => "domainname",
            Self::Sysctl { .. } => "sysctl",
            Self::Cwd { .. } => "cwd",
            Self::CheckCwd { .. } => "check-cwd",
            Self::Scheduler(_) => "scheduler",
            Self::Credentials(_) => "credentials",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::DropSysAdmin => "drop-sys-admin",
            Self::Seccomp { .. } => "seccomp",
            Self::FindExecutable { .. } => "find-executable",
            Self::FindHome { .. } => "find-home",
            Self::WaitForStart => "wait-for-start",
            Self::CloseRange { .. } => "close-range",
            Self::Exec(_) => "exec",
        }
    }
}

impl Display for InitStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enter(step) => step.fmt(f),
            Self::ContainerRoot => f.write_str("open the container's root"),
            Self::Unshare(kind) => write!(f, "unshare the {} namespace", kind.name()),
            Self::Inherited(step) => step.fmt(f),
            Self::ExecLabel(exec) => write_exec_label(f, exec),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::EnterNetwork => f.write_str("enter the network namespace"),
            Self::RootPropagation { flag } => {
                let propagation = Propagation {
                    flag: *flag,
                    recursive: true,
                };
                write!(f, "make all mounts {}", propagation_word(propagation))
            }
            Self::BindRootfs {
                path,
                opener,
                private,
                private_parent,
            } => {
                write!(f, "bind rootfs {} on itself", lossy(path))?;
                f.write_str(if *private { ", rprivate" } else { "" })?;
                let by_runtime = *opener == Opener::Runtime;
                detail_if(f, by_runtime, ", opened by the runtime")?;
                let made = ", making its parent mount private";
                detail_if(f, *private_parent, made)
            }
            Self::Filesystem(filesystem) => write_filesystem(f, filesystem),
            Self::Bind(bind) => write_bind(f, bind),
            Self::Unmount { target } => write!(f, "unmount {}", lossy(target)),
            Self::Remount(remount) => write_remount(f, remount),
            Self::Node(node) => write_node(f, node),
            Self::Symlink(symlink) => write_symlink(f, symlink),
            Self::MaskPath { path } => {
                write!(f, "mask {}", lossy(path))?;
                detail(f, format_args!(", if it exists"))
            }
            Self::ReadonlyPath { path } => {
                write!(f, "make {} read-only", lossy(path))?;
                detail(f, format_args!(", if it exists"))
            }
            Self::SwitchRoot { kind, shared } => write_switch(f, *kind, *shared),
            Self::Propagate { propagation } => {
                write!(f, "make / {}", propagation_word(*propagation))
            }
            Self::MountReadonly { path } => write!(f, "make mount {} read-only", lossy(path)),
            Self::MakeCwd { path } => write!(f, "make directory {} if it is missing", lossy(path)),
            Self::RuntimeHooks => f.write_str("let the runtime run its hooks"),
            Self::Console {
                size: Some(size), ..
            } => {
                write!(f, "open a console of {} by {}", size.width, size.height)
            }
            Self::Console { size: None, .. } => f.write_str("open a console"),
            Self::Stdio { uid } => write!(f, "give the standard streams to user {uid}"),
            Self::Hook(hook) => write_hook(f, hook),
            Self::Rlimit(limit) => write_rlimit(f, limit),
            Self::Hostname(name) => write!(f, "sethostname {}", lossy(name)),
            Self::Domainname(name) => write!(f, "setdomainname {}", lossy(name)),
            Self::Sysctl { path, value } => {
                write!(f, "write {} to /proc/sys/{}", lossy(value), lossy(path))
            }
            Self::Cwd { path } => write!(f, "chdir {}", lossy(path)),
            Self::CheckCwd { path } => write!(
                f,
                "check that the working directory {} is in the root",
                lossy(path)
            ),
            Self::Scheduler(scheduler) => write!(f, "sched_setattr {scheduler}"),
            Self::Credentials(credentials) => write_credentials(f, credentials),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::DropSysAdmin => {
                f.write_str("drop CAP_SYS_ADMIN, kept until the filter was loaded")
            }
            Self::Seccomp {
                program,
                flags,
                listener,
            } => {
                let count = program.len();
                write!(f, "load a seccomp filter of {count} instructions")?;
                if let Some(listener) = listener.as_ref().filter(|it| it.records) {
                    let file = listener.path.display();
                    detail(
                        f,
                        format_args!(", which allows every call and records it in {file}"),
                    )?;
                }
                write_words(f, &[filter_flag_words(*flags)])
            }
            Self::FindExecutable { candidates } => {
                write!(f, "find the executable: {}", join(candidates, ", "))
            }
            Self::FindHome { uid } => write!(f, "find the home of user {uid} in /etc/passwd"),
            Self::WaitForStart => f.write_str("wait for start"),
            Self::CloseRange { first } => write!(f, "close descriptors from {first} on at execve"),
            Self::Exec(exec) => write!(f, "execve {}", quoted(&exec.args)),
        }
    }
}
