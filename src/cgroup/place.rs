//! Where a cgroup should be: it is there, it is gone, or it cannot be seen from here.
//!
//! A path below the mount of the hierarchy means the cgroup that was meant only in the same view of
//! the hierarchy. In another mount namespace the hierarchy may not be mounted there, and in another
//! cgroup namespace the path leads elsewhere. Nothing is at the path then, while the cgroup and its
//! processes exist: a new process would get no limits and no device program, and the others would be
//! forgotten. So a missing path is an answer only after a look at the view. And a cgroup at the path is
//! an answer only if it has the number that was recorded: it may belong to another container.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::sys::statfs::CGROUP2_SUPER_MAGIC;

use super::Cgroup;
use super::file;
use super::lifecycle::flag;
use crate::error::{Code, Context as _, Error};
use crate::host::CgroupHost;
use crate::sys::{self, Fail, Sys, handle, path as syspath, process, stat};

/// Where a cgroup should be.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where the cgroup2 hierarchy is mounted.
    pub mount: &'a Path,
    /// Below `mount`, with or without a slash at the beginning.
    pub path: &'a Path,
    /// The inode number of the cgroup, if it was known once.
    pub number: Option<u64>,
    /// The cgroup namespace in which `path` was right, if it was recorded.
    pub namespace: Option<u64>,
}

impl<'a> Place<'a> {
    /// Opens the cgroup. `None` if it is gone, also if another cgroup has its path: the processes in
    /// that one are not the container's.
    ///
    /// # Errors
    /// The cgroup cannot be opened, or it cannot be seen from here.
    pub fn open(&self) -> Result<Option<Cgroup>> {
        match Cgroup::at(&self.dir())? {
            Some(found) if self.is_it(&found)? => Ok(Some(found)),
            _ => self.check_gone().map(|()| None),
        }
    }

    /// Whether an open cgroup is the one that was meant. Another view may show another cgroup at the
    /// path, and where the cgroup is gone another container may have made its own.
    fn is_it(&self, found: &Cgroup) -> Result<bool> {
        match self.number {
            Some(number) => Ok(found.number()? == number),
            None => Ok(true),
        }
    }

    /// Whether the cgroup is frozen, by its own freezer or that of a parent. A cgroup that is gone
    /// is not frozen.
    ///
    /// # Errors
    /// The file cannot be read, or the cgroup cannot be seen from here.
    pub fn is_frozen(&self) -> Result<bool> {
        let dir = self.dir();
        if self.number.is_some() {
            let found = stat::stat_of(&dir).with_context(|| dir.display())?;
            if found.is_none_or(|found| Some(found.ino) != self.number) {
                return self.check_gone().map(|()| false);
            }
        }
        let events = dir.join("cgroup.events");
        match sys::file::read_record(&events) {
            Err(fail) if file::is_gone(fail) => self.check_gone().map(|()| false),
            read => Ok(flag(&read.with_context(|| events.display())?, "frozen")),
        }
    }

    /// Another cgroup in the same view.
    #[must_use]
    pub fn other(&self, path: &'a Path) -> Self {
        Self {
            path,
            number: None,
            ..*self
        }
    }

    /// The absolute path.
    pub fn dir(&self) -> PathBuf {
        below(self.mount, self.path)
    }

    /// Fails if the cgroup, which is not the one at its path, may exist.
    fn check_gone(&self) -> Result<()> {
        let mount = match sys::file::open(self.mount, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
            Err(fail) if [Errno::ENOENT, Errno::ENOTDIR].contains(&fail.errno) => {
                bail!(self.not_mounted())
            }
            opened => opened.with_context(|| self.mount.display())?,
        };
        let magic = stat::magic(mount.as_fd()).with_context(|| self.mount.display())?;
        #[allow(
            clippy::unnecessary_cast,
            reason = "the C libraries disagree about the type"
        )]
        if magic != CGROUP2_SUPER_MAGIC.0 as i64 {
            bail!(self.not_mounted());
        }
        let found = self
            .number
            .map(|number| self.is_elsewhere(mount.as_fd(), number));
        match found {
            Some(Ok(true)) => bail!(self.elsewhere()),
            Some(Ok(false)) => Ok(()),
            // An ordinary user can only ask for the path.
            Some(Err(fail)) if fail.errno != Errno::EPERM => Err(fail).with_context(|| self.dir()),
            Some(Err(_)) | None => self.check_namespace(),
        }
    }

    /// Whether the cgroup with the number is this one.
    fn is_elsewhere(&self, mount: BorrowedFd, number: u64) -> Sys<bool> {
        let found = handle::open_cgroup(mount, number)?;
        found.map_or(Ok(false), |found| self.may_be(found.as_fd()))
    }

    /// Whether an open cgroup may have the name of this one. A cgroup keeps its name, but after the
    /// kernel was booted again another one may have the number.
    fn may_be(&self, found: BorrowedFd) -> Sys<bool> {
        let name = syspath::c_string(self.path.file_name().unwrap_or_default())?;
        let above = match syspath::open_at(Some(found), c"..", libc::O_PATH, 0) {
            // The mount shows only a part of the hierarchy, and not this one.
            Err(fail) if fail.errno == Errno::ENOENT => return Ok(true),
            above => above?,
        };
        let named = stat::stat_at(above.as_fd(), &name)?;
        Ok(named.is_some_and(|named| Some(named.ino) == self.number))
    }

    fn check_namespace(&self) -> Result<()> {
        let Some(recorded) = self.namespace else {
            return Ok(());
        };
        if own_namespace()? == Some(recorded) {
            return Ok(());
        }
        bail!(self.elsewhere())
    }

    fn not_mounted(&self) -> Error {
        let hint = format!(
            "no cgroup2 file system is mounted at {}: run the command in a mount namespace where \
             it is",
            self.mount.display()
        );
        self.unseen().hint(hint)
    }

    fn elsewhere(&self) -> Error {
        self.unseen().hint(
            "the path is that of another cgroup namespace, or of another mount of the hierarchy: \
             run the command where the container was created",
        )
    }

    fn unseen(&self) -> Error {
        let message = format!(
            "cgroup {} cannot be seen from here, and may exist",
            self.dir().display()
        );
        Error::new(message).code_is(Code::ContainerUnseen)
    }
}

/// The caller's cgroup namespace.
///
/// # Errors
/// `stat` of the namespace file in /proc failed.
pub fn own_namespace() -> Result<Option<u64>> {
    process::own_namespace("cgroup").context("/proc/self/ns/cgroup")
}

/// The path of a cgroup below the mount of the hierarchy.
pub(super) fn below(mount: &Path, path: &Path) -> PathBuf {
    mount.join(path.strip_prefix("/").unwrap_or(path))
}

impl Cgroup {
    /// Opens the cgroup `path` of a hierarchy that has just been looked at. `None` if it does not
    /// exist.
    ///
    /// # Errors
    /// The cgroup cannot be opened.
    pub fn open(hierarchy: &CgroupHost, path: &Path) -> Result<Option<Self>> {
        Self::at(&below(&hierarchy.mount, path))
    }

    fn at(path: &Path) -> Result<Option<Self>> {
        match file::open_dir(path) {
            Ok(dir) => Ok(Some(Self::found(dir, path.to_owned()))),
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => Ok(None),
            Err(fail) => Err(fail).with_context(|| path.display()),
        }
    }
}
