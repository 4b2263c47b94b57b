//! The text of steps of init.

use std::fmt::{self, Display};

use super::parts::{
    detail, detail_if, write_bind, write_credentials, write_exec_label, write_filesystem,
    write_hook, write_node, write_remount, write_rlimit, write_switch, write_symlink,
};
use super::words::{
    filter_flag_words, join, lossy, personality_word, propagation_word, quoted, write_words,
};
use crate::config::Propagation;
use crate::plan::{InitStep, Opener};

impl InitStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enter(step) => step.name(),
            Self::Rlimit(_) => "rlimit",
            Self::Hook(_) => "hook",
            Self::ContainerRoot => "container-root",
            Self::UnshareCgroup => "unshare-cgroup",
            Self::SessionKeyring { .. } => "session-keyring",
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
            Self::Personality(_) => "personality",
            Self::Cwd { .. } => "cwd",
            Self::CheckCwd { .. } => "check-cwd",
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
            Self::UnshareCgroup => f.write_str("unshare the cgroup namespace"),
            Self::SessionKeyring { .. } => f.write_str("make a session keyring"),
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
            Self::Personality(persona) => write!(f, "personality {}", personality_word(*persona)),
            Self::Cwd { path } => write!(f, "chdir {}", lossy(path)),
            Self::CheckCwd { path } => write!(
                f,
                "check that the working directory {} is in the root",
                lossy(path)
            ),
            Self::Credentials(credentials) => write_credentials(f, credentials),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::DropSysAdmin => {
                f.write_str("drop CAP_SYS_ADMIN, kept until the filter was loaded")
            }
            Self::Seccomp { program, flags, .. } => {
                let count = program.len();
                write!(f, "load a seccomp filter of {count} instructions")?;
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
