//! What the kernel tells of an open file: its type and owner, its mount, its file system.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Fail, Sys, check, tag};

/// Attributes of a file. stat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
    /// The number of the file system.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// The number of links; of a directory, 2 more than it has directories.
    pub links: libc::nlink_t,
}

impl Stat {
    /// Whether the file type is `kind`, one of `S_IF*`.
    pub fn is(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }

    /// The device and the inode number. They identify the file as long as a descriptor for it is
    /// open.
    pub fn inode(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Whether the file is the character device `major`:`minor`.
    pub fn is_char(&self, major: u32, minor: u32) -> bool {
        self.is(libc::S_IFCHR) && self.rdev == (major, minor)
    }
}

impl From<libc::stat> for Stat {
    fn from(raw: libc::stat) -> Self {
        Self {
            mode: raw.st_mode,
            uid: raw.st_uid,
            gid: raw.st_gid,
            rdev: (libc::major(raw.st_rdev), libc::minor(raw.st_rdev)),
            dev: raw.st_dev,
            ino: raw.st_ino,
            links: raw.st_nlink,
        }
    }
}

/// Whether the file is a directory.
pub fn is_directory(fd: BorrowedFd) -> Sys<bool> {
    Ok(stat(fd)?.is(libc::S_IFDIR))
}

/// fstat(2); works with O_PATH.
pub fn stat(fd: BorrowedFd) -> Sys<Stat> {
    tag("fstat", nix::sys::stat::fstat(fd)).map(Stat::from)
}

/// fstatat(2) of a name in `dir`, without following a link. `None` if it does not exist.
pub fn stat_at(dir: BorrowedFd, name: &CStr) -> Sys<Option<Stat>> {
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    match nix::sys::stat::fstatat(dir, name, flags) {
        Err(Errno::ENOENT) => Ok(None),
        found => tag("fstatat", found).map(|raw| Some(Stat::from(raw))),
    }
}

/// The attributes of what `name` in the directory leads to.
pub fn stat_target(dir: BorrowedFd, name: &CStr) -> Sys<Stat> {
    let found = nix::sys::stat::fstatat(dir, name, nix::fcntl::AtFlags::empty());
    tag("fstatat", found).map(Stat::from)
}

/// fstatat(2) of a path of the host, without following a link. `None` if it does not exist.
pub fn stat_of(file: &Path) -> Sys<Option<Stat>> {
    match nix::sys::stat::lstat(file) {
        Err(Errno::ENOENT) => Ok(None),
        found => tag("fstatat", found).map(|raw| Some(Stat::from(raw))),
    }
}

/// statx(2): the id of the mount that contains `fd`. It is never reused if the kernel has unique
/// mount ids (Linux 6.8).
pub fn mount_id(fd: BorrowedFd) -> Sys<u64> {
    mount_id_at(Some(fd), c"")
}

/// The id of the topmost mount at `path`. A link at the end is not followed.
pub fn mount_id_at(dir: Option<BorrowedFd>, path: &CStr) -> Sys<u64> {
    const UNIQUE: u32 = 0x4000;
    match mount_number(dir, path, UNIQUE)? {
        Some(number) => Ok(number),
        None => {
            mount_number(dir, path, libc::STATX_MNT_ID)?.ok_or(Fail::new("statx", Errno::ENOSYS))
        }
    }
}

/// statx(2): the id of the mount that contains `fd`, as /proc/PID/mountinfo shows it.
pub fn mountinfo_id(fd: BorrowedFd) -> Sys<u64> {
    mount_number(Some(fd), c"", libc::STATX_MNT_ID)?.ok_or(Fail::new("statx", Errno::ENOSYS))
}

/// statx(2): whether `fd` is the root of a mount. Linux 5.8.
pub fn is_mount_root(fd: BorrowedFd) -> Sys<bool> {
    let stat = statx(Some(fd), c"", libc::STATX_INO)?;
    Ok(stat.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

/// The mount, the file system and the inode number. For two open descriptors they are equal only if
/// mounting on one is the same as mounting on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

/// statx(2): the place of `fd`.
pub fn place(fd: BorrowedFd) -> Sys<Place> {
    let stat = statx(Some(fd), c"", libc::STATX_MNT_ID | libc::STATX_INO)?;
    Ok(Place {
        mount: stat.stx_mnt_id,
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
    })
}

/// `None` if the kernel does not have this kind of mount id.
fn mount_number(dir: Option<BorrowedFd>, path: &CStr, mask: u32) -> Sys<Option<u64>> {
    let stat = statx(dir, path, mask)?;
    Ok((stat.stx_mask & mask != 0).then_some(stat.stx_mnt_id))
}

fn statx(dir: Option<BorrowedFd>, path: &CStr, mask: u32) -> Sys<libc::statx> {
    // SAFETY: statx is plain integers, for which all-zero is a valid value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, and the buffer lives across the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_statx,
            dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd()),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW,
            mask,
            &mut stat,
        )
    };
    check("statx", done).map(|_| stat)
}

/// fstatfs(2): the magic number of the file system.
pub fn magic(fd: BorrowedFd) -> Sys<i64> {
    let raw = tag("fstatfs", nix::sys::statfs::fstatfs(fd))?;
    #[allow(
        clippy::unnecessary_cast,
        reason = "the C libraries disagree about the type"
    )]
    Ok(raw.filesystem_type().0 as i64)
}

/// The `ST_*` flags of the mount that contains `fd`. statvfs(3).
pub fn mount_flags(fd: BorrowedFd) -> Sys<u64> {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the C libraries disagree about the type"
    )]
    tag("fstatfs", nix::sys::statvfs::fstatvfs(fd)).map(|raw| raw.flags().bits() as u64)
}
