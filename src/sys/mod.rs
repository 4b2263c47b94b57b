//! System calls by area. Nothing here knows of OCI, and all `unsafe` of the project is here.
//!
//! Wrappers issue the raw call: in the init process a libc wrapper may take locks or signal
//! threads that do not exist there.

pub mod binary;
pub mod bpf;
pub mod entry;
pub mod file;
pub mod heap;
pub mod inherited;
pub mod interrupt;
pub mod mount;
pub mod net;
pub mod path;
pub mod pidfd;
pub mod process;
pub mod relro;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod terminal;
pub mod tree;
// With other panics or another C library std has its unwinder.
#[cfg(all(panic = "abort", target_env = "musl", not(debug_assertions)))]
mod unwind;

use nix::errno::Errno;

/// A failed system call: its name as in the man page, and the errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    pub op: &'static str,
    pub errno: Errno,
}

/// The result of a system call.
pub type Sys<T> = Result<T, Fail>;

impl Fail {
    /// A failure of `op`.
    pub fn new(op: &'static str, errno: Errno) -> Self {
        Self { op, errno }
    }
}

/// Turns the return value of `libc::syscall` into a result.
pub(crate) fn check(op: &'static str, returned: libc::c_long) -> Sys<libc::c_long> {
    if returned < 0 {
        Err(Fail::new(op, Errno::last()))
    } else {
        Ok(returned)
    }
}

/// Tags the error of a nix call with the call's name.
pub(crate) fn tag<T>(op: &'static str, result: nix::Result<T>) -> Sys<T> {
    result.map_err(|errno| Fail::new(op, errno))
}
