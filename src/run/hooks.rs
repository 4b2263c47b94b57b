//! One hook: a program that reads the container's state on its standard input.
//!
//! The same code serves the runtime and init, so it uses system calls only.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::plan::HookStep;
use crate::sys::process::{self, Cloned, StringArray};
use crate::sys::{Fail, Sys, path, pidfd};

/// What became of a hook that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookFail {
    /// It could not be run.
    Sys(Fail),
    /// It ended with this status (128 + signal where a signal ended it).
    Status(i32),
    /// It ran longer than its timeout and was killed.
    Timeout,
}

impl HookFail {
    /// For init, which reports an operation and an errno.
    pub fn into_fail(self) -> Fail {
        match self {
            Self::Sys(fail) => fail,
            // The process that leaks this exits next.
            Self::Status(_) => Fail::new(self.to_string().leak(), Errno::UnknownErrno),
            Self::Timeout => Fail::new("timed out and was killed", Errno::UnknownErrno),
        }
    }
}

impl std::fmt::Display for HookFail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sys(fail) => write!(f, "{}: {}", fail.op, fail.errno.desc()),
            Self::Status(status) if *status > 128 => write!(f, "killed by signal {}", status - 128),
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Timeout => f.write_str("timed out and was killed"),
        }
    }
}

impl From<Fail> for HookFail {
    fn from(fail: Fail) -> Self {
        Self::Sys(fail)
    }
}

/// Runs a hook to its end. It starts in `directory`, where that exists.
pub fn run(hook: &HookStep, directory: Option<&CStr>, state: &[u8]) -> Result<(), HookFail> {
    // The program's own failure to start comes back on a pipe that execve closes.
    let (failed, fail_end) = pipe()?;
    let (input, input_end) = pipe()?;
    let pidfd = match process::clone3(0, None, false)? {
        Cloned::Child => {
            drop((failed, input_end));
            execute(hook, directory, input, fail_end)
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop((input, fail_end));
    let started = started(failed.as_fd());
    if started.is_ok() {
        feed(input_end, state);
    }
    let ended = wait(hook, pidfd.as_fd());
    started?;
    match ended? {
        0 => Ok(()),
        status => Err(HookFail::Status(status)),
    }
}

fn pipe() -> Sys<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|errno| Fail::new("pipe2", errno))
}

fn execute(hook: &HookStep, directory: Option<&CStr>, input: OwnedFd, fail_end: OwnedFd) -> ! {
    let fail = prepare(directory, &input).err().unwrap_or_else(|| {
        let args = StringArray::from(hook.args.as_slice());
        let env = match &hook.env {
            Some(env) => StringArray::from(env.as_slice()),
            None => process::environment(),
        };
        process::default_signals();
        process::unblock_signals();
        process::execve(&hook.path, &args, &env)
    });
    let _ = path::write_all(fail_end.as_fd(), &(fail.errno as i32).to_ne_bytes());
    process::exit(127)
}

fn prepare(directory: Option<&CStr>, input: &OwnedFd) -> Sys<()> {
    if let Some(directory) = directory {
        // Callers delete containers whose bundle is gone already.
        path::chdir(directory).or_else(|_| path::chdir(c"/"))?;
    }
    process::dup_over(input.as_fd(), 0)?;
    // Descriptors that the caller preserves for the container are none of the hook's business.
    process::close_on_exec_from(3)
}

/// Waits for execve: end of file, or the errno.
fn started(failed: BorrowedFd) -> Result<(), HookFail> {
    let mut errno = [0; 4];
    match path::read(failed, &mut errno)? {
        4 => {
            let errno = Errno::from_raw(i32::from_ne_bytes(errno));
            Err(HookFail::Sys(Fail::new("execve", errno)))
        }
        _ => Ok(()),
    }
}

/// A hook need not read its input: a broken pipe is no error, and neither is a full one, which
/// must not block.
fn feed(input_end: OwnedFd, state: &[u8]) {
    let _ = nix::fcntl::fcntl(
        &input_end,
        nix::fcntl::FcntlArg::F_SETPIPE_SZ(i32::try_from(state.len() + 1).unwrap_or(i32::MAX)),
    );
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK;
    let _ = nix::fcntl::fcntl(&input_end, nix::fcntl::FcntlArg::F_SETFL(nonblocking));
    let _ = path::write_all(input_end.as_fd(), state);
}

fn wait(hook: &HookStep, pidfd: BorrowedFd) -> Result<i32, HookFail> {
    let start = Instant::now();
    loop {
        let timeout = match hook.timeout {
            None => PollTimeout::NONE,
            Some(limit) => {
                let left = limit.saturating_sub(start.elapsed());
                PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Fail::new("poll", errno).into()),
            Ok(0) if hook.timeout.is_some_and(|limit| start.elapsed() >= limit) => {
                pidfd::send_signal(pidfd, libc::SIGKILL)?;
                process::wait(pidfd)?;
                return Err(HookFail::Timeout);
            }
            Ok(0) => {}
            Ok(_) => return Ok(process::wait(pidfd)?),
        }
    }
}
