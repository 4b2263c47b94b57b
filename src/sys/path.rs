//! Paths below a root that an image or a container controls: openat2(2), and operations by
//! descriptor.
//!
//! Everything in a container's root filesystem is hostile. The kernel resolves each path in it
//! below the root's descriptor. Paths are never joined as strings, and no magic link of /proc is
//! followed.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::{Fail, Sys, check, descriptor, stat};

/// Resolves as if the directory were `/`, and refuses magic links. openat2(2), Linux 5.6.
pub const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

/// Resolves strictly below the directory, on its file system, and refuses every link.
pub const BENEATH: u64 = libc::RESOLVE_BENEATH
    | libc::RESOLVE_NO_XDEV
    | libc::RESOLVE_NO_MAGICLINKS
    | libc::RESOLVE_NO_SYMLINKS;

/// The mode for openat2(2), which requires zero unless the call may create a file.
fn open_mode(flags: i32, mode: u32) -> u64 {
    if flags & (libc::O_CREAT | libc::O_TMPFILE) == 0 {
        0
    } else {
        u64::from(mode)
    }
}

/// openat2(2), close-on-exec. Retried on EAGAIN, which the kernel returns when a rename happens
/// during the resolution.
pub fn openat2(dir: BorrowedFd, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Sys<OwnedFd> {
    // SAFETY: open_how is plain integers, for which all-zero is a valid value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = open_mode(flags, mode);
    how.resolve = resolve;
    for _ in 0..128 {
        // SAFETY: path is NUL-terminated, how lives across the call and its size is given.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                path.as_ptr(),
                &how,
                size_of::<libc::open_how>(),
            )
        };
        match descriptor("openat2", fd) {
            Err(Fail {
                errno: Errno::EAGAIN,
                ..
            }) => {}
            other => return other,
        }
    }
    Err(Fail::new("openat2", Errno::EAGAIN))
}

/// Opens `path` below `root`; an absolute path starts there too.
pub fn open_in_root(root: BorrowedFd, path: &CStr, flags: i32) -> Sys<OwnedFd> {
    openat2(root, path, flags, 0, IN_ROOT)
}

/// Opens the root of the mount on the directory `dir`, with O_PATH. The directory is not looked up
/// by name again, because the name may refer to another one by now. At the root of a walk `..`
/// stays in place and crosses into the mount on top.
pub fn mounted_on(dir: BorrowedFd) -> Sys<OwnedFd> {
    open_in_root(dir, c"..", libc::O_PATH | libc::O_DIRECTORY)
}

/// openat(2) of a trusted path, close-on-exec.
pub fn open(path: &CStr, flags: i32) -> Sys<OwnedFd> {
    open_at(None, path, flags, 0)
}

/// openat(2) relative to `dir` (the working directory for `None`), close-on-exec.
pub fn open_at(dir: Option<BorrowedFd>, path: &CStr, flags: i32, mode: u32) -> Sys<OwnedFd> {
    let dir = dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    // SAFETY: path is NUL-terminated.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat,
            dir,
            path.as_ptr(),
            flags | libc::O_CLOEXEC,
            mode,
        )
    };
    descriptor("open", fd)
}

/// `path` as an argument of a system call.
///
/// # Errors
/// EINVAL: the path contains a NUL byte.
pub fn c_string(path: impl AsRef<OsStr>) -> Sys<CString> {
    CString::new(path.as_ref().as_bytes()).map_err(|_| Fail::new("open", Errno::EINVAL))
}

/// Opens the file that an O_PATH descriptor refers to, through the caller's own /proc.
pub fn reopen(handle: BorrowedFd, flags: i32) -> Sys<OwnedFd> {
    open(
        &c_string(format!("/proc/self/fd/{}", handle.as_raw_fd()))?,
        flags,
    )
}

/// Opens the file that an O_PATH descriptor refers to, through a procfs directory with the
/// process's own descriptors. Fails with ESTALE if the result is another file. The descriptor
/// cannot be exchanged, but a mount may cover the entry in a procfs that is not the process's own.
pub fn reopen_in(descriptors: BorrowedFd, handle: BorrowedFd, flags: i32) -> Sys<OwnedFd> {
    let name = c_string(handle.as_raw_fd().to_string())?;
    let opened = open_at(Some(descriptors), &name, flags, 0)?;
    if stat::stat(opened.as_fd())?.inode() != stat::stat(handle)?.inode() {
        return Err(Fail::new("open", Errno::ESTALE));
    }
    Ok(opened)
}

