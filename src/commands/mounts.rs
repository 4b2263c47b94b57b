//! `mounts add` and `mounts remove`.

use super::Context;
use super::kill::not_running;
use super::saved::Saved;
use crate::cli::{Mounts, MountsAction};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::state::Status;
use crate::{plan, run, spec};

/// Adds the mounts of a file to a created or running container, or takes them off.
pub fn mounts(context: &Context, args: &Mounts) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    match state.status(&dir)? {
        Status::Created | Status::Running => {}
        Status::Paused => return Err(not_running(&state).hint("it is paused")),
        Status::Creating | Status::Stopped => return Err(not_running(&state)),
    }
    let file = args.file.display().to_string();
    let text = std::fs::read(&args.file)
        .map_err(|error| Error::io(file.clone(), "open", &error).kind(Kind::Usage))?;
    let (mounts, warnings) =
        spec::mounts(&text, &state.bundle).map_err(|error| error.context(file))?;
    let config = Saved::read(&dir, &state)?.config;
    let host = Host::probe(config.labels())?;
    let plan = match args.action {
        MountsAction::Add => plan::add_mounts(config, mounts, &host)?,
        MountsAction::Remove => plan::remove_mounts(&config, &mounts, &host)?,
    };
    for warning in warnings.iter().chain(&plan.warnings) {
        context.log.warn(warning.as_str());
    }
    run::change_mounts(&state, &plan, &host)
}
