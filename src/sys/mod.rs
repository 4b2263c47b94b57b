//! System calls by area. Nothing here knows of OCI, and all `unsafe` of the project is here.
//!
//! Wrappers issue the raw call: in the init process a libc wrapper may take locks or signal
//! threads that do not exist there.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the kernel returns each value as a long, whatever its range"
)]

pub mod binary;
pub mod bpf;
pub mod command_line;
pub mod credentials;
pub mod end;
pub mod exec;
mod fail;
pub mod file;
pub mod handle;
pub mod inherited;
pub mod interrupt;
pub mod io;
pub mod mount;
pub mod mountinfo;
pub mod net;
pub mod netlink;
pub mod path;
pub mod pidfd;
pub mod poll;
pub mod probe;
pub mod process;
pub mod rt;
pub mod schedule;
pub mod seccomp;
pub mod seccomp_notify;
pub mod signals;
pub mod socket;
pub mod stat;
pub mod terminal;
pub mod tree;
pub mod xattr;

pub use fail::{Fail, Failed, Note, Reported, Sys, errno_text};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Turns the return value of `libc::syscall` into a result.
pub(crate) fn check(op: &'static str, returned: libc::c_long) -> Sys<libc::c_long> {
    if returned < 0 {
        Err(Fail::new(op, Errno::last()))
    } else {
        Ok(returned)
    }
}

/// The descriptor that a system call has just made. Only for such calls: the descriptor must have no
/// other owner.
fn descriptor(op: &'static str, returned: libc::c_long) -> Sys<OwnedFd> {
    let number = check(op, returned)? as RawFd;
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Tags the error of a nix call with the call's name.
pub(crate) fn tag<T>(op: &'static str, result: nix::Result<T>) -> Sys<T> {
    result.map_err(|errno| Fail::new(op, errno))
}
