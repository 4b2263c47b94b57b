//! An init that ended before execve(2) and could not say why.
//!
//! The container's seccomp filter is loaded before execve(2), and holds for init too. One that
//! refuses execve(2) may also refuse every call that init has left to report it, or kill it. The
//! runtime then sees no more than the end of the connection, which also is what a successful
//! execve(2) looks like.

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::sys::process;

/// Called at the end of the connection to the process `pid`.
///
/// # Errors
/// It has ended, and has not executed the program.
pub fn refuse(pid: i32) -> Result<()> {
    // A process that lives has executed: nothing else closes its end of the connection. The kernel
    // takes the program off a process before it closes its files.
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(_) => return Ok(()),
        Err(error) if is_gone(&error) => {}
        Err(error) => {
            let program = format!("the program of process {pid}");
            return Err(Error::io(program, "readlink", &error));
        }
    }
    let status = match process::forked_only(pid) {
        Ok(Some(status)) => status,
        Ok(None) => return Ok(()),
        // If its parent has reaped it already, there is nothing to see that speaks against the usual.
        Err(fail) if [Errno::ENOENT, Errno::ESRCH].contains(&fail.errno) => return Ok(()),
        Err(fail) => {
            return Err(Error::failed(format!("/proc/{pid}/stat"), fail));
        }
    };
    let how = match status {
        129.. => format!("killed by signal {}", status - 128),
        _ => format!("exit status {status}"),
    };
    let message = format!("linux.seccomp: init ended before execve(2): {how}");
    Err(Error::new(message).hint(
        "the profile must allow execve; if it allows write too, init can say which call fails",
    ))
}

/// A process that has ended has no program any more; one that has been reaped has no name either.
fn is_gone(error: &std::io::Error) -> bool {
    let gone = [libc::ENOENT, libc::ESRCH, libc::EACCES];
    error
        .raw_os_error()
        .is_some_and(|errno| gone.contains(&errno))
}
