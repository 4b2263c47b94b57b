//! Executes a plan, up to a container that waits for `start`.

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, bail};

use super::clone::{self, Spawned};
use super::pid_file::PidFile;
use super::serve_init::{self, CONNECTION, Ready, Sockets};
use super::steps::Runtime;
use super::teardown::Undo;
use super::{
    Timings, entrance, hooks, host_mount, net_devices, sd_notify, seccomp_listener, sources,
};
use crate::cgroup::{self, Cgroup};
use crate::config::{Config, Namespace};
use crate::error::Context as _;
use crate::host::Host;
use crate::plan::{self, Dumpable, Plan, RuntimeStep, Steps};
use crate::run::init::{Inherited, Opened};
use crate::state::{self, Claim, Dir, Prepared, Root, START_SOCKET, State, Status};
use crate::sys::binary::{self, OwnMount};
use crate::sys::{credentials, interrupt, process, socket};
use crate::timestamp;

/// Everything that is needed to create a container.
pub struct Request<'a> {
    /// The root directory, in which the id is claimed.
    pub root: &'a Root,
    /// An absolute path.
    pub bundle: &'a Path,
    /// The checked config.
    pub config: &'a Config,
    /// The config file's content, unchanged, which is kept for later verbs.
    pub config_text: &'a [u8],
    /// What `config` and `options` ask for on `host`.
    pub plan: &'a Plan,
    /// The host that the plan was made for.
    pub host: &'a Host,
    /// The settings that the plan was made with.
    pub options: &'a plan::Options,
    /// `--console-socket`.
    pub console_socket: Option<&'a Path>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<&'a Path>,
    /// `--pid-file`.
    pub pid_file: Option<&'a Path>,
    /// Set by `run`: the caller starts the container with [`start_created`], and no other process
    /// can start it.
    ///
    /// [`start_created`]: super::start_created
    pub runs: bool,
    /// What measures the phases and the steps.
    pub timings: &'a Timings<'a>,
    /// The mount of the own binary, until init or the runtime dissolves it.
    pub own_mount: &'a RefCell<Option<OwnMount>>,
}

/// A container that waits for `start`.
pub struct Created {
    /// The container's directory.
    pub dir: Rc<Dir>,
    /// What has been saved there.
    pub state: State,
    /// A pidfd of init.
    pub pidfd: Rc<OwnedFd>,
    /// The connection to init, which waits for a message to continue if `runs` is set.
    pub connection: OwnedFd,
    /// Whether that message has been sent.
    pub told_to_execute: bool,
    /// The master of its terminal, unless it was sent to the console socket.
    pub terminal: Option<OwnedFd>,
    /// The process that records its system calls.
    pub recorder: OnceCell<OwnedFd>,
}

/// Creates the container. After an error nothing is left of it.
///
/// # Errors
/// The step that failed, named by its property of the config.
pub fn create(request: &Request) -> Result<Created> {
    let timings = request.timings;
    timings.phase("open");
    seccomp_listener::check_agent(request.plan)?;
    let (sockets, pid_file, claim) = claim(request)?;
    let dir = claim.dir().clone();
    let mut undo = Undo::new(claim);
    let mut state = first_state(request)?;
    let made = begin(request, &dir, &mut undo, &state).and_then(|opened| {
        make(
            request,
            &dir,
            &mut undo,
            &mut state,
            opened,
            sockets.console.as_ref(),
        )
    });
    // A signal that arrives after the container is finished has no effect.
    let finished = super::interrupt::instead(made).and_then(|(made, state)| {
        // Without a state to put in place, init has already been told to execute, and there is
        // nothing left to finish.
        let told_to_execute = state.is_none();
        timings.phase("finish");
        timings.collect(request.plan);
        state.map_or(Ok(()), |state| {
            finish(request, &sockets, pid_file, &made, state, &mut undo)
        })?;
        Ok((made, told_to_execute))
    });
    match finished {
        Ok((made, told_to_execute)) => Ok(Created {
            dir: undo.disarm(),
            state,
            pidfd: made.spawned.pidfd,
            connection: made.connection,
            told_to_execute,
            terminal: made.ready.terminal,
            recorder: OnceCell::new(),
        }),
        Err(error) => Err(give_up(request, undo, dir, &state, error)),
    }
}

