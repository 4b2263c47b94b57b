//! An init that ended before execve(2) and could not say why.
//!
//! The container's seccomp filter is loaded before execve(2), and holds for init too. One that
//! refuses execve(2) may also refuse every call that init has left to report it, or kill it. The
//! runtime then sees no more than the end of the connection, which also is what a successful
//! execve(2) looks like.

use crate::error::{Error, Kind, Result};
use crate::sys::process;

/// Called at the end of the connection to the process `pid`.
///
/// # Errors
/// It has ended, and has not executed the program.
pub fn refuse(pid: i32) -> Result<()> {
    // A process that lives has executed: nothing else closes its end of the connection. The kernel
    // takes the program off a process before it closes its files.
    if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok() {
        return Ok(());
    }
    // If its parent has reaped it already, there is nothing to see that speaks against the usual.
    let Ok(Some(status)) = process::forked_only(pid) else {
        return Ok(());
    };
    let how = match status {
        129.. => format!("killed by signal {}", status - 128),
        _ => format!("exit status {status}"),
    };
    let message = format!("linux.seccomp: init ended before execve(2): {how}");
    Err(Error::new(Kind::Setup, message).hint(
        "the profile must allow execve; if it allows write too, init can say which call fails",
    ))
}
