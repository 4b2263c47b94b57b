//! `tmpcopyup`: copies the content of a directory into the tmpfs that covers it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::sys::path;
use crate::sys::stat::Stat;
use crate::sys::{Fail, Note, Sys, io, stat};

/// The deepest tree that is copied. No image needs a deeper one in a temporary directory.
const DEEPEST: usize = 64;

/// Set-user-ID and set-group-ID.
const SPECIAL_BITS: u32 = libc::S_ISUID | libc::S_ISGID;

const HANDLE: i32 = libc::O_PATH | libc::O_NOFOLLOW;
const OPEN: i32 = libc::O_RDONLY | libc::O_DIRECTORY;

/// Copies files, directories, links and nodes with owner and mode. Both directories may be O_PATH.
///
/// Other processes, such as a container with the same files, may exchange the entries while they
/// are copied. Each entry is therefore held by a descriptor from the moment it is first inspected.
/// Only a file that is known to be regular is opened, because opening a FIFO could block forever
/// and opening a device could have an effect. It is reopened through `descriptors`, the procfs
/// directory of this process's descriptors.
pub(super) fn copy(from: BorrowedFd, to: BorrowedFd, descriptors: BorrowedFd) -> Sys<()> {
    Copier { descriptors }.directory(from, to, DEEPEST)
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

struct Copier<'a> {
    descriptors: BorrowedFd<'a>,
}

impl Copier<'_> {
    fn directory(&self, from: BorrowedFd, to: BorrowedFd, depth: usize) -> Sys<()> {
        if depth == 0 {
            return Err(Fail::new("mkdir", Errno::ENAMETOOLONG).note(Note::CopyUp));
        }
        for name in names(from)? {
            self.entry(from, to, &name, depth)?;
        }
        Ok(())
    }

    fn entry(&self, from: BorrowedFd, to: BorrowedFd, name: &CStr, depth: usize) -> Sys<()> {
        let source = path::open_at(Some(from), name, HANDLE, 0)?;
        let stat = stat::stat(source.as_fd())?;
        let mode = stat.mode & 0o7777;
        match stat.mode & libc::S_IFMT {
            libc::S_IFDIR => {
                path::mkdir_at(to, name, mode)?;
                let made = path::open_at(Some(to), name, HANDLE | libc::O_DIRECTORY, 0)?;
                self.directory(source.as_fd(), made.as_fd(), depth - 1)?;
                path::chown(made.as_fd(), stat.uid, stat.gid)?;
                restore_special_bits(&stat, || path::open_at(Some(made.as_fd()), c".", OPEN, 0))
            }
            libc::S_IFREG => {
                let made = self.file(source.as_fd(), to, name, mode)?;
                path::chown(made.as_fd(), stat.uid, stat.gid)?;
                restore_special_bits(&stat, || Ok(made))
            }
            kind => {
                if kind == libc::S_IFLNK {
                    let target = CString::new(path::read_link(source.as_fd())?)
                        .map_err(|_| Fail::new("readlink", Errno::EINVAL))?;
                    path::symlink_at(&target, to, name)?;
                } else {
                    path::mknod_at(to, name, kind | mode, stat.rdev.0, stat.rdev.1)?;
                }
                let made = path::open_at(Some(to), name, HANDLE, 0)?;
                path::chown(made.as_fd(), stat.uid, stat.gid)
            }
        }
    }

    fn file(&self, source: BorrowedFd, to: BorrowedFd, name: &CStr, mode: u32) -> Sys<OwnedFd> {
        let source = path::reopen_in(self.descriptors, source, libc::O_RDONLY)?;
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
        let target = path::open_at(Some(to), name, flags, mode)?;
        let mut buffer = [0; 16 * 1024];
        loop {
            match io::read(source.as_fd(), &mut buffer)? {
                0 => return Ok(target),
                length => io::write_all(target.as_fd(), &buffer[..length])?,
            }
        }
    }
}

/// Sets the set-user-ID and set-group-ID bits again: mkdir(2) ignores the set-group-ID bit, and
/// chown(2) clears both bits of a file.
fn restore_special_bits(stat: &Stat, made: impl FnOnce() -> Sys<OwnedFd>) -> Sys<()> {
    if stat.mode & SPECIAL_BITS == 0 {
        return Ok(());
    }
    path::chmod(made()?.as_fd(), stat.mode & 0o7777)
}
