//! The container's cgroup: its place in the cgroup2 hierarchy, its controllers and its limits.
//!
//! Sources: runtime-spec config-linux.md (Control groups), cgroups(7),
//! Documentation/admin-guide/cgroup-v2.rst.

mod resources;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::{Options, Phase, Planned, Step, devices, mounts, systemd};
use crate::config::{Config, Mount, Namespace, Resources};
use crate::error::{Error, Kind, Result};
use crate::host::{CgroupHost, Host};
use crate::lexical;

pub use resources::warnings;

/// One value for one control file of the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// As in `memory.max`; never has a slash.
    pub file: String,
    /// Written by one write(2).
    pub value: String,
    /// The property that asks for it, as in `linux.resources.memory.limit`.
    pub field: String,
    /// What to do when the kernel does not take it.
    pub fallback: Fallback,
    /// A file of the same cgroup whose number the value must exceed: `checkBeforeUpdate` wants an
    /// error where the kernel would kill.
    pub above: Option<&'static str>,
}

/// What becomes of a [`Write`] that the kernel refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// It is an error.
    Fail,
    /// The file may be absent: then the value is what the kernel does anyway, or another write
    /// covers it.
    SkipIfAbsent,
    /// This file and value serve if the file is absent.
    IfAbsent { file: String, value: String },
    /// EINVAL passes, because a later element writes the same value when what it depends on has
    /// changed.
    RetriedLater,
}

impl Write {
    /// The controller that owns the file; `None` for a file of the cgroup core.
    pub fn controller(&self) -> Option<&str> {
        let (controller, rest) = self.file.split_once('.')?;
        (controller != "cgroup" && rest != "pressure").then_some(controller)
    }

    /// The value asks for what a cgroup without the controller has anyway.
    fn is_unlimited(&self) -> bool {
        self.value == "max" || self.value.starts_with("max ")
    }
}

/// Controllers whose statistics engines read from every container, limits or not.
const STATISTICS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// The container's cgroup below the mount of the hierarchy, relative.
///
/// An absolute `linux.cgroupsPath` starts at the root of the hierarchy. A relative one lies in the
/// parent of the runtime's own cgroup: the own one holds processes, so no controller can be
/// enabled for its children. Without a path the container's id is the relative path. `..` is
/// resolved in the text and never leaves the start of the path, absolute or relative, so the same
/// value always gives the same cgroup.
pub fn path(cgroups_path: Option<&str>, id: &str, host: &CgroupHost) -> Result<PathBuf> {
    const FIELD: &str = "linux.cgroupsPath";
    let given = match cgroups_path {
        None | Some("") => id,
        Some(path) => path,
    };
    let mut parent = PathBuf::new();
    if !given.starts_with('/') {
        parent = lexical::below_root(Path::new(&host.own));
        parent.pop();
    }
    let below = lexical::below_root(Path::new(given));
    if below.as_os_str().is_empty() {
        return Err(Error::config(
            FIELD,
            format!("{given:?} names no cgroup below /{}", parent.display()),
        ));
    }
    let path = parent.join(below);
    if let Some(name) = path.iter().find(|name| name.len() > 255) {
        return Err(Error::config(
            FIELD,
            format!(
                "the name {name:?} has {} bytes and 255 is the limit",
                name.len()
            ),
        ));
    }
    Ok(path)
}

/// `linux.resources` without the devices as control files, in the order in which they are written.
///
/// Fails on a limit whose controller the hierarchy lacks. A
/// request for no limit needs no controller and is left out where there is none.
pub fn writes(resources: &Resources, host: &CgroupHost) -> Result<Vec<Write>> {
    let mut writes = resources::translate(resources);
    let available = |write: &Write| {
        write
            .controller()
            .is_none_or(|name| host.controllers.iter().any(|have| have == name))
    };
    writes.retain(|write| available(write) || !write.is_unlimited());
    match writes.iter().find(|write| !available(write)) {
        Some(write) => Err(missing_controller(write, host)),
        None => Ok(writes),
    }
}

/// The error for a limit that this hierarchy cannot hold.
fn missing_controller(write: &Write, host: &CgroupHost) -> Error {
    let name = write.controller().unwrap_or_default();
    let message = format!(
        "{}: the cgroup2 hierarchy at {} has no {name} controller for {}",
        write.field,
        host.mount.display(),
        write.file
    );
    let hint = if host.mount == Path::new("/sys/fs/cgroup") {
        format!(
            "the kernel lacks {name}, or it was not delegated to this cgroup: see cgroup.controllers there"
        )
    } else {
        "cgroup v1 holds it: boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all"
            .into()
    };
    Error::new(Kind::Host, message).hint(hint)
}

