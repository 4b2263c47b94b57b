//! The mount API: open_tree(2), move_mount(2), mount_setattr(2) and fsopen(2), and the older
//! mount(2), umount2(2) and pivot_root(2).

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Fail, Note, Sys, check, descriptor, stat};

const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path`, relative to `dir`
/// (the working directory for `None`; an empty path names `dir` itself).
pub fn clone_tree(dir: Option<BorrowedFd>, path: &CStr, recursive: bool) -> Sys<OwnedFd> {
    clone_tree_at(dir, path, recursive, 0)
}

/// The same for a path whose last component is opened with these flags, of which only O_NOFOLLOW has
/// a meaning.
pub fn clone_tree_at(
    dir: Option<BorrowedFd>,
    path: &CStr,
    recursive: bool,
    open: i32,
) -> Sys<OwnedFd> {
    let raw = dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    let mut flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    if open & libc::O_NOFOLLOW != 0 {
        flags |= libc::AT_SYMLINK_NOFOLLOW as u32;
    }
    if recursive {
        flags |= libc::AT_RECURSIVE as u32;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    // SAFETY: path is NUL-terminated.
    descriptor("open_tree", unsafe {
        libc::syscall(libc::SYS_open_tree, raw, path.as_ptr(), flags)
    })
    .map_err(|fail| fail.note(Note::CopiedMount))
}

/// move_mount(2): attaches the tree `from` on the descriptor `to`.
pub fn attach(from: BorrowedFd, to: BorrowedFd) -> Sys<()> {
    // SAFETY: the paths are NUL-terminated; the flags make empty paths refer to the descriptors.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    match check("move_mount", done) {
        // mount(2) reports ENOTDIR here, which engines look for.
        Err(fail)
            if fail.errno == Errno::EINVAL
                && stat::is_directory(from)? != stat::is_directory(to)? =>
        {
            Err(Fail::new("move_mount", Errno::ENOTDIR).note(Note::FileOnDirectory))
        }
        done => done.map(drop).map_err(|fail| fail.note(Note::Attached)),
    }
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// One of `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` and `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
    /// With `MOUNT_ATTR_IDMAP`: a descriptor of the user namespace whose map applies.
    pub userns_fd: u64,
}

/// mount_setattr(2) on the mount that contains `fd`, and on the mounts below it if `recursive`.
pub fn set_attr(fd: BorrowedFd, change: Change, recursive: bool) -> Sys<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: change has the layout of struct mount_attr and its size is given.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &change,
            size_of::<Change>(),
        )
    };
    check("mount_setattr", done)
        .map(drop)
        .map_err(|fail| fail.note(Note::Attributes))
}

const READONLY_AND_PRIVATE: Change = Change {
    set: libc::MOUNT_ATTR_RDONLY,
    clear: 0,
    propagation: libc::MS_PRIVATE,
    userns_fd: 0,
};

/// A read-only and private copy of the mount that contains `path`, without the mounts below it. The
/// copy is in an anonymous namespace. open_tree(2).
pub fn readonly_copy(dir: Option<BorrowedFd>, path: &CStr) -> Sys<OwnedFd> {
    let copy = clone_tree(dir, path, false)?;
    set_attr(copy.as_fd(), READONLY_AND_PRIVATE, false)?;
    Ok(copy)
}

/// Whether the mount whose root is `root` is in no namespace: the kernel refuses to change it then.
/// Otherwise the mount becomes read-only and private.
pub fn is_detached(root: BorrowedFd) -> bool {
    let changed = set_attr(root, READONLY_AND_PRIVATE, false);
    changed.is_err_and(|fail| fail.errno == Errno::EINVAL)
}

/// mount(2).
pub fn mount(source: &CStr, target: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Sys<()> {
    // SAFETY: all strings are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount,
            source.as_ptr(),
            target.as_ptr(),
            fstype.as_ptr(),
            flags,
            data.as_ptr(),
        )
    };
    check("mount", done).map(drop)
}

/// umount2(2) with MNT_DETACH of the mount that contains the working directory.
pub fn detach_cwd() -> Sys<()> {
    // SAFETY: the path is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH) };
    check("umount2", done).map(drop)
}

/// umount2(2) with MNT_DETACH of the mount on `name` in the working directory. A symbolic link is
/// not followed.
pub fn detach_name(name: &CStr) -> Sys<()> {
    let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
    // SAFETY: the path is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_umount2, name.as_ptr(), flags) };
    check("umount2", done).map(drop)
}

/// umount2(2) with MNT_DETACH of the mount whose root is `top`, and of all mounts below it.
pub fn detach(top: BorrowedFd) -> Sys<()> {
    let name = format!("/proc/self/fd/{}", top.as_raw_fd());
    let name = std::ffi::CString::new(name).map_err(|_| Fail::new("umount2", Errno::EINVAL))?;
    // SAFETY: the path is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_umount2, name.as_ptr(), libc::MNT_DETACH) };
    check("umount2", done).map(drop)
}

/// pivot_root(".", "."): the working directory becomes `/`, with the old root mounted on top of it.
pub fn pivot_to_cwd() -> Sys<()> {
    // SAFETY: the paths are NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
    check("pivot_root", done).map(drop)
}

/// fsopen(2).
pub fn fs_open(fstype: &CStr) -> Sys<OwnedFd> {
    // SAFETY: fstype is NUL-terminated.
    descriptor("fsopen", unsafe {
        libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC)
    })
}

/// fsconfig(2): sets one parameter; `None` for a parameter without a value.
pub fn fs_set(context: BorrowedFd, key: &CStr, value: Option<&CStr>) -> Sys<()> {
    let (command, value) = match value {
        Some(value) => (FSCONFIG_SET_STRING, value.as_ptr()),
        None => (FSCONFIG_SET_FLAG, std::ptr::null()),
    };
    // SAFETY: key and value are NUL-terminated, and FSCONFIG_SET_FLAG accepts a null value.
    let done = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key.as_ptr(),
            value,
            0,
        )
    };
    check("fsconfig", done).map(drop)
}

/// fsconfig(FSCONFIG_CMD_CREATE) and fsmount(2): a detached mount with the flags `attrs`.
pub fn fs_mount(context: BorrowedFd, attrs: u64) -> Sys<OwnedFd> {
    // SAFETY: FSCONFIG_CMD_CREATE uses neither key nor value.
    let done = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            FSCONFIG_CMD_CREATE,
            std::ptr::null::<u8>(),
            std::ptr::null::<u8>(),
            0,
        )
    };
    check("fsconfig", done)?;
    // SAFETY: takes no pointers.
    descriptor("fsmount", unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attrs,
        )
    })
}

/// A new file system on a detached mount: fsopen(2), fsconfig(2) with `source` and the options of
/// `data` in the format of mount(2), and fsmount(2) with the flags `attrs`.
pub fn make(fstype: &CStr, source: &CStr, data: &CStr, attrs: u64) -> Sys<OwnedFd> {
    let context = fs_open(fstype)?;
    let text = |text: &[u8]| {
        std::ffi::CString::new(text).map_err(|_| Fail::new("fsconfig", Errno::EINVAL))
    };
    fs_set(context.as_fd(), c"source", Some(source))?;
    for option in data.to_bytes().split(|&byte| byte == b',') {
        let mut parts = option.splitn(2, |&byte| byte == b'=');
        let key = text(parts.next().unwrap_or_default())?;
        let value = parts.next().map(text).transpose()?;
        if !key.is_empty() {
            fs_set(context.as_fd(), &key, value.as_deref())?;
        }
    }
    fs_mount(context.as_fd(), attrs)
}
