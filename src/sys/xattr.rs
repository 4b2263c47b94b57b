//! Extended attributes of open files. xattr(7).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Sys, check};

/// fsetxattr(2).
pub fn set(fd: BorrowedFd, name: &CStr, value: &[u8]) -> Sys<()> {
    // SAFETY: the name is NUL-terminated, and the value is readable for the given length.
    let done = unsafe {
        libc::syscall(
            libc::SYS_fsetxattr,
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr(),
            value.len(),
            0,
        )
    };
    check("fsetxattr", done).map(drop)
}

/// fgetxattr(2) of a value of at most 4096 bytes. `None` if the file does not have it.
pub fn get(fd: BorrowedFd, name: &CStr) -> Sys<Option<Vec<u8>>> {
    let mut value = vec![0; 4096];
    // SAFETY: the name is NUL-terminated, and the buffer is writable for the given length.
    let done = unsafe {
        libc::syscall(
            libc::SYS_fgetxattr,
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr(),
            value.len(),
        )
    };
    match check("fgetxattr", done) {
        Err(fail) if fail.errno == Errno::ENODATA => Ok(None),
        length => {
            value.truncate(length? as usize);
            Ok(Some(value))
        }
    }
}

/// fremovexattr(2).
pub fn remove(fd: BorrowedFd, name: &CStr) -> Sys<()> {
    // SAFETY: the name is NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_fremovexattr, fd.as_raw_fd(), name.as_ptr()) };
    check("fremovexattr", done).map(drop)
}
