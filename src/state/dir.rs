//! The directory of one container, held by descriptor once it is open.
//!
//! When a container's directory is removed, another container can take the id, and its cgroup and
//! systemd unit then have the same names. So a verb does not look up the directory by path again.
//! If a verb has opened something else by a path from the state, it checks afterwards whether the
//! directory is still the container's. If so, the object was this container's when it was opened.
//! Only a process that holds the directory's lock removes it, so for the holder the result of the
//! check stays true.

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};

use crate::error::{Call as _, Code, Context as _, Error, Kind};
use crate::host;
use crate::sys::path;
use crate::sys::stat::Stat;
use crate::sys::{Fail, Sys, file, stat};

/// The data for later verbs: [`super::State`].
pub const STATE: &CStr = c"state.json";
/// The bytes of the config that the container was created from.
pub const CONFIG: &CStr = c"config.json";
/// The SEQPACKET socket on which the init process waits for `start`.
pub const START_SOCKET: &CStr = c"start.sock";
/// The datagram socket on which the process that records the container's system calls takes the
/// listeners of the processes of `exec`.
pub const RECORD_SOCKET: &CStr = c"record.sock";
/// The directory that the container's NOTIFY_SOCKET is in.
pub const NOTIFY: &CStr = c"notify";
/// The file whose write lock the init process holds until its execve(2).
pub(super) const INIT_LOCK: &CStr = c"init.lock";

/// The place of a container's directory, which need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Absolute.
    pub path: PathBuf,
    /// The container's id.
    pub id: String,
}

impl Place {
    /// Opens the directory. `None` if it does not exist.
    ///
    /// # Errors
    /// The directory cannot be opened, or users other than the caller may change its content: the
    /// hooks in its config would run as the caller.
    pub fn open(&self) -> Result<Option<Dir>> {
        let object = || self.path.display();
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let fd = match file::open(&self.path, flags, 0) {
            Err(fail) if fail.errno == Errno::ENOENT => return Ok(None),
            opened => opened.with_context(object)?,
        };
        let own = stat::stat(fd.as_fd()).with_context(object)?;
        let caller = geteuid().as_raw();
        check_container(&self.path, &own, caller)?;
        let above = stat::stat_at(fd.as_fd(), c"..").with_context(object)?;
        match (above, self.path.parent()) {
            (Some(above), Some(root)) => check_root(root, &above, caller)?,
            // A removed directory has no parent.
            _ => return Ok(None),
        }
        Ok(Some(Dir {
            path: self.path.clone(),
            id: self.id.clone(),
            fd,
            owner: own.uid,
            inode: own.inode(),
        }))
    }

    /// [`Kind::NotFound`], with the text that engines match.
    pub fn missing(&self) -> Error {
        missing(&self.id)
    }
}

/// The directory of one container.
#[derive(Debug)]
pub struct Dir {
    /// Absolute. For messages, and to check whether the path still leads to this directory.
    pub path: PathBuf,
    /// The container's id.
    pub id: String,
    /// The uid of the directory's owner.
    pub owner: u32,
    fd: OwnedFd,
    inode: (u64, u64),
}

