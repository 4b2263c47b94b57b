//! Directories of the hierarchy: created from the top, removed from the bottom.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};

use super::{controllers, file};
use crate::error::{Chain as _, Error};
use crate::sys::{Fail, Sys, path as syspath};

const MODE: Mode = Mode::from_bits_truncate(0o755);

/// How often [`make`] tries. A create that fails removes the parents that it has made and that are
/// not in use yet, and may remove one that another create has just found.
const ATTEMPTS: u32 = 8;

/// The result of [`make`].
pub(super) struct Cgroups {
    /// The last directory, open.
    pub dir: OwnedFd,
    /// What has to be undone if the container is not made, outermost first.
    pub made: Vec<Level>,
    /// Whether the last directory was missing.
    pub is_new: bool,
}

/// Creates each missing component of `path` below `mount`, and enables the controllers for the
/// children of each parent. After an error nothing that was created is left.
pub(super) fn make(
    mount: &Path,
    path: &Path,
    controllers: &[String],
    optional: &[String],
) -> Result<Cgroups> {
    let mut made = Vec::new();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match make_each(mount, path, controllers, optional, &mut made) {
            Ok((dir, is_new)) => return Ok(Cgroups { dir, made, is_new }),
            Err(error) => {
                undo(&made, false);
                made.clear();
                let is_gone = matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV));
                if !is_gone || attempt == ATTEMPTS {
                    return Err(error);
                }
            }
        }
    }
}

fn make_each(
    mount: &Path,
    path: &Path,
    required: &[String],
    optional: &[String],
    made: &mut Vec<Level>,
) -> Result<(OwnedFd, bool)> {
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    let mut is_new = false;
    for component in path {
        let name =
            syspath::c_string(component).map_err(|fail| failed(&at.join(component), fail))?;
        let enabled = controllers::enable(dir.as_fd(), &at, required, optional)?;
        at.push(component);
        let found = make_one(dir.as_fd(), &name);
        is_new = found == Ok(true);
        let opened = found.and_then(|_| {
            if is_new {
                open_new(dir.as_fd(), &name)
            } else {
                open(dir.as_fd(), &name)
            }
        });
        if is_new || !enabled.is_empty() {
            made.push(Level {
                parent: dir,
                name,
                is_new,
                enabled,
            });
        }
        dir = opened.map_err(|fail| failed(&at, fail))?;
    }
    Ok((dir, is_new))
}

/// Enables the controllers `required` for the existing cgroup `path` below `mount`.
pub fn enable(mount: &Path, path: &Path, required: &[String]) -> Result<()> {
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    for name in path {
        controllers::enable(dir.as_fd(), &at, required, &[])?;
        at.push(name);
        dir = syspath::c_string(name)
            .and_then(|name| open(dir.as_fd(), &name))
            .map_err(|fail| failed(&at, fail))?;
    }
    Ok(())
}

/// Looks for what making the cgroup `path` below `mount` would fail on when the controllers
/// `required` are enabled.
///
/// # Errors
/// That failure.
pub fn foresee(mount: &Path, path: &Path, required: &[String]) -> Result<()> {
    let mut given = Vec::new();
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    for name in path {
        controllers::foresee(dir.as_fd(), &at, required, &mut given)?;
        at.push(name);
        match syspath::c_string(name).and_then(|name| open(dir.as_fd(), &name)) {
            Ok(next) => dir = next,
            // It would be made, like those below it.
            Err(fail) if fail.errno == Errno::ENOENT => break,
            Err(fail) => return Err(failed(&at, fail).into()),
        }
    }
    Ok(())
}

/// Creates or opens the cgroup `path` in `parent`.
pub(super) fn make_child(parent: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let make = || {
        let name = syspath::c_string(path.file_name().unwrap_or_default())?;
        if make_one(parent, &name)? {
            open_new(parent, &name)
        } else {
            open(parent, &name)
        }
    };
    Ok(make().map_err(|fail| failed(path, fail))?)
}

/// Returns whether the directory was missing.
fn make_one(parent: BorrowedFd, name: &CStr) -> Sys<bool> {
    match syspath::mkdir_at(parent, name, MODE.bits()) {
        Err(fail) if fail.errno == Errno::EEXIST => Ok(false),
        made => made.map(|()| true),
    }
}

fn open(parent: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    syspath::open_at(Some(parent), name, flags, 0)
}

/// Sets the mode explicitly: the caller's umask must not decide whether the container can read its
/// own cgroup.
fn open_new(parent: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let dir = open(parent, name)?;
    fchmod(&dir, MODE).map_err(|errno| Fail::new("fchmod", errno))?;
    Ok(dir)
}

fn failed(at: &Path, fail: Fail) -> Error {
    let error = Error::failed(at.display(), fail).about("linux.cgroupsPath");
    match fail.errno {
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        Errno::EROFS => error.hint("the cgroup2 mount is read-only here"),
        Errno::EAGAIN => {
            error.hint("a parent's cgroup.max.depth or cgroup.max.descendants has been reached")
        }
        Errno::EOPNOTSUPP => error.hint("the parent is threaded: see its cgroup.type"),
        _ => error,
    }
}

/// What [`make`] has done in one directory of the path.
#[derive(Debug)]
pub(super) struct Level {
    parent: OwnedFd,
    /// The next directory of the path, in `parent`.
    name: CString,
    /// Whether that one was created.
    is_new: bool,
    /// The controllers that were enabled for the children of `parent`.
    enabled: Vec<String>,
}

impl Level {
    #[cfg(test)]
    pub(super) fn name(&self) -> &CStr {
        &self.name
    }
}

/// Removes the directories that were created, innermost first, and disables the controllers. The
/// first directory that is in use stops the removal. `removed` says that the last one is gone
/// already.
pub(super) fn undo(levels: &[Level], mut removed: bool) {
    for level in levels.iter().rev() {
        let parent = level.parent.as_fd();
        if level.is_new
            && !std::mem::take(&mut removed)
            && syspath::remove_dir_at(parent, &level.name).is_err()
        {
            return;
        }
        controllers::disable(parent, &level.enabled);
    }
}
