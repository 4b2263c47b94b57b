//! Directories of the hierarchy: made from the top, removed from the bottom.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};

use super::file;
use crate::error::{Error, Kind, Result};
use crate::sys::{Fail, Sys, path as syspath};

/// Makes each missing component of `path` below `mount`, records it in `made`, and returns the
/// last one, open. Each parent gives the controllers to its children.
pub(super) fn make(
    mount: &Path,
    path: &Path,
    controllers: &[String],
    optional: &[String],
    made: &mut Vec<PathBuf>,
) -> Result<OwnedFd> {
    let mut at = mount.to_owned();
    let mut dir = file::open_dir(mount).map_err(|fail| failed(&at, fail))?;
    for name in path {
        give(dir.as_fd(), &at, controllers, optional)?;
        at.push(name);
        dir = step(dir.as_fd(), name, &at, made).map_err(|fail| failed(&at, fail))?;
    }
    Ok(dir)
}

/// Makes sure that the existing cgroup `path` below `mount` has `controllers`.
pub fn enable(mount: &Path, path: &Path, controllers: &[String]) -> Result<()> {
    let mut at = mount.to_owned();
    for name in path {
        let dir = file::open_dir(&at).map_err(|fail| failed(&at, fail))?;
        give(dir.as_fd(), &at, controllers, &[])?;
        at.push(name);
    }
    Ok(())
}

/// Makes or finds the cgroup `path` in `parent`.
pub(super) fn make_child(parent: BorrowedFd, path: &Path) -> Result<OwnedFd> {
    let name = path.file_name().unwrap_or_default();
    step(parent, name, path, &mut Vec::new()).map_err(|fail| failed(path, fail))
}

/// Makes or finds one directory and opens it.
fn step(parent: BorrowedFd, name: &OsStr, at: &Path, made: &mut Vec<PathBuf>) -> Sys<OwnedFd> {
    let c_name = file::c_string(Path::new(name))?;
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    match syspath::mkdir_at(parent, &c_name, 0o755) {
        Ok(()) => made.push(at.to_owned()),
        Err(Fail {
            errno: Errno::EEXIST,
            ..
        }) => {
            return syspath::open_at(Some(parent), &c_name, flags, 0);
        }
        Err(fail) => return Err(fail),
    }
    let dir = syspath::open_at(Some(parent), &c_name, flags, 0)?;
    // The caller's umask must not decide whether the container can see its own cgroup.
    fchmod(&dir, Mode::from_bits_truncate(0o755)).map_err(|errno| Fail::new("fchmod", errno))?;
    Ok(dir)
}

fn failed(at: &Path, fail: Fail) -> Error {
    let error = Error::sys(
        format!("linux.cgroupsPath: {}", at.display()),
        fail.op,
        fail.errno,
    );
    match fail.errno {
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        Errno::EROFS => error.hint("the cgroup2 mount is read-only here"),
        Errno::EAGAIN => {
            error.hint("a cgroup.max.depth or cgroup.max.descendants above is reached")
        }
        Errno::EOPNOTSUPP => error.hint("the parent is threaded: see its cgroup.type"),
        _ => error,
    }
}

/// Enables the controllers for the children of `dir`. It is read first: to enable a controller the
/// kernel waits for a grace period even where it is enabled already.
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
        // Nobody asked for a limit; only statistics will be missing.
        _ = file::write(dir, FILE, &format!("+{name}"));
    }
    Ok(())
}

/// The error for a controller that `at` does not give to its children.
fn not_given(at: &Path, name: &str, fail: Fail) -> Error {
    let what = format!(
        "a limit in linux.resources needs the {name} controller: {}/cgroup.subtree_control",
        at.display()
    );
    let error = Error::sys(what, fail.op, fail.errno).kind(Kind::Host);
    match fail.errno {
        Errno::ENOENT => error.hint(format!("{name} is not in its cgroup.controllers")),
        Errno::EBUSY => error.hint(
            "it holds processes, and then cannot give controllers: \
             choose a linux.cgroupsPath below another cgroup",
        ),
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        _ => error,
    }
}

/// Removes the directories, innermost first; one that is in use stays, and so do its parents.
pub(super) fn undo(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        if rmdir(dir).is_err() {
            return;
        }
    }
}

/// Removes a directory and all below it. A missing one is no error. EBUSY means that processes are
/// left or are still leaving.
pub(super) fn remove(dir: &Path) -> std::result::Result<(), Errno> {
    match rmdir(dir) {
        Err(Errno::EBUSY) => {}
        done => return done,
    }
    for child in children(dir)? {
        remove(&child)?;
    }
    rmdir(dir)
}

/// Removes one directory; a missing one is no error.
pub(super) fn rmdir(dir: &Path) -> std::result::Result<(), Errno> {
    match std::fs::remove_dir(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(errno(&error)),
        _ => Ok(()),
    }
}

/// The cgroups directly below `dir`; none if it is gone.
pub(super) fn children(dir: &Path) -> std::result::Result<Vec<PathBuf>, Errno> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(errno(&error)),
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| errno(&error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
