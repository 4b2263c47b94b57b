//! The rootfs as a mount of its own, and as `/`.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use crate::plan::{Propagation, RootSwitch};
use crate::sys::mount::{self, Change};
use crate::sys::{Fail, Sys, path};

const NO_DATA: &CStr = c"";

/// Changes the propagation of every mount of the namespace.
pub fn propagate_all(flag: u64) -> Sys<()> {
    let root = path::open(c"/", libc::O_PATH)?;
    mount::set_attr(
        root.as_fd(),
        Change {
            propagation: flag,
            ..Change::default()
        },
        true,
    )
}

impl Init<'_> {
    pub(super) fn bind_rootfs(
        &mut self,
        position: usize,
        rootfs: &CStr,
        private_parent: bool,
    ) -> Sys<()> {
        let below = if self.plan.reach_for_init {
            self.reach(position)?
        } else {
            path::open(rootfs, libc::O_PATH | libc::O_DIRECTORY)?
        };
        if private_parent {
            make_parent_private(&below)?;
        }
        if self.plan.has_mount_namespace() {
            let tree = mount::clone_tree(Some(below.as_fd()), c"", true)?;
            mount::attach(tree.as_fd(), below.as_fd())?;
            self.root = Some(tree);
        } else {
            self.root = Some(below);
        }
        Ok(())
    }

    pub(super) fn switch_root(&mut self, kind: RootSwitch, shared: bool) -> Sys<()> {
        match kind {
            RootSwitch::Pivot => {
                let old = path::open(c"/", libc::O_PATH)?;
                path::fchdir(self.root()?)?;
                mount::pivot_to_cwd()?;
                if shared {
                    let slave = Change {
                        propagation: libc::MS_SLAVE,
                        ..Change::default()
                    };
                    mount::set_attr(old.as_fd(), slave, true)?;
                }
                mount::detach_cwd()?;
            }
            RootSwitch::Move => {
                cover_host_views()?;
                path::fchdir(self.root()?)?;
                mount::mount(c".", c"/", c"", libc::MS_MOVE, NO_DATA)?;
                path::chroot(c".")?;
            }
            RootSwitch::Chroot => {
                path::fchdir(self.root()?)?;
                path::chroot(c".")?;
            }
        }
        path::chdir(c"/")
    }

    pub(super) fn propagate(&self, propagation: Propagation) -> Sys<()> {
        let change = Change {
            propagation: propagation.flag,
            ..Change::default()
        };
        mount::set_attr(self.root()?, change, propagation.recursive)
    }

    /// A mount that had to stay writable until everything in it was made.
    pub(super) fn mount_readonly(&self, target: &CStr) -> Sys<()> {
        let readonly = Change {
            set: libc::MOUNT_ATTR_RDONLY,
            ..Change::default()
        };
        if target == c"/" {
            return mount::set_attr(self.root()?, readonly, false);
        }
        let target = path::open_in_root(self.root()?, target, libc::O_PATH)?;
        mount::set_attr(target.as_fd(), readonly, false)
    }
}

/// Walks up to the root of the mount that holds the rootfs, which alone can be changed.
fn make_parent_private(rootfs: &OwnedFd) -> Sys<()> {
    let private = Change {
        propagation: libc::MS_PRIVATE,
        ..Change::default()
    };
    let mut at = path::open_at(Some(rootfs.as_fd()), c".", libc::O_PATH, 0)?;
    loop {
        match mount::set_attr(at.as_fd(), private, false) {
            Err(Fail {
                errno: Errno::EINVAL,
                ..
            }) => {
                let above = path::open_at(Some(at.as_fd()), c"..", libc::O_PATH, 0)?;
                let (here, there) = (path::stat(at.as_fd())?, path::stat(above.as_fd())?);
                if (here.dev, here.ino) == (there.dev, there.ino) {
                    return Err(Fail::new("mount_setattr", Errno::EINVAL));
                }
                at = above;
            }
            other => return other,
        }
    }
}

/// Without pivot_root(2) the host's mounts stay below the container's root. A full view of the
/// host's proc and sysfs there would let a process in the container mount its own without masks,
/// so they go, or are covered where the kernel keeps them.
fn cover_host_views() -> Sys<()> {
    for directory in [c"/proc", c"/sys"] {
        let opened = match path::open(directory, libc::O_PATH | libc::O_DIRECTORY) {
            Ok(opened) => opened,
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => continue,
            Err(fail) => return Err(fail),
        };
        path::fchdir(opened.as_fd())?;
        match mount::detach_cwd() {
            Ok(()) => {}
            Err(Fail {
                errno: Errno::EINVAL | Errno::EPERM,
                ..
            }) => {
                mount::mount(c"tmpfs", c".", c"tmpfs", libc::MS_RDONLY, c"size=0k")?;
            }
            Err(fail) => return Err(fail),
        }
    }
    path::chdir(c"/")
}
