//! `pause` and `resume`: stop a container with the freezer of its cgroup, and thaw it.

use anyhow::{Result, bail};

use super::{Context, DONE, Verb, cgroup_of, unless_stopped};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::error::{Error, Kind};
use crate::state::Status;
use crate::state::not_running;

flags! {
    /// Stop every process of a container until it is resumed
    #[derive(Debug)]
    pub(super) struct Pause {
        #[command(flatten)]
        pub container: Container,
    }

    /// Resume the processes of a paused container
    #[derive(Debug)]
    pub(super) struct Resume {
        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Pause {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Stops every process of a created or running container. It returns after all have stopped.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        match state.status(&dir)? {
            Status::Created | Status::Running => {}
            Status::Paused => bail!(not_running(&state).hint("it is paused")),
            Status::Creating | Status::Stopped => bail!(not_running(&state)),
        }
        let stopped = |_| Err(not_running(&state).into());
        // A resume at the same time may come later: then the container runs.
        cgroup_of(&dir, &state)?
            .freeze()
            .map_err(|error| unless_stopped(error, &dir, &state, stopped))?;
        Ok(DONE)
    }
}

impl Verb for Resume {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Resumes the processes of a paused container.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        if state.status(&dir)? != Status::Paused {
            let message = format!("container not paused: {}", state.id);
            bail!(Error::of(Kind::Status, message));
        }
        cgroup_of(&dir, &state)?.thaw()?;
        Ok(DONE)
    }
}
