//! `create`, and what `run` does of it too.

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::bundle::{Loaded, check_preserved, options};
use super::{Context, DONE, Verb};
use crate::cli::flags::flags;
use crate::cli::groups::Setup;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::run::{self, Created, Request, sd_notify};

/// How long the runtime stays with the container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The runtime exits while the container lives.
    Detached,
    /// The runtime stays.
    Foreground,
}

flags! {
    /// Create a container without running its process.
    ///
    /// The container is set up as config.json in the bundle says, up to the moment before its
    /// process executes. Later changes to config.json have no effect. `start` runs the process.
    #[derive(Debug)]
    pub struct Create {
        #[command(flatten)]
        pub setup: Setup,
    }
}

impl Verb for Create {
    /// Makes a container that waits for `start`.
    fn run(&self, context: &Context) -> Result<u8> {
        make(context, &self.setup, Mode::Detached, false)?;
        Ok(DONE)
    }
}

/// The config and the plan are never given back: the first process shares their pages, and to write
/// to them would copy them.
pub(super) fn make(
    context: &Context,
    setup: &Setup,
    mode: Mode,
    runs: bool,
) -> Result<(Created, ManuallyDrop<Plan>)> {
    let mut options = options(
        &setup.new.id,
        &setup.container,
        &setup.descriptors,
        context.cgroup_manager,
    );
    if std::env::var_os(sd_notify::VARIABLE).is_some_and(|socket| !socket.is_empty()) {
        let place = context.root.container(&setup.new.id)?;
        let name = sd_notify::DIRECTORY.to_string_lossy();
        options.notify = Some(place.path.join(name.as_ref()));
    }
    check_preserved(options.process.preserved_fds)?;
    let loaded = ManuallyDrop::new(Loaded::read(&setup.bundle)?);
    check_terminal(&loaded.config, setup, mode)?;
    check_rootfs(&loaded.config.root.path)?;
    let host = Host::probe(loaded.config.labels())?;
    let plan = ManuallyDrop::new(loaded.plan(&host, &options)?);
    for warning in &plan.warnings {
        context.log.warn(warning.as_str());
    }
    let request = Request {
        root: &context.root,
        bundle: &loaded.bundle,
        config: &loaded.config,
        config_text: &loaded.bytes,
        plan: &plan,
        host: &host,
        options: &options,
        console_socket: setup.caller.console_socket.as_deref(),
        pidfd_socket: setup.caller.pidfd_socket.as_deref(),
        pid_file: setup.caller.pid_file.as_deref(),
        runs,
    };
    run::create(&request).map(|created| (created, plan))
}

/// A terminal whose master nobody holds would hang up at once, and a socket without a terminal
/// would wait for ever.
fn check_terminal(config: &Config, setup: &Setup, mode: Mode) -> Result<()> {
    let terminal = config
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let socket = setup.caller.console_socket.is_some();
    let message = match (terminal, socket, mode) {
        (true, false, Mode::Detached) => {
            "process.terminal: cannot allocate tty if runtime will detach without setting console socket"
        }
        (false, true, _) => {
            "--console-socket: cannot use console socket if runtime will not detach or allocate tty"
        }
        (_, true, Mode::Foreground) => {
            "--console-socket: cannot use console socket if runtime will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(Error::new(message))
}

/// `root.path` must be a directory that exists. Source: runtime-spec 1.3, config.md, root.
fn check_rootfs(rootfs: &Path) -> Result<()> {
    let what = || format!("root.path: {}", rootfs.display());
    let stat =
        |path: &Path| std::fs::metadata(path).map_err(|error| Error::io(what(), "stat", &error));
    let found = stat(rootfs)?;
    if !found.is_dir() {
        return Err(Error::sys(what(), "stat", nix::errno::Errno::ENOTDIR));
    }
    // Many paths lead there: `/tmp/..`, links, `/proc/1/root`.
    let host = stat(Path::new("/"))?;
    if (found.dev(), found.ino()) == (host.dev(), host.ino()) {
        let message = format!("{}: the host's root cannot be a container's", what());
        return Err(Error::new(message));
    }
    Ok(())
}
