//! Signals for all processes of a cgroup and of the cgroups below it.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::sys::pidfd;

/// Sends `signal` to all. For another signal than SIGKILL they are frozen meanwhile, so that none
/// can fork away from the list; a cgroup that was frozen before stays so, and its processes act on
/// the signal when they go on. The value says that the process `init` is known to have got it.
///
/// # Errors
/// A system call failed. Processes that end meanwhile are no error.
pub fn signal(cgroup: &Cgroup, signal: i32, init: i32) -> Result<bool> {
    if signal == libc::SIGKILL {
        return cgroup.kill().map(|()| false);
    }
    if cgroup.is_frozen()? {
        return signal_listed(cgroup, signal, init);
    }
    cgroup.freeze()?;
    let result = signal_listed(cgroup, signal, init);
    let thawed = cgroup.thaw();
    result.and_then(|listed| thawed.map(|()| listed))
}

fn signal_listed(cgroup: &Cgroup, signal: i32, init: i32) -> Result<bool> {
    let pids = cgroup.processes()?;
    for &pid in &pids {
        let sent = pidfd::open(pid).and_then(|process| pidfd::send_signal(process.as_fd(), signal));
        match sent {
            Err(fail) if fail.errno != Errno::ESRCH => {
                return Err(Error::failed(format!("process {pid}"), fail));
            }
            _ => {}
        }
    }
    Ok(pids.contains(&init))
}
