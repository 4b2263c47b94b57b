//! A step in words: in short with `{}`, and with `{:#}` what it falls back to as well.

use std::fmt::{self, Display};

use super::words::{
    attr_words, capability_words, filter_flag_words, join, limit, lossy, mount_words,
    personality_word, propagation_word, propagation_words, quoted, write_words,
};
use crate::config::{DeviceKind, Propagation};
use crate::plan::{
    Bind, BindAttrs, BindSource, Credentials, Filesystem, HookStep, IfDenied, Module, Node,
    RootSwitch, Step, systemd,
};

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
                if !controllers.is_empty() {
                    write!(f, " with {}", controllers.join(" "))?;
                }
                if !optional.is_empty() {
                    write!(f, ", if possible with {}", optional.join(" "))?;
                }
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
                let name = if *group { "gid_map" } else { "uid_map" };
                write!(f, "write {name} {}", map.trim_end().replace('\n', ", "))
            }
            Self::CheckIdMap { group, map } => {
                let name = if *group { "gid_map" } else { "uid_map" };
                write!(
                    f,
                    "compare {name} with {}",
                    map.trim_end().replace('\n', ", ")
                )
            }
            Self::OomScoreAdj(score) => write!(f, "write oom_score_adj {score}"),
            Self::Rlimit {
                name, soft, hard, ..
            } => {
                write!(f, "prlimit {name} {} {}", limit(*soft), limit(*hard))
            }
            Self::Hook(hook) => write_hook(f, hook),
            Self::JoinNamespace { kind, path } => {
                write!(f, "join {} namespace {}", kind.name(), lossy(path))
            }
            Self::EnterContainer { kinds } => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                write!(f, "enter the container's namespaces: {}", names.join(" "))
            }
            Self::ContainerRoot => f.write_str("open the container's root"),
            Self::TimeOffsets { offsets } => {
                let offsets = offsets.trim_end().replace('\n', ", ");
                write!(f, "new time namespace with offsets {offsets}")
            }
            Self::BecomeRoot { setgroups } => {
                f.write_str("become root of the user namespace")?;
                if *setgroups {
                    detail(f, format_args!(", without groups if setgroups is allowed"))?;
                }
                Ok(())
            }
            Self::UnshareCgroup => f.write_str("unshare the cgroup namespace"),
            Self::SessionKeyring { name, .. } => write!(f, "join session keyring {}", lossy(name)),
            Self::ExecLabel(exec) => {
                let (module, file) = match exec.module {
                    Module::AppArmor => ("AppArmor profile", "apparmor/exec"),
                    Module::Selinux => ("SELinux label", "exec"),
                };
                let label = lossy(&exec.label);
                write!(f, "write {module} {label} to /proc/self/attr/{file}")
            }
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::RootPropagation { flag, recursive } => {
                let propagation = Propagation {
                    flag: *flag,
                    recursive: *recursive,
                };
                write!(f, "make all mounts {}", propagation_word(propagation))
            }
            Self::BindRootfs {
                path,
                private_parent,
            } => {
                write!(f, "bind rootfs {} on itself", lossy(path))?;
                if *private_parent {
                    detail(f, format_args!(", its parent mount made private"))?;
                }
                Ok(())
            }
            Self::Filesystem(filesystem) => write_filesystem(f, filesystem),
            Self::Bind(bind) => write_bind(f, bind),
            Self::Unmount { target } => write!(f, "unmount {}", lossy(target)),
            Self::Remount(remount) => {
                let kind = if remount.bind { "bind of " } else { "" };
                write!(f, "remount {kind}{}", lossy(&remount.target))?;
                let words = if remount.bind {
                    attr_words(remount.attrs)
                } else {
                    mount_words(remount.flags)
                };
                let propagation = propagation_words(&remount.propagation);
                write_words(f, &[words, lossy(&remount.data), propagation])
            }
            Self::Node(node) => write_node(f, node),
            Self::Symlink(symlink) => {
                let (path, target) = (lossy(&symlink.path), lossy(&symlink.target));
                write!(f, "symlink {path} to {target}")?;
                if symlink.if_target_exists {
                    detail(f, format_args!(", if that exists"))?;
                }
                let in_the_way = if symlink.replace {
                    "replacing"
                } else {
                    "unless there is"
                };
                detail(f, format_args!(", {in_the_way} what is there"))
            }
            Self::MaskPath { path } => {
                write!(f, "mask {}", lossy(path))?;
                detail(f, format_args!(", if it exists"))
            }
            Self::ReadonlyPath { path } => {
                write!(f, "make {} read-only", lossy(path))?;
                detail(f, format_args!(", if it exists"))
            }
            Self::SwitchRoot { kind, shared } => {
                f.write_str(match kind {
                    RootSwitch::Pivot => "pivot_root to the rootfs",
                    RootSwitch::Move => "move the rootfs to / and chroot",
                    RootSwitch::Chroot => "chroot to the rootfs",
                })?;
                if *shared && *kind == RootSwitch::Pivot {
                    detail(
                        f,
                        format_args!(", the old root made a slave before it goes"),
                    )?;
                }
                Ok(())
            }
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

