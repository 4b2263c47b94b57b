//! Processes, and the namespaces that they are in.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

use super::end::End;
use super::{Fail, Sys, check, descriptor};

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The result of clone3(2).
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the caller: the child's pid and pidfd.
    Parent {
        /// In the caller's pid namespace.
        pid: i32,
        /// Close-on-exec.
        pidfd: OwnedFd,
    },
}

/// clone3(2) without a stack, like fork(2): the child continues here with a copy of the memory.
/// `cgroup` places the child by CLONE_INTO_CGROUP. Linux 5.7.
///
/// The caller must have a single thread: the copy would contain locks that other threads hold.
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd>, parent: bool) -> Sys<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers, for which all-zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // The child must not run signal handlers of the runtime.
    args.flags = namespaces | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND;
    args.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the kernel uses the caller's own exit signal.
    args.exit_signal = if parent { 0 } else { libc::SIGCHLD as u64 };
    if parent {
        args.flags |= libc::CLONE_PARENT as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: args is initialised and its size is given. Without CLONE_VM the child has its own
    // copy of the memory, so both processes may return from here.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of::<libc::clone_args>()) };
    let made = match check("clone3", pid) {
        // A seccomp filter refused the call. Filters of containers do, because a filter cannot read
        // the flags that clone3(2) takes by pointer.
        Err(Fail {
            errno: Errno::ENOSYS | Errno::EPERM,
            ..
        }) if namespaces == 0 && cgroup.is_none() => fork_with_pidfd(&args, &mut pidfd),
        made => made,
    };
    match made? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has just stored this descriptor, and nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: pid as i32,
                pidfd,
            })
        }
    }
}

/// clone(2) with the same flags except CLONE_CLEAR_SIGHAND, which only clone3(2) has: signal
/// handlers stay installed until the child calls execve(2).
fn fork_with_pidfd(args: &libc::clone_args, pidfd: &mut RawFd) -> Sys<libc::c_long> {
    let flags = args.flags & !CLONE_CLEAR_SIGHAND | args.exit_signal;
    let none = ptr::null::<u8>();
    // The supported architectures agree on the order of the first three arguments, and the flags
    // use no other.
    // SAFETY: without a stack and without CLONE_VM the child continues here in its own copy of the
    // memory, and pidfd is writable.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, pidfd, none, none) };
    check("clone", pid)
}

/// setns(2).
pub fn setns(fd: BorrowedFd, kind: i32) -> Sys<()> {
    // SAFETY: takes no pointers.
    check("setns", unsafe {
        libc::syscall(libc::SYS_setns, fd.as_raw_fd(), kind)
    })
    .map(drop)
}

/// unshare(2).
pub fn unshare(flags: i32) -> Sys<()> {
    // SAFETY: takes no pointers.
    check("unshare", unsafe {
        libc::syscall(libc::SYS_unshare, flags)
    })
    .map(drop)
}

/// `NS_GET_NSTYPE`: the `CLONE_NEW*` flag of a namespace descriptor. ioctl_ns(2).
pub fn namespace_type(fd: BorrowedFd) -> Sys<i32> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the ioctl takes no argument.
    let kind = unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) };
    check("ioctl(NS_GET_NSTYPE)", kind).map(|kind| kind as i32)
}

/// The inode of the initial namespace of a type, a `CLONE_NEW*` flag: the namespace that the kernel
/// boots with. Those of network and mount namespaces are fixed since Linux 6.18; on older kernels
/// no namespace has these numbers. Source: `enum init_ns_ino` of linux/nsfs.h, and PROC_*_INIT_INO
/// before it.
pub fn initial_namespace(kind: i32) -> Option<u64> {
    Some(match kind {
        libc::CLONE_NEWIPC => 0xEFFF_FFFF,
        libc::CLONE_NEWUTS => 0xEFFF_FFFE,
        libc::CLONE_NEWUSER => 0xEFFF_FFFD,
        libc::CLONE_NEWPID => 0xEFFF_FFFC,
        libc::CLONE_NEWCGROUP => 0xEFFF_FFFB,
        libc::CLONE_NEWNET => 0xEFFF_FFF9,
        libc::CLONE_NEWNS => 0xEFFF_FFF8,
        _ => return None,
    })
}

/// Whether this process is in a user namespace other than the initial one, whatever its id maps.
///
/// # Errors
/// `stat` of the namespace file in /proc failed.
pub fn in_user_namespace() -> Sys<bool> {
    let namespace = super::tag("stat", nix::sys::stat::stat(c"/proc/self/ns/user"))?;
    Ok(Some(namespace.st_ino) != initial_namespace(libc::CLONE_NEWUSER))
}

