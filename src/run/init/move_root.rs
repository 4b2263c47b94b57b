//! `--no-pivot`: moves the rootfs over the root of the mount namespace.
//!
//! The host's mounts stay in the namespace, hidden below the container's root. For a procfs or
//! sysfs that is not enough: the kernel lets a process that creates a user namespace mount a new
//! procfs without any mask if its mount namespace contains an unmasked one anywhere
//! (mount_too_revealing() in fs/namespace.c). So init unmounts each of them, or covers it if the
//! kernel has locked it, and reads the mount table again until it shows none. If one cannot be
//! reached, `create` fails.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use super::root::change_propagation;
use crate::sys::mount::Change;
use crate::sys::mountinfo::{self, Mounted};
use crate::sys::{Fail, Note, Sys, mount, path, process, stat};

/// How often the mount table is read: the largest number of mounts on top of each other.
const STACK: usize = 100;

impl Init<'_> {
    pub(super) fn move_root(&mut self, shared: bool) -> Sys<()> {
        let below = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        if shared {
            change_propagation(below.as_fd(), libc::MS_SLAVE)?;
        }
        path::fchdir(self.root()?)?;
        mount::mount(c".", c"/", c"", libc::MS_MOVE, c"")?;
        let container = stat::mountinfo_id(self.root()?)?;
        self.hide_host_views(below.as_fd(), container, shared)?;
        path::fchdir(self.root()?)?;
        path::chroot(c".")
    }

    fn hide_host_views(&mut self, below: BorrowedFd, container: u64, shared: bool) -> Sys<()> {
        let mut left = None;
        for _ in 0..STACK {
            let table = Table::read(self.own_proc()?)?;
            let mut views = table.views(container).peekable();
            left = views.peek().map(|view| view.point.clone());
            if left.is_none() {
                return Ok(());
            }
            for view in views {
                // A mount that cannot be opened may be on a directory that another mount covers.
                // It can be opened after that mount has been removed.
                if let Ok(top) = open(view, below) {
                    if shared {
                        cut_off(top.as_fd())?;
                    }
                    hide(top.as_fd())?;
                }
            }
        }
        self.shown = left.unwrap_or_default();
        Err(Fail::new("umount2", Errno::EBUSY).note(Note::HostView))
    }
}

/// Stops propagation to the host. The mounts of this namespace are peers of the host's, and
/// umount2(2) propagates through the parent mount, so it would unmount the host's too.
fn cut_off(top: BorrowedFd) -> Sys<()> {
    let slave = Change {
        propagation: libc::MS_SLAVE,
        ..Change::default()
    };
    mount::set_attr(top, slave, true)?;
    let parent = path::open_at(Some(top), c"..", libc::O_PATH, 0)?;
    change_propagation(parent.as_fd(), libc::MS_SLAVE)
}

/// Unmounts the mount whose root is `top`. A mount that belongs to another user namespace is
/// locked, so it is covered instead.
fn hide(top: BorrowedFd) -> Sys<()> {
    path::fchdir(top)?;
    match mount::detach_cwd() {
        Err(Fail {
            errno: Errno::EINVAL | Errno::EPERM,
            ..
        }) => mount::mount(c"tmpfs", c".", c"tmpfs", libc::MS_RDONLY, c"size=0k"),
        other => other,
    }
}

/// The mounts of this mount namespace.
struct Table(Vec<Mounted>);

impl Table {
    fn read(proc: BorrowedFd) -> Sys<Self> {
        let name = path::c_string(format!("{}/mountinfo", process::own_pid()))?;
        let file = path::openat2(proc, &name, libc::O_RDONLY, 0, path::BENEATH)?;
        mountinfo::read(file.as_fd()).map(Self)
    }

    /// The procfs and sysfs mounts outside of the container's tree that are not covered.
    fn views(&self, container: u64) -> impl Iterator<Item = &Mounted> {
        self.0.iter().filter(move |mounted| {
            is_view(mounted) && !self.is_below(mounted, container) && !self.is_covered(mounted)
        })
    }

    fn is_below(&self, mounted: &Mounted, container: u64) -> bool {
        let mut at = Some(mounted);
        // The length of the table limits the loop, because no chain of parents is longer.
        for _ in 0..self.0.len() {
            match at {
                Some(one) if one.id == container => return true,
                Some(one) => at = self.0.iter().find(|other| other.id == one.parent),
                None => return false,
            }
        }
        false
    }

    /// Whether another mount is on its root. A new user namespace cannot unmount that.
    fn is_covered(&self, mounted: &Mounted) -> bool {
        let covers = |other: &Mounted| other.parent == mounted.id && other.point == mounted.point;
        self.0.iter().any(covers)
    }
}

/// Whether it is a procfs or sysfs mounted from its root. The kernel counts only these.
fn is_view(mounted: &Mounted) -> bool {
    mounted.root == b"/" && [b"proc".as_slice(), b"sysfs"].contains(&mounted.fstype.as_slice())
}

/// Opens the top mount at its mount point. Symbolic links are refused, because they would lead to
/// another place.
fn open(mounted: &Mounted, root: BorrowedFd) -> Sys<OwnedFd> {
    let name =
        CString::new(mounted.point.as_slice()).map_err(|_| Fail::new("openat2", Errno::EINVAL))?;
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    path::openat2(root, &name, libc::O_PATH | libc::O_DIRECTORY, 0, resolve)
}
