//! Makes the config's mounts. Each target is below the rootfs and held by a descriptor.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use nix::errno::Errno;

use super::kernel_views::{KernelViews, PROC_MAGIC};
use super::{Init, copy_up};
use crate::plan::{
    AfterFailure, Attrs, Bind, BindSource, Filesystem, INERT, IfDenied, MountAttrs, Position,
    Propagation, Remount, SourceLink,
};
use crate::sys::mount::{self, Change};
use crate::sys::path::{self, Make};
use crate::sys::{Fail, Note, Sys, stat, xattr};

/// How many mounts are removed from a stack. The limit keeps a container that mounts faster than
/// the runtime unmounts from occupying the runtime forever.
const STACK: usize = 1000;

impl Init<'_> {
    pub(super) fn filesystem(&mut self, position: Position, fs: &Filesystem) -> Sys<()> {
        let (target, is_new) = self.directory(fs)?;
        if fs.target.as_c_str() != c"/proc" {
            refuse_proc(target.as_fd())?;
        }
        // A real directory is opened without following symbolic links, so it cannot be the root.
        if !fs.real_directory {
            self.refuse_root(target.as_fd())?;
        }
        // On a directory that the image does not have, a tmpfs keeps the kernel's mode 1777.
        let data = if fs.inherit_mode && !is_new {
            data_with_mode(fs, target.as_fd())?
        } else {
            None
        };
        let data = data.as_deref().unwrap_or(&fs.data);
        // mount(2) needs a path, so the target becomes the working directory.
        path::fchdir(target.as_fd())?;
        let early = self.take(position);
        if let (Some(_), Some(made)) = (&fs.id_map, &early) {
            self.map_ids(position, made.as_fd())?;
        }
        let mounted = match &early {
            Some(early) => mount::attach(early.as_fd(), target.as_fd()),
            None => mount::mount(&fs.source, c".", &fs.fstype, fs.flags, data),
        };
        let top = match mounted {
            Ok(()) => early,
            Err(fail) if matches!(fail.errno, Errno::EPERM | Errno::EBUSY) => {
                instead(fs, target.as_fd(), fail)?
            }
            Err(fail) => return Err(fail),
        };
        if let (Some(_), Some(made), true) = (&fs.id_map, &top, fs.inherit_mode && !is_new) {
            set_mode(made.as_fd(), stat::stat(target.as_fd())?.mode & 0o7777)?;
        }
        let kept = self.takes_off() || fs.changed_later;
        let more = fs.copy_up || fs.label.is_some() || !fs.propagation.is_empty();
        let more = more || !fs.tree_attrs.is_none();
        if kept || more || KernelViews::may_be_at(&fs.target) {
            let top = match top {
                Some(top) => Rc::new(top),
                None => Rc::new(path::mounted_on(target.as_fd())?),
            };
            self.views.mounted(&fs.target, &top, fs.real_directory)?;
            if kept {
                self.attached.push((top.clone(), fs.target.clone()));
            }
            if more {
                self.finish(fs, target.as_fd(), top.as_fd())?;
            }
        }
        Ok(())
    }

    /// Carries out what follows the mount itself: the copy, the label, propagation and attributes.
    fn finish(&mut self, fs: &Filesystem, covered: BorrowedFd, top: BorrowedFd) -> Sys<()> {
        if fs.copy_up {
            let descriptors = self.own_descriptors()?;
            copy_up::copy(covered, top, descriptors.as_fd())?;
        }
        if let Some(label) = &fs.label {
            // fsetxattr(2) refuses O_PATH descriptors, so the directory is opened again.
            let opened = path::open_at(Some(top), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            xattr::set(opened.as_fd(), c"security.selinux", label.to_bytes())?;
        }
        let attrs = MountAttrs {
            tree: fs.tree_attrs,
            ..MountAttrs::default()
        };
        change(top, attrs, &fs.propagation, true)
    }

    /// Opens the directory to mount on. If it is missing, creates it and returns true. One for a
    /// tmpfs gets the mode 1777 of the tmpfs, because the next container with this rootfs will find
    /// it.
    fn directory(&self, fs: &Filesystem) -> Sys<(OwnedFd, bool)> {
        let mut flags = libc::O_PATH | libc::O_DIRECTORY;
        if fs.real_directory {
            flags |= libc::O_NOFOLLOW;
        }
        match self.open(&fs.target, flags) {
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => {
                let make = if fs.inherit_mode {
                    Make::Temporary
                } else {
                    Make::Directory
                };
                let made = self.open_or_make(&fs.target, make)?;
                // A link that another process has made in the meantime was followed.
                let made = if fs.real_directory {
                    self.open(&fs.target, flags)?
                } else {
                    made
                };
                Ok((made, true))
            }
            Err(Fail {
                errno: Errno::ENOTDIR,
                ..
            }) if !fs.real_directory => Err(Fail::new("mount", Errno::ENOTDIR)),
            opened => Ok((opened?, false)),
        }
    }

    pub(super) fn bind(&mut self, position: Position, bind: &Bind) -> Sys<()> {
        let tree = match self.take(position) {
            Some(tree) => tree,
            None => {
                let tree = self.source(position, bind)?;
                change(tree.as_fd(), bind.attrs, &bind.propagation, bind.recursive)?;
                tree
            }
        };
        if bind.source_link == SourceLink::Copied && stat::stat(tree.as_fd())?.is(libc::S_IFLNK) {
            return self.copy_link(tree.as_fd(), &bind.target);
        }
        if bind.id_map.is_some() {
            self.map_ids(position, tree.as_fd())?;
        }
        let target = self.bind_target(bind, tree.as_fd())?;
        if !bind.on_proc {
            refuse_proc(target.as_fd())?;
        } else if stat::is_directory(tree.as_fd())? && stat::magic(tree.as_fd())? != PROC_MAGIC {
            // /proc as a whole may only be covered by another procfs.
            return Err(Fail::new("move_mount", Errno::EPERM));
        }
        self.refuse_root(target.as_fd())?;
        mount::attach(tree.as_fd(), target.as_fd())?;
        let tree = Rc::new(tree);
        self.views.mounted(&bind.target, &tree, false)?;
        if self.takes_off() || bind.changed_later {
            self.attached.push((tree, bind.target.clone()));
        }
        Ok(())
    }

    /// Makes a link with the content of another one. The same link may exist.
    fn copy_link(&self, link: BorrowedFd, target: &CStr) -> Sys<()> {
        let text = path::read_link(link)?;
        let content = path::c_string(OsStr::from_bytes(&text))?;
        let (parent, name) = path::open_parent(self.root()?, target)?;
        match path::symlink_at(&content, parent.as_fd(), &name) {
            Err(fail) if fail.errno == Errno::EEXIST => {
                let flags = libc::O_PATH | libc::O_NOFOLLOW;
                let found = path::open_at(Some(parent.as_fd()), &name, flags, 0)?;
                let same = stat::stat(found.as_fd())?.is(libc::S_IFLNK)
                    && path::read_link(found.as_fd())? == text;
                if same { Ok(()) } else { Err(fail) }
            }
            made => made,
        }
    }

    /// Opens the path to mount on. A missing one is created as a directory or a file, like the root
    /// of the tree.
    fn bind_target(&self, bind: &Bind, tree: BorrowedFd) -> Sys<OwnedFd> {
        match self.open(&bind.target, libc::O_PATH | bind.target_flags()) {
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => {
                let make = if stat::is_directory(tree)? {
                    Make::Directory
                } else {
                    Make::File
                };
                self.open_or_make(&bind.target, make)
            }
            opened => opened,
        }
    }

    /// Refuses a mount on the container's root, to which a symbolic link in the image may lead. The
    /// container's program would still see the tree below that mount, except through `/..`. But
    /// `exec` would enter the mount on top, which has none of the masks and mounts that were made
    /// afterwards. setns(2).
    pub(super) fn refuse_root(&self, target: BorrowedFd) -> Sys<()> {
        if self.is_root(target)? {
            Err(Fail::new("mount", Errno::EPERM).note(Note::OnRoot))
        } else {
            Ok(())
        }
    }

    /// Whether a descriptor is the container's root.
    pub(super) fn is_root(&self, target: BorrowedFd) -> Sys<bool> {
        let root = match self.root_place.get() {
            Some(place) => *place,
            None => {
                let place = stat::place(self.root()?)?;
                *self.root_place.get_or_init(|| place)
            }
        };
        Ok(stat::place(target)? == root)
    }

    /// Unmounts the top mount on `target`. Symbolic links in the path are refused, because they
    /// could lead to a different mount than the caller means.
    pub(super) fn unmount(&self, target: &CStr) -> Sys<()> {
        let links = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
        let resolve = libc::RESOLVE_IN_ROOT | links;
        let (parent, name) = path::split_cstr(target).ok_or(Fail::new("umount2", Errno::EINVAL))?;
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let parent = path::openat2(self.root()?, &parent, flags, 0, resolve)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let top = path::openat2(parent.as_fd(), &name, flags, 0, links)?;
        take_off(parent.as_fd(), &name, top.as_fd())
    }

    fn takes_off(&self) -> bool {
        self.plan.after_failure == AfterFailure::MountsTakenOff
    }

    /// Removes the mounts in reverse order. Errors are ignored, because the failure that led here
    /// is the one to report.
    pub(super) fn take_off_attached(&mut self) {
        if !self.takes_off() {
            return;
        }
        while let Some((top, target)) = self.attached.pop() {
            let _ = self.take_off_one(top.as_fd(), &target);
        }
    }

    /// Removes one mount. A mount on a file is unmounted by its name; if the name leads to another
    /// mount by now, the mount stays.
    fn take_off_one(&self, top: BorrowedFd, target: &CStr) -> Sys<()> {
        if stat::is_directory(top)? {
            return take_off_stack(top);
        }
        let (parent, name) = path::open_parent(self.root()?, target)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let found = path::open_at(Some(parent.as_fd()), &name, flags, 0)?;
        if stat::mount_id(found.as_fd())? != stat::mount_id(top)? {
            return Err(Fail::new("umount2", Errno::EINVAL));
        }
        take_off(parent.as_fd(), &name, top)
    }

    fn source(&self, position: Position, bind: &Bind) -> Sys<OwnedFd> {
        match &bind.source {
            BindSource::OpenedByRuntime(_) => {
                let source = self.reach(position)?;
                mount::clone_tree(Some(source.as_fd()), c"", bind.recursive)
            }
            BindSource::CopiedByInit { path, .. } | BindSource::CopiedByRuntime { path, .. } => {
                mount::clone_tree_at(None, path, bind.recursive, bind.source_flags())
            }
            // The runtime must have opened it: in the container the path means another file.
            BindSource::CopiedInUserNamespace(_) => Err(Fail::new("open_tree", Errno::EBADF)),
            BindSource::Rootfs(below) => {
                let flags = libc::O_PATH | bind.source_flags();
                let source = path::open_in_root(self.root()?, below, flags)?;
                mount::clone_tree(Some(source.as_fd()), c"", bind.recursive)
            }
        }
    }

    /// Returns the mount that was made last on `target`, even if its directory has been moved:
    /// other processes may exchange the directories of the rootfs in the meantime. Without such a
    /// mount the path is opened.
    pub(super) fn mount_on(&self, target: &CStr) -> Sys<Rc<OwnedFd>> {
        let mut made = self.attached.iter().rev();
        match made.find(|(_, path)| path.as_c_str() == target) {
            Some((top, _)) => Ok(top.clone()),
            None => self.open(target, libc::O_PATH).map(Rc::new),
        }
    }

    pub(super) fn remount(&self, remount: &Remount) -> Sys<()> {
        let target = self.mount_on(&remount.target)?;
        if remount.bind {
            return change(target.as_fd(), remount.attrs, &remount.propagation, false);
        }
        path::fchdir(target.as_fd())?;
        let flags = remount.flags | libc::MS_REMOUNT;
        mount::mount(c"", c".", c"", flags, &remount.data)?;
        change(
            target.as_fd(),
            MountAttrs::default(),
            &remount.propagation,
            false,
        )
    }
}