/// The type of file to create at a path that does not exist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// A directory with mode 0755.
    Directory,
    /// A directory with mode 1777, in which every user may create files, like /tmp.
    Temporary,
    /// An empty regular file.
    File,
}

/// Opens `path` below `root` and creates what is missing, directories above it with mode 0755. The
/// descriptor is for use as a path only.
///
/// Each component is created exclusively, with its final mode, in the descriptor of its parent, and
/// opened there without following a link. A caller must not change its mode or owner afterwards:
/// mkdirat(2) returns no descriptor, so another process may have put a different directory there.
pub fn open_or_make(root: BorrowedFd, path: &CStr, make: Make) -> Sys<OwnedFd> {
    match open_in_root(root, path, libc::O_PATH) {
        Err(Fail {
            errno: Errno::ENOENT,
            ..
        }) => make_in_root(root, path, make),
        other => other,
    }
}

/// Splits off the last component: the parent (at least `/`) and the name. `None` if the path does
/// not end with a plain name, as in `/` or `a/..`.
pub fn split(path: &CStr) -> Option<(Vec<u8>, Vec<u8>)> {
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/')? + 1;
    let start = bytes[..end]
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |at| at + 1);
    let name = &bytes[start..end];
    if name == b"." || name == b".." {
        return None;
    }
    let parent = if start == 0 {
        b"/".to_vec()
    } else {
        bytes[..start].to_vec()
    };
    Some((parent, name.to_vec()))
}

/// [`split`] with both parts as C strings.
pub fn split_cstr(path: &CStr) -> Option<(CString, CString)> {
    let (parent, name) = split(path)?;
    Some((CString::new(parent).ok()?, CString::new(name).ok()?))
}

/// Opens the parent directory of `path` below `root`, creating it if it is missing, and returns the
/// name in it.
pub fn open_parent(root: BorrowedFd, path: &CStr) -> Sys<(OwnedFd, CString)> {
    let (parent, name) = split_cstr(path).ok_or(Fail::new("openat2", Errno::EINVAL))?;
    let dir = open_or_make(root, &parent, Make::Directory)?;
    Ok((dir, name))
}

fn make_in_root(root: BorrowedFd, path: &CStr, make: Make) -> Sys<OwnedFd> {
    // A dangling link at the end refers to a path that does not exist yet, which is below the root
    // too.
    if let Some(target) = dangling_target(root, path)? {
        return open_or_make(root, &target, make);
    }
    let (dir, name) = open_parent(root, path)?;
    match make_at(dir.as_fd(), &name, make) {
        // Another process has made it in the meantime.
        Err(Fail {
            errno: Errno::EEXIST,
            ..
        }) => open_in_root(root, path, libc::O_PATH),
        made => made,
    }
}

fn make_at(dir: BorrowedFd, name: &CStr, make: Make) -> Sys<OwnedFd> {
    let mode = match make {
        Make::Directory => 0o755,
        Make::Temporary => 0o1777,
        Make::File => {
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_RDONLY;
            return open_at(Some(dir), name, flags, 0o644);
        }
    };
    mkdir_at(dir, name, mode)?;
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_DIRECTORY;
    open_at(Some(dir), name, flags, 0)
}

/// The path to create instead if `path` is a symbolic link with a missing target.
fn dangling_target(root: BorrowedFd, path: &CStr) -> Sys<Option<CString>> {
    // With a trailing slash the kernel follows the link despite O_NOFOLLOW.
    let bytes = path.to_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/');
    let plain = CString::new(&bytes[..end.map_or(1, |end| end + 1)])
        .map_err(|_| Fail::new("openat2", Errno::EINVAL))?;
    let link = match open_in_root(root, &plain, libc::O_PATH | libc::O_NOFOLLOW) {
        Ok(fd) => fd,
        Err(Fail {
            errno: Errno::ENOENT,
            ..
        }) => return Ok(None),
        Err(fail) => return Err(fail),
    };
    if !stat::stat(link.as_fd())?.is(libc::S_IFLNK) {
        return Ok(None);
    }
    let target = read_link(link.as_fd())?;
    let mut full = Vec::new();
    if target.first() != Some(&b'/') {
        let (parent, _) = split(path).ok_or(Fail::new("readlink", Errno::EINVAL))?;
        full.extend_from_slice(&parent);
        full.push(b'/');
    }
    full.extend_from_slice(&target);
    if full.len() >= libc::PATH_MAX as usize {
        return Err(Fail::new("openat2", Errno::ELOOP));
    }
    let full = CString::new(full).map_err(|_| Fail::new("readlink", Errno::EINVAL))?;
    Ok(Some(full))
}

