//! seccomp(2): installs filters, and asks which actions and flags the kernel supports.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use libc::{sock_filter, sock_fprog};
use nix::errno::Errno;

use super::{Fail, Sys, check};

/// Installs `program` for the calling thread, permanently. `flags` are `SECCOMP_FILTER_FLAG_*`.
///
/// Returns the listener's descriptor if `SECCOMP_FILTER_FLAG_NEW_LISTENER` is among the flags; it
/// is close-on-exec.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN and without `no_new_privs`; EINVAL for an invalid program or an
/// unknown flag; ENOMEM if the filters of the thread are too long in total; EBUSY for a second
/// listener; ESRCH if TSYNC could not synchronise a thread.
pub fn install(program: &[sock_filter], flags: u64) -> Sys<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| Fail::new("seccomp", Errno::EINVAL))?;
    let program = sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` describes a live slice that the kernel copies and does not write to.
    let returned = check("seccomp", unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags as libc::c_uint,
            &raw const program,
        )
    })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
        // SAFETY: with this flag a success returns a new descriptor, and nothing else owns it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(returned as RawFd) }));
    }
    // Without a listener, a positive value is the thread that TSYNC failed on.
    if returned == 0 {
        Ok(None)
    } else {
        Err(Fail::new("seccomp", Errno::ESRCH))
    }
}

/// Whether the kernel supports one of `SECCOMP_FILTER_FLAG_*`.
///
/// The kernel checks the flags before it reads the program. A null program fails with EFAULT if the
/// flags are known, and with EINVAL otherwise. Nothing is installed.
pub fn flag_available(flag: u64) -> bool {
    // The kernel accepts this flag only together with a listener.
    let flags = match flag {
        libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV => {
            flag | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
        }
        other => other,
    };
    let program = std::ptr::null::<sock_fprog>();
    // SAFETY: the null pointer is intended: the kernel returns EFAULT and changes nothing.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags as libc::c_uint,
            program,
        )
    };
    returned == -1 && Errno::last() == Errno::EFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_the_flags_of_its_floor_and_no_invented_flag() {
        // The floor is Linux 5.14; WAIT_KILLABLE_RECV came with 5.19.
        for flag in [
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            libc::SECCOMP_FILTER_FLAG_LOG,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        ] {
            assert!(flag_available(flag), "{flag:#x}");
        }
        assert!(!flag_available(1 << 30));
    }

    #[test]
    fn an_empty_program_is_refused() {
        assert_eq!(install(&[], 0).unwrap_err().errno, Errno::EINVAL);
    }
}
