//! `delete`.

use super::Context;
use super::remains::remove_remains;
use super::saved::destroy;
use crate::cli::Delete;
use crate::error::{Error, Kind, Result};
use crate::state::{Found, Locked, State, Status};

/// Removes containers: stopped ones, created ones, and with `--force` any.
pub fn delete(context: &Context, args: &Delete) -> Result<()> {
    context.each(&args.id, args.regex, |id| {
        match delete_one(context, id, args.force) {
            // It is what is asked for.
            Err(error) if args.force && error.kind == Kind::NotFound => Ok(()),
            result => result,
        }
    })
}

/// Two that delete the same container come one after the other.
fn delete_one(context: &Context, id: &str, force: bool) -> Result<()> {
    let dir = context.open(id)?;
    let locked = dir.lock()?.ok_or_else(|| dir.missing())?;
    match State::find(&dir)? {
        Found::State(state) => delete_known(context, locked, &state, force),
        Found::Broken { error, .. } if !force => Err(error),
        Found::Broken { text, error } => remove_remains(context, locked, &text, &error),
        Found::Nothing if !force => Err(dir.half_made()),
        Found::Nothing => locked.remove(),
    }
}

fn delete_known(context: &Context, locked: Locked, state: &State, force: bool) -> Result<()> {
    if force {
        let init = state.process()?;
        return destroy(context, locked, state, init.as_ref());
    }
    match state.status_and_init(locked.dir())? {
        (Status::Stopped | Status::Created, init) => destroy(context, locked, state, init.as_ref()),
        (status, _) => {
            let message = format!(
                "cannot delete container {} that is not stopped: {status}",
                state.id
            );
            Err(Error::new(Kind::Status, message).hint("kill it first, or use delete --force"))
        }
    }
}
