//! Directories of the hierarchy: created from the top, removed from the bottom.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};

use super::file;
use crate::error::{Error, Result};
use crate::sys::{Fail, Sys, path as syspath};

const MODE: Mode = Mode::from_bits_truncate(0o755);

/// The result of [`make`].
pub(super) struct Cgroups {
    /// The last directory, open.
    pub dir: OwnedFd,
    /// The directories that were missing, outermost first.
    pub made: Vec<Made>,
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
    match make_each(mount, path, controllers, optional, &mut made) {
        Ok((dir, is_new)) => Ok(Cgroups { dir, made, is_new }),
        Err(error) => {
            undo(&made);
            Err(error)
        }
    }
}

fn make_each(
    mount: &Path,
    path: &Path,
    controllers: &[String],
    optional: &[String],
    made: &mut Vec<Made>,
) -> Result<(OwnedFd, bool)> {
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    let mut is_new = false;
    for name in path {
        give(dir.as_fd(), &at, controllers, optional)?;
        at.push(name);
        let at_this = |fail| failed(&at, fail);
        let name = syspath::c_string(name).map_err(at_this)?;
        is_new = make_one(dir.as_fd(), &name).map_err(at_this)?;
        let parent = dir;
        if is_new {
            let opened = open_new(parent.as_fd(), &name);
            made.push(Made { parent, name });
            dir = opened.map_err(at_this)?;
        } else {
            dir = open(parent.as_fd(), &name).map_err(at_this)?;
        }
    }
    Ok((dir, is_new))
}

/// Enables `controllers` for the existing cgroup `path` below `mount`.
pub fn enable(mount: &Path, path: &Path, controllers: &[String]) -> Result<()> {
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    for name in path {
        give(dir.as_fd(), &at, controllers, &[])?;
        at.push(name);
        dir = syspath::c_string(name)
            .and_then(|name| open(dir.as_fd(), &name))
            .map_err(|fail| failed(&at, fail))?;
    }
    Ok(())
}

/// Creates or opens the cgroup `path` in `parent`.
pub(super) fn make_child(parent: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let make = || {
        let name = syspath::c_string(path.file_name().unwrap_or_default())?;
        match make_one(parent, &name)? {
            true => open_new(parent, &name),
            false => open(parent, &name),
        }
    };
    make().map_err(|fail| failed(path, fail))
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
    let error = Error::failed(format!("linux.cgroupsPath: {}", at.display()), fail);
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

/// Enables the controllers for the children of `dir`. The file is read first, because a write makes
/// the kernel wait for a grace period even if the controller is enabled already.
pub(super) fn give(
    dir: BorrowedFd,
    at: &Path,
    controllers: &[String],
    optional: &[String],
) -> Result<()> {
    const FILE: &str = "cgroup.subtree_control";
    if controllers.is_empty() && optional.is_empty() {
        return Ok(());
    }
    let enabled = file::read(dir, FILE).map_err(|fail| failed(&at.join(FILE), fail))?;
    let missing = |name: &&String| !enabled.split_whitespace().any(|have| have == name.as_str());
    for name in controllers.iter().filter(missing) {
        file::write(dir, FILE, &format!("+{name}")).map_err(|fail| not_given(at, name, fail))?;
    }
    for name in optional.iter().filter(missing) {
        // An optional controller is for statistics only, so a failure is ignored.
        _ = file::write(dir, FILE, &format!("+{name}"));
    }
    Ok(())
}

/// The error for a controller that `at` cannot enable for its children.
fn not_given(at: &Path, name: &str, fail: Fail) -> Error {
    let what = format!(
        "a limit in linux.resources needs the {name} controller: {}/cgroup.subtree_control",
        at.display()
    );
    let error = Error::failed(what, fail);
    match fail.errno {
        Errno::ENOENT => error.hint(format!("{name} is not listed in its cgroup.controllers")),
        Errno::EBUSY => error.hint(
            "it contains processes, so it cannot enable controllers for children: \
             choose a linux.cgroupsPath below another cgroup",
        ),
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        _ => error,
    }
}

/// A directory that was created: its name, and the directory that it was created in.
#[derive(Debug)]
pub(super) struct Made {
    parent: OwnedFd,
    name: CString,
}

impl Made {
    #[cfg(test)]
    pub(super) fn name(&self) -> &CStr {
        &self.name
    }
}

/// Removes the directories, innermost first. The first that is in use stops the removal.
pub(super) fn undo(made: &[Made]) {
    for one in made.iter().rev() {
        if syspath::remove_dir_at(one.parent.as_fd(), &one.name).is_err() {
            return;
        }
    }
}
