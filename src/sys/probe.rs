//! Asks which system calls exist, without effects.

use nix::errno::Errno;

use super::{Sys, check};

/// Whether the kernel has the system call of this number, and lets this process make it. The call
/// gets -1 for each argument, which is no valid flag, descriptor or pointer of the calls that this
/// is for.
///
/// # Errors
/// EPERM: the caller has no privilege for it, or a seccomp filter refuses it.
pub fn has_call(name: &'static str, number: libc::c_long) -> Sys<bool> {
    // SAFETY: the calls check their flags, or the sizes of their arguments, before anything else;
    // the pointer is not mapped, so that nothing is read or written through it.
    let done = unsafe { libc::syscall(number, -1_isize, -1_isize, -1_isize, -1_isize, -1_isize) };
    match check(name, done) {
        Err(fail) if fail.errno == Errno::ENOSYS => Ok(false),
        Err(fail) if fail.errno == Errno::EPERM => Err(fail),
        _ => Ok(true),
    }
}

/// Whether the kernel has a `SECCOMP_RET_*` action. SECCOMP_GET_ACTION_AVAIL of seccomp(2).
///
/// # Errors
/// The kernel has no seccomp filters, or a filter refuses the question.
pub fn has_seccomp_action(action: u32) -> Sys<bool> {
    const SECCOMP_GET_ACTION_AVAIL: libc::c_uint = 2;
    // SAFETY: the kernel reads the action through the pointer.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    match check("seccomp", done) {
        Err(fail) if fail.errno == Errno::EOPNOTSUPP => Ok(false),
        done => done.map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_floor_exist_and_others_do_not() {
        assert_eq!(has_call("openat2", libc::SYS_openat2), Ok(true));
        assert_eq!(has_call("clone3", libc::SYS_clone3), Ok(true));
        assert_eq!(has_call("none", 100_000), Ok(false));
    }

    #[test]
    fn actions() {
        assert_eq!(has_seccomp_action(libc::SECCOMP_RET_KILL_PROCESS), Ok(true));
        assert_eq!(has_seccomp_action(0x1234_0000), Ok(false));
    }
}
