//! Single files below the rootfs: devices, symbolic links, masks and the working directory; also
//! sysctls.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::Init;
use crate::plan::{DeviceKind, INERT, Node, Symlink};
use crate::sys::mount::{self, Change};
use crate::sys::path::{self, Make};
use crate::sys::stat::Stat;
use crate::sys::{Fail, Note, Sys, io, stat};

impl Init<'_> {
    pub(super) fn node(&mut self, node: &Node) -> Sys<()> {
        if node.bind {
            return self.bind_node(node);
        }
        let (dir, name) = self.parent(&node.path)?;
        let kind = file_type(node.kind);
        match path::mknod_at(dir.as_fd(), &name, kind | node.mode, node.major, node.minor) {
            // A new node already belongs to root.
            Ok(()) if (node.uid, node.gid) == (0, 0) => return Ok(()),
            Ok(()) => {}
            Err(Fail {
                errno: Errno::EPERM,
                ..
            }) if node.kind != DeviceKind::Fifo => {
                return self.bind_node(node);
            }
            Err(Fail {
                errno: Errno::EEXIST,
                ..
            }) => {}
            Err(fail) => return Err(fail),
        }
        // The file may have existed before, or may have been exchanged since, so check that it is
        // the right device.
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let made = path::open_at(Some(dir.as_fd()), &name, flags, 0)?;
        let stat = stat::stat(made.as_fd())?;
        if !is_device(&stat, kind, node) {
            return Err(Fail::new("mknod", Errno::EEXIST));
        }
        if (stat.uid, stat.gid) != (node.uid, node.gid) {
            path::chown(made.as_fd(), node.uid, node.gid)?;
        }
        Ok(())
    }

    /// Bind-mounts the host's node of the same path, for a user namespace, in which the kernel does
    /// not allow mknod(2).
    fn bind_node(&self, node: &Node) -> Sys<()> {
        let tree = mount::clone_tree(None, &node.path, false)?;
        // The path comes from the config. Without this check it could be any file of the host.
        if !is_device(&stat::stat(tree.as_fd())?, file_type(node.kind), node) {
            return Err(Fail::new("open_tree", Errno::ENODEV));
        }
        let inert = Change {
            set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
            ..Change::default()
        };
        mount::set_attr(tree.as_fd(), inert, false)?;
        let target = path::open_or_make(self.root()?, &node.path, Make::File)?;
        mount::attach(tree.as_fd(), target.as_fd())
    }

    /// Opens the parent directory of a path and returns it with the name in it. The last directory
    /// is cached, because consecutive steps make nodes and links in the same directory. That is
    /// correct because nothing is mounted in between.
    fn parent(&mut self, path: &CStr) -> Sys<(Rc<OwnedFd>, CString)> {
        let (parent, name) = path::split_cstr(path).ok_or(Fail::new("openat2", Errno::EINVAL))?;
        if let Some((kept, dir)) = &self.parent
            && *kept == parent
        {
            return Ok((dir.clone(), name));
        }
        let dir = Rc::new(path::open_or_make(self.root()?, &parent, Make::Directory)?);
        self.parent = Some((parent, dir.clone()));
        Ok((dir, name))
    }

    pub(super) fn symlink(&mut self, link: &Symlink) -> Sys<()> {
        let root = self.root()?;
        if link.if_target_exists {
            match path::open_in_root(root, &link.target, libc::O_PATH) {
                Err(Fail {
                    errno: Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP,
                    ..
                }) => return Ok(()),
                found => drop(found?),
            }
        }
        let (dir, name) = self.parent(&link.path)?;
        match path::symlink_at(&link.target, dir.as_fd(), &name) {
            Err(Fail {
                errno: Errno::EEXIST,
                ..
            }) if link.replace => {
                path::unlink_at(Some(dir.as_fd()), &name)?;
                path::symlink_at(&link.target, dir.as_fd(), &name)
            }
            Err(Fail {
                errno: Errno::EEXIST,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    /// Covers a file with /dev/null, and a directory with an empty one. A path that does not exist
    /// needs no mask; any other error makes the step fail.
    pub(super) fn mask(&mut self, masked: &CStr) -> Sys<()> {
        let target = match self.open(masked, libc::O_PATH) {
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => return Ok(()),
            other => other?,
        };
        if stat::stat(target.as_fd())?.is(libc::S_IFDIR) {
            self.refuse_root(target.as_fd())?;
            return self.mask_directory(target);
        }
        if let Some(null) = &self.null {
            let cover = mount::clone_tree(Some(null.as_fd()), c"", false)?;
            return mount::attach(cover.as_fd(), target.as_fd());
        }
        let null = host_null()?;
        mount::attach(null.as_fd(), target.as_fd())?;
        self.null = Some(null);
        Ok(())
    }

    /// All masked directories share one empty tmpfs.
    fn mask_directory(&mut self, target: OwnedFd) -> Sys<()> {
        if let Some(empty) = &self.empty {
            let cover = mount::clone_tree(Some(empty.as_fd()), c"", false)?;
            return mount::attach(cover.as_fd(), target.as_fd());
        }
        let context = mount::fs_open(c"tmpfs")?;
        for (key, value) in [
            (c"nr_blocks", c"1"),
            (c"nr_inodes", c"1"),
            (c"mode", c"0755"),
        ] {
            mount::fs_set(context.as_fd(), key, Some(value))?;
        }
        if let Some(label) = &self.plan.mount_label {
            mount::fs_set(context.as_fd(), c"context", Some(label))?;
        }
        mount::fs_set(context.as_fd(), c"ro", None)?;
        let empty = mount::fs_mount(context.as_fd(), INERT)?;
        mount::attach(empty.as_fd(), target.as_fd())?;
        self.empty = Some(empty);
        Ok(())
    }

    /// Makes a path read-only, by a mount of it on itself. Mounts below it stay as they are. If the
    /// path is the container's root, its own mount becomes read-only: a mount on the root would not
    /// be visible.
    pub(super) fn make_readonly(&self, path: &CStr) -> Sys<()> {
        let target = match self.open(path, libc::O_PATH) {
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => return Ok(()),
            other => other?,
        };
        let change = Change {
            set: libc::MOUNT_ATTR_RDONLY,
            ..Change::default()
        };
        if self.is_root(target.as_fd())? {
            return mount::set_attr(self.root()?, change, false);
        }
        let tree = mount::clone_tree(Some(target.as_fd()), c"", true)?;
        mount::set_attr(tree.as_fd(), change, false)?;
        mount::attach(tree.as_fd(), target.as_fd())
    }

    pub(super) fn make_cwd(&self, cwd: &CStr) -> Sys<()> {
        match path::open_or_make(self.root()?, cwd, Make::Directory) {
            // The later chdir(2) as the user shows whether the directory can be entered.
            Err(Fail {
                errno: Errno::EROFS | Errno::EACCES | Errno::ELOOP,
                ..
            }) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) fn cwd(&mut self, cwd: &CStr) -> Sys<()> {
        match path::chdir(cwd) {
            Ok(()) => self.cwd_reached = true,
            // Root may lack a permission that the user has, for example on a network file system.
            // `check_cwd` then tries again as the user.
            Err(Fail {
                errno: Errno::EACCES | Errno::EPERM,
                ..
            }) => {}
            Err(fail) => return Err(fail),
        }
        Ok(())
    }

    /// Checks that the working directory is inside the root: a directory outside of it is a way out
    /// of the container (CVE-2024-21626).
    pub(super) fn check_cwd(&self, cwd: &CStr) -> Sys<()> {
        if !self.cwd_reached {
            path::chdir(cwd)?;
        }
        if path::cwd_is_reachable()? {
            Ok(())
        } else {
            Err(Fail::new("getcwd", Errno::ENOENT))
        }
    }

    /// Writes a file below /proc/sys of init's own procfs.
    pub(super) fn sysctl(&mut self, key: &CStr, value: &CStr) -> Sys<()> {
        let proc = self.own_proc()?;
        let sys = path::openat2(proc, c"sys", libc::O_PATH, 0, path::BENEATH)?;
        let file = path::openat2(sys.as_fd(), key, libc::O_WRONLY, 0, path::BENEATH)?;
        io::write_all(file.as_fd(), value.to_bytes())
    }
}

/// The `S_IF*` value of a device type.
fn file_type(kind: DeviceKind) -> u32 {
    match kind {
        DeviceKind::Char => libc::S_IFCHR,
        DeviceKind::Block => libc::S_IFBLK,
        DeviceKind::Fifo => libc::S_IFIFO,
    }
}

fn is_device(stat: &Stat, kind: u32, node: &Node) -> bool {
    let device = node.kind == DeviceKind::Fifo || stat.rdev == (node.major, node.minor);
    stat.is(kind) && device
}

/// Clones a mount of the host's /dev/null without attaching it. Any other file at that name is
/// refused.
///
/// The mount is private and read-only. That does not stop writes to the device, but it stops every
/// change of the node, whose mode and owner are shared with the whole host.
pub(crate) fn host_null() -> Sys<OwnedFd> {
    let null = path::open(c"/dev/null", libc::O_PATH | libc::O_NOFOLLOW)?;
    if !stat::stat(null.as_fd())?.is_char(1, 3) {
        return Err(Fail::new("open", Errno::ENODEV).note(Note::HostDevNull));
    }
    mount::readonly_copy(Some(null.as_fd()), c"")
}
