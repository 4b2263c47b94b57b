//! `delete`.

use anyhow::{Result, bail};

use super::kill::warn_of_unreached;
use super::remains::remove_remains;
use super::saved::destroy;
use super::{Context, DONE, Verb};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::error::{Chain as _, Code, Error, Kind};
use crate::run;
use crate::state::{Found, Locked, State, Status, TO_REMOVE};

flags! {
    /// Delete a container that has stopped.
    ///
    /// A container that was created but never started is killed and deleted.
    #[derive(Debug)]
    pub(super) struct Delete {
        /// Kill a running container first; succeed if the container does not exist
        #[arg(short, long)]
        pub force: bool,

        /// Treat ID as an extended regular expression and delete every container that matches
        #[arg(short, long)]
        pub regex: bool,

        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Delete {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Removes containers that are stopped or created, with `--force` any container.
    fn run(&self, context: &Context) -> Result<u8> {
        context.each(&self.container.id, self.regex, |id| {
            match delete_one(context, id, self.force) {
                // With --force the goal is that the container does not exist.
                Err(error) if self.force && error.kind() == Kind::NotFound => Ok(()),
                result => result,
            }
        })?;
        Ok(DONE)
    }
}

/// Deletes one container. The lock serialises deletions of the same container.
fn delete_one(context: &Context, id: &str, force: bool) -> Result<()> {
    let dir = context.open(id)?;
    let locked = dir.lock()?.ok_or_else(|| dir.missing())?;
    match State::find(&dir)? {
        Found::State(state) => delete_known(context, locked, &state, force),
        Found::Broken { error, .. } if !force => bail!(error.hint(TO_REMOVE)),
        Found::Broken { text, error } => remove_remains(context, locked, &text, Some(error)),
        Found::Nothing if !force => bail!(dir.half_made()),
        Found::Nothing => remove_remains(context, locked, b"", None),
    }
}

fn delete_known(context: &Context, locked: Locked, state: &State, force: bool) -> Result<()> {
    let unseen = run::unseen_mounts(state)?;
    if force {
        let init = state.process()?;
        if let Some(error) = unseen {
            context.log.warn(error.code_is(Code::WarningRemains));
        }
        if init.is_some() {
            warn_of_unreached(context, state);
        }
        return destroy(context, locked, state, init.as_ref());
    }
    match state.status_and_init(locked.dir())? {
        (Status::Stopped | Status::Created, init) => match unseen {
            Some(error) => bail!(error),
            None => destroy(context, locked, state, init.as_ref()),
        },
        (status, _) => {
            let message = format!(
                "cannot delete container {} that is not stopped: {status}",
                state.id
            );
            bail!(Error::of(Kind::Status, message).hint("kill it first, or use delete --force"))
        }
    }
}
