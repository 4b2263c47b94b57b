//! What a `create` or `start` would find in the rootfs: the program, the hooks that are programs of
//! the container, and the working directory. The container's mounts are not there yet.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::error::Error;
use crate::plan::{HookMoment, InitStep, Plan, Planned, c_string};
use crate::run::failure::{self, executable};
use crate::sys::{Fail, Sys, path, stat};

/// What was found. A look that succeeds has nothing to say.
pub enum Foreseen {
    /// `create` or `start` fails so.
    Fails(Error),
    /// It could not be looked at.
    Unseen(Error),
}

/// The failure of `create` or `start` on the executable, as it is below the rootfs without the
/// container's mounts.
///
/// # Errors
/// That failure, or the rootfs cannot be opened.
pub fn foresee_executable(plan: &Plan, rootfs: &Path) -> Result<()> {
    Ok(executable::look(plan, open_root(rootfs)?.as_fd())?)
}

fn open_root(rootfs: &Path) -> Result<OwnedFd, Error> {
    let object = || format!("root.path: {}", rootfs.display());
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    path::open(&c_string(rootfs), flags).map_err(|fail| Error::failed(object(), fail))
}

/// What `start` would find of the `startContainer` hooks, each with its property.
pub fn foresee_start_hooks(plan: &Plan, rootfs: &Path) -> Vec<(String, Foreseen)> {
    let hooks: Vec<_> = plan.start.iter().filter(|it| is_hook(it)).collect();
    if hooks.is_empty() {
        return Vec::new();
    }
    let root = match open_root(rootfs) {
        Ok(root) => root,
        Err(error) => return vec![("root.path".to_owned(), Foreseen::Unseen(error))],
    };
    let look = |hook: &&Planned<InitStep>| {
        let found = look_at_hook(plan, hook, root.as_fd())?;
        Some((hook.field.clone(), found))
    };
    hooks.iter().filter_map(look).collect()
}

fn is_hook(planned: &Planned<InitStep>) -> bool {
    matches!(&planned.step, InitStep::Hook(hook) if hook.moment == HookMoment::StartContainer)
}

fn look_at_hook(plan: &Plan, planned: &Planned<InitStep>, root: BorrowedFd) -> Option<Foreseen> {
    let InitStep::Hook(hook) = &planned.step else {
        return None;
    };
    let fails = |errno| {
        let error = failure::step_failed(planned, Fail::new("execve", errno));
        Some(Foreseen::Fails(error))
    };
    match executable::look_at(plan, &hook.path, root) {
        Ok(Ok(())) => None,
        Ok(Err(errno)) => fails(errno),
        Err(fail) if is_absent(fail.errno) => fails(fail.errno),
        Err(fail) => Some(Foreseen::Unseen(failure::step_failed(planned, fail))),
    }
}

/// The errnos of a path that leads nowhere, whoever looks.
const fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
}

/// What `create` would find of the working directory, if it is at `below` in the directory or file
/// `tree`. That is the rootfs, or the source of the bind mount that covers the path. `readonly` says
/// that nothing can be made in it.
pub fn foresee_cwd(plan: &Plan, tree: &Path, below: &Path, readonly: bool) -> Option<Foreseen> {
    let making = |it: &&Planned<InitStep>| matches!(it.step, InitStep::MakeCwd { .. });
    let entering = |it: &&Planned<InitStep>| matches!(it.step, InitStep::Cwd { .. });
    let making = plan.init.iter().find(making)?;
    let entering = plan.init.iter().find(entering)?;
    let tree = match path::open(&c_string(tree), libc::O_PATH) {
        Ok(tree) => tree,
        // A missing source has an error of its own.
        Err(fail) if is_absent(fail.errno) => return None,
        Err(fail) => return Some(Foreseen::Unseen(failure::step_failed(entering, fail))),
    };
    let chdir = |errno| {
        let error = failure::step_failed(entering, Fail::new("chdir", errno));
        Some(Foreseen::Fails(error))
    };
    match open_below(&tree, below) {
        Ok(found) => match is_directory(found.as_fd()) {
            Ok(true) => None,
            Ok(false) => chdir(Errno::ENOTDIR),
            Err(fail) => Some(Foreseen::Unseen(failure::step_failed(entering, fail))),
        },
        Err(fail) if fail.errno == Errno::ENOENT && readonly => chdir(Errno::ENOENT),
        Err(fail) if fail.errno == Errno::ENOENT => match may_make(plan, &tree, below) {
            Ok(()) => None,
            Err(Errno::EROFS) => chdir(Errno::ENOENT),
            Err(errno) => {
                let fail = Fail::new("mkdir", errno);
                Some(Foreseen::Unseen(failure::step_failed(making, fail)))
            }
        },
        Err(fail) if fail.errno == Errno::ELOOP => chdir(fail.errno),
        Err(fail) if is_absent(fail.errno) => {
            Some(Foreseen::Fails(failure::step_failed(making, fail)))
        }
        Err(fail) => Some(Foreseen::Unseen(failure::step_failed(making, fail))),
    }
}

fn open_below(tree: &OwnedFd, below: &Path) -> Sys<OwnedFd> {
    path::open_in_root(
        tree.as_fd(),
        &c_string(Path::new("/").join(below)),
        libc::O_PATH,
    )
}

fn is_directory(found: BorrowedFd) -> Sys<bool> {
    Ok(stat::stat(found)?.is(libc::S_IFDIR))
}

/// Whether the missing directory can be made in the nearest one that exists. Which files root of a
/// new user namespace may change, only the attempt shows: EACCES.
fn may_make(plan: &Plan, tree: &OwnedFd, below: &Path) -> Result<(), Errno> {
    let above = below.ancestors().skip(1);
    let mut found = above.filter_map(|above| open_below(tree, above).ok());
    let Some(found) = found.next() else {
        return Ok(());
    };
    let name = format!("/proc/self/fd/{}", found.as_raw_fd());
    eaccess(name.as_str(), AccessFlags::W_OK)?;
    if plan.clone_flags & libc::CLONE_NEWUSER as u64 != 0 {
        return Err(Errno::EACCES);
    }
    Ok(())
}
