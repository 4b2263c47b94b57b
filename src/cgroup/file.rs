//! Control files below a directory descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::sys::{self, Fail, Note, Sys, io, path as syspath};

/// Whether the cgroup was removed or has no such file.
pub(super) fn is_gone(fail: Fail) -> bool {
    matches!(fail.errno, Errno::ENOENT | Errno::ENODEV)
}

/// Opens a directory by its path.
pub(super) fn open_dir(path: &Path) -> Sys<OwnedFd> {
    syspath::open(
        &syspath::c_string(path)?,
        libc::O_RDONLY | libc::O_DIRECTORY,
    )
}

/// Opens a file or directory below `dir`.
pub(super) fn open(dir: BorrowedFd, name: &str, flags: i32) -> Sys<OwnedFd> {
    syspath::open_at(
        Some(dir),
        &syspath::c_string(name)?,
        flags | libc::O_NOFOLLOW,
        0,
    )
}

/// Reads a whole control file.
pub(super) fn read(dir: BorrowedFd, name: &str) -> Sys<String> {
    let file = open(dir, name, libc::O_RDONLY)?;
    let text = sys::file::read_open(file.as_fd())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes the value in one write(2), because the kernel parses each write on its own.
pub(super) fn write(dir: BorrowedFd, name: &str, value: &str) -> Sys<()> {
    let file = open(dir, name, libc::O_WRONLY)?;
    io::write_all(file.as_fd(), value.as_bytes())
}

/// The ids in a list of processes or threads. The kernel lists one that the caller's pid namespace
/// does not show as 0, which is an error here, because the process exists. A process that its
/// parent reaps just then is listed as 0 too, but not again.
pub(super) fn numbers(text: &str) -> Sys<Vec<i32>> {
    let numbers: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if numbers.contains(&0) {
        return Err(Fail::new("read", Errno::EREMOTE).note(Note::OtherPidNamespace));
    }
    Ok(numbers)
}
