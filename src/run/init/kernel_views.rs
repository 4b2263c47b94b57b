//! The container's procfs and sysfs, which init reaches by descriptor once they are mounted.
//!
//! Other processes, such as a container with the same rootfs, may exchange the directories of the
//! rootfs while the container is created. A mount moves with the directory that it is on, and so
//! does a descriptor of that directory. The path, however, then leads to a different directory: a
//! mask would cover that one and leave the procfs exposed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::Init;
use crate::sys::path::{self, Make};
use crate::sys::{Fail, Note, Sys, stat};

const SYSFS_MAGIC: i64 = 0x6265_6572;
pub(super) const PROC_MAGIC: i64 = 0x9fa0;

/// The roots of the procfs and the sysfs. A mount on top of one of them, to which a link in the
/// image may have led, does not get its masks.
#[derive(Default)]
pub(super) struct KernelViews([Option<Rc<OwnedFd>>; 2]);

/// Where programs look for a view of the kernel.
struct Kind {
    path: &'static CStr,
    magic: i64,
    /// Another mount is at the path.
    other: Note,
}

const KINDS: [Kind; 2] = [
    Kind {
        path: c"/proc",
        magic: PROC_MAGIC,
        other: Note::OtherProcfs,
    },
    Kind {
        path: c"/sys",
        magic: SYSFS_MAGIC,
        other: Note::OtherSysfs,
    },
];

impl KernelViews {
    /// Whether a mount at the container's path `target` may be a view.
    pub(super) fn may_be_at(target: &CStr) -> bool {
        KINDS.iter().any(|kind| kind.path == target)
    }

    /// Keeps `top`, the root of what has just been mounted on the container's path `target`, if
    /// that is a procfs at /proc or a sysfs at /sys. Symbolic links in these stay inside the file
    /// system; links in other file systems need not. `known` says that it is one of the two.
    pub(super) fn mounted(&mut self, target: &CStr, top: &Rc<OwnedFd>, known: bool) -> Sys<()> {
        for (kind, view) in KINDS.iter().zip(&mut self.0) {
            if kind.path == target {
                let is_view = known || stat::magic(top.as_fd())? == kind.magic;
                *view = is_view.then(|| top.clone());
            }
        }
        Ok(())
    }

    /// Returns the directory at which to start for a path of the container, and the path from
    /// there. It is `None` if the path is not in the procfs or sysfs.
    fn start(&self, of: &CStr) -> Option<(BorrowedFd<'_>, CString)> {
        KINDS.iter().zip(&self.0).find_map(|(kind, view)| {
            let below = of.to_bytes().strip_prefix(kind.path.to_bytes())?;
            let inside = below.is_empty() || below.starts_with(b"/");
            let top = view.as_ref().filter(|_| inside)?.as_fd();
            let path = CString::new([b".", below].concat()).ok()?;
            Some((top, path))
        })
    }

    /// Checks that each view is where programs look for it, and that no other mount covers it.
    pub(super) fn check(&self) -> Sys<()> {
        let views = KINDS.iter().zip(&self.0);
        views.into_iter().try_for_each(|(kind, view)| match view {
            Some(top) => kind.check(top.as_fd()),
            None => Ok(()),
        })
    }
}

impl Kind {
    fn check(&self, top: BorrowedFd) -> Sys<()> {
        match stat::mount_id_at(None, self.path) {
            Ok(found) if found == stat::mount_id(top)? => Ok(()),
            Ok(_)
            | Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => Err(Fail::new("statx", Errno::ESTALE).note(self.other)),
            Err(fail) => Err(fail),
        }
    }
}

impl Init<'_> {
    /// Opens a path of the container.
    pub(super) fn open(&self, target: &CStr, flags: i32) -> Sys<OwnedFd> {
        match self.views.start(target) {
            Some((top, path)) => path::open_in_root(top, &path, flags),
            None => path::open_in_root(self.root()?, target, flags),
        }
    }

    /// Opens a path of the container and creates the missing parts.
    pub(super) fn open_or_make(&self, target: &CStr, make: Make) -> Sys<OwnedFd> {
        match self.views.start(target) {
            Some((top, path)) => path::open_or_make(top, &path, make),
            None => path::open_or_make(self.root()?, target, make),
        }
    }
}
