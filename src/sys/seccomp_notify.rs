//! The listener of a seccomp filter: seccomp_unotify(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Fail, Sys, check};

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    id: u64,
    /// `seccomp_data.arch`.
    pub arch: u32,
    /// `seccomp_data.nr`.
    pub number: u32,
}

/// Waits for a call, whatever it is. `None` if its process has ended before, or if a signal came.
///
/// # Errors
/// ioctl(2) failed.
pub fn receive(listener: BorrowedFd) -> Sys<Option<Asked>> {
    // SAFETY: a structure of integers, which the kernel demands to be zero.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: RECEIVE writes one `seccomp_notif`.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            RECEIVE,
            &raw mut asked,
        )
    };
    match check("ioctl(SECCOMP_IOCTL_NOTIF_RECV)", returned) {
        Ok(_) => Ok(Some(Asked {
            id: asked.id,
            arch: asked.data.arch,
            number: asked.data.nr as u32,
        })),
        Err(Fail {
            errno: Errno::ENOENT | Errno::EINTR,
            ..
        }) => Ok(None),
        Err(fail) => Err(fail),
    }
}

/// Lets the kernel carry out the call. This decides nothing: the process may change the arguments
/// until then.
///
/// # Errors
/// ioctl(2) failed for another reason than the end of the process.
pub fn let_through(listener: BorrowedFd, asked: Asked) -> Sys<()> {
    let mut answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: SEND reads one `seccomp_notif_resp`.
    let returned =
        unsafe { libc::syscall(libc::SYS_ioctl, listener.as_raw_fd(), SEND, &raw mut answer) };
    match check("ioctl(SECCOMP_IOCTL_NOTIF_SEND)", returned) {
        Err(fail) if fail.errno != Errno::ENOENT => Err(fail),
        _ => Ok(()),
    }
}