/// readlinkat(2) of a link that is open with O_PATH.
pub fn read_link(link: BorrowedFd) -> Sys<Vec<u8>> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is writable for the given length; the empty path refers to the descriptor.
    let length = unsafe {
        libc::syscall(
            libc::SYS_readlinkat,
            link.as_raw_fd(),
            c"".as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    buffer.truncate(check("readlink", length)? as usize);
    Ok(buffer)
}

/// mkdirat(2).
pub fn mkdir_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Sys<()> {
    // SAFETY: name is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_mkdirat, dir.as_raw_fd(), name.as_ptr(), mode) };
    check("mkdir", done).map(drop)
}

/// mknodat(2); `mode` holds the type and the permission bits.
pub fn mknod_at(dir: BorrowedFd, name: &CStr, mode: u32, major: u32, minor: u32) -> Sys<()> {
    let device = libc::makedev(major, minor);
    // SAFETY: name is NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mknodat,
            dir.as_raw_fd(),
            name.as_ptr(),
            mode,
            device,
        )
    };
    check("mknod", done).map(drop)
}

/// symlinkat(2).
pub fn symlink_at(target: &CStr, dir: BorrowedFd, name: &CStr) -> Sys<()> {
    // SAFETY: both strings are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_symlinkat,
            target.as_ptr(),
            dir.as_raw_fd(),
            name.as_ptr(),
        )
    };
    check("symlink", done).map(drop)
}

/// linkat(2): names a file that was opened with O_TMPFILE, through the caller's own /proc.
pub fn link_at(file: BorrowedFd, dir: BorrowedFd, name: &CStr) -> Sys<()> {
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let own = CString::new(own).map_err(|_| Fail::new("linkat", Errno::EINVAL))?;
    // SAFETY: both paths are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_linkat,
            libc::AT_FDCWD,
            own.as_ptr(),
            dir.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    check("linkat", done).map(drop)
}

/// unlinkat(2) of a name that is not a directory, relative to `dir` (the working directory for
/// `None`).
pub fn unlink_at(dir: Option<BorrowedFd>, name: &CStr) -> Sys<()> {
    let dir = dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    // SAFETY: name is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_unlinkat, dir, name.as_ptr(), 0) };
    check("unlink", done).map(drop)
}

/// renameat(2) within `dir`.
pub fn rename_at(dir: BorrowedFd, from: &CStr, to: &CStr) -> Sys<()> {
    super::tag("rename", nix::fcntl::renameat(dir, from, dir, to))
}

/// unlinkat(2) of a directory, which must be empty. A missing directory is not an error.
pub fn remove_dir_at(dir: BorrowedFd, name: &CStr) -> Sys<()> {
    let (dir, flags) = (dir.as_raw_fd(), libc::AT_REMOVEDIR);
    // SAFETY: name is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_unlinkat, dir, name.as_ptr(), flags) };
    match check("rmdir", done) {
        Err(fail) if fail.errno != Errno::ENOENT => Err(fail),
        _ => Ok(()),
    }
}

/// fchownat(2) of the descriptor itself; works with O_PATH. `u32::MAX` leaves an id unchanged.
pub fn chown(fd: BorrowedFd, uid: u32, gid: u32) -> Sys<()> {
    // SAFETY: the empty path with AT_EMPTY_PATH refers to the descriptor.
    let done = unsafe {
        libc::syscall(
            libc::SYS_fchownat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            uid,
            gid,
            libc::AT_EMPTY_PATH,
        )
    };
    check("chown", done).map(drop)
}

