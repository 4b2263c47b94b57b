//! pidfd_open(2) and pidfd_send_signal(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Fail, Sys, check, descriptor};

/// A descriptor for the process `pid`. It keeps referring to that process when the pid is reused.
/// Close-on-exec. Linux 5.3.
pub fn open(pid: i32) -> Sys<OwnedFd> {
    // SAFETY: takes no pointers.
    descriptor("pidfd_open", unsafe {
        libc::syscall(libc::SYS_pidfd_open, pid, 0)
    })
}

/// The namespace of the process that a `CLONE_NEW*` flag names. Close-on-exec.
///
/// # Errors
/// ENOTTY or EINVAL before Linux 6.11; EOPNOTSUPP if the kernel is built without this kind.
pub fn namespace(pidfd: BorrowedFd, kind: i32) -> Sys<OwnedFd> {
    /// `PIDFD_GET_*_NAMESPACE` of linux/pidfd.h.
    const NUMBERS: [(i32, libc::c_ulong); 8] = [
        (libc::CLONE_NEWCGROUP, 0xff01),
        (libc::CLONE_NEWIPC, 0xff02),
        (libc::CLONE_NEWNS, 0xff03),
        (libc::CLONE_NEWNET, 0xff04),
        (libc::CLONE_NEWPID, 0xff05),
        (libc::CLONE_NEWTIME, 0xff07),
        (libc::CLONE_NEWUSER, 0xff09),
        (libc::CLONE_NEWUTS, 0xff0a),
    ];
    let number = NUMBERS.iter().find(|(flag, _)| *flag == kind);
    let &(_, number) = number.ok_or(Fail::new(GET_NAMESPACE, Errno::EINVAL))?;
    // SAFETY: the ioctl takes no argument.
    descriptor(GET_NAMESPACE, unsafe {
        libc::syscall(libc::SYS_ioctl, pidfd.as_raw_fd(), number, 0)
    })
}

const GET_NAMESPACE: &str = "ioctl(PIDFD_GET_NAMESPACE)";

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
