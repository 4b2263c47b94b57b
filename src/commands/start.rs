//! `start`.

use super::Context;
use super::saved::{Saved, destroy};
use crate::cli::Id;
use crate::error::{Error, Kind, Result};
use crate::plan::Phase;
use crate::run;
use crate::state::Status;

/// Lets the created container execute its process, and runs the poststart hooks.
pub fn start(context: &Context, args: &Id) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    match state.status(&dir)? {
        Status::Created => {}
        Status::Stopped => {
            return Err(refuse("cannot start a container that has stopped"));
        }
        Status::Creating => {
            return Err(refuse("cannot start a container that is being created"));
        }
        Status::Running | Status::Paused => {
            return Err(refuse("cannot start an already running container"));
        }
    }
    let saved = Saved::read(&dir, &state)?;
    if saved.config.process.is_none() {
        let message = "process: absent, and a container without a process cannot be started";
        return Err(Error::new(Kind::Config, message));
    }
    run::start(&dir.path, &state, || saved.plan())?;
    if saved.config.hooks.poststart.is_empty() {
        return Ok(());
    }
    let hooks = run::run_hooks(&saved.plan()?, Phase::Started, &state, Status::Running);
    if hooks.is_err() {
        // Source: runtime-spec 1.3, runtime.md, lifecycle, step 10.
        destroy(context, &dir, &state)?;
    }
    hooks
}

fn refuse(message: &str) -> Error {
    Error::new(Kind::Status, message)
}
