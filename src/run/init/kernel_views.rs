//! The container's procfs and sysfs, reached by descriptor once they are mounted.
//!
//! Others may exchange the directories of a rootfs while the container is made, as a container that
//! has the same files. A mount goes with the directory that it is on, and so does a descriptor of
//! that directory, but the path then leads to something else: a mask would cover that, and leave
//! the procfs as it is.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use crate::sys::path::{self, Make};
use crate::sys::{Fail, Note, Sys};

const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(super) const PROC_MAGIC: i64 = 0x9fa0;

/// The directories that they are mounted on. `..` leads from there to what is on top, as
/// [`path::mounted_on`] has it.
#[derive(Default)]
pub(super) struct KernelViews {
    proc: Option<OwnedFd>,
    sys: Option<OwnedFd>,
}

impl KernelViews {
    /// Keeps the directory of the container's path `target`, on which a file system has been
    /// mounted, if that is the kernel's view that belongs there. Links in it stay inside of it, as
    /// those of other file systems need not.
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

    /// For a file system that is known to be the view.
    pub(super) fn made(&mut self, target: &CStr, directory: OwnedFd) {
        match target.to_bytes() {
            b"/proc" => self.proc = Some(directory),
            b"/sys" => self.sys = Some(directory),
            _ => {}
        }
    }

    /// Where a path of the container starts, and the path from there; nothing for one that does not
    /// lie in a view.
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

    /// The same with what is missing made.
    pub(super) fn open_or_make(&self, target: &CStr, make: Make) -> Sys<OwnedFd> {
        match self.views.start(target) {
            Some((directory, path)) => path::open_or_make(directory, &path, make),
            None => path::open_or_make(self.root()?, target, make),
        }
    }

    /// Finds the procfs where every program of the container looks for it.
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
