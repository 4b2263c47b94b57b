//! The container's cgroup: its place in the cgroup2 hierarchy, its controllers and its limits.
//!
//! Sources: runtime-spec config-linux.md (Control groups), cgroups(7),
//! Documentation/admin-guide/cgroup-v2.rst.

mod resources;
#[cfg(test)]
mod tests;
pub(super) mod write;

use std::path::{Path, PathBuf};

use super::{NewCgroup, Options, Plan, RuntimeStep, annotations, devices, systemd};
use crate::config::{Config, Mount, Namespace, Resources, host_id};
use crate::error::{Code, Error, Result};
use crate::host::{CgroupHost, Host};
use crate::lexical;
use crate::sorted::sorted_set;

pub use resources::warnings;
pub(super) use resources::without_cgroup;
pub use write::{Fallback, Write};

/// Controllers whose statistics engines read for every container, with or without limits.
const STATISTICS: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// The path of the container's cgroup, relative to the mount of the hierarchy.
///
/// An absolute `linux.cgroupsPath` starts at the root of the hierarchy. A relative one starts at
/// the parent of the runtime's own cgroup: the own one holds processes, so no controller can be
/// enabled for its children. If there is no path, the container's id is the relative path. `..` is
/// resolved lexically and never goes above the start of the path, absolute or relative. So the same
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
                "the name {name:?} has {} bytes, the limit is 255",
                name.len()
            ),
        ));
    }
    Ok(path)
}

/// The writes for `linux.resources`, except the devices, in their order.
///
/// Fails if the hierarchy lacks the controller of a limit. A request for no limit needs no
/// controller, and is left out if the hierarchy lacks it.
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
        "the cgroup2 hierarchy at {} has no {name} controller for {}",
        host.mount.display(),
        write.file
    );
    Error::config(&write.field, message)
        .code_is(Code::CgroupControllerMissing)
        .hint(no_controller(name, host))
}

/// Why the hierarchy may lack a controller, and what to do.
pub fn no_controller(name: &str, host: &CgroupHost) -> String {
    if host.mount == Path::new("/sys/fs/cgroup") {
        format!(
            "the kernel lacks {name}, or it was not delegated to this cgroup: see cgroup.controllers there"
        )
    } else {
        "cgroup v1 uses it: boot with systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=all".into()
    }
}

/// The controllers that the writes need, each once, sorted.
pub fn controllers(writes: &[Write]) -> Vec<String> {
    let names = writes.iter().filter_map(Write::controller);
    sorted_set(names.map(str::to_owned).collect())
}

/// Adds the steps that create, limit and delegate the container's cgroup. The runtime executes them
/// before any process exists. If systemd creates the cgroup, the runtime executes them when the
/// first process exists, because systemd accepts no unit without a process.
pub fn steps(plan: &mut Plan, config: &Config, options: &Options, host: &Host) -> Result<()> {
    let cgroup = hierarchy(host)?;
    let linux = &config.linux;
    let mut writes = writes(&linux.resources, cgroup)?;
    let (list, make) = if options.systemd {
        systemd::round_quota(&mut writes)?;
        let path = linux.cgroups_path.as_deref();
        let unit = systemd::unit(path, &options.id, &config.annotations, &writes, host)?;
        let step = RuntimeStep::SystemdUnit(Box::new(unit));
        (&mut plan.beside_first, step)
    } else {
        let new = create(config, &options.id, host, cgroup, &writes)?;
        (&mut plan.prepare, RuntimeStep::CreateCgroup(new))
    };
    list.add("linux.cgroupsPath", make);
    for write in writes {
        let field = write.field.clone();
        list.add(field, RuntimeStep::CgroupWrite(Box::new(write)));
    }
    if let Some((uid, field)) = delegation(config) {
        list.add(field, RuntimeStep::DelegateCgroup { uid });
    }
    if let Some(name) = annotations::delegated_cgroup(config)? {
        let step = RuntimeStep::EnterSubCgroup {
            name: name.to_owned(),
            uid: delegation(config).map(|(uid, _)| uid),
        };
        let field = format!("annotations[{:?}]", annotations::DELEGATE);
        // Init has its cgroup namespace by now: its root is the cgroup with the limits.
        plan.when_ready.add(field, step);
    }
    if is_privileged(host)
        && let Some(program) = devices::compile(&linux.resources.devices)
    {
        // The kernel needs a long time to verify the program, so the runtime loads it while init is
        // busy with other steps. The container uses devices only later.
        let step = RuntimeStep::DeviceProgram(program);
        plan.meanwhile.add("linux.resources.devices", step);
    }
    Ok(())
}

impl Plan {
    /// The path of the container's cgroup below the mount of the hierarchy, and its unit, if any.
    pub fn cgroup(&self) -> Option<(&Path, Option<&systemd::Unit>)> {
        let mut steps = self.prepare.iter().chain(self.beside_first.iter());
        steps.find_map(|planned| match &planned.step {
            RuntimeStep::CreateCgroup(new) => Some((new.path.as_path(), None)),
            RuntimeStep::SystemdUnit(unit) => Some((unit.path.as_path(), Some(unit.as_ref()))),
            _ => None,
        })
    }
}

/// The step in which the runtime creates the directory itself.
fn create(
    config: &Config,
    id: &str,
    host: &Host,
    cgroup: &CgroupHost,
    writes: &[Write],
) -> Result<NewCgroup> {
    let controllers = controllers(writes);
    let optional = STATISTICS
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| cgroup.controllers.contains(name) && !controllers.contains(name))
        .collect();
    Ok(NewCgroup {
        path: path(config.linux.cgroups_path.as_deref(), id, cgroup)?,
        // Engines ask for a cgroup for every container. An unprivileged caller needs it only for
        // limits, and cannot create it in a session without delegation.
        required: is_privileged(host) || !writes.is_empty(),
        controllers,
        optional,
    })
}

/// The cgroup2 hierarchy. The error without one says what to do.
pub fn hierarchy(host: &Host) -> Result<&CgroupHost> {
    host.cgroup.as_ref().ok_or_else(|| {
        Error::new("no cgroup2 hierarchy is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
            .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    })
}

/// Whether the runtime is root in the initial user namespace. bpf(2) requires that for a device
/// program. Other callers do not need one: the kernel does not let them create device nodes, so the
/// container only has the nodes that were bind-mounted into it.
fn is_privileged(host: &Host) -> bool {
    host.euid == 0 && !host.in_user_namespace
}

/// The owner for the cgroup, and the mount that asks for it. A container with its own cgroup
/// namespace and a writable cgroup mount manages its subtree as the user of its process.
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
        _ => host_id(&linux.uid_mappings, user)?,
    };
    // A cgroup that the runtime creates as root already belongs to root.
    (owner != 0).then(|| (owner, mount.field.clone()))
}

fn is_cgroup_mount(mount: &Mount) -> bool {
    mount.is_cgroup() && mount.destination == Path::new("/sys/fs/cgroup")
}

fn is_readonly(mount: &Mount) -> bool {
    mount.super_flags & libc::MS_RDONLY != 0
        || (mount.attrs.set | mount.recursive_attrs.set) & libc::MOUNT_ATTR_RDONLY != 0
}
