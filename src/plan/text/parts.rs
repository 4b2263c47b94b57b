//! The text of steps with many details.

use std::fmt;

use super::words::{
    attr_words, capability_words, limit, lossy, mount_words, propagation_words, quoted, write_words,
};
use crate::config::DeviceKind;
use crate::plan::{
    Bind, BindIdMap, BindSource, Credentials, ExecLabel, Filesystem, HookMoment, HookStep,
    IfDenied, Module, MountAttrs, NewCgroup, Node, Remount, Rlimit, RootSwitch, SourceLink,
    Symlink, TargetLink, systemd,
};

/// A cgroup with its required and its optional controllers.
pub(crate) fn write_cgroup(f: &mut fmt::Formatter<'_>, new: &NewCgroup) -> fmt::Result {
    write!(f, "create cgroup {}", new.path.display())?;
    let (needed, optional) = (&new.controllers, &new.optional);
    f.write_str(if new.required { "" } else { " if permitted" })?;
    let before = if needed.is_empty() {
        ", with"
    } else {
        write!(f, ", with {}", needed.join(", "))?;
        " and"
    };
    if !optional.is_empty() {
        write!(f, "{before}, if possible, {}", optional.join(", "))?;
    }
    Ok(())
}

pub(crate) const fn map_file(group: bool) -> &'static str {
    if group { "gid_map" } else { "uid_map" }
}

/// The lines of a file in /proc, joined to one line.
pub(crate) fn one_line(text: &str) -> String {
    text.trim().replace('\n', ", ")
}

pub(crate) fn write_exec_label(f: &mut fmt::Formatter<'_>, exec: &ExecLabel) -> fmt::Result {
    let (module, file) = match exec.module {
        Module::AppArmor => ("AppArmor profile", "apparmor/exec"),
        Module::Selinux => ("SELinux label", "exec"),
    };
    let label = lossy(&exec.label);
    write!(f, "write {module} {label} to /proc/self/attr/{file}")
}

