//! A step in words: in short with `{}`, and with `{:#}` what it falls back to as well.

use std::fmt::{self, Display};

use super::parts::{
    detail, detail_if, map_file, one_line, write_bind, write_controllers, write_credentials,
    write_exec_label, write_filesystem, write_hook, write_node, write_remount, write_switch,
    write_symlink, write_unit,
};
use super::words::{
    filter_flag_words, join, limit, lossy, personality_word, propagation_word, quoted, write_words,
};
use crate::config::Propagation;
use crate::plan::Step;

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCgroup {
                path,
                controllers,
                optional,
                required,
            } => {
                write!(f, "create cgroup {}", path.display())?;
                write_controllers(f, controllers, optional)?;
                f.write_str(if *required { "" } else { ", if permitted" })
            }
            Self::SystemdUnit(unit) => write_unit(f, unit),
            Self::CgroupWrite(write) => write!(f, "write {} to {}", write.value, write.file),
            Self::DeviceProgram(program) => {
                f.write_str("attach a device program")?;
                detail(f, format_args!(", first match wins: {}", program.summary()))
            }
            Self::DelegateCgroup { uid } => write!(f, "give the cgroup to host user {uid}"),
            Self::IdMap { group, map, .. } => {
                write!(f, "write {} {}", map_file(*group), one_line(map))
            }
            Self::CheckIdMap { group, map } => {
                write!(f, "compare {} with {}", map_file(*group), one_line(map))
            }
            Self::OomScoreAdj(score) => write!(f, "write oom_score_adj {score}"),
            Self::Rlimit {
                name, soft, hard, ..
            } => {
                write!(f, "prlimit {name} {} {}", limit(*soft), limit(*hard))
            }
            Self::Hook(hook) => write_hook(f, hook),
            Self::JoinNamespace {
                kind,
                path,
                not_own,
            } => {
                write!(f, "join {} namespace {}", kind.name(), lossy(path))?;
                detail_if(f, not_own.is_some(), ", if it is not the runtime's own")
            }
            Self::EnterContainer { kinds, not_own } => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                write!(f, "enter the container's namespaces: {}", names.join(" "))?;
                let detail = ", if that of cgroups is not the runtime's own";
                detail_if(f, not_own.is_some(), detail)
            }
            Self::ContainerRoot => f.write_str("open the container's root"),
            Self::TimeOffsets { offsets } => {
                write!(f, "new time namespace with offsets {}", one_line(offsets))
            }
            Self::BecomeRoot { setgroups } => {
                f.write_str("become root of the user namespace")?;
                let without = ", without groups if setgroups is allowed";
                detail_if(f, *setgroups, without)
            }
            Self::UnshareCgroup => f.write_str("unshare the cgroup namespace"),
            Self::SessionKeyring { .. } => f.write_str("make a session keyring"),
            Self::ExecLabel(exec) => write_exec_label(f, exec),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::MakeNetwork => {
                f.write_str("make a network namespace with its loopback interface up")?;
                detail(f, format_args!(", while init is at work"))
            }
            Self::EnterNetwork => f.write_str("enter the network namespace"),
            Self::RootPropagation { flag, recursive } => {
                let propagation = Propagation {
                    flag: *flag,
                    recursive: *recursive,
                };
                write!(f, "make all mounts {}", propagation_word(propagation))
            }
            Self::BindRootfs {
                path,
                private,
                private_parent,
            } => {
                write!(f, "bind rootfs {} on itself", lossy(path))?;
                f.write_str(if *private { ", rprivate" } else { "" })?;
                let made = ", its parent mount made private";
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
