//! The sources of the mounts that CRIU makes. The runtime copies each of them as init would have
//! done, with its attributes and its map of ids, and CRIU binds the copy. CRIU itself knows no
//! mapped ids, and sets the attributes of only the first of several mounts of the host's that have
//! the same source: the others would be writable.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::id_map::{self, Own};
use crate::config::Config;
use crate::criu::images::Mount;
use crate::criu::mounts::Candidate;
use crate::error::{Context as _, Error};
use crate::plan::{self, Bind, InitStep, MountAttrs, Plan, Position, Propagation};
use crate::run::failure;
use crate::run::init;
use crate::sys::path::{self as syspath, Make};
use crate::sys::{Sys, inherited, mount, stat};

/// The copies, each with the place of its candidate.
pub(super) type Staged = Vec<(usize, OwnedFd)>;

/// Later mounts of the host appear in the copy, and nothing of it on the host.
const SLAVE: Propagation = Propagation {
    flag: libc::MS_SLAVE,
    recursive: true,
};

/// Copies the sources.
///
/// # Errors
/// A source is missing, or its copy cannot be changed; the error names the step.
pub(super) fn copy(plan: &Plan, config: &Config, candidates: &[Candidate]) -> Result<Staged> {
    let mut staged = Staged::new();
    inherited::raise_to_usual_limit();
    inherited::make_room_for(candidates.len());
    for (place, candidate) in candidates.iter().enumerate() {
        let planned = &plan.init[candidate.step];
        let failed = |fail| failure::step_failed(planned, fail);
        let tree = match (&planned.step, candidate.source()) {
            (InitStep::Bind(bind), Some(_)) => {
                let tree = copy_of(bind, remounted(plan, bind)).map_err(failed)?;
                if bind.id_map.is_some() {
                    let position = Position::init(candidate.step);
                    id_map::map_mount(plan, position, &own_map(config), tree.as_fd())?;
                }
                tree
            }
            (InitStep::MaskPath { .. }, _) => init::host_null().map_err(failed)?,
            (_, Some(source)) => mount::clone_tree(None, source, false).map_err(failed)?,
            (_, None) => continue,
        };
        staged.push((place, tree));
    }
    Ok(staged)
}

fn copy_of(bind: &Bind, later: Option<MountAttrs>) -> Sys<OwnedFd> {
    let flags = bind.source_flags();
    let tree = mount::clone_tree_at(None, bind.source.path(), bind.recursive, flags)?;
    // An unbindable one could not be bound, and CRIU makes it so.
    let changes = &bind.propagation;
    let bindable = changes.iter().all(|it| it.flag != libc::MS_UNBINDABLE);
    let changes = if bindable { changes } else { &[SLAVE][..] };
    init::change_mount(tree.as_fd(), bind.attrs, changes, bind.recursive)?;
    if let Some(attrs) = later {
        init::change_mount(tree.as_fd(), attrs, &[], bind.recursive)?;
    }
    Ok(tree)
}

/// The attributes that a later step gives to the mount.
fn remounted(plan: &Plan, bind: &Bind) -> Option<MountAttrs> {
    let steps = plan.init.iter().rev();
    let mut steps = steps.filter_map(|planned| match &planned.step {
        InitStep::Remount(remount) if remount.bind => Some(remount),
        _ => None,
    });
    let found = steps.find(|remount| remount.target == bind.target);
    found.map(|remount| remount.attrs)
}

/// The map of the container's user namespace, which CRIU makes only later.
fn own_map(config: &Config) -> Own {
    let linux = &config.linux;
    let text = plan::map_text;
    Own::Text(text(&linux.uid_mappings), text(&linux.gid_mappings))
}

/// Makes the mount points that are missing, and refuses those that a symbolic link leads to: CRIU
/// would follow it, and mount elsewhere. That is checked where the container's data could have such
/// links, in the rootfs and in the sources.
///
/// # Errors
/// A mount point is a symbolic link, or cannot be made.
pub(super) fn check_mount_points(
    mounts: &[Mount],
    candidates: &[Candidate],
    staged: &Staged,
    root: BorrowedFd,
) -> Result<()> {
    let by_name: HashMap<_, _> = staged
        .iter()
        .map(|(place, tree)| (candidates[*place].name(), tree))
        .collect();
    let source = |mount: &Mount| by_name.get(mount.name.as_ref()?).copied();
    for mount in mounts {
        let Some(parent) = mounts.iter().find(|other| other.id == mount.parent) else {
            continue;
        };
        let below = match parent.point.as_slice() {
            b"/" => Some(root),
            _ => source(parent).map(AsFd::as_fd),
        };
        let (Some(below), Some(rest)) = (below, rest(mount, parent)) else {
            continue;
        };
        let is_file = match source(mount) {
            Some(tree) => !stat::is_directory(tree.as_fd()).context("mount point")?,
            None => false,
        };
        let make = if is_file { Make::File } else { Make::Directory };
        check_mount_point(below, &rest, make)
            .with_context(|| String::from_utf8_lossy(&mount.point).into_owned())?;
    }
    Ok(())
}

/// The path of a mount point below the mount that contains it.
fn rest(mount: &Mount, parent: &Mount) -> Option<CString> {
    let top = parent.point.strip_suffix(b"/").unwrap_or(&parent.point);
    let rest = mount.point.strip_prefix(top)?;
    (rest.len() > 1).then(|| CString::new(rest).ok())?
}

fn check_mount_point(below: BorrowedFd, point: &CString, make: Make) -> Result<()> {
    let resolve = syspath::IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
    let open = || syspath::openat2(below, point, libc::O_PATH, 0, resolve);
    let opened = match open() {
        Err(fail) if fail.errno == Errno::ENOENT => {
            syspath::open_or_make(below, point, make).context("mount point")?;
            open()
        }
        opened => opened,
    };
    match opened {
        Ok(_) => Ok(()),
        Err(fail) if fail.errno == Errno::ELOOP => bail!(
            Error::new("a symbolic link is where the images have a mount point")
                .hint("CRIU would mount where it leads to; remove the link")
        ),
        Err(fail) => Err(fail).context("mount point"),
    }
}

/// A copy of the mount of the rootfs, without its submounts.
///
/// # Errors
/// A system call failed.
pub(super) fn root_tree(rootfs: &Path) -> Result<OwnedFd> {
    syspath::c_string(rootfs)
        .and_then(|path| mount::clone_tree(None, &path, false))
        .with_context(|| format!("root.path: {}", rootfs.display()))
}