/// Opens what the flags name, and takes the id. A signal that asks the runtime to end is remembered
/// from here on.
pub(super) fn claim(request: &Request) -> Result<(Sockets, Option<PidFile>, Claim)> {
    let sockets = Sockets::connect(request.console_socket, request.pidfd_socket)?;
    let pid_file = request.pid_file.map(PidFile::open).transpose()?;
    interrupt::catch().context("signals")?;
    let root = request.root;
    let claim = root.claim(&request.options.id, request.config_text)?;
    Ok((sockets, pid_file, claim))
}

/// Removes what has been made. Returns the error to report.
pub(super) fn give_up(
    request: &Request,
    mut undo: Undo,
    dir: Rc<Dir>,
    state: &State,
    error: anyhow::Error,
) -> anyhow::Error {
    let began = undo.process_began();
    // A `delete` waits until the process has been reaped.
    undo.end_process();
    // If another command has deleted the container, or is deleting it and has removed the cgroup
    // first, that is the cause of any failure.
    let error = match dir.lock() {
        Ok(None) => state::deleted(&request.options.id).into(),
        Ok(Some(_)) | Err(_) => error,
    };
    // Dropping the directory releases its lock, which must not be held while hooks run.
    drop((undo, dir));
    if began {
        // The failure that led here is the one to report.
        let _ = hooks::run_poststop_hooks(&request.plan.after_delete, state);
    }
    error
}

/// Opens the files of the host, and looks at what else the container will use.
fn begin(request: &Request, dir: &Dir, undo: &mut Undo, state: &State) -> Result<Opened> {
    if request.options.notify.is_some() {
        sd_notify::make_directory(dir)?;
    }
    let opened = sources::open(request.plan)?;
    undo.made.network = net_devices::hold_joined(request.plan, &opened)?;
    refuse_used_cgroup(state, request.host)?;
    Ok(opened)
}

/// Refuses a cgroup that another container uses. This comes before the state names the cgroup: from
/// then on `delete --force` would kill the processes in it.
pub(super) fn refuse_used_cgroup(state: &State, host: &Host) -> Result<()> {
    let existing = match (&state.cgroup, &host.cgroup) {
        (Some(cgroup), Some(hierarchy)) => Cgroup::open(hierarchy, cgroup.path.as_ref())?,
        _ => None,
    };
    existing.map_or(Ok(()), |cgroup| cgroup.refuse_used())
}

/// The first state, which `delete --force` needs if the runtime dies before the container is
/// complete.
pub(super) fn first_state(request: &Request) -> Result<State> {
    let mut cgroup = planned_cgroup(request.plan, request.host);
    if let Some(cgroup) = &mut cgroup
        && request.host.is_ordinary()
    {
        cgroup.namespace = cgroup::own_namespace()?;
    }
    Ok(State {
        oci_version: request.config.oci_version.clone(),
        id: request.options.id.clone(),
        bundle: request.bundle.to_owned(),
        rootfs: request.config.root.path.clone(),
        created: timestamp::rfc3339(timestamp::now()),
        owner: request.host.euid,
        annotations: request.config.annotations.clone(),
        resctrl: state::Resctrl {
            tasks: request.plan.resctrl_tasks(),
            made: request.plan.own_resctrl_groups(),
        },
        namespaces: Some(state::Namespaces::own()?),
        cgroup,
        private_pid_namespace: request.config.linux.namespaces.pid == Namespace::New,
        options: state::CreateOptions::from(request.options),
        later: state::DeferredWork::from(request.config),
        ..State::default()
    })
}

/// The cgroup that a plan makes. If systemd makes it, the path may turn out to be different.
pub fn planned_cgroup(plan: &Plan, host: &Host) -> Option<state::Cgroup> {
    let place = |path: &Path, unit| {
        Some(state::Cgroup {
            mount: host.cgroup.as_ref()?.mount.clone(),
            path: format!("/{}", path.display()),
            unit,
            ..state::Cgroup::default()
        })
    };
    let (path, unit) = plan.cgroup()?;
    place(path, unit.map(Into::into))
}

