//! The kernel's decision about a program: execve(2) in a child, which is stopped before the first
//! instruction of the program, and killed.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;

pub enum Answer {
    Executes,
    Refuses(Errno),
    /// Changing the root directory needs CAP_SYS_CHROOT.
    Unasked,
}

/// Executes `program` with `root` as its root directory, up to its first instruction.
pub fn execve(root: &Path, program: &CStr) -> Answer {
    if !nix::unistd::geteuid().is_root() {
        return Answer::Unasked;
    }
    let root = root.to_owned();
    let mut command = Command::new(std::ffi::OsStr::from_bytes(program.to_bytes()));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: between fork(2) and execve(2) the child makes only system calls.
    unsafe {
        command.pre_exec(move || {
            // The limit bounds the memory that a hostile header requests.
            let limit = 1 << 30;
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, limit, limit)?;
            nix::unistd::chroot(&root)?;
            nix::unistd::chdir("/")?;
            Ok(nix::sys::ptrace::traceme()?)
        });
    }
    match command.spawn() {
        Ok(mut child) => {
            // Waits as the tracer: for the stop by SIGTRAP, or because the kernel has killed the
            // child.
            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.id() as i32), None);
            let _ = child.kill();
            let _ = child.wait();
            Answer::Executes
        }
        Err(error) => Answer::Refuses(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}
