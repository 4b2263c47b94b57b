//! Opens paths of the host for init, which may lack search permission on the directories above
//! them.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::plan::{AnyStep, BindSource, InitStep, Plan, Position};
use crate::run::failure;
use crate::sys::{Fail, Sys, path};

/// Opens the path of a step with the runtime's privileges, in the mount namespace that `root`
/// belongs to. The container's program does not run in it yet, so its mounts can be trusted.
///
/// # Errors
/// The path cannot be opened, or the step at `position` has no path.
pub(crate) fn open_for_init(plan: &Plan, position: Position, root: BorrowedFd) -> Result<OwnedFd> {
    let found = plan.at(position);
    let none = || Err(Fail::new("openat2", Errno::EPROTO));
    let opened = found.map(|found| match found.step {
        AnyStep::Init(InitStep::BindRootfs { path, .. }) => {
            open_below(root, path, libc::O_DIRECTORY)
        }
        AnyStep::Init(InitStep::Bind(bind)) => match &bind.source {
            BindSource::OpenedByRuntime(path) | BindSource::CopiedInUserNamespace(path) => {
                open_below(root, path, bind.source_flags())
            }
            BindSource::CopiedByInit { .. }
            | BindSource::CopiedByRuntime { .. }
            | BindSource::Rootfs(_) => none(),
        },
        _ => none(),
    });
    match (found, opened) {
        (Some(found), Some(opened)) => {
            Ok(opened.map_err(|fail| failure::found_failed(found, fail))?)
        }
        _ => bail!("internal error: init asked to open a path for a step without one"),
    }
}

fn open_below(root: BorrowedFd, host_path: &CStr, flags: i32) -> Sys<OwnedFd> {
    let flags = flags | libc::O_PATH;
    match path::openat2(root, host_path, flags, 0, libc::RESOLVE_IN_ROOT) {
        // openat2(2) refuses a magic link, such as those in /proc/PID/ns. It leads to the same file
        // from every mount namespace, so the runtime's own path can be used.
        Err(Fail {
            errno: Errno::EXDEV,
            ..
        }) => path::open(host_path, flags),
        other => other,
    }
}
