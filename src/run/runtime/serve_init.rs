//! Serves a process that sets itself up: the runtime answers its requests, sets limits that the
//! process may not set, and waits for its execve(2).

use std::borrow::Borrow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};

use super::id_map::{self, Own};
use super::{relay, sources};
use crate::error::{Code, Context as _, Error};
use crate::plan::{InitStep, Opener, Plan, Planned, Rlimit};
use crate::run::failure::{self, executable, unexecuted};
use crate::run::protocol::{self, Received, Report};
use crate::sys::{Sys, process, socket};

/// The engine's sockets, connected before anything is made.
pub(super) struct Sockets {
    /// `--console-socket`.
    pub console: Option<OwnedFd>,
    /// `--pidfd-socket`.
    pidfd: Option<OwnedFd>,
}

impl Sockets {
    /// Connects to the sockets.
    ///
    /// # Errors
    /// No process listens on a socket.
    pub(super) fn connect(console: Option<&Path>, pidfd: Option<&Path>) -> Result<Self> {
        Ok(Self {
            console: connect(console, "--console-socket")?,
            pidfd: connect(pidfd, "--pidfd-socket")?,
        })
    }

    /// Sends the pidfd. `name` says which process it refers to: `standard` for init, `setns` for a
    /// process of `exec`.
    ///
    /// # Errors
    /// The receiver is gone.
    pub(super) fn send_pidfd(&self, name: &str, pidfd: BorrowedFd) -> Result<()> {
        match &self.pidfd {
            Some(socket) => {
                socket::send(socket.as_fd(), name.as_bytes(), Some(pidfd)).context("--pidfd-socket")
            }
            None => Ok(()),
        }
    }
}

fn connect(path: Option<&Path>, flag: &str) -> Result<Option<OwnedFd>> {
    let Some(path) = path else { return Ok(None) };
    let socket = socket::connect_stream(path).map_err(|fail| {
        let mut error = Error::failed(format!("{flag} {}", path.display()), fail);
        error.path = Some(path.display().to_string().into());
        error
            .code_is(Code::ProcessTerminal)
            .hint("the caller must listen there on a Unix stream socket")
    })?;
    Ok(Some(socket))
}

/// The object of each system call on the connection to a process that sets itself up.
pub(super) const CONNECTION: &str = "connection to init";

/// Raises the hard limits of the process `pid`, for which init lacks the privilege.
///
/// # Errors
/// The step that failed.
pub(super) fn raise_limits(plan: &Plan, pid: i32) -> Result<()> {
    for planned in plan.ready.iter() {
        let limit = &planned.step;
        if is_above(planned)? {
            process::set_rlimit(pid, limit.resource, limit.soft, limit.hard)
                .map_err(|fail| failure::step_failed(planned, fail))?;
        }
    }
    Ok(())
}

/// Whether the hard limit is above the runtime's own, and so above that of its children.
pub(super) fn is_above(planned: &Planned<Rlimit>) -> Result<bool> {
    let limit = &planned.step;
    let (_, own) =
        process::limit(limit.resource).map_err(|fail| failure::step_failed(planned, fail))?;
    Ok(limit.hard > own)
}

