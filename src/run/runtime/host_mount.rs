//! The mounts of a container without a mount namespace, made in the runtime's mount namespace.
//!
//! All of them are below one private mount of the rootfs on itself. Nothing propagates from it, and
//! detaching it removes all mounts at once. The state records its mount id, so that a mount that
//! another process put on the rootfs is left alone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;

use crate::error::{Code, Context as _, Error};
use crate::plan::{InitStep, Plan};
use crate::state::State;
use crate::sys::mount::{self, Change};
use crate::sys::{Fail, Sys, path, process, stat};

/// The mount, for errors.
const OBJECT: &str = "root.path without a mount namespace";

/// Makes the mount of the rootfs without attaching it. Returns `None` if the container has a mount
/// namespace or no mounts.
///
/// # Errors
/// open_tree(2) or mount_setattr(2) failed.
pub(super) fn make(plan: &Plan, rootfs: &Path) -> Result<Option<OwnedFd>> {
    let mounts = |step: &InitStep| {
        matches!(
            step,
            InitStep::Filesystem(_) | InitStep::Bind(_) | InitStep::MountReadonly { .. }
        )
    };
    if plan.has_mount_namespace() || !plan.init.iter().any(|planned| mounts(&planned.step)) {
        return Ok(None);
    }
    let rootfs = path::c_string(rootfs).context(OBJECT)?;
    let made = mount::clone_tree(None, &rootfs, true).and_then(|tree| {
        let propagation = libc::MS_PRIVATE;
        mount::set_attr(
            tree.as_fd(),
            Change {
                propagation,
                ..Change::default()
            },
            true,
        )?;
        Ok(tree)
    });
    let tree = made.map_err(|fail| {
        Error::failed(OBJECT, fail).hint("without a mount namespace, mounts need root on the host")
    })?;
    Ok(Some(tree))
}

/// The mount id, which the state records.
///
/// # Errors
/// statx(2) failed.
pub(super) fn number(tree: &OwnedFd) -> Result<u64> {
    stat::mount_id(tree.as_fd()).context(OBJECT)
}

/// The mount namespace in which the mount is attached, which the state records too.
///
/// # Errors
/// `stat` of the namespace file in /proc failed.
pub(super) fn own_namespace() -> Result<Option<u64>> {
    process::own_namespace("mnt").context("/proc/self/ns/mnt")
}

/// The error if the container's mounts are in another mount namespace than the caller. Nothing leads
/// to them from here, and nothing tells whether that namespace still exists.
///
/// # Errors
/// `stat` of the namespace file in /proc failed.
pub fn unseen_mounts(state: &State) -> Result<Option<Error>> {
    let Some(recorded) = state.rootfs_mount_namespace else {
        return Ok(None);
    };
    if own_namespace()? == Some(recorded) {
        return Ok(None);
    }
    let (id, rootfs) = (&state.id, state.rootfs.display());
    let message =
        format!("container {id}: its mounts on {rootfs} cannot be seen from here, and may exist");
    let error = Error::new(message).code_is(Code::ContainerUnseen);
    Ok(Some(error.hint(format!(
        "they are in the mount namespace mnt:[{recorded}]: run the command there, as with nsenter \
         --mount; if it has ended, delete --force removes the rest"
    ))))
}

/// Attaches the mount to the rootfs.
///
/// # Errors
/// move_mount(2) failed.
pub(super) fn attach(tree: &OwnedFd, rootfs: &Path) -> Result<()> {
    let rootfs = path::c_string(rootfs).context(OBJECT)?;
    let attached = path::open(&rootfs, libc::O_PATH | libc::O_DIRECTORY)
        .and_then(|target| mount::attach(tree.as_fd(), target.as_fd()));
    attached.context(OBJECT)
}

/// Detaches the mount and everything mounted below it, if it is still the top mount on the rootfs. In
/// another mount namespace it never is: see [`unseen_mounts`].
///
/// # Errors
/// umount2(2) failed.
pub(super) fn detach(rootfs: &Path, number: u64) -> Result<()> {
    let rootfs = path::c_string(rootfs).context(OBJECT)?;
    let detached = || -> Sys<()> {
        let top = match path::open(&rootfs, libc::O_PATH | libc::O_DIRECTORY) {
            Err(Fail {
                errno: Errno::ENOENT | Errno::ENOTDIR,
                ..
            }) => return Ok(()),
            other => other?,
        };
        if stat::mount_id(top.as_fd())? == number {
            mount::detach(top.as_fd())
        } else {
            Ok(())
        }
    };
    detached().context(OBJECT)
}