/// A process that waits in a container whose state has not been published yet.
struct Made {
    spawned: Spawned,
    connection: OwnedFd,
    ready: Ready,
}

/// Does everything up to init's report that it is ready. The returned state still has to be put in
/// place, unless init has already been told to execute.
fn make<'d>(
    request: &Request,
    dir: &'d Dir,
    undo: &mut Undo,
    state: &mut State,
    opened: Opened,
    console: Option<&OwnedFd>,
) -> Result<(Made, Option<Prepared<'d>>)> {
    state.save(dir)?;
    let (connection, runtime) = socket::pair().context(CONNECTION)?;
    let inherited = inherited(request, dir, runtime, opened)?;
    request.timings.phase("prepare");
    prepare(request, dir, undo, &connection, &request.plan.prepare)?;
    mount_on_host(request, dir, undo, state)?;
    let spawned = spawn(request, undo, state, inherited, &connection)?;
    request.timings.phase("init");
    state.pid = spawned.pid;
    // An init that has already ended gets no start time; `attend` below reports why it ended.
    state.start_time = state::start_time(spawned.pid)?.unwrap_or_default();
    state.user_namespace = entrance::user_namespace(spawned.pid, request.host)?;
    let hooks = || {
        request.timings.phase("hooks");
        hooks::run_hooks(&request.plan.hooks, state, Status::Creating)?;
        request.timings.phase("init");
        hooks::state_text_inside(state, Status::Creating)
            .with_context(|| format!("/proc/{}/status", state.pid))
    };
    let mut prepared = Some(state.prepare(dir)?);
    if may_be_told(request)?
        && let Some(prepared) = prepared.take()
    {
        prepared.put()?;
        serve_init::go_ahead(connection.as_fd())?;
    }
    let ready = serve_init::serve(
        request.plan,
        &connection,
        spawned.pid,
        console,
        hooks,
        || undo.death(),
    )?;
    let made = Made {
        spawned,
        connection,
        ready,
    };
    Ok((made, prepared))
}

/// Carries out the steps that come before any process.
pub(super) fn prepare(
    request: &Request,
    dir: &Dir,
    undo: &mut Undo,
    connection: &OwnedFd,
    steps: &Steps<RuntimeStep>,
) -> Result<()> {
    // The lock keeps `delete` from ending in between: once the container is deleted, a cgroup of
    // this name belongs to the next container with the id.
    let locked = dir.lock()?.ok_or_else(|| dir.missing())?;
    // A delete that failed half-way has removed the state. The next one would not find the cgroup.
    if !dir.has(state::STATE)? {
        bail!(state::deleted(&request.options.id));
    }
    executor(request, undo, connection).run(steps, process::own_pid())?;
    locked.release();
    Ok(())
}

/// The descriptors and paths that init inherits.
fn inherited(request: &Request, dir: &Dir, runtime: OwnedFd, opened: Opened) -> Result<Inherited> {
    let mut own_mount = request.own_mount.take();
    if !request.plan.hides_init_until_pivot() {
        let dissolved = own_mount.take().map_or(Ok(()), OwnMount::dissolve);
        dissolved.context(binary::OBJECT)?;
    }
    let listener = if request.runs {
        None
    } else {
        Some(listen(dir)?)
    };
    Ok(Inherited {
        runtime,
        listener,
        lock: Some(state::lock_init(dir)?),
        opened,
        procfs: None,
        hook_streams: hooks::open_streams(request.plan)?,
        times: request.timings.of_init()?,
        own_mount,
    })
}

/// Makes a listening SEQPACKET socket in `dir`. It is bound through the directory's descriptor,
/// because the path may be too long for a socket address.
///
/// # Errors
/// A system call failed.
fn listen(dir: &Dir) -> Result<OwnedFd> {
    socket::listen_in(dir.fd(), START_SOCKET).with_context(|| dir.object(START_SOCKET))
}

