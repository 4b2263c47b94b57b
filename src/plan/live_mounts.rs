//! Adds mounts to an existing container, and removes them.

use std::path::Path;

use super::{
    AfterFailure, BindSource, EntryStep, IfDenied, InitStep, Plan, Planned, Program, c_string,
    exec, labels, mounts, namespaces,
};
use crate::config::{Config, Mount, MountPoint, Namespace, NamespaceKind};
use crate::error::{Error, Result};
use crate::host::Host;

/// The steps that add `mounts` to the container that `config` describes: all of them or none.
///
/// # Errors
/// This host cannot make a mount, or a mount would cover one that confines the container.
pub fn add_mounts(
    config: Config,
    mounts: Vec<Mount>,
    host: &Host,
    program: Program,
) -> Result<Plan> {
    let mut plan = enter(&config, host, program)?;
    plan.mount_label = labels::mount(&mut plan, &config, host);
    plan.after_failure = AfterFailure::MountsTakenOff;
    for mount in &mounts {
        refuse_own(&config, &mount.field, &mount.destination)?;
        if mount.remount {
            let field = format!("{}.options", mount.field);
            let message = "a remount changes a mount, it does not add one";
            return Err(Error::config(field, message).hint("remove the mount and add it again"));
        }
    }
    let config = config.with_mounts(mounts)?;
    refuse_own_cgroups(&mut plan, &config);
    mounts::steps(&mut plan, &config, host);
    copy_sources(&mut plan, &config, host)?;
    let pid_entered_early = !plan.has_process_between();
    for planned in plan.init.iter_mut() {
        if let InitStep::Filesystem(fs) = &mut planned.step {
            // The fallbacks are paths of the host, which the container's mount namespace hides.
            fs.if_denied = IfDenied::Fail;
            // If it were made early, any other file system would show a namespace of the runtime.
            if fs.id_map.is_none() && (fs.fstype.as_c_str() != c"proc" || !pid_entered_early) {
                fs.made_early = None;
            }
        }
    }
    for mount in config.mounts.iter().filter(|m| mounts::readonly_later(m)) {
        let path = c_string(&mount.destination);
        plan.init
            .add(&mount.field, InitStep::MountReadonly { path });
    }
    plan.init.add("mounts", InitStep::WaitForStart);
    Ok(plan)
}

/// Decides again which process copies the sources, because inside the container their paths mean
/// something else.
fn copy_sources(plan: &mut Plan, config: &Config, host: &Host) -> Result<()> {
    for planned in plan.init.iter_mut() {
        if let InitStep::Bind(bind) = &mut planned.step {
            let source = mounts::live_source(bind.source.clone(), config, host);
            bind.source = source.ok_or_else(|| unbindable(&planned.field, &bind.source))?;
        }
    }
    Ok(())
}

/// The error for the source of a bind mount that no process can copy for its container.
pub fn unbindable(field: &str, source: &BindSource) -> Error {
    let source = source.path().to_string_lossy();
    let message = format!("{source} cannot be bound into another mount namespace");
    Error::config(format!("{field}.source"), message)
        .hint("this needs root on the host, and a mount that is not unbindable")
}

/// A cgroup namespace that the container has joined may be the runtime's own. A mount that `create`
/// would refuse in that case must not be added later either.
fn refuse_own_cgroups(plan: &mut Plan, config: &Config) {
    let kind = NamespaceKind::Cgroup;
    if !matches!(config.linux.namespaces.cgroup, Namespace::Join { .. }) {
        return;
    }
    let around_clone = plan.leave.iter_mut().chain(plan.between.iter_mut());
    let by_init = plan.init.iter_mut().filter_map(|planned| match planned {
        Planned {
            step: InitStep::Enter(step),
            ..
        } => Some(step),
        _ => None,
    });
    for step in around_clone.map(|planned| &mut planned.step).chain(by_init) {
        let not_own = match step {
            EntryStep::EnterContainer { kinds, not_own } if kinds.contains(&kind) => not_own,
            EntryStep::EnterNamespace { kind: it, not_own } if *it == kind => not_own,
            _ => continue,
        };
        *not_own = namespaces::not_own(kind, config);
    }
}

/// The steps that unmount `points`, in their order.
///
/// # Errors
/// A mount confines the container.
pub fn remove_mounts(
    config: &Config,
    points: &[MountPoint],
    host: &Host,
    program: Program,
) -> Result<Plan> {
    let mut plan = enter(config, host, program)?;
    for point in points {
        refuse_own(config, &point.field, &point.destination)?;
        let target = c_string(&point.destination);
        plan.init.add(&point.field, InitStep::Unmount { target });
    }
    plan.init.add("mounts", InitStep::WaitForStart);
    Ok(plan)
}

fn enter(config: &Config, host: &Host, program: Program) -> Result<Plan> {
    if config.linux.namespaces.mount == Namespace::Inherit {
        let message = "the container has no mount namespace of its own";
        return Err(Error::config("linux.namespaces", message)
            .hint("its mounts are those of the host: use mount(8) and umount(8)"));
    }
    let mut plan = Plan {
        place: exec::begins_in(config, None)?,
        ..Plan::default()
    };
    exec::enter(&mut plan, config, host, program);
    Ok(plan)
}

/// Refuses the mounts that confine the container. If one of them were removed, or covered by
/// another mount, masked files would become visible. The same places are refused for `mounts add`
/// and for `mounts remove`.
fn refuse_own(config: &Config, field: &str, place: &Path) -> Result<()> {
    let linux = &config.linux;
    let own = ["/", "/proc", "/sys", "/dev"].map(Path::new);
    let mut covered = linux.masked_paths.iter().chain(&linux.readonly_paths);
    if !own.contains(&place) && !covered.any(|path| path == place) {
        return Ok(());
    }
    let message = format!(
        "{}: this mount confines the container and stays as it is",
        place.display()
    );
    Err(Error::config(format!("{field}.destination"), message))
}
