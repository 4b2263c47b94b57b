//! `create` and `run`.

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::bundle::{Loaded, options};
use super::saved::destroy_started;
use super::{CgroupDriver, Context};
use crate::cli::{Create, Run, Setup};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::plan::{Phase, Plan};
use crate::run::{self, Created, Request, relay, sd_notify};
use crate::state::Status;
use crate::sys::{interrupt, process};

/// Who has the other end of the container's terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The runtime exits while the container lives.
    Detached,
    /// The runtime stays.
    Foreground,
}

/// Makes a container that waits for `start`.
pub fn create(context: &Context, args: &Create) -> Result<()> {
    make(context, &args.setup, Mode::Detached, false).map(drop)
}

/// Makes a container and starts it; in the foreground its exit status comes back.
pub fn run(context: &Context, args: &Run) -> Result<u8> {
    let mode = if args.until.detach {
        Mode::Detached
    } else {
        Mode::Foreground
    };
    let signals = match mode {
        Mode::Foreground => Some(relay::Signals::block()?),
        Mode::Detached => None,
    };
    if mode == Mode::Foreground && !args.setup.handover.no_subreaper {
        relay::become_subreaper()?;
    }
    let (created, plan) = make(context, &args.setup, mode, true)?;
    let notify = context.notify(&created.dir);
    let started = run::interrupt::instead(run::start_created(&created, &plan))
        .and_then(|()| signals.as_ref().map_or(Ok(()), relay::Signals::block_all))
        .and_then(|()| run::run_hooks(&plan, Phase::Started, &created.state, Status::Running));
    let Created {
        dir,
        state,
        pidfd,
        terminal,
        ..
    } = created;
    let status = match (started, signals) {
        (Ok(()), Some(signals)) => {
            context.log.succeed();
            relay::relay(&signals, state.pid, &pidfd, terminal, notify)
        }
        (Ok(()), None) => {
            return match notify {
                Some(notify) => {
                    interrupt::release()
                        .map_err(|fail| Error::sys("signals", fail.op, fail.errno))?;
                    notify.wait(state.pid, &pidfd).map(|()| 0)
                }
                None => Ok(0),
            };
        }
        (Err(error), _) => Err(error),
    };
    if status.is_err() || !args.until.keep {
        destroy_started(context, &dir, &state)?;
    }
    status
}

/// The config and the plan are never given back: the first process shares their pages, and to write
/// to them would copy them.
fn make(
    context: &Context,
    setup: &Setup,
    mode: Mode,
    runs: bool,
) -> Result<(Created, ManuallyDrop<Plan>)> {
    let mut options = options(
        &setup.id.id,
        &setup.shape,
        CgroupDriver::of(&context.global.cgroups),
    );
    if std::env::var_os(sd_notify::VARIABLE).is_some_and(|socket| !socket.is_empty()) {
        let place = context.root.container(&setup.id.id)?;
        let name = sd_notify::DIRECTORY.to_string_lossy();
        options.notify = Some(place.path.join(name.as_ref()));
    }
    check_preserved(options.preserved_fds)?;
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
        console_socket: setup.handover.console_socket.as_deref(),
        pidfd_socket: setup.handover.pidfd_socket.as_deref(),
        pid_file: setup.handover.pid_file.as_deref(),
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
    let socket = setup.handover.console_socket.is_some();
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
    Err(Error::new(Kind::Usage, message))
}

/// `root.path` must be a directory that exists. Source: runtime-spec 1.3, config.md, root.
fn check_rootfs(rootfs: &Path) -> Result<()> {
    let what = || format!("root.path: {}", rootfs.display());
    let stat = |path: &Path| {
        std::fs::metadata(path)
            .map_err(|error| Error::io(what(), "stat", &error).kind(Kind::Config))
    };
    let found = stat(rootfs)?;
    if !found.is_dir() {
        return Err(Error::sys(what(), "stat", nix::errno::Errno::ENOTDIR).kind(Kind::Config));
    }
    // Many paths lead there: `/tmp/..`, links, `/proc/1/root`.
    let host = stat(Path::new("/"))?;
    if (found.dev(), found.ino()) == (host.dev(), host.ino()) {
        let message = format!("{}: the host's root cannot be a container's", what());
        return Err(Error::new(Kind::Config, message));
    }
    Ok(())
}

/// The descriptors that the process inherits must be open: what the runtime opens next would take
/// the number of one that is not.
pub fn check_preserved(count: u32) -> Result<()> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let missing = (0..count)
        .map(|index| index.saturating_add(3))
        .find(|&number| !process::is_inherited(number));
    match missing {
        None => Ok(()),
        Some(number) => {
            let message = format!("--preserve-fds: descriptor {number} is not open");
            Err(Error::new(Kind::Usage, message).hint(format!(
                "{count} descriptors from 3 on are to be passed to the process"
            )))
        }
    }
}
