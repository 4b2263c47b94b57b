//! `mounts add` and `mounts remove`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::saved::{Saved, program};
use super::{Context, DONE, Verb, unless_stopped};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::cli::units;
use crate::error::{Call as _, Context as _};
use crate::host::Host;
use crate::state::Status;
use crate::state::not_running;
use crate::{plan, run, spec};

flags! {
    /// Add mounts to a running container, or remove them.
    ///
    /// FILE contains a JSON array of objects like those in `mounts` of config.json. `add` makes all
    /// of the mounts or none. `remove` unmounts their destinations in the order of the array and
    /// ignores all other members; the destinations must not contain symbolic links. Both work in the
    /// container's cgroup, so that the memory of what `tmpcopyup` copies counts for the container.
    #[derive(Debug)]
    pub(super) struct Mounts {
        /// What to do with the mounts
        #[arg(value_name = "ACTION", value_parser = units::choice::<Action>())]
        pub action: String,

        #[command(flatten)]
        pub container: Container,

        /// File with a JSON array of mounts; relative sources of bind mounts start at the bundle
        #[arg(value_name = "FILE")]
        pub file: PathBuf,
    }

    /// The action of `mounts`.
    pub(super) enum Action {
        Add,
        Remove,
    }
}

impl Verb for Mounts {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Adds the mounts of a file to a created or running container, or removes them.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        let check = |status| match status {
            Status::Created | Status::Running => Ok(()),
            Status::Paused => bail!(not_running(&state).hint("it is paused")),
            Status::Creating | Status::Stopped => bail!(not_running(&state)),
        };
        let status = state.status(&dir)?;
        check(status)?;
        let program = program(status);
        let file = || self.file.display();
        let text = std::fs::read(&self.file).call("open").with_context(file)?;
        let config = Saved::read(&dir, &state)?.config;
        let host = Host::probe(config.labels())?;
        let (plan, warnings) = match units::chosen(&self.action) {
            Action::Add => {
                let (mounts, warnings) = spec::mounts(&text, &state.bundle).with_context(file)?;
                (plan::add_mounts(config, mounts, &host, program)?, warnings)
            }
            Action::Remove => {
                let (points, warnings) = spec::mount_points(&text).with_context(file)?;
                (
                    plan::remove_mounts(&config, &points, &host, program)?,
                    warnings,
                )
            }
        };
        context.log.warn_all(warnings.iter().chain(&plan.warnings));
        run::change_mounts(&dir, &state, &plan)
            .map_err(|error| unless_stopped(error, &dir, &state, check))?;
        Ok(DONE)
    }
}