impl Dir {
    /// The directory's own descriptor. It leads to the same directory even if its path does not.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of a file in the directory, for messages.
    pub fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(name.to_string_lossy().as_ref())
    }

    /// Opens a file in the directory.
    ///
    /// # Errors
    /// openat(2) failed.
    pub fn open(&self, name: &CStr, flags: i32, mode: u32) -> Sys<OwnedFd> {
        path::open_at(Some(self.fd()), name, flags | libc::O_NOFOLLOW, mode)
    }

    /// The content of a file in the directory. `None` if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, name: &CStr) -> Result<Option<Vec<u8>>> {
        self.read_by(name, file::read_open)
    }

    /// [`Dir::read`] of a file of one line.
    ///
    /// # Errors
    /// Those of [`Dir::read`].
    pub(super) fn read_line(&self, name: &CStr) -> Result<Option<Vec<u8>>> {
        self.read_by(name, file::read_line)
    }

    fn read_by(
        &self,
        name: &CStr,
        read: impl FnOnce(BorrowedFd) -> Sys<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>> {
        let opened = match self.open(name, libc::O_RDONLY, 0) {
            Err(fail) if fail.errno == Errno::ENOENT => return Ok(None),
            opened => opened,
        };
        opened
            .and_then(|file| read(file.as_fd()))
            .map(Some)
            .with_context(|| self.object(name))
    }

    /// Whether a file of this name exists.
    ///
    /// # Errors
    /// fstatat(2) failed.
    pub fn has(&self, name: &CStr) -> Result<bool> {
        stat::stat_at(self.fd(), name)
            .map(|found| found.is_some())
            .with_context(|| self.object(name))
    }

    /// A file of the directory, for errors.
    pub fn object(&self, name: &CStr) -> PathBuf {
        self.path_of(name)
    }

    /// Whether the container still exists, that is, whether its path still leads to this directory.
    ///
    /// # Errors
    /// fstatat(2) of the path failed.
    pub fn is_current(&self) -> Result<bool> {
        stat::stat_of(&self.path)
            .map(|found| found.is_some_and(|found| found.inode() == self.inode))
            .with_context(|| self.path.display())
    }

    /// Fails if the container has been deleted. An object that was opened by a path from the state
    /// before this call belongs to the container.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or those of [`Dir::is_current`].
    pub fn check_current(&self) -> Result<()> {
        if self.is_current()? {
            Ok(())
        } else {
            bail!(self.missing())
        }
    }

    /// Waits until no other verb changes or removes the directory, and locks other verbs out until
    /// the directory is closed. `None` if the container has been deleted by then. flock(2).
    ///
    /// # Errors
    /// flock(2) or fstatat(2) failed.
    pub fn lock(&self) -> Result<Option<Locked<'_>>> {
        path::lock(self.fd()).with_context(|| self.path.display())?;
        Ok(self.is_current()?.then_some(Locked { dir: self }))
    }

    /// [`Kind::NotFound`], with the text that engines match.
    pub fn missing(&self) -> Error {
        missing(&self.id)
    }

    /// The error for a file that the directory lacks: `otherwise`, or that the container is gone. A
    /// running delete may have removed the file, and the lock waits for it to finish.
    pub fn without_file(&self, otherwise: Error) -> anyhow::Error {
        match self.lock() {
            Ok(Some(_)) => otherwise.into(),
            Ok(None) => self.missing().into(),
            Err(error) => error,
        }
    }

    /// Whether an init process was made in this directory, whatever the state says.
    ///
    /// # Errors
    /// fstatat(2) failed.
    pub fn had_init(&self) -> Result<bool> {
        self.has(INIT_LOCK)
    }

    /// [`Dir::missing`] for a directory without a state.
    pub fn half_made(&self) -> Error {
        if let Ok(Some(foreign)) = self.foreign() {
            let hint = format!("no container has {}", foreign.display());
            return self.missing().hint(hint);
        }
        self.missing()
            .code_is(Code::ContainerIncomplete)
            .hint(format!(
                "{} belongs to a create that is still running or was killed; \
             sampan delete --force removes it",
                self.path.display()
            ))
    }
}

/// More files than a create that has not noticed the removal can still add, each between the removal of
/// the others and of the directory.
const FILES: u32 = 16;

/// A directory that no other process removes, and that its path leads to.
#[derive(Debug)]
pub struct Locked<'a> {
    dir: &'a Dir,
}

impl Locked<'_> {
    /// The directory that is locked.
    pub fn dir(&self) -> &Dir {
        self.dir
    }

    /// Removes the directory and what a container has in it.
    ///
    /// # Errors
    /// Something else is in the directory; unlink(2) or rmdir(2) failed.
    pub fn remove(&self) -> Result<()> {
        let Dir { path, fd, .. } = self.dir;
        // If the runtime is killed in between, what is left is that of a container or of a create
        // that has made nothing else: an init without a state is neither.
        for name in [INIT_LOCK, START_SOCKET, STATE, CONFIG] {
            // If this fails, the code below reports it.
            let _ = path::unlink_at(Some(fd.as_fd()), name);
        }
        if std::fs::remove_dir(path).is_ok() {
            return Ok(());
        }
        let object = || path.display();
        let mut removed = Ok(());
        for _ in 0..FILES {
            self.dir.clear()?;
            removed = std::fs::remove_dir(path);
            let again = |error: &std::io::Error| error.kind() == ErrorKind::DirectoryNotEmpty;
            if !removed.as_ref().is_err_and(again) {
                break;
            }
        }
        removed.call("rmdir").with_context(object)
    }

    /// Releases the lock before the directory is closed.
    pub fn release(self) {
        // If this fails, closing the directory releases the lock.
        let _ = path::unlock(self.dir.fd());
    }
}