/// fchmod(2).
pub fn chmod(fd: BorrowedFd, mode: u32) -> Sys<()> {
    // SAFETY: takes no pointers.
    let done = unsafe { libc::syscall(libc::SYS_fchmod, fd.as_raw_fd(), mode) };
    check("chmod", done).map(drop)
}

/// flock(2): waits for the lock of an open file. The lock is released when the last descriptor is
/// closed.
pub fn lock(fd: BorrowedFd) -> Sys<()> {
    flock(fd, libc::LOCK_EX)
}

/// flock(2): waits for a lock that other processes may share.
pub fn lock_shared(fd: BorrowedFd) -> Sys<()> {
    flock(fd, libc::LOCK_SH)
}

/// flock(2) without waiting. Returns whether no other process has a lock. If one has, the caller's
/// own shared lock is lost.
pub fn try_lock(fd: BorrowedFd) -> Sys<bool> {
    match flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        Err(fail) if fail.errno == Errno::EWOULDBLOCK => Ok(false),
        locked => locked.map(|()| true),
    }
}

/// flock(2): releases the lock of [`lock`].
pub fn unlock(fd: BorrowedFd) -> Sys<()> {
    flock(fd, libc::LOCK_UN)
}

fn flock(fd: BorrowedFd, operation: i32) -> Sys<()> {
    loop {
        // SAFETY: takes no pointers.
        let done = unsafe { libc::syscall(libc::SYS_flock, fd.as_raw_fd(), operation) };
        match check("flock", done) {
            Err(fail) if fail.errno == Errno::EINTR => {}
            other => return other.map(drop),
        }
    }
}

/// fchdir(2).
pub fn fchdir(fd: BorrowedFd) -> Sys<()> {
    // SAFETY: takes no pointers.
    let done = unsafe { libc::syscall(libc::SYS_fchdir, fd.as_raw_fd()) };
    check("fchdir", done).map(drop)
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Sys<()> {
    // SAFETY: path is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_chdir, path.as_ptr()) };
    check("chdir", done).map(drop)
}

/// chroot(2).
pub fn chroot(path: &CStr) -> Sys<()> {
    // SAFETY: path is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_chroot, path.as_ptr()) };
    check("chroot", done).map(drop)
}

/// Whether the working directory can be reached from the root. The raw getcwd(2) returns a path
/// that begins with `(unreachable)` if not.
pub fn cwd_is_reachable() -> Sys<bool> {
    let mut buffer = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is writable for the given length.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    check("getcwd", length)?;
    Ok(buffer[0] == b'/')
}

/// faccessat2(2) with the effective ids. Linux 5.8.
pub fn may_execute(path: &CStr) -> Sys<()> {
    // SAFETY: path is NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::X_OK,
            libc::AT_EACCESS,
        )
    };
    check("faccessat2", done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_gives_parent_and_name() {
        type Parts = Option<(&'static [u8], &'static [u8])>;
        let cases: [(&CStr, Parts); 6] = [
            (c"/dev/null", Some((b"/dev/", b"null"))),
            (c"null", Some((b"/", b"null"))),
            (c"/a/", Some((b"/", b"a"))),
            (c"/", None),
            (c"/a/..", None),
            (c"a/.", None),
        ];
        for (path, expected) in cases {
            let got = split(path);
            let got = got.as_ref().map(|(parent, name)| (&parent[..], &name[..]));
            assert_eq!(got, expected, "{path:?}");
        }
    }

    #[test]
    fn links_do_not_lead_out_of_the_root() {
        let dir = std::env::temp_dir().join(format!("sampan-path-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("in")).unwrap();
        std::os::unix::fs::symlink("/../../../etc", dir.join("in/up")).unwrap();
        std::os::unix::fs::symlink("/missing/deep", dir.join("in/dangling")).unwrap();
        let root: OwnedFd = std::fs::File::open(&dir).unwrap().into();
        open_or_make(root.as_fd(), c"/in/up/made", Make::File).unwrap();
        open_or_make(root.as_fd(), c"/in/dangling", Make::Directory).unwrap();
        assert!(dir.join("etc/made").is_file());
        assert!(dir.join("missing/deep").is_dir());
        assert!(!std::path::Path::new("/etc/made").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