/// The inode of a namespace of this process: of `pid`, `time` or `cgroup`. `None` if the kernel does
/// not have the kind.
///
/// # Errors
/// `stat` of the namespace file in /proc failed.
pub fn own_namespace(kind: &str) -> Sys<Option<u64>> {
    match nix::sys::stat::stat(format!("/proc/self/ns/{kind}").as_str()) {
        Err(Errno::ENOENT) => Ok(None),
        found => super::tag("stat", found).map(|found| Some(found.st_ino)),
    }
}

/// prctl(2) with up to four integer arguments.
pub fn prctl(op: &'static str, option: i32, arguments: [u64; 4]) -> Sys<i64> {
    let [second, third, fourth, fifth] = arguments;
    // SAFETY: callers pass options whose arguments are integers.
    let done = unsafe { libc::syscall(libc::SYS_prctl, option, second, third, fourth, fifth) };
    check(op, done)
}

/// The soft and the hard limit of this process. getrlimit(2).
pub fn limit(resource: u32) -> Sys<(u64, u64)> {
    let mut limit = [0_u64; 2];
    // SAFETY: limit has the layout of struct rlimit64, and the null pointer means no new value.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::null::<u8>(),
            &mut limit,
        )
    };
    check("prlimit", done)?;
    Ok((limit[0], limit[1]))
}

/// prlimit(2) of a process; pid 0 is the caller.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Sys<()> {
    let limit = [soft, hard];
    // SAFETY: limit has the layout of struct rlimit64, and the null pointer means that the old
    // value is not returned.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &limit,
            ptr::null::<u8>(),
        )
    };
    check("prlimit", done).map(drop)
}

/// umask(2); returns the previous mask. The kernel never refuses the call, but a seccomp filter
/// may.
pub fn umask(mask: u32) -> Sys<u32> {
    // SAFETY: takes no pointers.
    let previous = unsafe { libc::syscall(libc::SYS_umask, mask) };
    check("umask", previous).map(|previous| previous as u32)
}

/// Runs `act` with another umask. The process has one thread, so nothing else sees the change.
///
/// # Errors
/// Those of `act`, and of umask(2).
pub fn with_umask<T>(mask: u32, act: impl FnOnce() -> Sys<T>) -> Sys<T> {
    let previous = umask(mask)?;
    let result = act();
    umask(previous)?;
    result
}

/// personality(2).
pub fn personality(persona: u64) -> Sys<()> {
    // SAFETY: takes no pointers.
    check("personality", unsafe {
        libc::syscall(libc::SYS_personality, persona)
    })
    .map(drop)
}

/// sethostname(2).
pub fn set_hostname(name: &CStr) -> Sys<()> {
    let length = name.to_bytes().len();
    // SAFETY: the pointer and the length describe the string.
    let done = unsafe { libc::syscall(libc::SYS_sethostname, name.as_ptr(), length) };
    check("sethostname", done).map(drop)
}

/// setdomainname(2).
pub fn set_domainname(name: &CStr) -> Sys<()> {
    let length = name.to_bytes().len();
    // SAFETY: the pointer and the length describe the string.
    let done = unsafe { libc::syscall(libc::SYS_setdomainname, name.as_ptr(), length) };
    check("setdomainname", done).map(drop)
}

/// keyctl(2) KEYCTL_JOIN_SESSION_KEYRING without a name: a new session keyring. No other process
/// can join it, or link it without possessing it.
pub fn new_session_keyring() -> Sys<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = ptr::null::<u8>();
    // SAFETY: a null pointer means no name.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    check("keyctl(KEYCTL_JOIN_SESSION_KEYRING)", done).map(drop)
}

/// setsid(2).
pub fn setsid() -> Sys<()> {
    // SAFETY: takes no arguments.
    check("setsid", unsafe { libc::syscall(libc::SYS_setsid) }).map(drop)
}

/// dup3(2) over a standard descriptor, which stays open across execve(2).
pub fn dup_over(from: BorrowedFd, to: RawFd) -> Sys<()> {
    // SAFETY: takes no pointers. Closing the old `to` is intended.
    check("dup3", unsafe {
        libc::syscall(libc::SYS_dup3, from.as_raw_fd(), to, 0)
    })
    .map(drop)
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: execve(2) closes every descriptor from `first` on.
/// Linux 5.11.
pub fn close_on_exec_from(first: u32) -> Sys<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: takes no pointers.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check("close_range", done).map(drop)
}

