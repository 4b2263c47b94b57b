//! The resctrl file system, in which a directory is a group of processes that share cache and
//! memory bandwidth.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::stat::Mode;

use crate::error::{Call as _, Context as _, Error};
use crate::plan::{IfGroupExists, ResctrlGroup};
use crate::state::Resctrl;
use crate::sys::{Fail, Sys, file, io, stat};

const MOUNT: &str = "/sys/fs/resctrl";

/// Makes a group, or looks at an existing one.
///
/// # Errors
/// resctrl is not mounted; the group exists, or does not exist, or has other schemata, against what
/// the config says; or the kernel refuses the schemata. The error names `field`.
pub(super) fn make(field: &str, group: &ResctrlGroup) -> Result<()> {
    refuse_unmounted(field)?;
    let directory = Path::new(MOUNT).join(&group.path);
    let failed = |fail| Error::failed(directory.display(), fail).about(field);
    let exists = match group.if_exists {
        IfGroupExists::Needed => {
            let needed = exists(&directory).map_err(failed)?;
            return Ok(needed.then_some(()).ok_or_else(|| {
                Error::config(field, format!("{} does not exist", directory.display()))
                    .hint("make the group, or add schemata")
            })?);
        }
        IfGroupExists::Compare => exists(&directory).map_err(failed)?,
        IfGroupExists::Fail => false,
    };
    if exists {
        return compare(field, &directory, &group.schemata);
    }
    mkdir(&directory).map_err(|fail| match fail.errno {
        Errno::EEXIST => failed(fail).hint("closID names a group that is used by others too"),
        Errno::ENOSPC => failed(fail).hint("the hardware has no room for another group"),
        _ => failed(fail),
    })?;
    set(field, &directory, &group.schemata).inspect_err(|_| {
        let _ = remove(std::slice::from_ref(&group.path));
    })
}

/// Puts a process into the groups, in their order.
///
/// # Errors
/// A group is gone.
pub(super) fn add_process(field: &str, groups: &[PathBuf], pid: i32) -> Result<()> {
    groups.iter().try_for_each(|group| {
        let tasks = Path::new(MOUNT).join(group).join("tasks");
        write(&tasks, &pid.to_string()).with_context(|| format!("{field}: {}", tasks.display()))
    })
}

/// Writes `lines` to the schemata of the container's own group, then calls `done`. If either fails,
/// the group has its old schemata again.
///
/// # Errors
/// The container has no group of its own, or the kernel refuses a line. Those of `done`.
pub fn change_schemata(
    groups: &Resctrl,
    lines: &[String],
    done: impl FnOnce() -> Result<()>,
) -> Result<()> {
    const FIELD: &str = "linux.intelRdt";
    if lines.is_empty() {
        return done();
    }
    let own = groups.tasks.first().filter(|it| groups.made.contains(it));
    let Some(own) = own else {
        let error = Error::config(FIELD, "the group is not the container's own");
        bail!(error.hint("change the file schemata of the group"));
    };
    let directory = Path::new(MOUNT).join(own);
    let path = directory.join("schemata");
    let old = file::read_text(&path).with_context(|| format!("{FIELD}: {}", path.display()))?;
    set(FIELD, &directory, lines)
        .and_then(|()| done())
        .inspect_err(|_| {
            let _ = write(&path, &old);
        })
}

/// Removes groups, if they still exist. Their processes return to the root group.
///
/// # Errors
/// rmdir(2) failed.
pub(super) fn remove(groups: &[PathBuf]) -> Result<()> {
    groups.iter().try_for_each(|group| {
        let directory = Path::new(MOUNT).join(group);
        match std::fs::remove_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.call("rmdir").with_context(|| directory.display()),
        }
    })
}

/// # Errors
/// resctrl is not mounted.
pub(super) fn refuse_unmounted(field: &str) -> Result<()> {
    let schemata = Path::new(MOUNT).join("schemata");
    if exists(&schemata).with_context(|| format!("{field}: {}", schemata.display()))? {
        Ok(())
    } else {
        bail!(
            Error::config(field, format!("no resctrl is mounted on {MOUNT}"))
                .hint("mount -t resctrl resctrl /sys/fs/resctrl, if the hardware has it")
        )
    }
}

fn exists(path: &Path) -> Sys<bool> {
    stat::stat_of(path).map(|stat| stat.is_some())
}

fn mkdir(directory: &Path) -> Sys<()> {
    let mode = Mode::from_bits_truncate(0o755);
    nix::unistd::mkdir(directory, mode).map_err(|errno| Fail::new("mkdir", errno))
}

/// In resctrl mkdir(2) makes the files too, and O_CREAT does nothing. No other file system does
/// that: the directory that stands in for it in the tests gets the files here.
fn write(path: &Path, text: &str) -> Sys<()> {
    let opened = file::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, 0o644)?;
    io::write_all(std::os::fd::AsFd::as_fd(&opened), text.as_bytes())
}

fn set(field: &str, directory: &Path, schemata: &[String]) -> Result<()> {
    if schemata.is_empty() {
        return Ok(());
    }
    let path = directory.join("schemata");
    Ok(write(&path, &(schemata.join("\n") + "\n")).map_err(|fail| {
        let error = Error::failed(path.display(), fail).about(field);
        match file::read_text(&Path::new(MOUNT).join("info/last_cmd_status")) {
            Ok(status) => error.hint(format!("the kernel says: {}", status.trim())),
            Err(_) => error,
        }
    })?)
}

/// The schemata of an existing group are left as they are, because others use them too.
fn compare(field: &str, directory: &Path, schemata: &[String]) -> Result<()> {
    let path = directory.join("schemata");
    let text = file::read_text(&path).with_context(|| format!("{field}: {}", path.display()))?;
    let existing: Vec<_> = text.lines().filter_map(parts).collect();
    for line in schemata {
        let (name, wanted) = parts(line).unwrap_or_default();
        let mut has = existing.iter().filter(|(other, _)| *other == name);
        if !has.any(|(_, has)| wanted.iter().all(|one| has.contains(one))) {
            let group = directory.display();
            let message = format!("{group} exists and its schemata are not {line}");
            bail!(Error::config(field, message));
        }
    }
    Ok(())
}

/// The name of a line and the value of each domain, without leading zeros.
fn parts(line: &str) -> Option<(&str, Vec<(&str, String)>)> {
    let (name, values) = line.trim().split_once(':')?;
    let pairs = values.split(';').filter_map(|pair| {
        let (id, value) = pair.trim().split_once('=')?;
        Some((id, value.trim_start_matches('0').to_ascii_lowercase()))
    });
    Some((name, pairs.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_by_their_values() {
        assert_eq!(parts("    L3:0=00ff;1=0F"), parts("L3:0=ff;1=f"));
        assert_ne!(parts("L3:0=ff;1=f"), parts("L3:0=ff;1=e"));
        assert_eq!(parts("no line"), None);
    }
}
