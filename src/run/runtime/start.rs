//! `start`: sends the message that init waits for, and reads its reports.

use std::borrow::Borrow;
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Result, anyhow, bail};
use nix::errno::Errno;

use super::create::Created;
use super::serve_init::{self, CONNECTION, await_execve};
use super::{hooks, seccomp_listener};
use crate::error::{Chain as _, Context as _, Error, Kind};
use crate::plan::Plan;
use crate::run::protocol::{self, Received, Report};
use crate::state::{Dir, START_SOCKET, State, Status};
use crate::sys::{Fail, Sys, interrupt, socket};

/// Whether a container with this status can be started.
///
/// # Errors
/// [`Kind::Status`], in the words that engines match.
pub fn check_startable(status: Status, id: &str) -> Result<()> {
    let message = match status {
        Status::Created => return Ok(()),
        Status::Stopped => "cannot start a container that has stopped",
        Status::Creating => "cannot start a container that is being created",
        Status::Running => ALREADY_RUNNING,
        Status::Paused => {
            let message = format!("cannot start a container in the paused state: {id}");
            bail!(Error::of(Kind::Status, message).hint("resume it first"));
        }
    };
    bail!(Error::of(Kind::Status, format!("{message}: {id}")))
}

const ALREADY_RUNNING: &str = "cannot start an already running container";

/// Init ended without a report, and only its parent learns how.
const STOPPED_MEANWHILE: &str =
    "it has stopped during this start: it was killed, out of memory, or started by another caller";

/// Lets init execute the container's program. `plan` is called only after a failure, to describe
/// the step that failed.
///
/// # Errors
/// Init has ended, another caller has started the container in the meantime, or a step of the start
/// failed.
pub fn start(dir: &Dir, state: &State, plan: impl Fn() -> Result<Plan>) -> Result<()> {
    let lost = |fail| overtaken(dir, state, fail);
    let connection = socket::connect_in(dir.fd(), START_SOCKET).map_err(lost)?;
    let unread = match say_go(&connection, state) {
        Err(fail) if !protocol::is_end(&fail) => return Err(lost(fail)),
        said => said.err(),
    };
    // Init ends the connection if it has executed without reading this message, and also if it could
    // not read it. In that case it has sent a report before.
    let receive = |connection: BorrowedFd| {
        let (received, unread) = match Report::receive_once(connection) {
            Err(fail) if protocol::is_end(&fail) => (Report::receive_once(connection), Some(fail)),
            received => (received, unread),
        };
        match (received, unread) {
            (Ok(None), Some(fail)) => Err(lost(fail)),
            (received, _) => received.map_err(lost),
        }
    };
    await_start(&connection, receive, (dir, state), plan, &OnceCell::new())
}

/// The error if init does not answer. Init stops listening when a client has started it, and when it
/// ends. The container's status shows which of the two happened.
fn overtaken(dir: &Dir, state: &State, fail: Fail) -> anyhow::Error {
    if !protocol::is_left(&fail) && fail.errno != Errno::ESRCH {
        return anyhow::Error::from(fail).context(CONNECTION);
    }
    let refused = match state.status(dir) {
        Ok(Status::Stopped) => check_startable(Status::Stopped, &state.id)
            .map_err(|error| error.hint(STOPPED_MEANWHILE)),
        status => status.and_then(|status| check_startable(status, &state.id)),
    };
    // A container whose status is still `created` runs the hooks of another start.
    let started = || Error::of(Kind::Status, format!("{ALREADY_RUNNING}: {}", state.id)).into();
    refused.err().unwrap_or_else(started)
}

/// Like [`start`], for the runtime that created the container and still has a connection to init.
///
/// # Errors
/// Init is gone, or a step of the start failed.
pub fn start_created(created: &Created, plan: &Plan) -> Result<()> {
    let plan = || Ok(plan);
    let (connection, state) = (&created.connection, &created.state);
    let _aim = interrupt::aim(&created.pidfd);
    if !created.told_to_execute {
        protocol::unless_gone(say_go(connection, state)).context(CONNECTION)?;
    }
    let receive = serve_init::receive;
    let container = (&*created.dir, state);
    await_start(connection, receive, container, plan, &created.recorder)
}

/// Sends the message to execute, with the state that the next hooks read.
fn say_go(connection: &OwnedFd, state: &State) -> Sys<()> {
    let text = if state.later.start_container_hooks {
        hooks::state_text_inside(state, Status::Created)?
    } else {
        Vec::new()
    };
    protocol::send_go(connection.as_fd(), &text)
}

fn await_start<P: Borrow<Plan>>(
    connection: &OwnedFd,
    receive: impl Fn(BorrowedFd) -> Result<Received>,
    (dir, state): (&Dir, &State),
    plan: impl Fn() -> Result<P>,
    recorder: &OnceCell<OwnedFd>,
) -> Result<()> {
    let listener = |number| {
        let pidfd = state
            .process()?
            .ok_or_else(|| anyhow!("init died before its seccomp listener was passed on"))?;
        let process = (state.pid, pidfd.as_fd());
        // The filter is part of creating the container, even if it is loaded during `start`.
        let container = (dir, state, Status::Creating);
        let plan = plan()?;
        let handed = seccomp_listener::hand_over(plan.borrow(), container, process, number)?;
        if let Some(outcome) = handed {
            let _ = recorder.set(outcome);
        }
        Ok(())
    };
    await_execve(connection, state.pid, receive, &plan, listener)
}