fn missing(id: &str) -> Error {
    Error::of(Kind::NotFound, format!("container does not exist: {id}"))
}

/// Refuses a directory that users other than the caller may change: the caller executes its hooks
/// and signals its processes.
fn check_container(path: &Path, stat: &Stat, caller: u32) -> Result<()> {
    let what = || format!("container directory {}", path.display());
    if stat.uid != caller {
        bail!(foreign(what(), stat, caller));
    }
    match stat.mode & 0o022 {
        0 => Ok(()),
        _ => bail!(writable(what(), stat)),
    }
}

/// Refuses a root directory that users other than the caller may change. Its owner may also be the
/// host's root, which may do anything anyway, or a user that the user namespace does not map. Other
/// users may write to it if the sticky bit keeps them from changing the caller's entries.
pub(super) fn check_root(path: &Path, stat: &Stat, caller: u32) -> Result<()> {
    let what = || format!("root directory {}", path.display());
    let trusted = stat.uid == caller
        || stat.uid == 0
        || (stat.uid == overflow_uid()? && host::in_user_namespace()?);
    if !trusted {
        bail!(foreign(what(), stat, caller));
    }
    let (group, all, sticky) = (0o020, 0o002, libc::S_ISVTX);
    let is_written = stat.mode & sticky == 0
        && (stat.mode & all != 0 || (stat.mode & group != 0 && stat.gid != getegid().as_raw()));
    if !is_written {
        Ok(())
    } else {
        bail!(writable(what(), stat))
    }
}

/// The uid that stands for users that a user namespace does not map. user_namespaces(7).
fn overflow_uid() -> Result<u32> {
    const FILE: &str = "/proc/sys/kernel/overflowuid";
    let read = || {
        let text = file::read_text(FILE.as_ref())?;
        let number = text.trim().parse();
        number.map_err(|_| Fail::new("read", Errno::EBADMSG))
    };
    read().context(FILE)
}

fn foreign(what: String, stat: &Stat, caller: u32) -> Error {
    let message = format!(
        "{what}: it belongs to user {}, but the caller is user {caller}",
        stat.uid
    );
    Error::new(message).code_is(Code::StateUntrusted).hint(
        "its owner could execute programs as the caller: choose another directory with --root",
    )
}

fn writable(what: String, stat: &Stat) -> Error {
    let message = format!(
        "{what}: users other than its owner may write to it: mode {:04o}",
        stat.mode & 0o7777
    );
    Error::new(message)
        .code_is(Code::StateUntrusted)
        .hint("they could execute programs as the caller: chmod it to 0700, or choose another directory with --root")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(uid: u32, mode: u32) -> Stat {
        Stat {
            mode: libc::S_IFDIR | mode,
            uid,
            gid: u32::MAX - 1,
            rdev: (0, 0),
            dev: 1,
            ino: 1,
            links: 1,
        }
    }

    #[test]
    fn a_container_is_its_owners_alone() {
        let own = geteuid().as_raw();
        let check = |uid, mode| check_container(Path::new("/r/one"), &stat(uid, mode), own);
        for mode in [0o700, 0o755, 0o711] {
            check(own, mode).unwrap();
        }
        for mode in [0o770, 0o707, 0o1777] {
            let text = format!("{:#}", check(own, mode).unwrap_err());
            assert!(
                text.contains("container directory /r/one: users other"),
                "{text}"
            );
        }
        let text = format!("{:#}", check(own + 1, 0o700).unwrap_err());
        assert!(text.contains("belongs to user"), "{text}");
    }

    #[test]
    fn a_root_may_be_roots_or_sticky() {
        let own = geteuid().as_raw();
        let check = |uid, mode| check_root(Path::new("/r"), &stat(uid, mode), own);
        for (uid, mode) in [(own, 0o700), (own, 0o711), (0, 0o755), (0, 0o1777)] {
            check(uid, mode).unwrap();
        }
        for (uid, mode) in [(own, 0o777), (own, 0o770), (12345, 0o700), (12345, 0o1777)] {
            assert!(check(uid, mode).is_err(), "{uid} {mode:o}");
        }
        let group = Stat {
            gid: getegid().as_raw(),
            ..stat(own, 0o775)
        };
        check_root(Path::new("/r"), &group, own).unwrap();
    }
}