pub(crate) fn write_remount(f: &mut fmt::Formatter<'_>, remount: &Remount) -> fmt::Result {
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

pub(crate) fn write_symlink(f: &mut fmt::Formatter<'_>, symlink: &Symlink) -> fmt::Result {
    let (path, target) = (lossy(&symlink.path), lossy(&symlink.target));
    write!(f, "symlink {path} to {target}")?;
    detail_if(f, symlink.if_target_exists, ", if that exists")?;
    let existing = if symlink.replace {
        "replacing"
    } else {
        "keeping"
    };
    detail(f, format_args!(", {existing} whatever is already there"))
}

pub(crate) fn write_switch(
    f: &mut fmt::Formatter<'_>,
    kind: RootSwitch,
    shared: bool,
) -> fmt::Result {
    f.write_str(match kind {
        RootSwitch::Pivot => "pivot_root to the rootfs",
        RootSwitch::Move => "move the rootfs to / and chroot",
        RootSwitch::Chroot => "chroot to the rootfs",
    })?;
    let slave = ", making the old root a slave before it is detached";
    let is_slave = shared && kind == RootSwitch::Pivot;
    detail_if(f, is_slave, slave)
}

pub(crate) fn write_unit(f: &mut fmt::Formatter<'_>, unit: &systemd::Unit) -> fmt::Result {
    write!(f, "start systemd unit {} around the process", unit.name)?;
    if let systemd::Manager::User { uid } = unit.manager {
        write!(f, ", in the manager of user {uid}")?;
    }
    if let Some(name) = &unit.subgroup {
        write!(f, ", with the subgroup {name}")?;
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

pub(crate) fn write_filesystem(f: &mut fmt::Formatter<'_>, mount: &Filesystem) -> fmt::Result {
    write!(f, "mount {}", lossy(&mount.fstype))?;
    if has_device(mount) {
        write!(f, " of {}", lossy(&mount.source))?;
    }
    write!(f, " on {}", lossy(&mount.target))?;
    let recursive = MountAttrs {
        tree: mount.tree_attrs,
        ..MountAttrs::default()
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
    write_map(f, mount.id_map.as_ref())?;
    let early = mount.made_early.is_some() && mount.id_map.is_none();
    detail_if(f, early, ", made in the joined namespaces")?;
    let mode = ", with the mode of the directory that it covers";
    detail_if(f, mount.inherit_mode, mode)?;
    match &mount.if_denied {
        IfDenied::Bind(path) => detail(f, format_args!("; if denied, bind {}", lossy(path))),
        IfDenied::BindOrMask(path) => detail(
            f,
            format_args!(
                "; if denied, bind {}, or mask it if that is missing",
                lossy(path)
            ),
        ),
        IfDenied::Fail => Ok(()),
    }
}

pub(crate) fn write_bind(f: &mut fmt::Formatter<'_>, bind: &Bind) -> fmt::Result {
    let source = bind.source.path();
    let place = match &bind.source {
        BindSource::Rootfs(_) => " from the rootfs",
        _ => "",
    };
    let word = if bind.recursive { "rbind" } else { "bind" };
    write!(
        f,
        "{word} {}{place} on {}",
        lossy(source),
        lossy(&bind.target)
    )?;
    let source_link = match bind.source_link {
        SourceLink::Followed => "",
        SourceLink::Mounted => "src-nofollow",
        SourceLink::Copied => "copy-symlink",
    };
    let target_link = match bind.target_link {
        TargetLink::Followed => "",
        TargetLink::Covered => "dest-nofollow",
    };
    write_words(
        f,
        &[
            attr_words(bind.attrs),
            propagation_words(&bind.propagation),
            source_link.to_owned(),
            target_link.to_owned(),
        ],
    )?;
    if bind.attrs.locked.is_some() {
        detail(f, format_args!(", keeping the other flags of the source"))?;
    }
    detail(f, format_args!("{}", copier(&bind.source)))?;
    write_map(f, bind.id_map.as_ref())
}

fn write_map(f: &mut fmt::Formatter<'_>, map: Option<&BindIdMap>) -> fmt::Result {
    let Some(map) = map else {
        return Ok(());
    };
    detail(f, format_args!(", ids mapped"))?;
    if map.recursive {
        detail(f, format_args!(" recursively"))?;
    }
    match &map.maps {
        None => detail(f, format_args!(" as in the user namespace"))?,
        Some((uids, gids)) => {
            detail(
                f,
                format_args!(": users {}; groups {}", id_map(uids), id_map(gids)),
            )?;
        }
    }
    Ok(())
}

/// The process that copies the source, unless it is init alone.
const fn copier(source: &BindSource) -> &'static str {
    match source {
        BindSource::CopiedByInit { .. } | BindSource::Rootfs(_) => "",
        BindSource::CopiedByRuntime {
            or_by_init: true, ..
        } => ", copied by the runtime beforehand, or by init if the mount is unbindable there",
        BindSource::CopiedByRuntime {
            or_by_init: false, ..
        } => ", copied by the runtime beforehand",
        BindSource::OpenedByRuntime(_) => ", opened by the runtime",
        BindSource::CopiedInUserNamespace(_) => {
            ", opened by the runtime and copied beforehand in the container's user namespace"
        }
    }
}

pub(crate) fn write_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    let path = lossy(&node.path);
    let (kind, name) = match node.kind {
        DeviceKind::Char => ("c", "device"),
        DeviceKind::Block => ("b", "device"),
        DeviceKind::Fifo => return write!(f, "mkfifo {path} with mode {:04o}", node.mode),
    };
    if node.bind {
        write!(f, "bind the host's {name} {path}")
    } else {
        write!(
            f,
            "mknod {path} {kind} {}:{} with mode {:04o}",
            node.major, node.minor, node.mode
        )
    }
}

pub(crate) fn write_hook(f: &mut fmt::Formatter<'_>, hook: &HookStep) -> fmt::Result {
    write!(f, "run {} hook {}", hook.moment.name(), lossy(&hook.path))?;
    if let Some(timeout) = hook.timeout {
        write!(f, " within {} s", timeout.as_secs())?;
    }
    if hook.args != [hook.path.clone()] {
        detail(f, format_args!(", with argv {}", quoted(&hook.args)))?;
    }
    for (stream, file) in ["stdout", "stderr"].into_iter().zip(&hook.streams) {
        if let Some(file) = file {
            detail(f, format_args!(", {stream} to {}", lossy(file)))?;
        }
    }
    match &hook.env {
        Some(env) if env.len() == 1 => detail(f, format_args!(", with 1 variable")),
        Some(env) => detail(f, format_args!(", with {} variables", env.len())),
        None if hook.moment == HookMoment::StartContainer => {
            detail(f, format_args!(", in the environment of the process"))
        }
        None => detail(f, format_args!(", in the environment of the runtime")),
    }
}

pub(crate) fn write_rlimit(f: &mut fmt::Formatter<'_>, rlimit: &Rlimit) -> fmt::Result {
    let (soft, hard) = (limit(rlimit.soft), limit(rlimit.hard));
    write!(f, "prlimit {} soft {soft} hard {hard}", rlimit.name)
}

/// How many elements of a list a text shows.
const SHOWN: usize = 16;

fn and_more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

/// The lines of an id map.
pub(crate) fn id_map(map: &str) -> String {
    let lines: Vec<_> = map.lines().collect();
    let shown = lines[..lines.len().min(SHOWN)].join("\n");
    format!("{}{}", one_line(&shown), and_more(lines.len()))
}

pub(crate) fn write_credentials(f: &mut fmt::Formatter<'_>, user: &Credentials) -> fmt::Result {
    write!(f, "become user {}:{}", user.uid, user.gid)?;
    match &user.groups {
        None => f.write_str(" with the caller's groups")?,
        Some(groups) if groups.is_empty() => {}
        Some(groups) => {
            let shown: Vec<_> = groups.iter().take(SHOWN).map(u32::to_string).collect();
            write!(f, ", groups {}{}", shown.join(","), and_more(groups.len()))?;
        }
    }
    let capabilities = capability_words(&user.capabilities);
    let umask = user.umask;
    detail(
        f,
        format_args!(", umask {umask:04o}, capabilities {capabilities}"),
    )?;
    if user.keep_sys_admin {
        detail(
            f,
            format_args!("; keep CAP_SYS_ADMIN until the filter is loaded"),
        )?;
    }
    Ok(())
}

/// Writes text that only `{:#}` shows: the fallback of a step, and long lists. An error message is
/// clearer without it.
pub(crate) fn detail(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    if f.alternate() {
        f.write_fmt(text)
    } else {
        Ok(())
    }
}

/// As [`detail`], if `holds`.
pub(crate) fn detail_if(f: &mut fmt::Formatter<'_>, holds: bool, text: &str) -> fmt::Result {
    if holds {
        detail(f, format_args!("{text}"))
    } else {
        Ok(())
    }
}

/// Whether the source of the mount is a device. Many file systems have no source, and what the
/// config gives as source has no meaning then.
fn has_device(mount: &Filesystem) -> bool {
    let source = mount.source.to_bytes();
    source.starts_with(b"/") || source.contains(&b':')
}
