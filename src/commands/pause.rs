//! `pause` and `resume`: the freezer of the container's cgroup.

use super::kill::not_running;
use super::{Context, cgroup_of};
use crate::cli::Id;
use crate::error::{Error, Kind, Result};
use crate::state::Status;

/// Stops every process of a created or running container; returns when all have stopped.
pub fn pause(context: &Context, args: &Id) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    match state.status(&dir)? {
        Status::Created | Status::Running => cgroup_of(&dir, &state)?.freeze(),
        Status::Paused => Err(not_running(&state).hint("it is paused")),
        Status::Creating | Status::Stopped => Err(not_running(&state)),
    }
}

/// Lets the processes of a paused container go on.
pub fn resume(context: &Context, args: &Id) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    match state.status(&dir)? {
        Status::Paused => cgroup_of(&dir, &state)?.thaw(),
        _ => Err(Error::new(
            Kind::Status,
            format!("container not paused: {}", state.id),
        )),
    }
}