fn write_unit(f: &mut fmt::Formatter<'_>, unit: &systemd::Unit) -> fmt::Result {
    write!(f, "start systemd unit {} around the process", unit.name)?;
    if let systemd::Manager::User { uid } = unit.manager {
        write!(f, ", of the manager of user {uid}")?;
    }
    if let Some(name) = &unit.subgroup {
        write!(f, ", in a cgroup {name} of its own")?;
    }
    for (index, property) in unit.properties.iter().enumerate() {
        let before = if index == 0 { ", with" } else { "" };
        detail(
            f,
            format_args!("{before} {}={}", property.name, property.value),
        )?;
    }
    Ok(())
}

fn write_filesystem(f: &mut fmt::Formatter<'_>, mount: &Filesystem) -> fmt::Result {
    write!(f, "mount {}", lossy(&mount.fstype))?;
    if has_device(mount) {
        write!(f, " of {}", lossy(&mount.source))?;
    }
    write!(f, " on {}", lossy(&mount.target))?;
    let recursive = BindAttrs {
        recursive_set: mount.recursive_set,
        recursive_clear: mount.recursive_clear,
        ..BindAttrs::default()
    };
    let copy_up = if mount.copy_up { "tmpcopyup" } else { "" };
    write_words(
        f,
        &[
            mount_words(mount.flags),
            lossy(&mount.data),
            attr_words(recursive),
            copy_up.to_owned(),
            propagation_words(&mount.propagation),
        ],
    )?;
    if mount.made_early.is_some() {
        detail(f, format_args!(", made in the joined namespaces"))?;
    }
    if mount.inherit_mode {
        detail(f, format_args!(", with the mode of the directory below"))?;
    }
    match &mount.if_denied {
        IfDenied::Bind(path) => detail(f, format_args!(", if denied bind {}", lossy(path))),
        IfDenied::BindOrMask(path) => {
            detail(f, format_args!(", if denied bind {} or mask", lossy(path)))
        }
        IfDenied::Fail => Ok(()),
    }
}

fn write_bind(f: &mut fmt::Formatter<'_>, bind: &Bind) -> fmt::Result {
    let (source, place) = match &bind.source {
        BindSource::Host(path) => (path, ""),
        BindSource::Rootfs(path) => (path, " from the rootfs"),
    };
    let word = if bind.recursive { "rbind" } else { "bind" };
    write!(
        f,
        "{word} {}{place} on {}",
        lossy(source),
        lossy(&bind.target)
    )?;
    write_words(
        f,
        &[attr_words(bind.attrs), propagation_words(&bind.propagation)],
    )?;
    if bind.attrs.keep_source {
        detail(f, format_args!(", the source's other flags stay"))?;
    }
    let Some(map) = &bind.id_map else {
        return Ok(());
    };
    detail(f, format_args!(", ids mapped"))?;
    if map.recursive {
        detail(f, format_args!(" below too"))?;
    }
    match &map.maps {
        None => detail(f, format_args!(" as in the user namespace"))?,
        Some((uids, gids)) => {
            let line = |text: &str| text.trim().replace('\n', ", ");
            detail(
                f,
                format_args!(": users {}; groups {}", line(uids), line(gids)),
            )?;
        }
    }
    Ok(())
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    let path = lossy(&node.path);
    let (kind, name) = match node.kind {
        DeviceKind::Char => ("c", "device"),
        DeviceKind::Block => ("b", "device"),
        DeviceKind::Fifo => return write!(f, "mkfifo {path} mode {:04o}", node.mode),
    };
    if node.bind {
        write!(f, "bind host {name} {path}")
    } else {
        write!(
            f,
            "mknod {path} {kind} {}:{} mode {:04o}",
            node.major, node.minor, node.mode
        )
    }
}

fn write_hook(f: &mut fmt::Formatter<'_>, hook: &HookStep) -> fmt::Result {
    write!(f, "run {} hook {}", hook.moment.name(), lossy(&hook.path))?;
    if let Some(timeout) = hook.timeout {
        write!(f, " within {} s", timeout.as_secs())?;
    }
    if hook.args != [hook.path.clone()] {
        detail(f, format_args!(", argv {}", quoted(&hook.args)))?;
    }
    match &hook.env {
        Some(env) => detail(f, format_args!(", variables: {}", env.len())),
        None => detail(f, format_args!(", the runtime's environment")),
    }
}

fn write_credentials(f: &mut fmt::Formatter<'_>, user: &Credentials) -> fmt::Result {
    write!(f, "become user {}:{}", user.uid, user.gid)?;
    match user.groups.as_deref() {
        None => f.write_str(" and keep the groups")?,
        Some([]) => {}
        Some(groups) => {
            let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
            write!(f, " groups {}", groups.join(","))?;
        }
    }
    let capabilities = capability_words(&user.capabilities);
    let umask = user.umask;
    detail(
        f,
        format_args!(" umask {umask:04o} capabilities {capabilities}"),
    )?;
    if user.keep_sys_admin {
        detail(
            f,
            format_args!(", CAP_SYS_ADMIN until the filter is loaded"),
        )?;
    }
    Ok(())
}

/// Writes what only `{:#}` shows: what a step does if its first way fails, and long lists. The
/// sentence for a failure is better without.
fn detail(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    if f.alternate() {
        f.write_fmt(text)
    } else {
        Ok(())
    }
}

/// Many file systems have no source, and the config's word for it says nothing.
fn has_device(mount: &Filesystem) -> bool {
    let source = mount.source.to_bytes();
    source.starts_with(b"/") || source.contains(&b':')
}
