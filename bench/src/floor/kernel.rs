//! The system calls, and helpers of the runtime's side that need several of them.

use std::ffi::{CStr, c_int, c_long};
use std::mem::size_of;

/// The operation that failed, and errno.
pub struct Died(pub &'static str, pub c_int);

/// Ends the process with a line on standard error.
pub fn die(died: &Died) -> ! {
    eprintln!("floor: {}: errno {}", died.0, died.1);
    // SAFETY: ends the process.
    unsafe { libc::_exit(125) }
}

pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The result of a system call, which must not be -1.
pub fn check(result: c_long, what: &'static str) -> c_int {
    if result < 0 {
        die(&Died(what, errno()));
    }
    result as c_int
}

/// syscall(2) of the C library, which returns -1 and sets errno on failure.
macro_rules! call {
    ($number:expr $(, $arg:expr)* $(,)?) => {{
        // SAFETY: each call site passes what the manual page of its system call requires; strings
        // and structs outlive the call.
        unsafe { libc::syscall($number $(, $arg)*) }
    }};
}
pub(crate) use call;

pub fn close(fd: c_int) {
    call!(libc::SYS_close, fd);
}

pub fn open(path: &CStr, flags: c_int) -> c_int {
    call!(
        libc::SYS_openat,
        libc::AT_FDCWD,
        path.as_ptr(),
        flags | libc::O_CLOEXEC,
        0o600
    ) as c_int
}

pub fn read_file(path: &CStr) -> Vec<u8> {
    let fd = check(open(path, libc::O_RDONLY).into(), "open script");
    let mut bytes = vec![0; 256 * 1024];
    let length = check(
        call!(libc::SYS_read, fd, bytes.as_mut_ptr(), bytes.len()),
        "read",
    );
    close(fd);
    bytes.truncate(length as usize);
    bytes
}

pub fn read_pid(path: &CStr) -> i32 {
    let fd = check(open(path, libc::O_RDONLY).into(), "open pid file");
    let mut pid = [0; 4];
    check(call!(libc::SYS_read, fd, pid.as_mut_ptr(), 4), "read");
    close(fd);
    i32::from_ne_bytes(pid)
}

pub fn write_pid(path: &CStr, pid: i32) {
    let fd = check(
        open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC).into(),
        "pid file",
    );
    check(
        call!(libc::SYS_write, fd, pid.to_ne_bytes().as_ptr(), 4),
        "write",
    );
    close(fd);
}

pub fn write_at(directory: c_int, name: &CStr, value: &CStr) {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let file = check(
        call!(libc::SYS_openat, directory, name.as_ptr(), flags),
        "open to write",
    );
    check(
        call!(libc::SYS_write, file, value.as_ptr(), value.count_bytes()),
        "write",
    );
    close(file);
}

pub fn unlink(path: &CStr) {
    check(
        call!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0),
        "unlink",
    );
}

pub fn make_cgroup(path: &CStr) -> c_int {
    check(
        call!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), 0o755),
        "make cgroup",
    );
    open_cgroup(path)
}

pub fn open_cgroup(path: &CStr) -> c_int {
    check(
        open(path, libc::O_DIRECTORY | libc::O_PATH).into(),
        "open cgroup",
    )
}

/// Removes the cgroup, which a process that was just reaped may still occupy for a moment.
pub fn remove_cgroup(path: &CStr) {
    while call!(
        libc::SYS_unlinkat,
        libc::AT_FDCWD,
        path.as_ptr(),
        libc::AT_REMOVEDIR
    ) < 0
    {
        match errno() {
            libc::EBUSY => call!(libc::SYS_sched_yield),
            number => die(&Died("remove cgroup", number)),
        };
    }
}

/// Loads the instructions in the file and attaches them to the cgroup.
pub fn attach_device_program(cgroup: c_int, file: &CStr) {
    const BPF_PROG_LOAD: c_int = 5;
    const BPF_PROG_ATTACH: c_int = 8;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: *const u8,
        license: *const u8,
        rest: [u64; 4],
    }
    let instructions = read_file(file);
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: (instructions.len() / 8) as u32,
        instructions: instructions.as_ptr(),
        license: c"Apache".as_ptr().cast(),
        rest: [0; 4],
    };
    let program = check(
        call!(libc::SYS_bpf, BPF_PROG_LOAD, &load, size_of::<Load>()),
        "bpf load",
    );
    // The members are target_fd, attach_bpf_fd, attach_type, attach_flags.
    let attach = [
        cgroup as u32,
        program as u32,
        BPF_CGROUP_DEVICE,
        BPF_F_ALLOW_MULTI,
    ];
    check(
        call!(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &attach,
            size_of_val(&attach)
        ),
        "bpf attach",
    );
    close(program);
}

/// A pidfd, close-on-exec.
pub fn open_process(pid: i32) -> c_int {
    check(call!(libc::SYS_pidfd_open, pid, 0), "pidfd_open")
}

/// Joins namespaces of a process.
pub fn join(pidfd: c_int, flags: u64) {
    check(call!(libc::SYS_setns, pidfd, flags as c_int), "setns");
}

/// clone3(2), into a cgroup if one is given. Returns 0 in the child.
pub fn clone(flags: u64, cgroup: c_int) -> i32 {
    #[repr(C)]
    #[derive(Default)]
    struct Args {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let into = if cgroup < 0 { 0 } else { CLONE_INTO_CGROUP };
    let args = Args {
        flags: flags | into,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.max(0) as u64,
        ..Args::default()
    };
    check(call!(libc::SYS_clone3, &args, size_of::<Args>()), "clone3")
}

/// Waits for a child. Returns its exit status, or 128 and the signal that killed it.
pub fn wait(pid: i32) -> c_int {
    let mut status = 0;
    check(call!(libc::SYS_wait4, pid, &mut status, 0, 0), "wait4");
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}

/// The way in which init reports that only execve(2) is left.
pub struct Ready {
    pipe: Option<[c_int; 2]>,
}

impl Ready {
    pub fn new(used: bool) -> Self {
        let pipe = used.then(|| {
            let mut pipe = [0; 2];
            check(
                call!(libc::SYS_pipe2, pipe.as_mut_ptr(), libc::O_CLOEXEC),
                "pipe2",
            );
            // The signal of `start` must not arrive before init waits for it.
            set_mask(1 << (libc::SIGUSR1 - 1));
            pipe
        });
        Self { pipe }
    }

    pub fn tell(&self) {
        if let Some([_, write]) = self.pipe {
            check(call!(libc::SYS_write, write, c"1".as_ptr(), 1), "write");
        }
    }

    /// Waits until init is ready or has ended.
    pub fn wait(&mut self) {
        if let Some([read, write]) = self.pipe.take() {
            close(write);
            let mut byte = 0u8;
            if check(call!(libc::SYS_read, read, &mut byte, 1), "read") != 1 {
                die(&Died("init has failed", 0));
            }
            close(read);
        }
    }
}

/// Replaces the mask of blocked signals.
pub fn set_mask(signals: u64) {
    call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &signals, 0, 8);
}
