//! What the runtime does for a process that sets itself up: it answers, limits, and listens for
//! the execve(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::sync::{self, Received, Report};
use super::{executable, id_map, reach, relay, unexecuted, words};
use crate::error::{Error, On, Result};
use crate::plan::{InitStep, Opener, Plan, Planned, Rlimit};
use crate::sys::{Fail, Sys, process, socket};

/// The engine's sockets, connected before anything is made.
pub struct Sockets {
    /// `--console-socket`.
    pub console: Option<OwnedFd>,
    /// `--pidfd-socket`.
    pidfd: Option<OwnedFd>,
}

impl Sockets {
    /// # Errors
    /// Nobody listens there.
    pub fn connect(console: Option<&Path>, pidfd: Option<&Path>) -> Result<Self> {
        Ok(Self {
            console: connect(console, "--console-socket")?,
            pidfd: connect(pidfd, "--pidfd-socket")?,
        })
    }

    /// Hands the pidfd out. `name` says whose it is: `standard` for init, `setns` for `exec`.
    ///
    /// # Errors
    /// The other side is gone.
    pub fn send_pidfd(&self, name: &str, pidfd: BorrowedFd) -> Result<()> {
        match &self.pidfd {
            Some(socket) => {
                socket::send(socket.as_fd(), name.as_bytes(), Some(pidfd)).on(|| "--pidfd-socket")
            }
            None => Ok(()),
        }
    }
}

fn connect(path: Option<&Path>, flag: &str) -> Result<Option<OwnedFd>> {
    path.map(|path| {
        socket::connect_stream(path).map_err(|fail| {
            Error::failed(format!("{flag} {}", path.display()), fail)
                .hint("the caller must listen there on a Unix stream socket")
        })
    })
    .transpose()
}

/// A failed call on the connection to init.
pub fn connection_lost(fail: Fail) -> Error {
    Error::failed("connection to init", fail)
}

/// Raises the hard limits of the process `pid`, which init lacks the right to.
///
/// # Errors
/// The step that failed.
pub fn raise_limits(plan: &Plan, pid: i32) -> Result<()> {
    for planned in plan.ready.iter() {
        let limit = &planned.step;
        if is_above(planned)? {
            process::set_rlimit(pid, limit.resource, limit.soft, limit.hard)
                .map_err(|fail| words::step_failed(planned, fail))?;
        }
    }
    Ok(())
}

/// Whether the hard limit is above the runtime's own, and with it above that of its children.
fn is_above(planned: &Planned<Rlimit>) -> Result<bool> {
    let limit = &planned.step;
    process::limit(limit.resource)
        .map(|(_, own)| limit.hard > own)
        .map_err(|fail| words::step_failed(planned, fail))
}