/// Closes every descriptor from `first` on except those in `keep`, including descriptors that live
/// `OwnedFd`s own. Linux 5.9.
///
/// For a process that never returns to the owners of the closed descriptors.
pub fn close_all_but(first: u32, keep: &[RawFd]) -> Sys<()> {
    let close = |from: u32, to: u32| {
        // SAFETY: takes no pointers; the owners are stack frames of the parent, which never run in
        // this process.
        let done = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        check("close_range", done).map(drop)
    };
    let numbers = keep.iter().filter_map(|&fd| u32::try_from(fd).ok());
    let mut from = first;
    while let Some(kept) = numbers.clone().filter(|&kept| kept >= from).min() {
        if kept > from {
            close(from, kept - 1)?;
        }
        from = kept + 1;
    }
    close(from, u32::MAX)
}

/// exit_group(2), without destructors or exit handlers.
///
/// A container's seccomp filter applies to init too, and may refuse the call with an errno. Then
/// exit(2) ends the only thread. If the filter refuses that as well, an illegal instruction ends
/// the process.
pub fn exit(status: i32) -> ! {
    // SAFETY: takes no pointers, and ends the process.
    unsafe {
        libc::syscall(libc::SYS_exit_group, status);
        libc::syscall(libc::SYS_exit, status);
    }
    trap()
}

/// Executes an illegal instruction, for which the kernel ends the process by SIGILL, even the first
/// process of a pid namespace.
fn trap() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is defined to be illegal, so execution does not continue after it.
    unsafe {
        std::arch::asm!("ud2", options(noreturn))
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("udf #0", options(noreturn))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    std::process::abort()
}

/// Waits until a child ends, and reaps it. waitid(2).
pub fn wait(pidfd: BorrowedFd) -> Sys<End> {
    let ended = wait_for(libc::P_PIDFD, pidfd.as_raw_fd() as u32, libc::WEXITED)?;
    ended
        .map(|(_, end)| end)
        .ok_or(Fail::new("waitid", Errno::ECHILD))
}

/// Kills a child and reaps it. Errors are ignored: either another error is about to be reported, or
/// the child has no work left.
pub fn end(pidfd: BorrowedFd) {
    // The child may have exited already. One that cannot be killed is not waited for: it ends when
    // this process does, because it finds its connection closed.
    match super::pidfd::send_signal(pidfd, libc::SIGKILL) {
        Err(fail) if fail.errno != Errno::ESRCH => {}
        _ => drop(wait(pidfd)),
    }
}

/// Reaps a child that has ended, if any. Returns its pid and its end.
pub fn reap() -> Sys<Option<(i32, End)>> {
    match wait_for(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG) {
        Err(fail) if fail.errno == Errno::ECHILD => Ok(None),
        ended => ended,
    }
}

fn wait_for(kind: libc::idtype_t, id: u32, options: i32) -> Sys<Option<(i32, End)>> {
    loop {
        // SAFETY: siginfo_t is plain data, for which all-zero is a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: info is writable; no resource usage is asked for.
        let done = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                kind,
                id,
                &mut info,
                options,
                ptr::null::<u8>(),
            )
        };
        match check("waitid", done) {
            Err(Fail {
                errno: Errno::EINTR,
                ..
            }) => continue,
            done => done?,
        };
        // SAFETY: waitid has filled in the fields for the end of a child, or left the zeros.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status() as u8) };
        // The status may be a real-time signal, for which nix has no type.
        return Ok((pid != 0).then_some(match info.si_code {
            libc::CLD_EXITED => (pid, End::Exited(status)),
            _ => (pid, End::Killed(status)),
        }));
    }
}

/// One of the three standard streams, which stay open for the life of the process.
pub fn standard_stream(stream: RawFd) -> BorrowedFd<'static> {
    assert!((0..3).contains(&stream), "not a standard stream");
    // SAFETY: nothing in this program closes the standard streams.
    unsafe { BorrowedFd::borrow_raw(stream) }
}

/// A descriptor by its number, which the caller keeps open as long as the value lives. On a number
/// that is not open, system calls fail with EBADF.
pub fn descriptor_of<'a>(number: RawFd) -> BorrowedFd<'a> {
    assert!(number >= 0, "not a descriptor");
    // SAFETY: the number is not -1, and nothing is closed through a borrowed descriptor.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Whether the caller has left this descriptor open for the program. Descriptors that the runtime
/// opens itself are close-on-exec.
pub fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: takes no pointers; the call only reads the descriptor's flags.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// pidfd_getfd(2): a copy of a descriptor of another process, close-on-exec. Linux 5.6.
pub fn fetch_fd(pidfd: BorrowedFd, number: RawFd) -> Sys<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    descriptor("pidfd_getfd", fd)
}

/// getpid(2): the pid in the caller's pid namespace.
pub fn own_pid() -> i32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as i32 }
}
