//! Records the system calls of a container. The filter asks about each call, and a process of the
//! runtime's answers until no process has the filter any more. Then it writes the profile.
//!
//! It is a process of its own because `start` returns while the container runs. It holds nothing but
//! the listener and the file.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Context as _, Error};
use crate::plan::seccomp::record;
use crate::sys::process::{self, Cloned};
use crate::sys::seccomp_notify::{let_through, receive};
use crate::sys::{Fail, Sys, file, inherited, io, path, signals, stat};

fn object(file: &Path) -> String {
    format!("--seccomp-record: {}", file.display())
}

/// Checks that the file does not exist, before anything is made.
///
/// # Errors
/// It exists, or cannot be looked for.
pub(super) fn check(file: &Path) -> Result<()> {
    match stat::stat_of(file).with_context(|| object(file))? {
        None => Ok(()),
        Some(_) => bail!(exists(file)),
    }
}

fn exists(file: &Path) -> Error {
    Error::failed(object(file), Fail::new("open", Errno::EEXIST))
        .hint("a recording does not replace a file; remove it, or name another one")
}

/// Makes the file and the process that answers the calls. Returns a pidfd of the process.
///
/// # Errors
/// The file exists or cannot be made, or a system call failed.
pub(super) fn start(file: &Path, listener: &OwnedFd) -> Result<OwnedFd> {
    // The name may be in a directory of others. No link is followed, and no file replaced.
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let output = file::open(file, flags, 0o600).map_err(|fail| match fail.errno {
        Errno::EEXIST => exists(file),
        _ => Error::failed(object(file), fail),
    })?;
    match process::clone3(0, None, false).with_context(|| object(file))? {
        Cloned::Parent { pidfd, .. } => Ok(pidfd),
        Cloned::Child => {
            let done = alone(listener, &output).and_then(|()| answer(listener, &output));
            process::exit(i32::from(done.is_err()))
        }
    }
}

/// Waits until the process that [`start`] has made has written the profile.
///
/// # Errors
/// poll(2) failed.
pub fn finish(recorder: &OwnedFd) -> Result<()> {
    // Not waitid(2): the runtime may have reaped it with the orphans of the container.
    let mut polled = [PollFd::new(recorder.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Fail::new("poll", errno)).context("--seccomp-record"),
            Ok(_) => return Ok(()),
        }
    }
}

/// Gives up what belongs to the runtime: its files, whose readers wait for their end, its terminal
/// and its working directory.
fn alone(listener: &OwnedFd, output: &OwnedFd) -> Sys<()> {
    use std::os::fd::AsRawFd;
    process::close_all_but(0, &mut [listener.as_raw_fd(), output.as_raw_fd()])?;
    path::chdir(c"/")?;
    inherited::default_signals()?;
    process::setsid()?;
    signals::unblock()
}

/// Answers until the last process with the filter has ended.
fn answer(listener: &OwnedFd, output: &OwnedFd) -> Sys<()> {
    let mut calls = Vec::new();
    loop {
        let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Fail::new("poll", errno)),
            Ok(_) => {}
        }
        let events = polled[0].revents().unwrap_or(PollFlags::empty());
        if !events.contains(PollFlags::POLLIN) {
            break;
        }
        if let Some(asked) = receive(listener.as_fd())? {
            let call = (asked.arch, asked.number);
            if let Err(at) = calls.binary_search(&call) {
                calls.insert(at, call);
            }
            let_through(listener.as_fd(), asked)?;
        }
    }
    io::write_all(output.as_fd(), record::profile(&calls).as_bytes())
}
