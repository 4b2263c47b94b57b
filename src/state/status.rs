//! The status of a container, as computed from the kernel's state.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use serde::Serialize;

use super::dir::{CONFIG, INIT_LOCK, Locked, START_SOCKET, STATE};
use super::{Dir, State};
use crate::error::{Call as _, Context as _};
use crate::sys::{Fail, Sys};

/// The status values of the specification, and `paused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Init does not exist yet, or is still setting up: its socket is missing.
    Creating,
    /// Init holds its lock, so it has not executed the container's program.
    Created,
    /// Init has executed the container's program.
    Running,
    /// The cgroup is frozen.
    Paused,
    /// Init has ended or is about to, or another process has its pid now.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl State {
    /// The current status.
    ///
    /// # Errors
    /// The process, the lock or the cgroup cannot be inspected, so nothing is known.
    pub fn status(&self, dir: &Dir) -> Result<Status> {
        self.status_if(dir, || self.is_alive())
    }

    /// The status, and a pidfd of init if it is alive, from a single look at the process.
    ///
    /// # Errors
    /// Those of [`State::status`].
    pub fn status_and_init(&self, dir: &Dir) -> Result<(Status, Option<OwnedFd>)> {
        let mut init = None;
        let status = self.status_if(dir, || {
            init = self.process()?;
            Ok(init.is_some())
        })?;
        Ok((status, init))
    }

    /// A pidfd of init, for a signal, if init is alive and has been set up. It may be frozen.
    ///
    /// # Errors
    /// The process or the lock cannot be inspected.
    pub fn init(&self, dir: &Dir) -> Result<Option<OwnedFd>> {
        if self.pid == 0 {
            return Ok(None);
        }
        let waits = is_locked(dir, INIT_LOCK)?;
        let Some(init) = self.process()? else {
            return Ok(None);
        };
        let is_set_up = !waits || dir.has(START_SOCKET)?;
        Ok(is_set_up.then_some(init))
    }

    /// Checks whether init is alive after checking the lock: an init that ends releases the lock
    /// too.
    fn status_if(&self, dir: &Dir, lives: impl FnOnce() -> Result<bool>) -> Result<Status> {
        if self.pid == 0 {
            return Ok(Status::Creating);
        }
        let waits = is_locked(dir, INIT_LOCK)?;
        if !lives()? {
            return Ok(Status::Stopped);
        }
        if let Some(cgroup) = &self.cgroup
            && cgroup.place().is_frozen()?
        {
            return Ok(Status::Paused);
        }
        if !waits {
            return Ok(Status::Running);
        }
        if dir.has(START_SOCKET)? {
            return Ok(Status::Created);
        }
        // A delete removes the socket too, but not before init has ended.
        Ok(if self.is_alive()? {
            Status::Creating
        } else {
            Status::Stopped
        })
    }
}

/// The argument for an open file description lock of type `kind` on a whole file.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel's field is a short"
)]
fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Takes the write lock by which init shows that it has not executed the container's program yet.
/// The lock belongs to the open file description and is released when the last copy of the
/// descriptor is closed: in init by close-on-exec, in the runtime explicitly.
///
/// # Errors
/// open(2) or fcntl(2) failed.
pub fn lock_init(dir: &Dir) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    dir.open(INIT_LOCK, flags, 0o600)
        .and_then(|file| lock(file.as_fd()).map(|()| file))
        .with_context(|| dir.object(INIT_LOCK))
}

/// Takes a write lock that belongs to the open file description.
pub(super) fn lock(file: BorrowedFd) -> Sys<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))
        .map(drop)
        .map_err(|errno| Fail::new("fcntl(F_OFD_SETLK)", errno))
}

/// Whether a process holds a lock on the file. A missing file is not locked. Source:
/// fcntl_locking(2).
fn is_locked(dir: &Dir, name: &CStr) -> Result<bool> {
    let file = match dir.open(name, libc::O_RDONLY, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => return Ok(false),
        opened => opened.with_context(|| dir.object(name))?,
    };
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))
        .call("fcntl(F_OFD_GETLK)")
        .with_context(|| dir.object(name))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

impl Locked<'_> {
    /// Whether a create that was killed has left the directory without a state. A create that is
    /// still running holds the lock of the config, and writes the state before it releases the
    /// lock. Where the config has no content yet, nothing has been created.
    ///
    /// # Errors
    /// The config or the state cannot be looked at.
    pub fn is_abandoned(&self) -> Result<bool> {
        let dir = self.dir();
        let has_config = dir.read(CONFIG)?.is_some_and(|text| !text.is_empty());
        let is_left = has_config && !is_locked(dir, CONFIG)? && !dir.has(STATE)?;
        Ok(is_left && dir.foreign()?.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Root, start_time};

    /// In this test, the test process takes the place of init: it is alive, and holds the lock or
    /// not.
    #[test]
    fn status_follows_the_process_the_lock_and_the_socket() {
        let path = std::env::temp_dir().join(format!("sampan-status-{}", std::process::id()));
        let root = Root::choose(Some(&path)).unwrap();
        let dir = root.claim("one", b"").unwrap().keep();
        let pid = std::process::id() as i32;
        let mut state = State {
            pid,
            start_time: start_time(pid).unwrap().unwrap(),
            ..State::default()
        };
        let lock = lock_init(&dir).unwrap();
        assert_eq!(state.status(&dir).unwrap(), Status::Creating);
        std::fs::write(dir.path_of(START_SOCKET), "").unwrap();
        assert_eq!(state.status(&dir).unwrap(), Status::Created);
        fcntl(&lock, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK))).unwrap();
        assert_eq!(state.status(&dir).unwrap(), Status::Running);
        let cgroup = super::super::Cgroup {
            mount: path.clone(),
            path: "/cg".to_owned(),
            ..super::super::Cgroup::default()
        };
        std::fs::create_dir(cgroup.dir()).unwrap();
        std::fs::write(
            cgroup.dir().join("cgroup.events"),
            "populated 1\nfrozen 1\n",
        )
        .unwrap();
        state.cgroup = Some(cgroup);
        assert_eq!(state.status(&dir).unwrap(), Status::Paused);
        state.start_time += 1;
        assert_eq!(state.status(&dir).unwrap(), Status::Stopped);
        state.pid = 0;
        assert_eq!(state.status(&dir).unwrap(), Status::Creating);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
