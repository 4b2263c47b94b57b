//! `pause`: stops a container with the freezer of its cgroup.

use anyhow::{Result, bail};

use super::{Context, DONE, Verb, cgroup_of, unless_stopped};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::state::Status;
use crate::state::not_running;

flags! {
    /// Stop every process of a container until it is resumed
    #[derive(Debug)]
    pub(super) struct Pause {
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
