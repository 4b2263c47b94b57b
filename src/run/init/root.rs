//! Mounts the rootfs on itself and makes it `/`.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use crate::plan::{Opener, Position, Propagation, RootSwitch};
use crate::sys::binary::{self, OwnMount};
use crate::sys::mount::{self, Change};
use crate::sys::{Fail, Sys, path, pidfd, process, stat};

/// Changes the propagation of every mount of the namespace.
pub(super) fn propagate_all(flag: u64) -> Sys<()> {
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
        position: Position,
        (rootfs, opener): (&CStr, Opener),
        private: bool,
        private_parent: bool,
    ) -> Sys<()> {
        let below = match opener {
            Opener::Runtime => self.reach(position)?,
            Opener::Init => path::open(rootfs, libc::O_PATH | libc::O_DIRECTORY)?,
        };
        if private_parent {
            change_propagation(below.as_fd(), libc::MS_PRIVATE)?;
        }
        if self.plan.has_mount_namespace() {
            let tree = mount::clone_tree(Some(below.as_fd()), c"", true)?;
            if private {
                let private = Change {
                    propagation: libc::MS_PRIVATE,
                    ..Change::default()
                };
                mount::set_attr(tree.as_fd(), private, true)?;
            }
            mount::attach(tree.as_fd(), below.as_fd())?;
            self.root = Some(tree);
            if self.inherited.own_mount.is_some() {
                self.below_root = Some(below);
            }
        } else {
            self.root = Some(below);
        }
        Ok(())
    }

    pub(super) fn switch_root(&mut self, kind: RootSwitch, shared: bool) -> Sys<()> {
        self.attached.clear();
        match kind {
            RootSwitch::Pivot => {
                leave_chroot()?;
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
                self.detach_old_root(old)?;
            }
            RootSwitch::Move => {
                leave_chroot()?;
                self.move_root(shared)?;
            }
            RootSwitch::Chroot => {
                path::fchdir(self.root()?)?;
                path::chroot(c".")?;
            }
        }
        path::chdir(c"/")?;
        self.views.check()
    }

    /// Detaches the old root, which is the top mount on the working directory, and the mount of the
    /// own binary with it.
    ///
    /// # Errors
    /// EBUSY: the host has mounted something on its root in the meantime. That is the top mount
    /// then, and the old root would stay in the container.
    fn detach_old_root(&mut self, old: OwnedFd) -> Sys<()> {
        let below = self.below_root.take();
        let attached = match (self.inherited.own_mount.take(), below) {
            // On the old root itself, the mount of the binary would be the top mount.
            (Some(own), Some(below))
                if stat::place(below.as_fd())? != stat::place(old.as_fd())? =>
            {
                own.attach(below.as_fd())?
            }
            (own, _) => own.map_or(Ok(()), OwnMount::dissolve).map(|()| None)?,
        };
        mount::detach_cwd()?;
        let detached = match attached {
            Some(own) => binary::is_unchangeable(own.as_fd())?,
            None => mount::is_detached(old.as_fd()),
        };
        if detached {
            Ok(())
        } else {
            Err(Fail::new("umount2", Errno::EBUSY))
        }
    }

    pub(super) fn propagate(&self, propagation: Propagation) -> Sys<()> {
        let change = Change {
            propagation: propagation.flag,
            ..Change::default()
        };
        mount::set_attr(self.root()?, change, propagation.recursive)
    }

    /// Makes a mount read-only that had to stay writable until its content was complete.
    pub(super) fn mount_readonly(&self, target: &CStr) -> Sys<()> {
        let readonly = Change {
            set: libc::MOUNT_ATTR_RDONLY,
            ..Change::default()
        };
        if target == c"/" {
            return mount::set_attr(self.root()?, readonly, false);
        }
        let target = self.mount_on(target)?;
        mount::set_attr(target.as_fd(), readonly, false)
    }
}

/// Makes the root of the mount namespace the root of this process.
///
/// The caller may have started the runtime in a chroot(2), for example `chroot /host` in an
/// administrator's container. A container below a chroot could escape from it; chroot(2) describes
/// how. And a process that enters the container's mount namespace later would start outside of the
/// chroot. setns(2).
fn leave_chroot() -> Sys<()> {
    let own = pidfd::open(process::own_pid())?;
    process::setns(own.as_fd(), libc::CLONE_NEWNS)
}

/// Changes the propagation of the mount that contains `inside`. mount_setattr(2) accepts only the
/// root of a mount, so this function walks upwards until it finds it.
pub(super) fn change_propagation(inside: BorrowedFd, propagation: u64) -> Sys<()> {
    let change = Change {
        propagation,
        ..Change::default()
    };
    let mut at = path::open_at(Some(inside), c".", libc::O_PATH, 0)?;
    loop {
        match mount::set_attr(at.as_fd(), change, false) {
            Err(Fail {
                errno: Errno::EINVAL,
                ..
            }) => {
                let above = path::open_at(Some(at.as_fd()), c"..", libc::O_PATH, 0)?;
                let (here, there) = (stat::stat(at.as_fd())?, stat::stat(above.as_fd())?);
                if (here.dev, here.ino) == (there.dev, there.ino) {
                    return Err(Fail::new("mount_setattr", Errno::EINVAL));
                }
                at = above;
            }
            other => return other,
        }
    }
}
