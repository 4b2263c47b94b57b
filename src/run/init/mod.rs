//! The init process, from clone3(2) to execve(2), with one match arm per step.
//!
//! Init uses only the plan, whose pages it shares copy-on-write with the runtime, and system calls.
//! If a step fails, init reports the position of the step in the plan and the errno, and exits.

mod console;
mod copy_up;
mod entry;
mod files;
pub(crate) mod inherit;
mod inherited;
mod kernel_views;
mod labels;
mod mounts;
mod move_root;
mod namespaces;
mod opened;
mod program;
mod root;
mod user;

pub(super) use files::host_null;
pub(super) use inherited::Inherited;
pub(super) use mounts::change as change_mount;

pub(super) use entry::enter;
pub(super) use mounts::change;
pub(super) use opened::Opened;

use std::cell::OnceCell;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;

use kernel_views::KernelViews;

use crate::plan::{
    Cpus, Dumpable, HookMoment, HookStep, InitStep, List, NamespaceKind, Plan, Position,
};
use crate::run::hook::{self, Directory, HookFail, Surroundings};
use crate::run::protocol::{self, Failure, Report, Request, StepTime};
use crate::sys::{
    self, Fail, Reported, Sys, credentials, exec, io, path, process, signals, socket, stat,
};

/// Init's state while it carries out the plan.
struct Init<'a> {
    plan: &'a Plan,
    inherited: Inherited,
    /// The connection to `start`.
    start: Option<OwnedFd>,
    /// The rootfs. Every file in it is opened from here.
    root: Option<OwnedFd>,
    /// The directory that the rootfs is mounted on, where [`Inherited::own_mount`] is to be attached.
    below_root: Option<OwnedFd>,
    /// The location of the rootfs, determined when it is first needed.
    root_place: OnceCell<stat::Place>,
    /// A mount of the host's /dev/null over a masked file.
    null: Option<OwnedFd>,
    /// The empty read-only directory that covers masked directories.
    empty: Option<OwnedFd>,
    /// Init's own procfs, which is not attached anywhere.
    proc: Option<OwnedFd>,
    /// The container's procfs and sysfs.
    views: KernelViews,
    /// The directory of the last node or symbolic link.
    parent: Option<(CString, Rc<OwnedFd>)>,
    cwd_reached: bool,
    /// The mounts made so far, with their targets. These are all mounts if a failure has to remove
    /// them again, otherwise only those that a later step changes.
    attached: Vec<(Rc<OwnedFd>, CString)>,
    /// The caller's umask, for hooks. Init's own is 0, so that files get exactly the given modes.
    umask: u32,
    /// The index of the executable that was found, in the list of candidates.
    executable: u32,
    /// `HOME=`, if the config has none.
    home: Option<CString>,
    /// The capabilities that the process starts with.
    granted: user::Granted,
    told_executing: bool,
    /// The state that the next hooks read.
    state: Vec<u8>,
    /// A text that explains a failure: the output of a hook, or the path of a mount.
    shown: Vec<u8>,
}

/// Carries out init's part of the plan. It never returns.
///
/// If `wait` is set, the runtime first has to do something else, such as writing the id maps of a
/// new user namespace.
pub(super) fn run(plan: &Plan, mut inherited: Inherited, wait: bool) -> ! {
    if plan.cpus == Cpus::All {
        sys::schedule::use_every_cpu();
    }
    let umask = process::umask(0).and_then(|mask| inherited.keep_only(plan).map(|()| mask));
    let umask = match umask {
        Ok(mask) => mask,
        Err(fail) => {
            tell(&inherited.runtime, None, fail);
            process::exit(1)
        }
    };
    let proc = inherited.procfs.take();
    let mut init = Init {
        plan,
        inherited,
        start: None,
        root: None,
        below_root: None,
        root_place: OnceCell::new(),
        null: None,
        empty: None,
        proc,
        views: KernelViews::default(),
        parent: None,
        cwd_reached: false,
        attached: Vec::new(),
        umask,
        executable: 0,
        home: None,
        granted: user::Granted::default(),
        told_executing: false,
        state: Vec::new(),
        shown: Vec::new(),
    };
    let begun = init.begin(wait).map_err(|fail| Failure::new(None, fail));
    if let Err(failure) = begun.and_then(|()| init.walk()) {
        init.take_off_attached();
        let shown = init.shown_with_failure();
        let shown = shown.as_ref().map(AsFd::as_fd);
        // Init keeps its mounts alive until the runtime has found the reason and closes the
        // connection. Messages that the runtime sent in advance are discarded.
        if report(init.connection(), failure, shown) {
            while let Ok(Some(_)) = protocol::receive_go(init.connection(), false) {}
        }
    }
    process::exit(1)
}

