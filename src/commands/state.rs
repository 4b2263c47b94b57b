//! `state`: one container as JSON.

use super::{Context, pretty, print};
use crate::cli::Id;
use crate::error::Result;

/// Prints the container's state. `owner` is empty, as in the output of other runtimes: it has a
/// meaning in `list` only.
pub fn state(context: &Context, args: &Id) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    let status = state.status(&dir)?;
    print(&pretty(&state.view(status, String::new()))?)
}
