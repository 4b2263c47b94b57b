//! Sends signals to all processes of a cgroup and of the cgroups below it.

use std::os::fd::AsFd;

use anyhow::Result;
use nix::errno::Errno;

use super::Cgroup;
use crate::error::Context as _;
use crate::sys::{interrupt, pidfd, signals};

impl Cgroup {
    /// Sends `signal` to all processes of the cgroup. Returns whether the process `init` was among
    /// the listed processes; for SIGKILL, which needs no list, it returns false.
    ///
    /// For signals other than SIGKILL the cgroup is frozen in the meantime, because a process could
    /// otherwise fork a child that is not in the list. A cgroup that is already frozen stays
    /// frozen, and its processes handle the signal after they are thawed.
    ///
    /// # Errors
    /// A system call failed. A process that ends in the meantime is not an error.
    pub fn signal_all(&self, signal: i32, init: i32) -> Result<bool> {
        if signal == libc::SIGKILL {
            return self.kill().map(|()| false);
        }
        if self.is_frozen()? {
            return self.signal_listed(signal, init);
        }
        self.while_frozen(|| self.signal_listed(signal, init))
    }

    /// [`Cgroup::kill`] for a threaded cgroup, which has no `cgroup.kill`. SIGKILL reaches frozen
    /// processes too.
    pub(super) fn kill_listed(&self) -> Result<()> {
        self.while_frozen(|| self.signal_listed(libc::SIGKILL, 0))
            .map(drop)
    }

    /// Calls `act` while no process can fork, and thaws the cgroup afterwards.
    fn while_frozen<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        // A signal that ended this process now would leave the container frozen.
        let held = signals::Held::new(&interrupt::ASKING).context("signals")?;
        // Another process may resume the container at the same time.
        while !self.freeze()? {}
        let done = act();
        let thawed = self.thaw();
        drop(held);
        done.and_then(|done| thawed.map(|()| done))
    }

    fn signal_listed(&self, signal: i32, init: i32) -> Result<bool> {
        let pids = self.processes()?;
        for &pid in &pids {
            let sent =
                pidfd::open(pid).and_then(|process| pidfd::send_signal(process.as_fd(), signal));
            match sent {
                Err(fail) if fail.errno == Errno::ESRCH => {}
                sent => sent.with_context(|| format!("process {pid}"))?,
            }
        }
        Ok(pids.contains(&init))
    }
}
