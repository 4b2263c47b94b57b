//! Ends a container: kills its processes and removes its cgroup and its directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::steps::Made;
use super::{host_mount, resctrl};
use crate::cgroup::{Cgroup, systemd};
use crate::error::{Code, Context as _, Error};
use crate::state::{self, Claim, Dir, Locked, State};
use crate::sys::{pidfd, poll, process};

/// How long to wait until killed processes have left their cgroup. The kernel frees their memory
/// first, which takes seconds on a loaded machine with much memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a partly created container when it is dropped, unless it has been disarmed.
pub struct Undo {
    claim: Option<Claim>,
    /// What has been made outside of the directory.
    pub made: Made,
    /// A pidfd of init.
    pub process: Option<Rc<OwnedFd>>,
    /// The rootfs and the id of the mount that `host_mount` attached to it.
    pub mount: Option<(PathBuf, u64)>,
}

impl Undo {
    /// Guards a container that consists only of its directory so far.
    pub fn new(claim: Claim) -> Self {
        Self {
            claim: Some(claim),
            made: Made::default(),
            process: None,
            mount: None,
        }
    }

    /// Whether init was started, so that hooks may have run.
    pub fn process_began(&self) -> bool {
        self.process.is_some()
    }

    /// Kills and reaps the process of init, if there is one.
    pub fn end_process(&mut self) {
        if let Some(pidfd) = &self.process {
            process::end(pidfd.as_fd());
        }
    }

    /// Keeps the container, which is complete.
    ///
    /// # Panics
    /// The guard was already disarmed.
    pub fn disarm(mut self) -> Rc<Dir> {
        self.process = None;
        self.made = Made::default();
        self.mount = None;
        self.claim.take().expect("the guard is armed").keep()
    }

    /// The error for an init that ended without reporting one.
    pub fn death(&self) -> Error {
        let mut text = "init died while it set the container up".to_owned();
        let end = |pidfd: &Rc<OwnedFd>| process::wait(pidfd.as_fd()).ok();
        if let Some(end) = self.process.as_ref().and_then(end) {
            text += &format!(": {end}");
        }
        let error = Error::new(text).code_is(Code::InitDied);
        let kills = self.made.cgroup.as_ref().map(Cgroup::memory_kills);
        if matches!(kills, Some(Ok(1..))) {
            return error.hint("possibly OOM-killed: raise linux.resources.memory.limit");
        }
        error
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.end_process();
        // Before the network namespace ends, and with it every virtual device.
        for device in self.made.devices.drain(..).rev() {
            device.give_back();
        }
        let _ = resctrl::remove(&self.made.resctrl);
        if let Some((rootfs, number)) = self.mount.take() {
            let _ = host_mount::detach(&rootfs, number);
        }
        let Some(claim) = self.claim.take() else {
            return;
        };
        // A command that has deleted the container in the meantime has removed its cgroup too. What
        // has these names by now belongs to the next container with the id. If the lock fails, the
        // container has probably not been deleted.
        if matches!(claim.dir().lock(), Ok(None)) {
            return;
        }
        let began = self.process_began();
        let cgroup_stays = self.made.cgroup.take().is_some_and(|cgroup| {
            // Hooks may have left processes in the cgroup. Errors are ignored, because the failure
            // that led here is the one to report; `delete --force` can remove the rest.
            if began {
                let _ = cgroup.kill();
                let _ = cgroup.wait_empty(PATIENCE);
            }
            cgroup.undo().is_err()
        });
        if let Some(unit) = self.made.unit.take() {
            // A scope without processes ends by itself, but its name would not be free at once.
            let _ = systemd::stop(unit.manager(), &unit.name);
        }
        // Only the state in the directory records where the cgroup is, so the directory stays as
        // long as the cgroup does.
        if cgroup_stays {
            drop(claim.keep());
        }
    }
}

/// Kills the container's processes and removes its cgroup and its directory. `init` is its init
/// process, if that is alive.
///
/// # Errors
/// Processes cannot be killed, or do not end; rmdir(2) or unlink(2) failed.
pub fn end(locked: &Locked, state: &State, init: Option<&OwnedFd>) -> Result<()> {
    end_all_but_directory(state, init)?;
    locked.remove()
}

/// [`end`] for a container whose directory another program has removed.
///
/// # Errors
/// Those of [`end`].
pub fn end_all_but_directory(state: &State, init: Option<&OwnedFd>) -> Result<()> {
    // A cgroup that cannot be seen from here is an error before anything is killed.
    let place = state.cgroup.as_ref();
    let cgroup = place.map(|place| place.place().open()).transpose()?;
    if let Some(init) = init {
        kill(state.pid, init)?;
    }
    match (place, cgroup) {
        (Some(place), Some(cgroup)) => end_cgroup(place, cgroup.as_ref(), init.is_some())?,
        _ => wait_for_init(init)?,
    }
    resctrl::remove(&state.resctrl.made)?;
    if let Some(number) = state.rootfs_mount {
        host_mount::detach(&state.rootfs, number)?;
    }
    Ok(())
}

fn kill(pid: i32, init: &OwnedFd) -> Result<()> {
    match pidfd::send_signal(init.as_fd(), libc::SIGKILL) {
        Err(fail) if fail.errno == Errno::ESRCH => Ok(()),
        sent => sent.with_context(|| format!("process {pid}")),
    }
}

/// Kills the processes in a cgroup, waits until they have ended, and removes the cgroup, unless it is
/// gone.
fn end_cgroup(place: &state::Cgroup, cgroup: Option<&Cgroup>, init_lived: bool) -> Result<()> {
    let Some(cgroup) = cgroup else {
        if let Some(unit) = &place.unit {
            // A systemd that does not answer is not a reason to keep the container.
            let _ = systemd::forget(unit.manager(), &unit.name);
        }
        return Ok(());
    };
    // In most cases the cgroup is already empty.
    if !init_lived && place.unit.is_none() && cgroup.remove_unused()? {
        return Ok(());
    }
    cgroup.kill()?;
    if !cgroup.wait_empty(PATIENCE)? {
        let message = format!("{}: killed processes do not end", cgroup.path().display());
        bail!(
            Error::new(message)
                .hint("a process hangs in the kernel, or its parent, outside of the container, has not waited for it; try again later")
        );
    }
    if let Some(unit) = &place.unit {
        // The scope is stopped so that its name is free at once. It would also end by itself, so a
        // systemd that does not answer is not a reason to keep the container.
        let _ = systemd::stop(unit.manager(), &unit.name);
    }
    cgroup.remove()
}

fn wait_for_init(init: Option<&OwnedFd>) -> Result<()> {
    let Some(init) = init else { return Ok(()) };
    let mut ended = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    if !poll::wait(&mut ended, Some(PATIENCE)).context("init")? {
        bail!("the killed init process does not end");
    }
    Ok(())
}