/// Whether the process can have the word to execute before it is ready: the runtime has nothing to
/// do for it then, nor to answer until then. That saves the process a sleep.
///
/// # Errors
/// getrlimit(2), with the step.
pub fn may_go_ahead(plan: &Plan) -> Result<bool> {
    let asks = |step: &InitStep| {
        matches!(
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

/// The word to execute, before the process is ready.
///
/// # Errors
/// sendmsg(2) failed for another reason than that the process has ended.
pub fn go_ahead(connection: BorrowedFd) -> Result<()> {
    heard(sync::send_go(connection, &[]))
}

/// The last word of `create`: from now on init waits for `start`.
///
/// # Errors
/// sendmsg(2) failed; if init has ended, the step that it has failed at, or what `death` says.
pub fn dismiss(plan: &Plan, connection: BorrowedFd, death: impl Fn() -> Error) -> Result<()> {
    let Err(fail) = sync::send_go(connection, &[]) else {
        return Ok(());
    };
    // An init that lives says nothing more.
    sync::unless_gone(Err(fail)).map_err(connection_lost)?;
    match Report::receive(connection) {
        Ok(Some((Report::Failure(failure), _))) => Err(words::failure(plan, &failure)),
        Ok(None) => Err(death()),
        _ => Err(connection_lost(fail)),
    }
}

/// What was said to a process that may have ended.
fn heard(sent: Sys<()>) -> Result<()> {
    sync::unless_gone(sent).map_err(connection_lost)
}

/// Waits for what a process of this runtime's own says.
///
/// # Errors
/// recvmsg(2) failed.
pub fn receive(connection: BorrowedFd) -> Result<Received> {
    Report::receive(connection).map_err(connection_lost)
}

/// A process that waits for the word to execute.
pub struct Ready {
    /// The master of its terminal, if that stays here.
    pub terminal: Option<OwnedFd>,
    /// The program that it has found, by its position in the plan's candidates.
    candidate: u32,
    /// The container's root.
    root: OwnedFd,
}

impl Ready {
    /// Finds what would be wrong with the program only when it is executed, which is later than the
    /// caller of `create` looks.
    ///
    /// # Errors
    /// What execve(2) would say, with the reason.
    pub fn check_executable(&self, plan: &Plan) -> Result<()> {
        executable::check_found(plan, self.candidate, self.root.as_fd())
    }
}

/// Does what the process `pid` asks for, until it is ready.
///
/// # Errors
/// The step that failed in the process or here; what `death` says if it ended without a word.
pub fn attend(
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
                heard(sync::send_go(connection.as_fd(), &state))?;
            }
            Some((Report::Reach(position), Some(root))) => {
                let opened = reach::open(plan, position, root.as_fd())?;
                heard(sync::send_opened(connection.as_fd(), opened.as_fd()))?;
            }
            Some((Report::MapIds(position), Some(tree))) => {
                id_map::map_mount(plan, position, pid, tree.as_fd())?;
                heard(sync::send_go(connection.as_fd(), &[]))?;
            }
            Some((Report::Console, Some(master))) => match console {
                Some(console) => send_terminal(console, master.as_fd())?,
                None => {
                    relay::resize(master.as_fd());
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
                return Err(words::failure_shown(plan, &failure, shown));
            }
            Some(_) => {}
            None => return Err(death()),
        }
    }
}

/// One message: the descriptor, and a name that tells what it is. Source: the console socket of
/// runtime command lines, as engines receive it.
fn send_terminal(console: &OwnedFd, master: BorrowedFd) -> Result<()> {
    socket::send(console.as_fd(), b"/dev/ptmx", Some(master)).on(|| "--console-socket")
}

/// Listens until execve(2) of the process `pid` closes the connection. `plan` finds the words for a failure, and is
/// asked for only then; `listener` passes on the descriptor of a seccomp filter that asks.
///
/// # Errors
/// A step of the start failed, or the process died before it executed.
pub fn await_execve(
    connection: &OwnedFd,
    pid: i32,
    receive: impl Fn(BorrowedFd) -> Result<Received>,
    plan: impl Fn() -> Result<Plan>,
    listener: impl Fn(i32) -> Result<()>,
) -> Result<()> {
    let mut executing = None;
    loop {
        match receive(connection.as_fd())? {
            Some((Report::Executing { filtered }, _)) => executing = Some(filtered),
            Some((Report::Listener(number), _)) => {
                listener(number)?;
                heard(sync::send_go(connection.as_fd(), &[]))?;
            }
            Some((Report::Failure(failure), shown)) => {
                let shown = shown.as_ref().map(AsFd::as_fd);
                return Err(match plan() {
                    Ok(plan) => words::failure_shown(&plan, &failure, shown),
                    Err(_) => Error::failed("start", failure.told.fail()),
                });
            }
            Some(_) => {}
            None => match executing {
                Some(true) => return unexecuted::refuse(pid),
                Some(false) => return Ok(()),
                None => {
                    let message = "init died before it executed the process (possibly OOM-killed)";
                    return Err(Error::new(message));
                }
            },
        }
    }
}
