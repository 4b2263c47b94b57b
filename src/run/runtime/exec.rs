//! Executes an additional process in a container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use super::clone::Spawned;
use super::entrance::Entrance;
use super::pid_file::PidFile;
use super::places::{Newcomer, Places};
use super::serve_init::{self, CONNECTION, Sockets, await_execve};
use super::steps::{Made, Runtime};
use super::{Timings, resctrl, seccomp_listener, seccomp_record};
use crate::error::{Code, Context as _, Error};
use crate::host::Host;
use crate::plan::Plan;
use crate::run::init::{Inherited, Opened};
use crate::state::{Dir, State, Status};
use crate::sys::{credentials, interrupt, process};

/// Everything that is needed to execute a process in a container.
pub struct ExecRequest<'a> {
    /// The container's directory.
    pub dir: &'a Dir,
    /// The container's state.
    pub state: &'a State,
    /// A pidfd of the container's first process.
    pub init: &'a OwnedFd,
    /// Made by [`plan::exec()`](crate::plan::exec).
    pub plan: &'a Plan,
    /// The recorder, if the plan's filter records: [`recorder`](super::recorder).
    pub recorder: Option<&'a OwnedFd>,
    /// The host that the plan was made for.
    pub host: &'a Host,
    /// `--console-socket`.
    pub console_socket: Option<&'a Path>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<&'a Path>,
    /// `--pid-file`.
    pub pid_file: Option<&'a Path>,
    /// What measures the phases and the steps.
    pub timings: &'a Timings<'a>,
}

/// A process that has executed its program.
pub struct Executed {
    pub pid: i32,
    pub pidfd: Rc<OwnedFd>,
    /// The master of its terminal, unless it was sent to the console socket.
    pub terminal: Option<OwnedFd>,
}

/// Executes the process. After an error there is no process and no pid file: engines take the
/// existence of the pid file for success.
///
/// # Errors
/// The container is gone; or a step failed, which the error names by its property.
pub fn exec(request: &ExecRequest) -> Result<Executed> {
    request.timings.phase("open");
    let sockets = Sockets::connect(request.console_socket, request.pidfd_socket)?;
    interrupt::catch().context("signals")?;
    let places = Places::find(request.plan, request.state)?;
    let entrance = Entrance::open(request.plan, request.dir, request.state, request.init)?;
    // The paths may belong to another container by now.
    request.dir.check_current()?;
    let pid_file = request.pid_file.map(PidFile::open).transpose()?;
    let (connection, spawned) =
        spawn(request, &places, &entrance).map_err(super::interrupt::reason)?;
    let set_up = set_up(request, &sockets, &connection, &spawned);
    let result = super::interrupt::instead(set_up).and_then(|terminal| {
        request.timings.phase("finish");
        request.timings.collect(request.plan);
        hand_out(&sockets, pid_file, &spawned)?;
        Ok(terminal)
    });
    if result.is_err() {
        process::end(spawned.pidfd.as_fd());
    }
    let terminal = result?;
    Ok(Executed {
        pid: spawned.pid,
        pidfd: spawned.pidfd,
        terminal,
    })
}

fn set_up(
    request: &ExecRequest,
    sockets: &Sockets,
    connection: &OwnedFd,
    spawned: &Spawned,
) -> Result<Option<OwnedFd>> {
    request.timings.phase("parent");
    executor(request, connection, &mut Made::default())
        .run(&request.plan.meanwhile, spawned.pid)?;
    resctrl::add_process("linux.intelRdt", &request.state.resctrl.tasks, spawned.pid)?;
    request.timings.phase("init");
    let death = || {
        Error::new("the process died while it was set up")
            .code_is(Code::InitDied)
            .hint("possibly OOM-killed, or the container has ended")
    };
    let ahead = serve_init::may_go_ahead(request.plan)?;
    if ahead {
        serve_init::go_ahead(connection.as_fd())?;
    }
    let no_hooks = || Ok(Vec::new());
    let console = sockets.console.as_ref();
    let ready = serve_init::serve(
        request.plan,
        connection,
        spawned.pid,
        console,
        no_hooks,
        death,
    )?;
    if !ahead {
        serve_init::raise_limits(request.plan, spawned.pid)?;
        serve_init::go_ahead(connection.as_fd())?;
    }
    let listener = |number| {
        let process = (spawned.pid, spawned.pidfd.as_fd());
        if let Some(recorder) = request.recorder {
            return seccomp_record::join(recorder, process.1, number);
        }
        let container = (request.dir, request.state, Status::Running);
        seccomp_listener::hand_over(request.plan, container, process, number).map(drop)
    };
    let plan = || Ok(request.plan);
    await_execve(connection, spawned.pid, serve_init::receive, plan, listener)?;
    Ok(ready.terminal)
}

/// Sends the pidfd and writes the pid file. This comes last, because callers take it for success.
fn hand_out(sockets: &Sockets, pid_file: Option<PidFile>, spawned: &Spawned) -> Result<()> {
    sockets.send_pidfd("setns", spawned.pidfd.as_fd())?;
    if let Some(file) = pid_file {
        file.write(spawned.pid)?;
    }
    Ok(())
}

/// Makes the process in the container's cgroup. Returns the connection to it and the process.
fn spawn(request: &ExecRequest, found: &Places, entrance: &Entrance) -> Result<(OwnedFd, Spawned)> {
    request.timings.phase("prepare");
    prepare_oneself(request)?;
    request.timings.phase("clone");
    // The container's processes must not be able to inspect the runtime while the process joins.
    credentials::set_dumpable(false).context(CONNECTION)?;
    let newcomer = Newcomer {
        verb: "exec",
        plan: request.plan,
        entrance,
        inherits: &|runtimes| inherits(request, entrance, runtimes),
        beside: &|connection, pid| {
            executor(request, connection, &mut Made::default()).run(&request.plan.beside_init, pid)
        },
    };
    newcomer.spawn(found)
}

/// What the process inherits, with its end of the connection.
fn inherits(request: &ExecRequest, entrance: &Entrance, runtimes: OwnedFd) -> Result<Inherited> {
    let mut opened = Opened::none(request.plan);
    entrance.copy_into(request.plan, &mut opened)?;
    Ok(Inherited {
        times: request.timings.of_init()?,
        ..Inherited::joining(runtimes, opened)
    })
}

/// Carries out the steps whose results the process inherits. They come before set_dumpable(false),
/// because the runtime's files in /proc belong to its user only while it is dumpable.
fn prepare_oneself(request: &ExecRequest) -> Result<()> {
    if request.plan.prepare.is_empty() {
        return Ok(());
    }
    // These steps send nothing, and there is no process at the other end yet.
    let (connection, _) = crate::sys::socket::pair().context(CONNECTION)?;
    let own = process::own_pid();
    executor(request, &connection, &mut Made::default()).run(&request.plan.prepare, own)
}

/// The executor of the runtime's steps.
fn executor<'a>(
    request: &ExecRequest<'a>,
    connection: &'a OwnedFd,
    made: &'a mut Made,
) -> Runtime<'a> {
    Runtime {
        plan: request.plan,
        host: request.host,
        connection: connection.as_fd(),
        made,
        timings: request.timings,
    }
}
