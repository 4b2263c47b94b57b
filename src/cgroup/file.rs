//! Control files below a directory descriptor.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::sys::{self, Fail, Sys, path as syspath};

/// `path` for a system call.
pub(super) fn c_string(path: &Path) -> Sys<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Fail::new("open", Errno::EINVAL))
}

/// Opens a directory by its path.
pub(super) fn open_dir(path: &Path) -> Sys<OwnedFd> {
    syspath::open(&c_string(path)?, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Opens a file or directory below `dir`.
pub(super) fn open(dir: BorrowedFd, name: &str, flags: i32) -> Sys<OwnedFd> {
    syspath::open_at(
        Some(dir),
        &c_string(Path::new(name))?,
        flags | libc::O_NOFOLLOW,
        0,
    )
}

/// The whole of a control file.
pub(super) fn read(dir: BorrowedFd, name: &str) -> Sys<String> {
    let file = open(dir, name, libc::O_RDONLY)?;
    let text = sys::file::read_open(file.as_fd())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The value in one write(2): the kernel parses each write by itself.
pub(super) fn write(dir: BorrowedFd, name: &str, value: &str) -> Sys<()> {
    let file = open(dir, name, libc::O_WRONLY)?;
    syspath::write_all(file.as_fd(), value.as_bytes())
}
