//! pidfd_open(2) and pidfd_send_signal(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Sys, check};

/// A descriptor of the process `pid`; it keeps naming that process when the number is used again.
/// Close-on-exec. Linux 5.3.
pub fn open(pid: i32) -> Sys<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = check("pidfd_open", unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid, 0)
    })?;
    // SAFETY: the kernel just made this descriptor and nobody else has its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends `signal` to the process; 0 only checks that it is there. Linux 5.1.
pub fn send_signal(pidfd: BorrowedFd, signal: i32) -> Sys<()> {
    // SAFETY: the null pointer asks the kernel to fill in the siginfo itself; the others are integers.
    check("pidfd_send_signal", unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}
