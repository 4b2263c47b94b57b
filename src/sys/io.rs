//! read(2) and write(2) of a descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Fail, Sys, check};

/// read(2) into `buffer`. Retried on EINTR.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> Sys<usize> {
    // SAFETY: the buffer is writable for the given length.
    unsafe { read_raw(fd, buffer.as_mut_ptr(), buffer.len()) }
}

/// read(2) into the spare capacity of `content`. Retried on EINTR. Capacity beyond the result is
/// not written.
pub fn read_more(fd: BorrowedFd, content: &mut Vec<u8>) -> Sys<usize> {
    let room = content.spare_capacity_mut();
    // SAFETY: the room is writable for the given length.
    let length = unsafe { read_raw(fd, room.as_mut_ptr().cast(), room.len()) }?;
    // SAFETY: the kernel has written `length` bytes after the old content.
    unsafe { content.set_len(content.len() + length) };
    Ok(length)
}

/// # Safety
/// `buffer` is writable for `length` bytes.
unsafe fn read_raw(fd: BorrowedFd, buffer: *mut u8, length: usize) -> Sys<usize> {
    loop {
        // SAFETY: the caller guarantees it.
        let done = unsafe { libc::syscall(libc::SYS_read, fd.as_raw_fd(), buffer, length) };
        match check("read", done) {
            Err(Fail {
                errno: Errno::EINTR,
                ..
            }) => {}
            other => return other.map(|length| length as usize),
        }
    }
}

/// Writes all of `data`. Retried on EINTR.
pub fn write_all(fd: BorrowedFd, mut data: &[u8]) -> Sys<()> {
    while !data.is_empty() {
        // SAFETY: the data is readable for the given length.
        let length =
            unsafe { libc::syscall(libc::SYS_write, fd.as_raw_fd(), data.as_ptr(), data.len()) };
        match check("write", length) {
            Err(Fail {
                errno: Errno::EINTR,
                ..
            }) => {}
            Err(fail) => return Err(fail),
            Ok(length) => data = &data[length as usize..],
        }
    }
    Ok(())
}
