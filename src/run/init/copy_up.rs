//! `tmpcopyup`: what a directory holds, copied into the tmpfs that covers it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::sys::path::{self, Stat};
use crate::sys::{Fail, Sys};

/// Deeper trees are nobody's defaults for a temporary directory.
const DEEPEST: usize = 64;

/// Set-user-ID and set-group-ID.
const SPECIAL_BITS: u32 = libc::S_ISUID | libc::S_ISGID;

/// Copies files, directories, links and nodes with owner and mode. Both directories may be O_PATH.
pub fn copy(from: BorrowedFd, to: BorrowedFd) -> Sys<()> {
    copy_directory(from, to, DEEPEST)
}

fn copy_directory(from: BorrowedFd, to: BorrowedFd, depth: usize) -> Sys<()> {
    if depth == 0 {
        return Err(Fail::new("tmpcopyup", Errno::ENAMETOOLONG));
    }
    for name in names(from)? {
        copy_entry(from, to, &name, depth)?;
    }
    Ok(())
}

fn names(directory: BorrowedFd) -> Sys<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let failed = |errno| Fail::new("readdir", errno);
    let mut opened =
        Dir::openat(directory, c".", flags, nix::sys::stat::Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in opened.iter() {
        let name = entry.map_err(failed)?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn copy_entry(from: BorrowedFd, to: BorrowedFd, name: &CStr, depth: usize) -> Sys<()> {
    let source = path::open_at(Some(from), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = path::stat(source.as_fd())?;
    let mode = stat.mode & 0o7777;
    match stat.mode & libc::S_IFMT {
        libc::S_IFDIR => {
            path::mkdir_at(to, name, mode)?;
            let made = path::open_at(Some(to), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            copy_directory(source.as_fd(), made.as_fd(), depth - 1)?;
        }
        libc::S_IFLNK => {
            let target = path::read_link(source.as_fd())?;
            let target = CString::new(target).map_err(|_| Fail::new("readlink", Errno::EINVAL))?;
            path::symlink_at(&target, to, name)?;
        }
        libc::S_IFREG => copy_file(from, to, name, mode)?,
        kind => path::mknod_at(to, name, kind | mode, stat.rdev.0, stat.rdev.1)?,
    }
    let made = path::open_at(Some(to), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    path::chown(made.as_fd(), stat.uid, stat.gid)?;
    restore_special_bits(to, name, &stat)
}

/// mkdir(2) does not take the set-group-ID bit, and chown(2) clears those of a file.
fn restore_special_bits(to: BorrowedFd, name: &CStr, stat: &Stat) -> Sys<()> {
    let takes_bits = stat.is(libc::S_IFREG) || stat.is(libc::S_IFDIR);
    if !takes_bits || stat.mode & SPECIAL_BITS == 0 {
        return Ok(());
    }
    let made = path::open_at(Some(to), name, libc::O_RDONLY | libc::O_NOFOLLOW, 0)?;
    path::chmod(made.as_fd(), stat.mode & 0o7777)
}

fn copy_file(from: BorrowedFd, to: BorrowedFd, name: &CStr, mode: u32) -> Sys<()> {
    let source = path::open_at(Some(from), name, libc::O_RDONLY | libc::O_NOFOLLOW, 0)?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
    let target = path::open_at(Some(to), name, flags, mode)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        match path::read(source.as_fd(), &mut buffer)? {
            0 => return Ok(()),
            length => path::write_all(target.as_fd(), &buffer[..length])?,
        }
    }
}
