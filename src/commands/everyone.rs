//! Signals for all processes of a cgroup and of the cgroups below it.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::sys::pidfd;

/// Sends `signal` to all. For another signal than SIGKILL they are frozen meanwhile, so that none
/// can fork away from the list; a cgroup that was frozen before stays so, and its processes act on
/// the signal when they go on.
///
/// # Errors
/// A system call failed. Processes that end meanwhile are no error.
pub fn signal(cgroup: &Cgroup, signal: i32) -> Result<()> {
    if signal == libc::SIGKILL {
        return cgroup.kill();
    }
    if cgroup.is_frozen()? {
        return signal_listed(cgroup, signal);
    }
    cgroup.freeze()?;
    let result = signal_listed(cgroup, signal);
    result.and(cgroup.thaw())
}

fn signal_listed(cgroup: &Cgroup, signal: i32) -> Result<()> {
    for pid in cgroup.processes()? {
        let sent = pidfd::open(pid).and_then(|process| pidfd::send_signal(process.as_fd(), signal));
        match sent {
            Err(fail) if fail.errno != Errno::ESRCH => {
                return Err(Error::sys(format!("process {pid}"), fail.op, fail.errno));
            }
            _ => {}
        }
    }
    Ok(())
}
