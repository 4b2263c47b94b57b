//! `create`, and the part of it that `run` shares.

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::bundle::{Loaded, check_preserved, options};
use super::{Context, DONE, Verb};
use crate::cli::flags::flags;
use crate::cli::groups::{CallerFlags, Setup};
use crate::config::Config;
use crate::error::{Call as _, Code, Context as _, Error};
use crate::host::Host;
use crate::plan::annotations::PIDFD_RECEIVER;
use crate::plan::{Options, Plan};
use crate::run::{self, Created, Request, Timings, relay, sd_notify};
use crate::spec;
use crate::state::NOTIFY;
use crate::sys::Fail;

/// How long the runtime stays with the container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The runtime exits while the container keeps running.
    Detached,
    /// The runtime stays until the container's process ends.
    Foreground,
}

impl Mode {
    /// The mode that the flags ask for, and the signals that the runtime forwards while it stays.
    pub(super) fn begin(
        detach: bool,
        caller: &CallerFlags,
    ) -> Result<(Self, Option<relay::Signals>)> {
        if detach {
            return Ok((Self::Detached, None));
        }
        let signals = relay::Signals::of_foreground(caller.no_subreaper)?;
        Ok((Self::Foreground, Some(signals)))
    }
}

flags! {
    /// Create a container without running its process.
    ///
    /// The container is set up as config.json in the bundle describes, up to the point where its
    /// process would execute. `start` runs the process. Later changes to config.json have no
    /// effect.
    #[derive(Debug)]
    pub(super) struct Create {
        #[command(flatten)]
        pub setup: Setup,
    }
}

impl Verb for Create {
    fn container(&self) -> Option<&str> {
        Some(&self.setup.new.id)
    }

    /// Creates a container that waits for `start`.
    fn run(&self, context: &Context) -> Result<u8> {
        let timings = Timings::new(context.log, self.setup.measure.timings);
        make(context, &self.setup, Mode::Detached, false, None, &timings)?;
        timings.finish();
        Ok(DONE)
    }
}

/// Creates a container from the flags of `create` or `run`.
///
/// The config and the plan are never freed. The container's first process shares their pages, and
/// freeing would write to these pages, so that the kernel would copy them.
pub(super) fn make(
    context: &Context,
    setup: &Setup,
    mode: Mode,
    runs: bool,
    record: Option<&Path>,
    timings: &Timings,
) -> Result<(Created, ManuallyDrop<Plan>)> {
    // The id stands in other names, whose errors would come first.
    let place = context.root.container(&setup.new.id)?;
    let mut options = options(
        &setup.new.id,
        &setup.container,
        &setup.descriptors,
        context.cgroup_manager,
    );
    if std::env::var_os(sd_notify::VARIABLE).is_some_and(|socket| !socket.is_empty()) {
        let name = NOTIFY.to_string_lossy();
        options.notify = Some(place.path.join(name.as_ref()));
    }
    if let Some(file) = record {
        let object = || format!("--seccomp-record: {}", file.display());
        options.record = Some(
            std::path::absolute(file)
                .call("getcwd")
                .with_context(object)?,
        );
    }
    check_preserved(&options.process)?;
    let loaded = ManuallyDrop::new(Loaded::read(&setup.bundle)?);
    if runs && loaded.config.process.is_none() {
        bail!(Error::missing("process").hint("run needs a program"));
    }
    let (host, plan) = plan(context, &loaded, &setup.caller, mode, &options)?;
    let plan = ManuallyDrop::new(plan);
    context.log.debug(|| plan.details.clone());
    context
        .log
        .debug(|| spec::properties::ignored(&loaded.bytes, ""));
    let receiver = loaded.config.annotations.get(PIDFD_RECEIVER);
    let request = Request {
        root: &context.root,
        bundle: &loaded.bundle,
        config: &loaded.config,
        config_text: &loaded.bytes,
        plan: &plan,
        host: &host,
        options: &options,
        console_socket: setup.caller.console_socket.as_deref(),
        pidfd_socket: setup
            .caller
            .pidfd_socket
            .as_deref()
            .or(receiver.map(Path::new)),
        pid_file: setup.caller.pid_file.as_deref(),
        runs,
        timings,
        own_mount: &context.own_mount,
    };
    run::create(&request).map(|created| (created, plan))
}

/// Plans the container, after the checks that need no plan, and gives the plan's warnings.
pub(super) fn plan(
    context: &Context,
    loaded: &Loaded,
    caller: &CallerFlags,
    mode: Mode,
    options: &Options,
) -> Result<(Host, Plan)> {
    check_terminal(&loaded.config, caller, mode)?;
    check_rootfs(&loaded.config.root.path)?;
    let host = Host::probe(loaded.config.labels())?;
    let plan = loaded.plan(&host, options)?;
    context.log.warn_all(&plan.warnings);
    Ok((host, plan))
}

/// Checks that a terminal has a holder of its master, and that a console socket gets a terminal. A
/// terminal whose master is closed hangs up at once, and the owner of a socket that never receives
/// a terminal waits forever.
fn check_terminal(config: &Config, caller: &CallerFlags, mode: Mode) -> Result<()> {
    let terminal = config
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let socket = caller.console_socket.is_some();
    const UNUSED: &str =
        "--console-socket: cannot use console socket if runtime will not detach or allocate tty";
    let (message, remedy) = match (terminal, socket, mode) {
        (true, false, Mode::Detached) => (
            "process.terminal: cannot allocate tty if runtime will detach without setting console socket",
            "give --console-socket, set process.terminal to false, or use run without --detach",
        ),
        (false, true, _) => (
            UNUSED,
            "set process.terminal to true, or leave out the flag",
        ),
        (_, true, Mode::Foreground) => (UNUSED, "give --detach, or leave out the flag"),
        _ => return Ok(()),
    };
    bail!(
        Error::new(message)
            .hint(remedy)
            .code_is(Code::ProcessTerminal)
    )
}

/// Checks that `root.path` is an existing directory and not the host's root. Source: runtime-spec
/// 1.3, config.md, root.
pub(super) fn check_rootfs(rootfs: &Path) -> Result<()> {
    let refuse = |fail: Fail| Error::failed(rootfs, fail).about("root.path");
    let stat = |path: &Path| {
        std::fs::metadata(path).map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            let error = refuse(Fail::new("stat", errno));
            match errno {
                Errno::ENOENT => error.code_is(Code::RootfsNotFound),
                _ => error,
            }
        })
    };
    let found = stat(rootfs)?;
    if !found.is_dir() {
        let fail = Fail::new("stat", Errno::ENOTDIR);
        bail!(refuse(fail).code_is(Code::RootfsInvalid));
    }
    // Compared by device and inode, because many paths lead to the host's root: `/tmp/..`, symbolic
    // links, `/proc/1/root`.
    let host = stat(Path::new("/"))?;
    if (found.dev(), found.ino()) == (host.dev(), host.ino()) {
        let path = rootfs.display();
        let message = format!("{path}: the host's root cannot be a container's");
        bail!(Error::config("root.path", message).code_is(Code::RootfsInvalid));
    }
    Ok(())
}
