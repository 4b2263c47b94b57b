//! Names of system calls and errors, for messages.

macro_rules! numbers {
    ($($name:ident)*) => {
        &[$((libc::$name, stringify!($name))),*]
    };
}

/// The system calls that the runtime may make.
const CALLS: &[(libc::c_long, &str)] = numbers![
    SYS_accept4 SYS_access SYS_arch_prctl SYS_bind SYS_bpf SYS_brk SYS_capget SYS_capset SYS_chdir
    SYS_chmod SYS_chown SYS_chroot SYS_clock_gettime SYS_clone SYS_clone3 SYS_close SYS_close_range
    SYS_connect SYS_dup SYS_dup2 SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait
    SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2
    SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_flock
    SYS_fork SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_fstat SYS_fstatfs SYS_fsync
    SYS_ftruncate SYS_futex SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid
    SYS_getgroups SYS_getpeername SYS_getpgrp SYS_getpid SYS_getppid SYS_getrandom SYS_getrlimit
    SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_getuid SYS_inotify_add_watch
    SYS_inotify_init1 SYS_ioctl SYS_keyctl SYS_kill SYS_lgetxattr SYS_link SYS_linkat SYS_listen
    SYS_lseek SYS_lstat SYS_madvise SYS_memfd_create SYS_mkdir SYS_mkdirat SYS_mknod SYS_mknodat
    SYS_mmap SYS_mount SYS_mount_setattr SYS_move_mount SYS_mprotect SYS_mremap SYS_munmap
    SYS_nanosleep SYS_newfstatat SYS_open SYS_open_by_handle_at SYS_open_tree SYS_openat
    SYS_openat2 SYS_personality SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe SYS_pipe2
    SYS_pivot_root SYS_poll SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_pwrite64 SYS_read
    SYS_readlink SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmsg SYS_rename SYS_renameat
    SYS_renameat2 SYS_rmdir SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn
    SYS_rt_sigtimedwait SYS_sched_getaffinity SYS_sched_setaffinity SYS_seccomp SYS_sendfile
    SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setgid SYS_setgroups
    SYS_sethostname SYS_setdomainname SYS_setns SYS_setpgid SYS_setresgid SYS_setresuid
    SYS_setrlimit SYS_setsid SYS_setsockopt SYS_setuid SYS_setxattr SYS_sigaltstack SYS_signalfd4
    SYS_socket SYS_socketpair SYS_splice SYS_stat SYS_statfs SYS_statx SYS_symlink SYS_symlinkat
    SYS_tgkill SYS_timerfd_create SYS_timerfd_settime SYS_tkill SYS_umask SYS_umount2 SYS_uname
    SYS_unlink SYS_unlinkat SYS_unshare SYS_utimensat SYS_vfork SYS_wait4 SYS_waitid SYS_write
    SYS_writev
];

/// The name of a system call, or its number if the table lacks it.
pub fn call(number: i64) -> String {
    let row = CALLS.iter().find(|(other, _)| *other == number);
    row.map_or(number.to_string(), |(_, name)| {
        name["SYS_".len()..].to_owned()
    })
}

/// An errno: its value, its name, and the texts that libraries have for it.
pub struct Errno {
    pub value: i32,
    pub name: &'static str,
    pub words: &'static [&'static str],
}

/// The errors that system calls are made to return.
pub const ERRORS: &[Errno] = &[
    Errno {
        value: libc::EPERM,
        name: "EPERM",
        words: &["operation not permitted"],
    },
    Errno {
        value: libc::ENOSYS,
        name: "ENOSYS",
        words: &["function not implemented"],
    },
    Errno {
        value: libc::ENOMEM,
        name: "ENOMEM",
        words: &["cannot allocate memory", "out of memory"],
    },
    Errno {
        value: libc::EINTR,
        name: "EINTR",
        words: &["interrupted system call"],
    },
    Errno {
        value: libc::EMFILE,
        name: "EMFILE",
        words: &["too many open files", "no file descriptors available"],
    },
    Errno {
        value: libc::EIO,
        name: "EIO",
        words: &["i/o error", "input/output error"],
    },
    Errno {
        value: libc::ENOSPC,
        name: "ENOSPC",
        words: &["no space left on device"],
    },
];
