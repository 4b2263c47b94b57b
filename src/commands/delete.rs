//! `delete`.

use super::Context;
use super::saved::destroy;
use crate::cli::Delete;
use crate::error::{Error, Kind, Result};
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
        Err(error) if force => return remove_remains(context, &dir, &error),
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
/// nothing else. A state of another version may name a process and a cgroup.
fn remove_remains(context: &Context, dir: &Dir, error: &Error) -> Result<()> {
    match error.kind {
        Kind::NotFound => dir.remove(),
        Kind::Setup => match State::salvage(dir) {
            Some(state) => destroy(context, dir, &state),
            None => dir.remove(),
        },
        _ => Err(error.clone()),
    }
}
