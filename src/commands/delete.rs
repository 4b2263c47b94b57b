//! `delete`.

use super::Context;
use super::start::saved_plan;
use crate::cli::Delete;
use crate::error::{Error, Kind, Result};
use crate::run::{run_poststop_hooks, teardown};
use crate::state::{Dir, State, Status};

/// Removes containers: stopped ones, created ones, and with `--force` any.
pub fn delete(context: &Context, args: &Delete) -> Result<()> {
    context.each(&args.id, args.regex, |id| {
        delete_one(context, id, args.force)
    })
}

fn delete_one(context: &Context, id: &str, force: bool) -> Result<()> {
    let dir = context.root.container(id)?;
    let state = match State::load(&dir) {
        Ok(state) => state,
        Err(error) if force => return remove_remains(&dir, &error),
        Err(error) => return Err(error),
    };
    let status = state.status(&dir)?;
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        let message = format!("cannot delete container {id} that is not stopped: {status}");
        return Err(Error::new(Kind::Status, message).hint("kill it first, or use delete --force"));
    }
    destroy(context, &dir, &state)
}

/// Without a state there is a directory at most: a create that died at its very beginning has made
/// nothing else.
fn remove_remains(dir: &Dir, error: &Error) -> Result<()> {
    match error.kind {
        Kind::NotFound | Kind::Setup => dir.remove(),
        _ => Err(error.clone()),
    }
}

/// Ends a container: processes, cgroup, directory, then the poststop hooks, whose failures only
/// warn. Source: runtime-spec 1.3, runtime.md, lifecycle, steps 12 and 13.
pub fn destroy(context: &Context, dir: &Dir, state: &State) -> Result<()> {
    // The hooks are read before the directory goes; without a config there are none.
    let plan = saved_plan(dir, state);
    teardown::kill(state)?;
    teardown::remove(dir, state)?;
    let failures = match plan {
        Ok(plan) => run_poststop_hooks(&plan, state),
        Err(error) => vec![error],
    };
    for error in failures {
        context.log.warn(format!("container {}: {error}", state.id));
    }
    Ok(())
}
