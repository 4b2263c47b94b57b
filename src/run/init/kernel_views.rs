//! The container's procfs and sysfs, which init reaches by descriptor once they are mounted.
//!
//! Other processes, such as a container with the same rootfs, may exchange the directories of the
//! rootfs while the container is created. A mount moves with the directory that it is on, and so
//! does a descriptor of that directory. The path, however, then leads to a different directory: a
//! mask would cover that one and leave the procfs exposed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use crate::sys::path::{self, Make};
use crate::sys::{Fail, Note, Sys};

const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(super) const PROC_MAGIC: i64 = 0x9fa0;

/// The directories that procfs and sysfs are mounted on. From there `..` leads to the mount on top,
/// see [`path::mounted_on`].
#[derive(Default)]
pub(super) struct KernelViews {
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
}

impl KernelViews {
    /// Keeps `directory`, the container's path `target` on which a file system has just been
    /// mounted, if the file system is a procfs at /proc or a sysfs at /sys. Symbolic links in these
    /// stay inside the file system; links in other file systems need not.
    pub(super) fn mounted(&mut self, target: &CStr, directory: OwnedFd) -> Sys<()> {
        let (view, magic) = match target.to_bytes() {
            b"/proc" => (&mut self.proc, PROC_MAGIC),
            b"/sys" => (&mut self.sys, SYSFS_MAGIC),
            _ => return Ok(()),
        };
        let found = path::magic(path::mounted_on(directory.as_fd())?.as_fd())?;
        *view = (found == magic).then_some(directory);
        Ok(())
    }

    /// The same for a file system that is known to be a procfs or sysfs.
    pub(super) fn made(&mut self, target: &CStr, directory: OwnedFd) {
        match target.to_bytes() {
            b"/proc" => self.proc = Some(directory),
            b"/sys" => self.sys = Some(directory),
            _ => {}
        }
    }

    /// Returns the directory at which to start for a path of the container, and the path from
    /// there. It is `None` if the path is not in the procfs or sysfs.
    fn start(&self, of: &CStr) -> Option<(BorrowedFd<'_>, CString)> {
        let views = [(b"/proc".as_slice(), &self.proc), (b"/sys", &self.sys)];
        views.into_iter().find_map(|(name, directory)| {
            let below = of.to_bytes().strip_prefix(name)?;
            let inside = below.is_empty() || below.starts_with(b"/");
            let directory = directory.as_ref().filter(|_| inside)?.as_fd();
            let path = CString::new([b"..", below].concat()).ok()?;
            Some((directory, path))
        })
    }
}

impl Init<'_> {
    /// Opens a path of the container.
    pub(super) fn open(&self, target: &CStr, flags: i32) -> Sys<OwnedFd> {
        match self.views.start(target) {
            Some((directory, path)) => path::open_in_root(directory, &path, flags),
            None => path::open_in_root(self.root()?, target, flags),
        }
    }

    /// Opens a path of the container and creates the missing parts.
    pub(super) fn open_or_make(&self, target: &CStr, make: Make) -> Sys<OwnedFd> {
        match self.views.start(target) {
            Some((directory, path)) => path::open_or_make(directory, &path, make),
            None => path::open_or_make(self.root()?, target, make),
        }
    }

    /// Checks that the container's procfs is at /proc, where its programs look for it.
    pub(super) fn check_proc(&self) -> Sys<()> {
        let Some(directory) = &self.views.proc else {
            return Ok(());
        };
        let top = path::mounted_on(directory.as_fd())?;
        match path::mount_id_at(None, c"/proc") {
            Ok(found) if found == path::mount_id(top.as_fd())? => Ok(()),
            Ok(_)
            | Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => Err(Fail::new("statx", Errno::ESTALE).note(Note::OtherProcfs)),
            Err(fail) => Err(fail),
        }
    }
}
