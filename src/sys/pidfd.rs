//! pidfd_open(2) and pidfd_send_signal(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Sys, check, descriptor};

/// A descriptor for the process `pid`. It keeps referring to that process when the pid is reused.
/// Close-on-exec. Linux 5.3.
pub fn open(pid: i32) -> Sys<OwnedFd> {
    // SAFETY: takes no pointers.
    descriptor("pidfd_open", unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid, 0)
    })
}

/// Sends `signal` to the process; signal 0 only checks that the process exists. Linux 5.1.
pub fn send_signal(pidfd: BorrowedFd, signal: i32) -> Sys<()> {
    // SAFETY: the null pointer makes the kernel fill in the siginfo; the other arguments are
    // integers.
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
