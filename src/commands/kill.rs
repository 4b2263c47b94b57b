//! `kill`: a signal for the init process, or for every process of the container.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::{Context, everyone};
use crate::cgroup::Cgroup;
use crate::cli::Kill;
use crate::error::{Error, Kind, Result};
use crate::signal;
use crate::state::{Dir, State, Status};
use crate::sys::pidfd;

/// Signals one container, or with `--regex` all that match.
pub fn kill(context: &Context, args: &Kill) -> Result<()> {
    let signal = signal::parse(&args.signal)?;
    context.each(&args.id, args.regex, |id| {
        let (dir, state) = context.load(id)?;
        match send(&dir, &state, signal, args.all) {
            // Engines clean up with `--all` and take a failure to mean that processes are left.
            Err(error) if args.all && error.kind == Kind::Status => Ok(()),
            result => result,
        }
    })
}

/// Sends `signal` to the init process; to all processes if `all` says so, or if it is SIGKILL and
/// the container has no pid namespace whose end would take them along.
///
/// # Errors
/// `container not running`, [`Kind::Status`]; or a system call failed.
pub fn send(dir: &Dir, state: &State, signal: i32, all: bool) -> Result<()> {
    let fatal = signal == libc::SIGKILL;
    if let Some(cgroup) = &state.cgroup
        && (all || (fatal && !state.private_pid_namespace))
    {
        return match Cgroup::open(&cgroup.dir())? {
            Some(cgroup) => everyone::signal(&cgroup, signal),
            None => Err(not_running(state)),
        };
    }
    // The freezer of cgroup v2 lets a frozen process die, so nothing has to be thawed for SIGKILL.
    match state.status_and_init(dir)? {
        (Status::Created | Status::Running | Status::Paused, Some(init)) => {
            send_init(state, &init, signal)
        }
        _ => Err(not_running(state)),
    }
}

fn send_init(state: &State, process: &OwnedFd, signal: i32) -> Result<()> {
    match pidfd::send_signal(process.as_fd(), signal) {
        Ok(()) => Ok(()),
        Err(fail) if fail.errno == Errno::ESRCH => Err(not_running(state)),
        Err(fail) => Err(Error::sys(
            format!("container {}", state.id),
            fail.op,
            fail.errno,
        )),
    }
}

pub(super) fn not_running(state: &State) -> Error {
    Error::new(Kind::Status, format!("container not running: {}", state.id))
}
