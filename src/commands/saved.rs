//! The saved config of a container, which later verbs read.

use std::os::fd::OwnedFd;

use anyhow::Result;
use nix::errno::Errno;

use super::Context;
use crate::config::Config;
use crate::error::{Code, Context as _, Error};
use crate::host::Host;
use crate::plan::annotations::RECORD;
use crate::plan::seccomp::record::recording;
use crate::plan::{self, HookMoment, HookStep, Plan, Steps, hooks};
use crate::run::{self, run_poststop_hooks, teardown};
use crate::spec;
use crate::state::{CONFIG, Dir, Locked, RECORD_SOCKET, State, Status};
use crate::sys::{Fail, stat};

/// What init has done with the container's program, in a container with this status.
pub(super) fn program(status: Status) -> plan::Program {
    match status {
        Status::Creating | Status::Created => plan::Program::Awaited,
        Status::Running | Status::Paused | Status::Stopped => plan::Program::Executed,
    }
}

/// The config that the container was created from.
pub(super) struct Saved {
    pub config: Config,
    options: plan::Options,
}

impl Saved {
    /// Reads the copy of the config in the container's directory.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub(super) fn read(dir: &Dir, state: &State) -> Result<Self> {
        Ok(Self {
            config: spec::config(&config_text(dir)?, &state.bundle)
                .with_context(|| dir.object(CONFIG))?,
            options: plan::Options {
                id: state.id.clone(),
                no_pivot: state.options.no_pivot,
                no_cgroup: state.options.no_cgroup,
                systemd: state.options.systemd_cgroup,
                notify: state.options.notify.clone(),
                // `run` has recorded already, and other verbs only need the texts.
                record: None,
                process: plan::ProcessOptions {
                    no_new_keyring: state.options.no_new_keyring,
                    preserved_fds: state.options.preserved_fds,
                    listen_fds: state.options.listen_fds,
                    program: plan::Program::default(),
                },
            },
        })
    }

    /// The config, and the options that the container was created with.
    pub(super) fn into_parts(self) -> (Config, plan::Options) {
        (self.config, self.options)
    }

    /// Gives the config the filter of a container that is recorded. Returns the connection to the
    /// process that records; `None` if no such process exists.
    ///
    /// # Errors
    /// A system call failed.
    pub(super) fn join_recording(
        &mut self,
        context: &Context,
        dir: &Dir,
        state: &State,
    ) -> Result<Option<OwnedFd>> {
        let by_annotation = self.config.annotations.contains_key(RECORD);
        if !state.options.records && !by_annotation {
            return Ok(None);
        }
        let recorder = run::recorder(dir)?;
        if recorder.is_some() {
            let socket = dir.path_of(RECORD_SOCKET);
            self.config.linux.seccomp = Some(recording(socket));
        } else {
            let warning = Error::new(
                "--seccomp-record: this process is not recorded: the recording begins when the \
                 container starts, and the process that records must be running",
            );
            context.log.warn(warning.code_is(Code::WarningNotRecorded));
        }
        Ok(recorder)
    }

    /// Rebuilds the plan that the container was created from. Later verbs need its texts for errors.
    ///
    /// # Errors
    /// The host has changed so that the plan cannot be built any more.
    pub(super) fn plan(&self) -> Result<Plan> {
        let host = Host::probe(self.config.labels())?;
        Ok(plan::build(&self.config, &host, &self.options)?)
    }
}

/// The hooks of the saved config that run at `moment`.
///
/// # Errors
/// The copy cannot be read.
pub(super) fn saved_hooks(dir: &Dir, state: &State, moment: HookMoment) -> Result<Steps<HookStep>> {
    Ok(hooks::at(&Saved::read(dir, state)?.config, moment))
}

/// Ends what is left of a container whose directory another program has removed. A delete removes the
/// cgroup first, so one that is there has not been deleted; it is the container's own by its number.
/// Nothing else leads to it any more. The saved hooks are gone.
fn end_remains(context: &Context, dir: &Dir, state: &State) -> Result<()> {
    // In a directory that was made again is the next container with the id. It may have groups and a
    // unit with these names.
    if stat::stat_of(&dir.path)
        .with_context(|| dir.path.display())?
        .is_some()
    {
        return Ok(());
    }
    let Some(place) = &state.cgroup else {
        return Ok(());
    };
    if place.place().open()?.is_none() {
        return Ok(());
    }
    teardown::end_all_but_directory(state, state.process()?.as_ref())?;
    let message = format!(
        "container {}: its directory was removed while it ran: what was left of its processes was \
         killed with the cgroup {}, and no poststop hook ran",
        state.id,
        place.dir().display()
    );
    let warning = Error::new(message).code_is(Code::WarningRemains);
    context
        .log
        .warn(warning.hint("sampan delete removes a container"));
    Ok(())
}

/// The text of the saved config, as `create` or `update` wrote it last.
///
/// # Errors
/// The copy cannot be read; the container has been deleted meanwhile.
pub(super) fn config_text(dir: &Dir) -> Result<Vec<u8>> {
    dir.read(CONFIG)?.ok_or_else(|| {
        let path = dir.path_of(CONFIG);
        let fail = Fail::new("open", Errno::ENOENT);
        dir.without_file(Error::failed(path.display(), fail))
    })
}

/// Ends a container: kills its processes, removes its cgroup and its directory, then runs the
/// poststop hooks. A hook that fails is only a warning. Source: runtime-spec 1.3, runtime.md,
/// lifecycle, steps 12 and 13.
///
/// # Errors
/// A process cannot be killed, or the cgroup or the directory cannot be removed.
pub(super) fn destroy(
    context: &Context,
    locked: Locked,
    state: &State,
    init: Option<&OwnedFd>,
) -> Result<()> {
    // The hooks are read before the directory is removed.
    let hooks = (state.later.poststop_hooks)
        .then(|| saved_hooks(locked.dir(), state, HookMoment::Poststop));
    teardown::end(&locked, state, init)?;
    let failures = match hooks {
        Some(Ok(hooks)) => {
            // Other commands that delete the container need not wait for its hooks.
            locked.release();
            run_poststop_hooks(&hooks, state)
        }
        Some(Err(error)) => vec![error.context("hooks.poststop: not run")],
        None => Vec::new(),
    };
    for error in failures {
        let object = format!("container {}", state.id);
        context.log.warn_of(error.context(object));
    }
    Ok(())
}

/// Calls [`destroy`] for the verb that started the container. It does nothing if another command
/// has deleted the container in the meantime.
///
/// # Errors
/// Those of [`destroy`].
pub(super) fn destroy_started(context: &Context, dir: &Dir, state: &State) -> Result<()> {
    match dir.lock()? {
        Some(locked) => {
            let init = state.process()?;
            destroy(context, locked, state, init.as_ref())
        }
        None => end_remains(context, dir, state),
    }
}
