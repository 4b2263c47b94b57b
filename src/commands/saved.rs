//! What the container's directory keeps for later verbs.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::Context;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::run::{run_poststop_hooks, teardown};
use crate::spec;
use crate::state::{CONFIG, Dir, Locked, State};
use crate::sys::Fail;

/// The config that the container was created from.
pub struct Saved {
    pub config: Config,
    options: plan::Options,
}

impl Saved {
    /// # Errors
    /// The copy cannot be read.
    pub fn read(dir: &Dir, state: &State) -> Result<Self> {
        Ok(Self {
            config: spec::config(&config_text(dir)?, &state.bundle)?,
            options: plan::Options {
                id: state.id.clone(),
                no_pivot: state.options.no_pivot,
                no_cgroup: state.options.no_cgroup,
                systemd: state.options.systemd_cgroup,
                notify: state.options.notify.clone(),
                process: plan::ProcessOptions {
                    no_new_keyring: state.options.no_new_keyring,
                    preserved_fds: state.options.preserved_fds,
                    listen_fds: state.options.listen_fds,
                },
            },
        })
    }

    /// The plan that the container was made by: later verbs take its hooks and its words from it.
    ///
    /// # Errors
    /// The host has changed since, so that there is no such plan any more.
    pub fn plan(&self) -> Result<Plan> {
        let host = Host::probe(self.config.labels())?;
        plan::build(&self.config, &host, &self.options)
    }
}

/// The text of that config, as `create` and `update` left it.
///
/// # Errors
/// The copy cannot be read.
pub fn config_text(dir: &Dir) -> Result<Vec<u8>> {
    let missing = || {
        let path = dir.path_of(CONFIG).display().to_string();
        let fail = Fail::new("open", Errno::ENOENT);
        Error::failed(path, fail)
    };
    dir.read(CONFIG)?.ok_or_else(missing)
}

/// Ends a container: processes, cgroup, directory, then the poststop hooks, whose failures only
/// warn. Source: runtime-spec 1.3, runtime.md, lifecycle, steps 12 and 13.
///
/// # Errors
/// Something of it cannot be killed or removed.
pub fn destroy(
    context: &Context,
    locked: Locked,
    state: &State,
    init: Option<&OwnedFd>,
) -> Result<()> {
    // The hooks are read before the directory goes.
    let plan = match state.later.poststop_hooks {
        true => Some(Saved::read(locked.dir(), state).and_then(|saved| saved.plan())),
        false => None,
    };
    teardown::end(&locked, state, init)?;
    let failures = match plan {
        Some(Ok(plan)) => {
            // Others that delete the container need not wait for its hooks.
            locked.release();
            run_poststop_hooks(&plan.after_delete, state)
        }
        Some(Err(error)) => vec![error.context("hooks.poststop: not run")],
        None => Vec::new(),
    };
    for error in failures {
        context.log.warn(format!("container {}: {error}", state.id));
    }
    Ok(())
}

/// [`destroy`] by the verb that has started the container; others may have deleted it meanwhile.
///
/// # Errors
/// As there.
pub fn destroy_started(context: &Context, dir: &Dir, state: &State) -> Result<()> {
    match dir.lock()? {
        Some(locked) => {
            let init = state.process()?;
            destroy(context, locked, state, init.as_ref())
        }
        None => Ok(()),
    }
}
