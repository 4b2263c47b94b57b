//! `cgroup.subtree_control`: the controllers that a cgroup has enabled for its children.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use super::{file, threaded};
use crate::error::{Code, Context as _, Error};
use crate::sys::{Fail, Sys, stat};

const FILE: &str = "cgroup.subtree_control";

/// The controllers that work in threaded cgroups, and in a cgroup with processes and children.
/// cgroup-v2.rst, "Threads".
const THREADED: &str = "cpu, cpuset, perf_event, pids";

fn is_threaded(name: &str) -> bool {
    THREADED.split(", ").any(|threaded| threaded == name)
}

/// Enables the controllers for the children of `dir`, and returns those that were not enabled
/// before. The file is read first, because a write makes the kernel wait for a grace period even if
/// the controller is enabled already.
///
/// # Errors
/// The cgroup cannot enable one of `controllers`. Then none is enabled.
pub(super) fn enable(
    dir: BorrowedFd,
    at: &Path,
    controllers: &[String],
    optional: &[String],
) -> Result<Vec<String>> {
    if controllers.is_empty() && optional.is_empty() {
        return Ok(Vec::new());
    }
    let enabled = file::read(dir, FILE).with_context(|| at.join(FILE))?;
    let mut new = not_in(&enabled, controllers);
    if !new.is_empty() {
        write(dir, '+', &new)
            .or_else(|fail| match fail.errno {
                // This cgroup is invalid until it is threaded like those above it.
                Errno::EOPNOTSUPP if threaded::make(dir)? => write(dir, '+', &new),
                _ => Err(fail),
            })
            .map_err(|fail| not_enabled(dir, at, &new, fail))?;
    }
    new.extend(enable_optional(dir, not_in(&enabled, optional)));
    Ok(new)
}

/// Those of `names` that a file such as `cgroup.controllers` does not list.
fn not_in(list: &str, names: &[String]) -> Vec<String> {
    let is_missing = |name: &&String| !list.split_whitespace().any(|have| have == *name);
    names.iter().filter(is_missing).cloned().collect()
}

/// Enables the controllers that the kernel allows, and returns them. They are for statistics only,
/// so a failure is ignored. In a cgroup with processes they would make its children invalid.
fn enable_optional(dir: BorrowedFd, mut names: Vec<String>) -> Vec<String> {
    if names.is_empty() || !matches!(holds_processes(dir), Ok(false)) {
        return Vec::new();
    }
    if write(dir, '+', &names).is_err() {
        names.retain(|name| write(dir, '+', std::slice::from_ref(name)).is_ok());
    }
    names
}

/// Looks for what [`enable`] would fail on. `given` has the controllers that the cgroups above would
/// give to this one, which is told in `cgroup.controllers` only when they have.
///
/// # Errors
/// That failure.
pub(super) fn foresee(
    dir: BorrowedFd,
    at: &Path,
    controllers: &[String],
    given: &mut Vec<String>,
) -> Result<()> {
    let read = |name: &str| file::read(dir, name).with_context(|| at.join(name));
    let (enabled, available) = (read(FILE)?, read("cgroup.controllers")?);
    let missing = not_in(&enabled, controllers);
    let needs_domain = |name: &String| !is_threaded(name);
    let refused = if missing.is_empty() {
        None
    } else if let Err(errno) = eaccess(&at.join(FILE), AccessFlags::W_OK) {
        Some(Fail::new("write", errno))
    } else if not_in(&available, &missing)
        .iter()
        .any(|name| !given.contains(name))
    {
        Some(Fail::new("write", Errno::ENOENT))
    } else if missing.iter().any(needs_domain)
        && holds_processes(dir).with_context(|| at.display())?
    {
        Some(Fail::new("write", Errno::EBUSY))
    } else {
        None
    };
    if let Some(fail) = refused {
        return Err(not_enabled(dir, at, &missing, fail).into());
    }
    given.extend(missing);
    Ok(())
}

/// Undoes [`enable`], unless the cgroup has children, which may rely on the controllers by now.
/// Errors are ignored, because the failure that led here is the one to report.
pub(super) fn disable(dir: BorrowedFd, controllers: &[String]) {
    let childless = stat::stat(dir).is_ok_and(|stat| stat.links <= 2);
    if childless && !controllers.is_empty() {
        _ = write(dir, '-', controllers);
    }
}

/// One write(2), which enables or disables all controllers or none.
fn write(dir: BorrowedFd, sign: char, names: &[String]) -> Sys<()> {
    let words: Vec<String> = names.iter().map(|name| format!("{sign}{name}")).collect();
    file::write(dir, FILE, &words.join(" "))
}

/// Whether the cgroup has processes of its own. The root of the hierarchy may have processes and
/// children with controllers; it has no `cgroup.type`.
fn holds_processes(dir: BorrowedFd) -> Sys<bool> {
    match file::read(dir, "cgroup.type") {
        Err(fail) if fail.errno == Errno::ENOENT => return Ok(false),
        read => drop(read?),
    }
    match file::read(dir, "cgroup.procs") {
        Err(fail) if fail.errno == Errno::EOPNOTSUPP => Ok(true),
        read => read.map(|pids| !pids.is_empty()),
    }
}

/// The error for controllers that `at` cannot enable for its children.
fn not_enabled(dir: BorrowedFd, at: &Path, names: &[String], fail: Fail) -> Error {
    let available = file::read(dir, "cgroup.controllers").unwrap_or_default();
    let blamed = match fail.errno {
        Errno::ENOENT => not_in(&available, names).first().cloned(),
        Errno::EBUSY | Errno::EOPNOTSUPP => names.iter().find(|name| !is_threaded(name)).cloned(),
        _ => None,
    };
    let blamed = blamed
        .or_else(|| names.first().cloned())
        .unwrap_or_default();
    let what = format!(
        "a limit in linux.resources needs the {blamed} controller: {}",
        at.join(FILE).display()
    );
    let error = Error::failed(what, fail);
    match fail.errno {
        Errno::ENOENT => error
            .code_is(Code::CgroupControllerMissing)
            .hint(format!("{blamed} is not listed in its cgroup.controllers")),
        Errno::EBUSY => error.hint(
            "it contains processes, so it cannot enable controllers for children: \
             choose a linux.cgroupsPath below another cgroup",
        ),
        Errno::EOPNOTSUPP => error.hint(format!(
            "it is threaded, see its cgroup.type, and below it only these controllers work: {THREADED}: \
             choose a linux.cgroupsPath below another cgroup"
        )),
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        _ => error,
    }
}