/// Makes init, and carries out the runtime's steps that need its process.
fn spawn(
    request: &Request,
    undo: &mut Undo,
    state: &mut State,
    inherited: Inherited,
    connection: &OwnedFd,
) -> Result<Spawned> {
    let plan = request.plan;
    let dumpable = plan.dumpable == Dumpable::UntilMapped;
    credentials::set_dumpable(dumpable).context(CONNECTION)?;
    let cgroup = undo.made.cgroup.as_ref();
    request.timings.phase("clone");
    let first = clone::spawn(plan, inherited, cgroup, || Ok(()))
        .map_err(|(position, fail)| clone::failed(plan, position, fail, cgroup))?;
    if dumpable {
        credentials::set_dumpable(false).context(CONNECTION)?;
    }
    undo.process = Some(first.pidfd.clone());
    let mut runtime = executor(request, undo, connection);
    runtime.run(&plan.beside_first, first.pid)?;
    if plan.first_waits() {
        serve_init::go_ahead(connection.as_fd())?;
    }
    let beside = |pid| runtime.run(&plan.beside_init, pid);
    let init = clone::hand_over(plan, first, connection, beside)?;
    undo.process = Some(init.pidfd.clone());
    request.timings.phase("parent");
    executor(request, undo, connection).run(&plan.meanwhile, init.pid)?;
    remember_cgroup(state, undo)?;
    Ok(init)
}

/// The executor of the runtime's steps.
pub(super) fn executor<'a>(
    request: &Request<'a>,
    undo: &'a mut Undo,
    connection: &'a OwnedFd,
) -> Runtime<'a> {
    Runtime {
        plan: request.plan,
        host: request.host,
        connection: connection.as_fd(),
        made: &mut undo.made,
        timings: request.timings,
    }
}

/// Whether the last message can be sent to init before it reports that it is ready. Init then does
/// not have to sleep until it arrives.
fn may_be_told(request: &Request) -> Result<bool> {
    let waited_for = request.options.notify.is_some()
        || request.pidfd_socket.is_some()
        || request.pid_file.is_some()
        || !request.plan.when_ready.is_empty()
        || request.plan.has_start_hooks();
    Ok(request.runs && !waited_for && serve_init::may_go_ahead(request.plan)?)
}

/// Attaches the mount of a container without a mount namespace. The state is written first, so that
/// `delete` finds the mount whatever happens next.
fn mount_on_host(request: &Request, dir: &Dir, undo: &mut Undo, state: &mut State) -> Result<()> {
    let Some(tree) = host_mount::make(request.plan, &state.rootfs)? else {
        return Ok(());
    };
    let number = host_mount::number(&tree)?;
    state.rootfs_mount = Some(number);
    state.rootfs_mount_namespace = host_mount::own_namespace()?;
    state.save(dir)?;
    undo.mount = Some((state.rootfs.clone(), number));
    host_mount::attach(&tree, &state.rootfs)
}

/// Records in the state which cgroup was made, and where systemd has made it; or that there is no
/// cgroup, because the caller may not make one.
pub(super) fn remember_cgroup(state: &mut State, undo: &Undo) -> Result<()> {
    let (Some(place), Some(cgroup)) = (&mut state.cgroup, &undo.made.cgroup) else {
        state.cgroup = None;
        return Ok(());
    };
    place.number = Some(cgroup.number()?);
    if let Ok(path) = cgroup.path().strip_prefix(&place.mount) {
        place.path = format!("/{}", path.display());
    }
    Ok(())
}

/// Publishes the container, in the order in which engines look for it: first the state, then the
/// pidfd and the pid file.
fn finish(
    request: &Request,
    sockets: &Sockets,
    pid_file: Option<PidFile>,
    made: &Made,
    state: Prepared,
    undo: &mut Undo,
) -> Result<()> {
    if !request.runs {
        made.ready.check_executable(request.plan)?;
    }
    executor(request, undo, &made.connection).run(&request.plan.when_ready, made.spawned.pid)?;
    serve_init::raise_limits(request.plan, made.spawned.pid)?;
    state.put()?;
    sockets.send_pidfd("standard", made.spawned.pidfd.as_fd())?;
    if let Some(file) = pid_file {
        file.write(made.spawned.pid)?;
    }
    if !request.runs {
        serve_init::dismiss(request.plan, made.connection.as_fd(), || undo.death())?;
    }
    Ok(())
}