/// The controllers that the writes need, each once, sorted.
pub fn controllers(writes: &[Write]) -> Vec<String> {
    let mut names: Vec<String> = writes
        .iter()
        .filter_map(Write::controller)
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The steps that make, limit and hand over the container's cgroup: before any process exists, or
/// around the first one if systemd makes it, which takes no unit without a process.
pub fn steps(config: &Config, options: &Options, host: &Host) -> Result<Vec<Planned>> {
    let cgroup = hierarchy(host)?;
    let linux = &config.linux;
    let mut writes = writes(&linux.resources, cgroup)?;
    let (phase, make) = if options.systemd {
        systemd::round_quota(&mut writes)?;
        let path = linux.cgroups_path.as_deref();
        let unit = systemd::unit(path, &options.id, &config.annotations, &writes, host)?;
        (Phase::Parent, Step::SystemdUnit(Box::new(unit)))
    } else {
        let make = create(config, &options.id, host, cgroup, &writes)?;
        (Phase::Prepare, make)
    };
    let planned = |phase, field: &str, step| Planned {
        phase,
        field: field.to_owned(),
        step,
    };
    let mut steps = vec![planned(phase, "linux.cgroupsPath", make)];
    steps.extend(writes.into_iter().map(|write| {
        planned(
            phase,
            &write.field.clone(),
            Step::CgroupWrite(Box::new(write)),
        )
    }));
    if is_privileged(host)
        && let Some(program) = devices::compile(&linux.resources.devices)
    {
        // The kernel takes long to check it, and init has much to do until a device is used.
        let step = Step::DeviceProgram(program);
        steps.push(planned(Phase::Parent, "linux.resources.devices", step));
    }
    if let Some((uid, field)) = delegation(config) {
        steps.push(planned(phase, &field, Step::DelegateCgroup { uid }));
    }
    Ok(steps)
}

/// The directory that the runtime makes itself.
fn create(
    config: &Config,
    id: &str,
    host: &Host,
    cgroup: &CgroupHost,
    writes: &[Write],
) -> Result<Step> {
    let controllers = controllers(writes);
    let optional = STATISTICS
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| cgroup.controllers.contains(name) && !controllers.contains(name))
        .collect();
    Ok(Step::CreateCgroup {
        path: path(config.linux.cgroups_path.as_deref(), id, cgroup)?,
        // Engines give every container a cgroup; without privileges it is worth having only for
        // a limit, and a session without delegation cannot make one.
        required: is_privileged(host) || !writes.is_empty(),
        controllers,
        optional,
    })
}

/// The cgroup2 hierarchy, or the sentence that says what to do without one.
pub fn hierarchy(host: &Host) -> Result<&CgroupHost> {
    host.cgroup.as_ref().ok_or_else(|| {
        Error::new(
            Kind::Host,
            "no cgroup2 hierarchy is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified",
        )
        .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    })
}

/// The initial user namespace's root. bpf(2) wants no less for a device program. For others
/// nothing is lost without it: the kernel does not let them make device nodes, so the container
/// has only the nodes that were bound into it.
fn is_privileged(host: &Host) -> bool {
    host.euid == 0 && !host.in_user_namespace
}

/// Who shall own the cgroup, and the mount that asks for it: a container with a cgroup namespace of
/// its own and a writable cgroup mount manages its subtree as the user of its process.
/// Source: runtime-spec config-linux.md, "Cgroup ownership".
fn delegation(config: &Config) -> Option<(u32, String)> {
    let linux = &config.linux;
    if linux.namespaces.cgroup != Namespace::New {
        return None;
    }
    let mount = config
        .mounts
        .iter()
        .rev()
        .find(|mount| is_cgroup_mount(mount))?;
    if is_readonly(mount) {
        return None;
    }
    let user = config.process.as_ref()?.user.uid;
    let owner = match linux.namespaces.user {
        Namespace::Inherit => user,
        _ => linux.uid_mappings.iter().find_map(|map| {
            let offset = user.checked_sub(map.container_id)?;
            (offset < map.size).then(|| map.host_id.checked_add(offset))?
        })?,
    };
    // A cgroup that the runtime makes as root is root's already.
    (owner != 0).then(|| (owner, mount.field.clone()))
}

fn is_cgroup_mount(mount: &Mount) -> bool {
    mounts::is_cgroup(mount) && mount.destination == Path::new("/sys/fs/cgroup")
}

fn is_readonly(mount: &Mount) -> bool {
    mount.super_flags & libc::MS_RDONLY != 0
        || (mount.attrs.set | mount.recursive_attrs.set) & libc::MOUNT_ATTR_RDONLY != 0
}
