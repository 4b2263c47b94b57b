//! Executes an additional process in a container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::clone::{self, Spawned};
use super::entrance::Entrance;
use super::pid_file::PidFile;
use super::serve_init::{self, CONNECTION, Sockets, await_execve};
use super::steps::{Made, Runtime};
use super::{Timings, resctrl, seccomp_listener, seccomp_record};
use crate::cgroup::{self, Cgroup, systemd};
use crate::error::{Code, Context as _, Error};
use crate::host::Host;
use crate::plan::{Place, Plan, Position};
use crate::run::init::{Inherited, Opened};
use crate::state::{self, Dir, State, Status};
use crate::sys::{Fail, credentials, interrupt, process};

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
    let places = Places::find(request)?;
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

/// The errnos of clone3(2) after which the next cgroup is tried: the cgroup has children with
/// controllers, is gone, or denies access.
const ELSEWHERE: [Errno; 4] = [
    Errno::EBUSY,
    Errno::ENODEV,
    Errno::EACCES,
    Errno::EOPNOTSUPP,
];

/// The cgroups that the process can be put into.
#[derive(Default)]
struct Places {
    /// None if the container has no cgroup of its own. In order of preference: the container's
    /// cgroup, then the cgroup of its init process, which may have moved to a child of it.
    cgroups: Vec<Cgroup>,
    /// Why the cgroup of init is not known. The container may have hidden it below a path that is
    /// too long, so this matters only if the first cgroup cannot be used.
    unseen: Option<anyhow::Error>,
}

impl Places {
    fn find(request: &ExecRequest) -> Result<Self> {
        let Some(cgroup) = &request.state.cgroup else {
            return Ok(Self::default());
        };
        let own = cgroup.place();
        match &request.plan.place {
            Place::Container => Self::of_container(own, request.state),
            Place::Below(path) => {
                let path = Path::new(&cgroup.path).join(path);
                let missing = || Error::usage("--cgroup: no such cgroup in the container");
                // A path alone may lead below another cgroup than the container's.
                own.open()?.ok_or_else(missing)?;
                let below = own.other(&path).open()?.ok_or_else(missing)?;
                Ok(Self {
                    cgroups: vec![below],
                    unseen: None,
                })
            }
        }
    }

    /// A process that the container's cgroup does not take would have none of its limits, and could
    /// use every device. So at least one cgroup is open.
    fn of_container(own: cgroup::Place, state: &State) -> Result<Self> {
        let mut cgroups = Vec::from_iter(own.open()?);
        let mut unseen = None;
        match cgroup::of_process(state.pid) {
            Ok(Some(path)) if Path::new(&path) != own.path => {
                match own.other(Path::new(&path)).open() {
                    Ok(of_init) => cgroups.extend(of_init),
                    Err(error) => unseen = Some(error),
                }
            }
            Ok(_) => {}
            Err(error) => unseen = Some(error),
        }
        if cgroups.is_empty() {
            if let Some(unseen) = unseen {
                return Err(unseen);
            }
            let message = format!("container {}: its cgroup is gone", state.id);
            let error = Error::new(message).code_is(Code::CgroupFailed);
            bail!(error.hint("a process without it would have no limits: kill the container"));
        }
        Ok(Self { cgroups, unseen })
    }
}

/// The unit that systemd can move the process into if the caller may not: from a session, the path
/// to the user's units leads through a cgroup that does not belong to the user.
fn unit<'a>(request: &ExecRequest<'a>) -> Option<(&'a state::Unit, &'a str)> {
    match request.plan.place {
        Place::Below(_) => None,
        Place::Container => request.state.cgroup.as_ref()?.unit_and_below(),
    }
}

/// The object of a process that could not be made.
const EXEC: &str = "exec";

/// What [`clone::spawn`] reports when it fails.
type Failed = (Option<Position>, Fail);

/// Makes the process in the container's cgroup. Returns the connection to it and the process.
fn spawn(request: &ExecRequest, found: &Places, entrance: &Entrance) -> Result<(OwnedFd, Spawned)> {
    request.timings.phase("prepare");
    prepare_oneself(request)?;
    request.timings.phase("clone");
    // The container's processes must not be able to inspect the runtime while the process joins.
    credentials::set_dumpable(false).context(CONNECTION)?;
    let check = || entrance.check();
    let mut refused = None;
    for cgroup in &found.cgroups {
        let (connection, inherited) = connect(request, entrance)?;
        match clone::spawn(request.plan, inherited, Some(cgroup), check) {
            Ok(first) => return hand_over(request, connection, first, entrance),
            Err((None, fail)) if ELSEWHERE.contains(&fail.errno) => {
                refused = Some((fail, cgroup));
            }
            // The container has as many processes as it may have. A process that moves into the
            // cgroup is not refused. cgroup-v2.rst, "PID".
            Err((None, fail)) if fail.errno == Errno::EAGAIN => {
                refused = Some((fail, cgroup));
                break;
            }
            Err(failed) => {
                return Err(not_made(request, found, failed, Some(cgroup))).context(EXEC);
            }
        }
    }
    let full = refused.filter(|(fail, _)| fail.errno == Errno::EAGAIN);
    let unit = unit(request);
    if let (Some((fail, cgroup)), None, None) = (refused, full, unit) {
        return Err(not_made(request, found, (None, fail), Some(cgroup))).context(EXEC);
    }
    let (connection, inherited) = connect(request, entrance)?;
    let first = clone::spawn(request.plan, inherited, None, check)
        .map_err(|failed| not_made(request, found, failed, None))
        .context(EXEC)?;
    let (connection, spawned) = hand_over(request, connection, first, entrance)?;
    let moved = match (full, unit) {
        (Some((_, cgroup)), _) => cgroup.add(spawned.pid),
        (None, Some((unit, below))) => {
            systemd::attach(unit.manager(), &unit.name, below, spawned.pid)
        }
        (None, None) => Ok(()),
    };
    if let Err(error) = moved {
        process::end(spawned.pidfd.as_fd());
        return Err(error).context(EXEC);
    }
    Ok((connection, spawned))
}

/// A connection for one attempt: the runtime's end, and what the process inherits.
fn connect(request: &ExecRequest, entrance: &Entrance) -> Result<(OwnedFd, Inherited)> {
    let (connection, runtimes) = crate::sys::socket::pair().context(CONNECTION)?;
    let mut opened = Opened::none(request.plan);
    entrance.copy_into(request.plan, &mut opened)?;
    let inherited = Inherited {
        times: request.timings.of_init()?,
        ..Inherited::joining(runtimes, opened)
    };
    Ok((connection, inherited))
}

/// [`clone::hand_over`], with the steps that the runtime carries out beside the process.
fn hand_over(
    request: &ExecRequest,
    connection: OwnedFd,
    first: Spawned,
    entrance: &Entrance,
) -> Result<(OwnedFd, Spawned)> {
    let mut made = Made::default();
    let beside = |pid| {
        entrance.check().map_err(clone::error)?;
        executor(request, &connection, &mut made).run(&request.plan.beside_init, pid)
    };
    let spawned = clone::hand_over(request.plan, first, &connection, beside)?;
    Ok((connection, spawned))
}

fn not_made(
    request: &ExecRequest,
    found: &Places,
    (position, fail): Failed,
    cgroup: Option<&Cgroup>,
) -> Error {
    let error = clone::failed(request.plan, position, fail, cgroup);
    match &found.unseen {
        Some(unseen) => error.hint(format!("the cgroup of init is not known: {unseen:#}")),
        None => error,
    }
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
