//! `start`: the word that init waits for, and what it answers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::attend::{self, await_execve, connection_lost};
use super::create::Created;
use super::sync::{self, Received, Report};
use super::{notify, runtime_hooks};
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::state::{Dir, START_SOCKET, State, Status, open_process};
use crate::sys::{Fail, Sys, interrupt, socket};

/// A listening SEQPACKET socket in `dir`. The path may be longer than an address holds, so it is
/// named through the directory's descriptor.
///
/// # Errors
/// A system call failed.
pub fn listen(dir: &Dir) -> Result<OwnedFd> {
    socket::listen_in(dir.fd(), START_SOCKET).map_err(|fail| {
        let path = dir.path_of(START_SOCKET);
        Error::failed(path.display().to_string(), fail)
    })
}

/// Whether a container with this status can be started.
///
/// # Errors
/// [`Kind::Status`], in the words that engines match.
pub fn check_startable(status: Status) -> Result<()> {
    let message = match status {
        Status::Created => return Ok(()),
        Status::Stopped => "cannot start a container that has stopped",
        Status::Creating => "cannot start a container that is being created",
        Status::Running => ALREADY_RUNNING,
        Status::Paused => {
            let message = "cannot start a container in the paused state";
            return Err(Error::of(Kind::Status, message).hint("resume it first"));
        }
    };
    Err(Error::of(Kind::Status, message))
}

const ALREADY_RUNNING: &str = "cannot start an already running container";

/// Lets init execute the user process. `plan` finds the words for a failure, and is asked for only
/// then.
///
/// # Errors
/// init has ended, another caller has started the container meanwhile, or a step of the start
/// failed.
pub fn start(dir: &Dir, state: &State, plan: impl Fn() -> Result<Plan>) -> Result<()> {
    let lost = |fail| overtaken(dir, state, fail);
    let connection = socket::connect_in(dir.fd(), START_SOCKET).map_err(lost)?;
    say_go(&connection, state).map_err(lost)?;
    // A reset says that init has executed without reading on.
    let receive = |connection: BorrowedFd| Report::receive_once(connection).map_err(lost);
    await_start(&connection, receive, state, plan)
}

/// Why init does not answer: it hears one client, and stops listening then or when it ends. Which
/// of the two it was is seen from the status.
fn overtaken(dir: &Dir, state: &State, fail: Fail) -> Error {
    match (fail.errno, state.status(dir)) {
        (
            Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EPIPE | Errno::ENOENT | Errno::ESRCH,
            status,
        ) => {
            // A container that still is created runs the hooks of the other start.
            let started = Error::of(Kind::Status, ALREADY_RUNNING);
            match status.map(check_startable) {
                Ok(refused) => refused.err().unwrap_or(started),
                Err(unseen) => unseen,
            }
        }
        _ => connection_lost(fail),
    }
}

/// [`start`] by the runtime that has made the container and has its connection to init.
///
/// # Errors
/// init is gone, or a step of the start failed.
pub fn start_created(created: &Created, plan: &Plan) -> Result<()> {
    let plan = || Ok(plan.clone());
    let (connection, state) = (&created.connection, &created.state);
    let _aim = interrupt::aim(&created.pidfd);
    if !created.told_to_execute {
        sync::unless_gone(say_go(connection, state)).map_err(connection_lost)?;
    }
    await_start(connection, attend::receive, state, plan)
}

/// The word to execute, with what the next hooks read.
fn say_go(connection: &OwnedFd, state: &State) -> Sys<()> {
    let text = match state.later.start_container_hooks {
        true => runtime_hooks::state_text_inside(state, Status::Created)?,
        false => Vec::new(),
    };
    sync::send_go(connection.as_fd(), &text)
}

fn await_start(
    connection: &OwnedFd,
    receive: impl Fn(BorrowedFd) -> Result<Received>,
    state: &State,
    plan: impl Fn() -> Result<Plan>,
) -> Result<()> {
    let listener = |number| {
        let gone = || Error::new("init died before its seccomp listener was passed on");
        let pidfd = open_process(state.pid, state.start_time)?.ok_or_else(gone)?;
        let process = (state.pid, pidfd.as_fd());
        // The filter belongs to the making of the container, whenever it is loaded.
        notify::hand_over(&plan()?, state, Status::Creating, process, number)
    };
    await_execve(connection, state.pid, receive, &plan, listener)
}
