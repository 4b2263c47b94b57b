//! `kill`: sends a signal to the init process or to every process of the container.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::{Context, DONE, Verb, open_cgroup};
use crate::cli::flags::{Lazy, flags};
use crate::cli::groups::Container;
use crate::error::{Chain as _, Code, Context as _, Error, Kind};
use crate::signal;
use crate::state::{Dir, State, not_running};
use crate::sys::pidfd;

flags! {
    /// Send a signal to the process of a container
    #[derive(Debug)]
    pub(super) struct Kill {
        /// Signal every process of the container; succeed if the container has stopped
        #[arg(short, long)]
        pub all: bool,

        /// Treat ID as an extended regular expression and signal every container that matches
        #[arg(short, long)]
        pub regex: bool,

        #[command(flatten)]
        pub container: Container,

        #[command(flatten)]
        pub flag: Lazy<SignalFlag>,

        /// Name or number of the signal, such as TERM, SIGTERM, 15 or RTMIN+3
        #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
        pub name: String,
    }

    // The signal as users of kill(1) write it.
    #[derive(Clone, Debug, Default)]
    pub(super) struct SignalFlag {
        /// The signal, instead of SIGNAL; also -9 or -KILL, as with kill(1)
        #[arg(short, long, value_name = "SIGNAL", conflicts_with = "name")]
        pub signal: Option<String>,
    }
}

impl Kill {
    pub(super) fn signal(&self) -> &str {
        self.flag.signal.as_deref().unwrap_or(&self.name)
    }
}

impl Verb for Kill {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Signals one container, or with `--regex` every container that matches.
    fn run(&self, context: &Context) -> Result<u8> {
        let signal = signal::parse(self.signal())?;
        context.each(&self.container.id, self.regex, |id| {
            let (dir, state) = context.load(id)?;
            if self.all {
                warn_of_unreached(context, &state);
            }
            match send(&dir, &state, signal, self.all) {
                // Engines clean up with `--all`, and conclude from a failure that processes are
                // left.
                Err(error) if self.all && error.kind() == Kind::Status => Ok(()),
                result => result,
            }
        })?;
        Ok(DONE)
    }
}

/// Sends `signal` to the init process. It is sent to all processes if `all` is set, and also if it
/// is SIGKILL and the container has no pid namespace of its own: then the kernel does not kill the
/// other processes when init ends.
///
/// # Errors
/// `container not running`, [`Kind::Status`]; or a system call failed.
pub(super) fn send(dir: &Dir, state: &State, signal: i32, all: bool) -> Result<()> {
    let fatal = signal == libc::SIGKILL;
    if state.cgroup.is_some() && (all || (fatal && !state.private_pid_namespace)) {
        return send_to_all(dir, state, signal);
    }
    // SIGKILL needs no thaw: the freezer of cgroup v2 lets a frozen process die.
    match state.init(dir)? {
        Some(init) => send_init(state, &init, signal),
        None => bail!(not_running(state)),
    }
}

/// Sends `signal` to every process of the cgroup, and to init separately if it was not among them:
/// init may have been moved out of the cgroup, and the cgroup may then have been removed.
fn send_to_all(dir: &Dir, state: &State, signal: i32) -> Result<()> {
    let init = state.process()?;
    let Some(cgroup) = open_cgroup(dir, state)? else {
        let init = init.ok_or_else(|| not_running(state))?;
        send_init(state, &init, signal)?;
        return if signal == libc::SIGKILL && state.private_pid_namespace {
            Ok(())
        } else {
            bail!(only_init(state))
        };
    };
    let listed = cgroup.signal_all(signal, state.pid)?;
    match init {
        Some(init) if !listed => match send_init(state, &init, signal) {
            // SIGKILL has already ended init.
            Err(error) if error.kind() == Kind::Status => Ok(()),
            sent => sent,
        },
        _ => Ok(()),
    }
}

/// Warns that other processes than init cannot be found.
pub(super) fn warn_of_unreached(context: &Context, state: &State) {
    if state.cgroup.is_none() && !state.private_pid_namespace {
        let message = format!(
            "container {} has no cgroup and no pid namespace of its own: only its init process is \
             reached",
            state.id
        );
        context
            .log
            .warn(Error::new(message).code_is(Code::WarningNoEffect));
    }
}

fn only_init(state: &State) -> Error {
    let place = state.cgroup.as_ref().map(super::super::state::Cgroup::dir);
    let message = format!(
        "container {}: its cgroup {} is gone while its init process lives",
        state.id,
        place.unwrap_or_default().display()
    );
    Error::new(message)
        .code_is(Code::CgroupFailed)
        .hint("the signal was sent to init; other processes may be left")
}

fn send_init(state: &State, process: &OwnedFd, signal: i32) -> Result<()> {
    match pidfd::send_signal(process.as_fd(), signal) {
        Err(fail) if fail.errno == Errno::ESRCH => bail!(not_running(state)),
        sent => sent.with_context(|| format!("container {}", state.id)),
    }
}
