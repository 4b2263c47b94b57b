//! `resume`: thaws a paused container.

use anyhow::{Result, bail};

use super::{Context, DONE, Verb, cgroup_of};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::error::{Error, Kind};
use crate::state::Status;

flags! {
    /// Resume the processes of a paused container
    #[derive(Debug)]
    pub(super) struct Resume {
        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Resume {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Resumes the processes of a paused container.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        match state.status(&dir)? {
            Status::Paused => cgroup_of(&dir, &state)?.thaw()?,
            _ => {
                let message = format!("container not paused: {}", state.id);
                bail!(Error::of(Kind::Status, message));
            }
        }
        Ok(DONE)
    }
}
