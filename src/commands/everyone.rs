//! Signals for all processes of a cgroup and of the cgroups below it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::sys::pidfd;

/// Longest wait for processes that are in the kernel to freeze, in milliseconds.
const FREEZE_TIMEOUT: u16 = 10_000;

/// SIGKILL for all: `cgroup.kill` takes processes along that are being forked. Linux 5.14.
///
/// # Errors
/// write(2) failed; ENOENT if the cgroup is gone.
pub fn kill(cgroup: &Path) -> Result<()> {
    write(cgroup, "cgroup.kill", "1")
}

/// Lets the processes run again. A frozen process that was killed dies without this; one that got
/// another signal acts on it only now.
///
/// # Errors
/// write(2) failed.
pub fn thaw(cgroup: &Path) -> Result<()> {
    write(cgroup, "cgroup.freeze", "0")
}

/// `signal` for all. They are frozen meanwhile, so that none can fork away from the list.
///
/// # Errors
/// A system call failed; ENOENT if the cgroup is gone. Processes that end meanwhile are no error.
pub fn signal(cgroup: &Path, signal: i32) -> Result<()> {
    let was_frozen = is_frozen(cgroup)?;
    let result = freeze(cgroup).and_then(|()| {
        for pid in processes(cgroup)? {
            signal_one(pid, signal)?;
        }
        Ok(())
    });
    if !was_frozen {
        thaw(cgroup)?;
    }
    result
}

fn signal_one(pid: i32, signal: i32) -> Result<()> {
    let sent = pidfd::open(pid).and_then(|process| pidfd::send_signal(process.as_fd(), signal));
    match sent {
        Err(fail) if fail.errno != Errno::ESRCH => {
            Err(Error::sys(format!("process {pid}"), fail.op, fail.errno))
        }
        _ => Ok(()),
    }
}

fn write(cgroup: &Path, file: &str, value: &str) -> Result<()> {
    let path = cgroup.join(file);
    std::fs::write(&path, value)
        .map_err(|error| Error::io(path.display().to_string(), "write", &error))
}

fn read(path: PathBuf) -> Result<String> {
    std::fs::read_to_string(&path)
        .map_err(|error| Error::io(path.display().to_string(), "read", &error))
}

fn is_frozen(cgroup: &Path) -> Result<bool> {
    let events = read(cgroup.join("cgroup.events"))?;
    Ok(events.lines().any(|line| line == "frozen 1"))
}

/// The kernel announces each change of `cgroup.events` by POLLPRI. Source: cgroup-v2.rst.
fn freeze(cgroup: &Path) -> Result<()> {
    let path = cgroup.join("cgroup.events");
    let failed = |op, errno| Error::sys(path.display().to_string(), op, errno);
    let events =
        File::open(&path).map_err(|error| Error::io(path.display().to_string(), "open", &error))?;
    write(cgroup, "cgroup.freeze", "1")?;
    while !is_frozen(cgroup)? {
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::from(FREEZE_TIMEOUT)) {
            Ok(0) => return Err(failed("freeze", Errno::ETIMEDOUT)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("poll", errno)),
        }
    }
    Ok(())
}

/// The processes of the cgroup and of those below it.
fn processes(cgroup: &Path) -> Result<Vec<i32>> {
    let text = read(cgroup.join("cgroup.procs"))?;
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let entries = std::fs::read_dir(cgroup)
        .map_err(|error| Error::io(cgroup.display().to_string(), "open", &error))?;
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        match processes(&entry.path()) {
            Ok(more) => pids.extend(more),
            // Removed since it was listed.
            Err(error) if error.errno() == Some(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pids)
}
