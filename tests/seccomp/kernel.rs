//! Compiled filters in the kernel, each in its own process.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use sampan::config::seccomp::{Action, Arch, Operator};
use sampan::plan::seccomp::Filter;
use sampan::sys;

use crate::profile::{docker, on};
use crate::{filter, seccomp};

/// A system call with its first two arguments, and the errno that it must end with (0: success).
type Try = (libc::c_long, [u64; 2], i32);

/// Makes the calls under `filter` and returns how the process ended. Exit status 0: as expected;
/// n + 1: call number n had another result; 100: the kernel refused the filter.
fn attempt(filter: &Filter, calls: &[Try]) -> WaitStatus {
    // SAFETY: the child only makes system calls: it neither allocates nor takes locks.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => waitpid(child, None).expect("waitpid"),
        ForkResult::Child => {
            let status = under(filter, calls);
            // SAFETY: ends the process without running any code of the parent.
            unsafe { libc::_exit(status) }
        }
    }
}

fn under(filter: &Filter, calls: &[Try]) -> i32 {
    let (yes, no): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: both calls take plain numbers. The process is not dumpable, so that SIGSYS leaves no
    // core file.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, no, no, no);
        libc::prctl(libc::PR_SET_DUMPABLE, no, no, no, no);
    }
    match sys::seccomp::install(&filter.program, filter.flags) {
        Ok(listener) if listener.is_some() == filter.listener => {}
        _ => return 100,
    }
    for (index, (number, [first, second], expected)) in calls.iter().enumerate() {
        // SAFETY: the tests below pass numbers, and null where a pointer is meant.
        let returned =
            unsafe { libc::syscall(*number, *first, *second, 0_u64, 0_u64, 0_u64, 0_u64) };
        let errno = if returned == -1 { Errno::last_raw() } else { 0 };
        if errno != *expected {
            return index as i32 + 1;
        }
    }
    0
}

fn assert_exits_well(status: WaitStatus) {
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

#[test]
fn errnos_and_arguments_reach_the_caller() {
    let strange = libc::EBADFD;
    let rules = vec![
        on(&["mkdir", "mkdirat"], Action::Errno(strange as u16), &[]),
        on(
            &["kill"],
            Action::Errno(libc::EDOM as u16),
            &[(1, Operator::Equal, 1 << 32, 0)],
        ),
    ];
    let filter = filter(&seccomp(Action::Allow, &[], rules), Arch::NATIVE);
    let calls = [
        (libc::SYS_mkdirat, [0, 0], strange),
        (libc::SYS_getppid, [0, 0], 0),
        (libc::SYS_kill, [0, 1 << 32], libc::EDOM),
        (libc::SYS_kill, [0, 0], 0),
        (1000, [0, 0], libc::ENOSYS),
    ];
    assert_exits_well(attempt(&filter, &calls));
}

#[test]
fn killing_ends_the_process_by_sigsys() {
    let rules = vec![on(&["mkdirat"], Action::KillProcess, &[])];
    let filter = filter(&seccomp(Action::Allow, &[], rules), Arch::NATIVE);
    let status = attempt(&filter, &[(libc::SYS_mkdirat, [0, 0], 0)]);
    assert!(
        matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _)),
        "{status:?}"
    );
}

#[test]
fn a_listener_gets_its_descriptor() {
    let rules = vec![on(&["mkdirat"], Action::Notify, &[])];
    let mut profile = seccomp(Action::Allow, &[], rules);
    profile.flags = libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    let filter = filter(&profile, Arch::NATIVE);
    assert!(filter.listener);
    assert_exits_well(attempt(&filter, &[(libc::SYS_getppid, [0, 0], 0)]));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn dockers_profile_works() {
    let filter = filter(&docker(), Arch::NATIVE);
    let newuser = libc::CLONE_NEWUSER as u64;
    let calls = [
        (libc::SYS_getppid, [0, 0], 0),
        (libc::SYS_personality, [0xffff_ffff, 0], 0),
        (libc::SYS_personality, [0x0004_0000, 0], libc::EPERM),
        (libc::SYS_unshare, [0, 0], libc::EPERM),
        (libc::SYS_clone, [newuser, 0], libc::EPERM),
        (libc::SYS_clone3, [0, 0], libc::ENOSYS),
        (libc::SYS_socket, [libc::AF_VSOCK as u64, 0], libc::EPERM),
        (
            libc::SYS_socket,
            [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64],
            0,
        ),
        (1000, [0, 0], libc::ENOSYS),
    ];
    assert_exits_well(attempt(&filter, &calls));
}