/// Whether the go-ahead to execute can be sent before the process reports that it is ready. That is
/// possible if the process makes no requests until then and the runtime has nothing to do for it
/// afterwards. It saves the process a sleep.
///
/// # Errors
/// getrlimit(2) failed; the error names the step.
pub(super) fn may_go_ahead(plan: &Plan) -> Result<bool> {
    let asks = |step: &InitStep| {
        let maps = matches!(step, InitStep::Filesystem(fs) if fs.id_map.is_some());
        maps || matches!(
            step,
            InitStep::Console { .. }
                | InitStep::RuntimeHooks
                | InitStep::Bind(_)
                | InitStep::BindRootfs {
                    opener: Opener::Runtime,
                    ..
                }
        )
    };
    if plan.init.iter().any(|planned| asks(&planned.step)) {
        return Ok(false);
    }
    for planned in plan.ready.iter() {
        if is_above(planned)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sends the go-ahead to execute, before the process is ready.
///
/// # Errors
/// sendmsg(2) failed for a reason other than the end of the process.
pub(super) fn go_ahead(connection: BorrowedFd) -> Result<()> {
    heard(protocol::send_go(connection, &[]))
}

/// Sends the last message of `create`: from now on init waits for `start`.
///
/// # Errors
/// sendmsg(2) failed. If init has ended, the error is the step that failed, or that of `death`.
pub(super) fn dismiss(
    plan: &Plan,
    connection: BorrowedFd,
    death: impl Fn() -> Error,
) -> Result<()> {
    let Err(fail) = protocol::send_go(connection, &[]) else {
        return Ok(());
    };
    // If init has ended, it may have reported a failure before. An init that is alive sends
    // nothing.
    protocol::unless_gone(Err(fail)).context(CONNECTION)?;
    match Report::receive(connection) {
        Ok(Some((Report::Failure(failure), _))) => bail!(failure::failure(plan, &failure)),
        Ok(None) => bail!(death()),
        _ => Err(fail).context(CONNECTION),
    }
}

/// Ignores a failure to send because the process has ended.
fn heard(sent: Sys<()>) -> Result<()> {
    protocol::unless_gone(sent).context(CONNECTION)
}

/// Waits for a report from a process that this runtime made.
///
/// # Errors
/// recvmsg(2) failed.
pub fn receive(connection: BorrowedFd) -> Result<Received> {
    Report::receive(connection).context(CONNECTION)
}

/// A process that waits for the go-ahead to execute.
pub struct Ready {
    /// The master of its terminal, unless it was sent to the console socket.
    pub terminal: Option<OwnedFd>,
    /// The index of the program that the process has found, in the plan's candidates.
    candidate: u32,
    /// The container's root.
    root: OwnedFd,
}

impl Ready {
    /// Checks the program for faults that execve(2) would report. Otherwise `create` would succeed
    /// and only `start` would fail.
    ///
    /// # Errors
    /// The error that execve(2) would return, with the reason.
    pub fn check_executable(&self, plan: &Plan) -> Result<()> {
        Ok(executable::check_found(
            plan,
            self.candidate,
            self.root.as_fd(),
        )?)
    }
}

/// Carries out the requests of the process `pid` until it is ready.
///
/// # Errors
/// The step that failed in the process or in the runtime; the error of `death` if the process ended
/// without a report.
pub fn serve(
    plan: &Plan,
    connection: &OwnedFd,
    pid: i32,
    console: Option<&OwnedFd>,
    hooks: impl Fn() -> Result<Vec<u8>>,
    death: impl Fn() -> Error,
) -> Result<Ready> {
    let mut terminal = None;
    loop {
        match receive(connection.as_fd())? {
            Some((Report::Hooks, _)) => {
                let state = hooks()?;
                heard(protocol::send_go(connection.as_fd(), &state))?;
            }
            Some((Report::Reach(position), Some(root))) => {
                let opened = sources::open_for_init(plan, position, root.as_fd())?;
                heard(protocol::send_opened(connection.as_fd(), opened.as_fd()))?;
            }
            Some((Report::MapIds(position), Some(tree))) => {
                id_map::map_mount(plan, position, &Own::OfProcess(pid), tree.as_fd())?;
                heard(protocol::send_go(connection.as_fd(), &[]))?;
            }
            Some((Report::Console, Some(master))) => match console {
                Some(console) => send_terminal(console, master.as_fd())?,
                None => {
                    relay::prepare(master.as_fd())?;
                    terminal = Some(master);
                }
            },
            Some((Report::Ready(candidate), Some(root))) => {
                return Ok(Ready {
                    terminal,
                    candidate,
                    root,
                });
            }
            Some((Report::Failure(failure), shown)) => {
                let shown = shown.as_ref().map(AsFd::as_fd);
                bail!(failure::failure_shown(plan, &failure, shown));
            }
            Some(_) => {}
            None => bail!(death()),
        }
    }
}

/// Sends the terminal's master in one message, with a name that says what it is. Source: the
/// console socket of runtime command lines, as engines receive it.
pub(super) fn send_terminal(console: &OwnedFd, master: BorrowedFd) -> Result<()> {
    socket::send(console.as_fd(), b"/dev/ptmx", Some(master)).context("--console-socket")
}

/// Waits until execve(2) in the process `pid` closes the connection. `plan` is called only after a
/// failure, to describe the step that failed: if `create` saved the texts, each container would pay
/// for them. `listener` passes on the listener of a seccomp filter, if the filter has one.
///
/// # Errors
/// A step of the start failed, or the process died before execve(2).
pub fn await_execve<P: Borrow<Plan>>(
    connection: &OwnedFd,
    pid: i32,
    receive: impl Fn(BorrowedFd) -> Result<Received>,
    plan: impl Fn() -> Result<P>,
    listener: impl Fn(i32) -> Result<()>,
) -> Result<()> {
    let mut executing = None;
    loop {
        match receive(connection.as_fd())? {
            Some((Report::Executing { filtered }, _)) => executing = Some(filtered),
            Some((Report::Listener(number), _)) => {
                listener(number)?;
                heard(protocol::send_go(connection.as_fd(), &[]))?;
            }
            Some((Report::Failure(failure), shown)) => {
                let shown = shown.as_ref().map(AsFd::as_fd);
                bail!(match plan() {
                    Ok(plan) => failure::failure_shown(plan.borrow(), &failure, shown),
                    Err(_) => Error::failed("start", failure.told.fail()),
                });
            }
            Some(_) => {}
            None => match executing {
                Some(true) => return unexecuted::refuse(pid),
                Some(false) => return Ok(()),
                None => {
                    let message = "init died before it executed the process (possibly OOM-killed)";
                    bail!(Error::new(message).code_is(Code::InitDied));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::has_example;

    #[test]
    fn an_init_that_ends_without_a_word_has_died() {
        let (connection, inits) = socket::pair().unwrap();
        drop(inits);
        let no_plan = || -> Result<Plan> { unreachable!() };
        let died = await_execve(&connection, 1, receive, no_plan, |_| Ok(()));
        has_example(died.unwrap_err(), "init.died");
    }
}