/// Unmounts the mount whose root is `top`. A directory is unmounted through its descriptor. A file
/// cannot be the working directory, so it is unmounted by its name; the name cannot change while a
/// mount is on it.
fn take_off(parent: BorrowedFd, name: &CStr, top: BorrowedFd) -> Sys<()> {
    if stat::mount_id(parent)? == stat::mount_id(top)? {
        return Err(Fail::new("statx", Errno::EINVAL).note(Note::NotAMountPoint));
    }
    if stat::stat(top)?.is(libc::S_IFDIR) {
        path::fchdir(top)?;
        return mount::detach_cwd();
    }
    path::fchdir(parent)?;
    mount::detach_name(name)
}

/// Unmounts the mount whose root is the directory `top`, and the mounts that the container has put
/// on it. umount2(2) removes the uppermost mount of a stack.
fn take_off_stack(top: BorrowedFd) -> Sys<()> {
    for _ in 0..STACK {
        let above = path::open_at(Some(top), c"..", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        // A mount that is no longer attached has no parent mount.
        if stat::mount_id(above.as_fd())? == stat::mount_id(top)? {
            return Ok(());
        }
        path::fchdir(top)?;
        mount::detach_cwd()?;
    }
    Err(Fail::new("umount2", Errno::EBUSY))
}

/// Refuses a target in the container's procfs: a mount on one of its files could redirect a later
/// write to another file.
fn refuse_proc(target: BorrowedFd) -> Sys<()> {
    if stat::magic(target)? == PROC_MAGIC {
        return Err(Fail::new("mount", Errno::EPERM).note(Note::InsideProcfs));
    }
    Ok(())
}

/// Sets the mode of a directory that is open as O_PATH.
fn set_mode(directory: BorrowedFd, mode: u32) -> Sys<()> {
    let readable = path::open_at(Some(directory), c".", libc::O_RDONLY, 0)?;
    path::chmod(readable.as_fd(), mode)
}

/// Prefixes the data with `mode=` of the covered directory.
fn data_with_mode(fs: &Filesystem, target: BorrowedFd) -> Sys<Option<CString>> {
    let mode = stat::stat(target)?.mode & 0o7777;
    let mut data = format!("mode={mode:04o}").into_bytes();
    if !fs.data.is_empty() {
        data.push(b',');
        data.extend_from_slice(fs.data.to_bytes());
    }
    Ok(CString::new(data).ok())
}

/// The fallback for a file system that the kernel has denied with `denied`. Returns the root of the
/// tree that is bind-mounted instead, if there is one.
fn instead(fs: &Filesystem, target: BorrowedFd, denied: Fail) -> Sys<Option<OwnedFd>> {
    let source = match &fs.if_denied {
        IfDenied::Fail => return Err(denied),
        IfDenied::Bind(source) | IfDenied::BindOrMask(source) => source,
    };
    match bind_instead(source, target, fs.flags) {
        Err(Fail {
            errno: Errno::ENOENT | Errno::EACCES,
            ..
        }) if matches!(fs.if_denied, IfDenied::BindOrMask(_)) => mask_cwd(fs.flags).map(|()| None),
        bound => bound.map(Some),
    }
}

/// Bind-mounts `source` with those of the `MS_*` flags that a bind mount can have.
fn bind_instead(source: &CStr, target: BorrowedFd, flags: u64) -> Sys<OwnedFd> {
    let tree = mount::clone_tree(None, source, true)?;
    // The MS_* and MOUNT_ATTR_* bits of these flags are the same.
    let set = flags & INERT;
    let change = Change {
        set,
        ..Change::default()
    };
    mount::set_attr(tree.as_fd(), change, true)?;
    mount::attach(tree.as_fd(), target)?;
    Ok(tree)
}

/// Covers the working directory with an empty read-only directory.
fn mask_cwd(flags: u64) -> Sys<()> {
    let flags = flags | libc::MS_RDONLY;
    mount::mount(
        c"tmpfs",
        c".",
        c"tmpfs",
        flags,
        c"nr_blocks=1,nr_inodes=1,mode=0555",
    )
}

/// Applies propagation and attributes to a tree: first the attributes of its top mount, then those
/// of the whole tree. In this order the recursive options apply whatever the plain options clear.
pub(crate) fn change(
    tree: BorrowedFd,
    attrs: MountAttrs,
    propagation: &[Propagation],
    recursive: bool,
) -> Sys<()> {
    // For a single mount, one call sets both the propagation and the attributes.
    let (steps, together) = match propagation {
        [only] if !recursive && attrs.tree.is_none() && !attrs.top.is_none() => {
            (&[][..], only.flag)
        }
        steps => (steps, 0),
    };
    for step in steps {
        let change = Change {
            propagation: step.flag,
            ..Change::default()
        };
        mount::set_attr(tree, change, step.recursive && recursive)?;
    }
    if !attrs.top.is_none() {
        let top = match attrs.locked {
            Some(asked) => unlocked(tree, attrs.top, asked)?,
            None => attrs.top,
        };
        set_attrs(tree, top, together, false)?;
    }
    if !attrs.tree.is_none() {
        set_attrs(tree, attrs.tree, 0, true)?;
    }
    Ok(())
}

fn set_attrs(tree: BorrowedFd, attrs: Attrs, propagation: u64, recursive: bool) -> Sys<()> {
    let change = Change {
        set: attrs.set,
        clear: attrs.clear,
        propagation,
        ..Change::default()
    };
    mount::set_attr(tree, change, recursive)
}

/// The attributes that can be set if those of the source are locked: a flag that the source has
/// cannot be cleared. `asked` has the flags that the config clears explicitly; if one of them is
/// locked, this is an error. mount_namespaces(7).
fn unlocked(tree: BorrowedFd, attrs: Attrs, asked: u64) -> Sys<Attrs> {
    // The bits are the same as ST_RDONLY, ST_NOSUID, ST_NODEV and ST_NOEXEC.
    if stat::mount_flags(tree)? & asked & INERT != 0 {
        return Err(Fail::new("clear a locked mount flag", Errno::EPERM));
    }
    // The access time mode is replaced as a whole, so its mask stays. The kernel does not lock
    // nosymfollow.
    let clear = attrs.clear & (libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NOSYMFOLLOW);
    Ok(Attrs { clear, ..attrs })
}