/// Reports which step failed.
pub(super) fn tell(connection: &OwnedFd, position: Option<Position>, fail: Fail) -> bool {
    report(connection, Failure::new(position, fail), None)
}

/// Reports which step failed. `shown` helps to explain it: the container's root, or a pipe with a
/// text.
///
/// Returns whether the report was sent, which it is not if the runtime is gone.
fn report(connection: &OwnedFd, failure: Failure, shown: Option<BorrowedFd>) -> bool {
    let failure = Report::Failure(failure);
    match failure.send(connection.as_fd(), shown) {
        Ok(()) => true,
        Err(fail) if fail.errno == Errno::EPIPE => false,
        // The container's seccomp filter may forbid sendmsg(2). It probably allows write(2), which
        // every program needs.
        Err(_) => failure.write(connection.as_fd()).is_ok(),
    }
}

impl Init<'_> {
    fn begin(&mut self, wait: bool) -> Sys<()> {
        if wait {
            self.await_go(false)?;
        }
        match self.plan.dumpable {
            Dumpable::UntilMapped => credentials::set_dumpable(false),
            Dumpable::Never => Ok(()),
        }
    }

    fn walk(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        process::setsid().map_err(|fail| Failure::new(None, fail))?;
        for (list, steps) in [(List::Init, &plan.init), (List::Start, &plan.start)] {
            for (index, planned) in steps.iter().enumerate() {
                let position = Position { list, index };
                self.timed(position, &planned.step)
                    .map_err(|told| Failure::new(Some(position), told))?;
            }
        }
        Ok(())
    }

    /// Carries out a step, and reports how long it took if the caller asks for timings.
    fn timed(&mut self, position: Position, step: &InitStep) -> Result<(), Reported> {
        if self.inherited.times.is_none() {
            return self.step(position, step);
        }
        // The filter may refuse write(2).
        if let InitStep::Seccomp { .. } = step {
            self.inherited.times = None;
        }
        let began = Instant::now();
        self.step(position, step)?;
        if let (Some(pipe), false) = (
            &self.inherited.times,
            matches!(step, InitStep::WaitForStart),
        ) {
            let time = StepTime {
                step: position,
                took: began.elapsed(),
            };
            time.write(pipe.as_fd());
        }
        Ok(())
    }

    /// The descriptor to send with a failure: a pipe with a text, or the container's root.
    fn shown_with_failure(&mut self) -> Option<OwnedFd> {
        if !self.shown.is_empty() {
            return hook::filled_pipe(&self.shown).ok();
        }
        // `forget_files` closes the root before the program is searched for. By then `/` is the
        // container's root.
        let root = self.root.take();
        root.or_else(|| path::open(c"/", libc::O_PATH).ok())
    }

    /// The connection on which failures are reported.
    fn connection(&self) -> &OwnedFd {
        self.start.as_ref().unwrap_or(&self.inherited.runtime)
    }

    fn step(&mut self, position: Position, step: &InitStep) -> Result<(), Reported> {
        if !matches!(step, InitStep::Node(_) | InitStep::Symlink(_)) {
            self.parent = None;
        }
        let done = match step {
            InitStep::Enter(step) => {
                let opened = self.take(position);
                enter(step, opened.as_ref())
            }
            InitStep::ContainerRoot => {
                self.root = Some(path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?);
                Ok(())
            }
            InitStep::Unshare(kind) => process::unshare(kind.flag()),
            InitStep::Inherited(step) => inherit::perform(step, || self.own_proc()),
            InitStep::ExecLabel(exec) => self.exec_label(exec),
            InitStep::LoopbackUp => sys::net::loopback_up(),
            InitStep::EnterNetwork => self.enter_network(),
            InitStep::RootPropagation { flag } => root::propagate_all(*flag),
            InitStep::BindRootfs {
                path,
                opener,
                private,
                private_parent,
            } => self.bind_rootfs(position, (path, *opener), *private, *private_parent),
            InitStep::Filesystem(filesystem) => self.filesystem(position, filesystem),
            InitStep::Bind(bind) => self.bind(position, bind),
            InitStep::Unmount { target } => self.unmount(target),
            InitStep::Remount(remount) => self.remount(remount),
            InitStep::Node(node) => self.node(node),
            InitStep::Symlink(symlink) => self.symlink(symlink),
            InitStep::MaskPath { path } => self.mask(path),
            InitStep::ReadonlyPath { path } => self.make_readonly(path),
            InitStep::MountReadonly { path } => self.mount_readonly(path),
            InitStep::SwitchRoot { kind, shared } => self.switch_root(*kind, *shared),
            InitStep::Propagate { propagation } => self.propagate(*propagation),
            InitStep::MakeCwd { path } => self.make_cwd(path),
            InitStep::RuntimeHooks => self.runtime_hooks(),
            InitStep::Hook(hook) => return self.hook(hook),
            InitStep::Console { size, uid, bind } => self.console(*size, *uid, *bind),
            InitStep::Stdio { uid } => self.stdio(*uid),
            InitStep::Hostname(name) => process::set_hostname(name),
            InitStep::Domainname(name) => process::set_domainname(name),
            InitStep::Sysctl { path, value } => self.sysctl(path, value),
            InitStep::Cwd { path } => self.cwd(path),
            InitStep::CheckCwd { path } => self.check_cwd(path),
            InitStep::Scheduler(it) => sys::schedule::set_scheduler(
                it.policy as u32,
                it.flag_bits(),
                it.nice,
                it.priority,
                it.deadlines,
            ),
            InitStep::Credentials(credentials) => {
                self.granted = user::become_user(credentials, || self.groups_are_denied())?;
                Ok(())
            }
            InitStep::NoNewPrivileges => credentials::no_new_privileges(),
            InitStep::FindExecutable { candidates } => self.find_executable(candidates),
            InitStep::FindHome { uid } => {
                self.home = Some(user::home(*uid)?);
                Ok(())
            }
            InitStep::Rlimit(limit) => {
                process::set_rlimit(0, limit.resource, limit.soft, limit.hard)
            }
            InitStep::WaitForStart => self.wait_for_start(),
            InitStep::CloseRange { first } => process::close_on_exec_from(*first),
            InitStep::Seccomp { program, flags, .. } => self.seccomp(program, *flags),
            InitStep::DropSysAdmin => self.granted.set(),
            InitStep::Exec(exec) => Err(self.exec(exec)),
        };
        Ok(done?)
    }

    /// Takes the file that the runtime opened for a step.
    fn take(&mut self, position: Position) -> Option<OwnedFd> {
        self.inherited.opened.take(position)
    }

    /// Asks the runtime to open the host's path of a step, in init's own mount namespace.
    fn reach(&self, position: Position) -> Sys<OwnedFd> {
        let root = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        let connection = self.connection().as_fd();
        Report::Reach(position).send(connection, Some(root.as_fd()))?;
        protocol::receive_opened(connection)
    }

    /// Lets the runtime map the ids of a mount that has not been attached yet.
    fn map_ids(&mut self, position: Position, tree: BorrowedFd) -> Sys<()> {
        Report::MapIds(position).send(self.connection().as_fd(), Some(tree))?;
        self.await_go(false)
    }

    fn root(&self) -> Sys<BorrowedFd<'_>> {
        self.root
            .as_ref()
            .map(AsFd::as_fd)
            .ok_or(Fail::new("rootfs", Errno::EBADF))
    }

    /// Waits for the network namespace, which the runtime makes in the meantime, and enters it.
    fn enter_network(&self) -> Sys<()> {
        let made = protocol::receive_opened(self.inherited.runtime.as_fd())?;
        process::setns(made.as_fd(), NamespaceKind::Network.flag())
    }

    /// Waits for the runtime's go-ahead. If the runtime is gone, init exits.
    fn await_go(&mut self, with_state: bool) -> Sys<()> {
        match protocol::receive_go(&self.inherited.runtime, with_state)? {
            Some(state) => self.state = state,
            None => process::exit(1),
        }
        Ok(())
    }

    fn hook(&mut self, hook: &HookStep) -> Result<(), Reported> {
        let ended = match hook.moment {
            HookMoment::StartContainer => self.start_hook(hook),
            _ => self.create_hook(hook)?,
        };
        ended.map_err(|failed| {
            self.shown = failed.output;
            failed.told
        })
    }

    /// Runs a startContainer hook, with the environment that the container's program will have.
    fn start_hook(&self, hook: &HookStep) -> Result<(), HookFail> {
        let around = Surroundings {
            directory: Directory::Own,
            environment: &self.environment(self.plan.exec()),
            streams: Some(&self.inherited.hook_streams),
        };
        hook::run(hook, &around, &self.state)
    }

    /// Runs a createContainer hook. Its working directory is the rootfs, and the host's paths are
    /// still visible.
    fn create_hook(&self, hook: &HookStep) -> Sys<Result<(), HookFail>> {
        let around = Surroundings {
            directory: Directory::Open(self.root()?),
            environment: &exec::environment(),
            streams: None,
        };
        process::umask(self.umask)?;
        let ended = hook::run(hook, &around, &self.state);
        process::umask(0)?;
        Ok(ended)
    }

    /// Closes the files that only the setup needed. At execve(2) only sockets and the lock are
    /// still open, and the path of a program or a hook cannot lead through these.
    fn forget_files(&mut self) {
        self.inherited.opened.clear();
        (self.root, self.null, self.empty, self.proc) = (None, None, None, None);
        self.views = KernelViews::default();
    }

    fn runtime_hooks(&mut self) -> Sys<()> {
        Report::Hooks.send(self.connection().as_fd(), None)?;
        self.await_go(true)
    }

    /// Reports that the container is complete and waits for `start`, which receives every later
    /// failure.
    fn wait_for_start(&mut self) -> Sys<()> {
        let root = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        // What can fail comes before the report: `create` may have ended when init gets further.
        sys::inherited::default_signals()?;
        if !self.plan.limits(sys::inherited::OPEN_FILES) {
            sys::inherited::give_back_limit()?;
        }
        let ready = Report::Ready(self.executable);
        ready.send(self.connection().as_fd(), Some(root.as_fd()))?;
        drop(root);
        let with_state = self.plan.has_start_hooks();
        let Some(listener) = self.inherited.listener.take() else {
            return self.await_go(with_state);
        };
        self.await_go(false)?;
        // `create` ends, and nothing reads the times of the steps that follow.
        self.inherited.times = None;
        loop {
            let connection = socket::accept(listener.as_fd())?;
            match protocol::receive_request(&connection, with_state) {
                Ok(Some(Request::Start(state))) => {
                    self.state = state;
                    self.start = Some(connection);
                    return Ok(());
                }
                Ok(Some(Request::Namespaces)) => namespaces::hand_out(&connection),
                // The client closed the connection without sending a request.
                Ok(None) => {}
                Err(fail) if fail.errno == Errno::ECONNRESET => {}
                Err(fail) => {
                    self.start = Some(connection);
                    return Err(fail);
                }
            }
        }
    }

    /// Releases the lock, so that the container's status becomes `running`. This comes before
    /// execve(2), which closes the connection and the lock one after the other: a client that sees
    /// the end of the connection must not find the status `created`.
    fn leave_created(&mut self) {
        self.inherited.lock = None;
    }

    /// Reports that execve(2) is next, and unblocks the signals. This is done only once, and before
    /// the filter is loaded, so that the filter need not allow it. After it, only the filter, the
    /// last capabilities and execve(2) remain.
    fn tell_executing(&mut self, filtered: bool) -> Sys<()> {
        if self.told_executing {
            return Ok(());
        }
        self.told_executing = true;
        // Init has received the go-ahead, so it continues even if its client is gone.
        let executing = Report::Executing { filtered };
        protocol::unless_gone(executing.send(self.connection().as_fd(), None))?;
        signals::unblock()
    }

    /// Loads the filter. The runtime fetches the listener's descriptor from this process itself, so
    /// that the filter has to allow only read(2) and write(2).
    fn seccomp(&mut self, program: &[libc::sock_filter], flags: u64) -> Sys<()> {
        if !self.plan.has_start_hooks() {
            self.leave_created();
        }
        self.tell_executing(true)?;
        let Some(listener) = sys::seccomp::install(program, flags)? else {
            return Ok(());
        };
        let connection = self.connection().as_fd();
        Report::Listener(listener.as_raw_fd()).write(connection)?;
        match io::read(connection, &mut [0]) {
            Ok(0) => process::exit(1),
            read => read.map(drop),
        }
    }
}
