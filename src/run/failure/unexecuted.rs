//! Detects an init that ended before execve(2) and could not report why.
//!
//! Init loads the container's seccomp filter before execve(2), so the filter applies to init too. A
//! filter that forbids execve(2) may also forbid every system call with which init could report the
//! failure, or kill init. The runtime then only sees the end of the connection, and a successful
//! execve(2) looks the same.

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::error::{Call as _, Code, Context as _, Error};
use crate::sys::end::Record;

/// Checks the process `pid` after the connection to it has ended.
///
/// # Errors
/// The process has ended without executing the program.
pub(crate) fn refuse(pid: i32) -> Result<()> {
    // A live process has executed the program, because nothing else closes its end of the
    // connection. A process that is ending has no program by now: the kernel detaches the program
    // before it closes the files.
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(_) => return Ok(()),
        Err(error) if is_gone(&error) => {}
        Err(error) => {
            return Err(error)
                .call("readlink")
                .with_context(|| format!("the program of process {pid}"));
        }
    }
    let record = match Record::of(pid) {
        Ok(record) if record.forked_only => record,
        Ok(_) => return Ok(()),
        // If its parent has already reaped it, nothing can be found out, and the usual case, a
        // successful execve(2), is assumed.
        Err(fail) if [Errno::ENOENT, Errno::ESRCH].contains(&fail.errno) => return Ok(()),
        Err(fail) => return Err(fail).with_context(|| format!("/proc/{pid}/stat")),
    };
    let message = format!("linux.seccomp: init ended before execve(2): {}", record.end);
    bail!(Error::new(message).code_is(Code::SeccompFailed).hint(
        "the profile must allow execve; if it also allows write, init can report the failing call",
    ))
}

/// Whether readlink(2) failed because the process has ended: then it has no program, and after it
/// has been reaped its directory in /proc is gone too.
fn is_gone(error: &std::io::Error) -> bool {
    let gone = [libc::ENOENT, libc::ESRCH, libc::EACCES];
    error
        .raw_os_error()
        .is_some_and(|errno| gone.contains(&errno))
}
