//! `mounts add` and `mounts remove`.

use super::kill::not_running;
use super::saved::Saved;
use super::{Context, unless_stopped};
use crate::cli::{Mounts, MountsAction};
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::state::Status;
use crate::{plan, run, spec};

/// Adds the mounts of a file to a created or running container, or takes them off.
pub fn mounts(context: &Context, args: &Mounts) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    let check = |status| match status {
        Status::Created | Status::Running => Ok(()),
        Status::Paused => Err(not_running(&state).hint("it is paused")),
        Status::Creating | Status::Stopped => Err(not_running(&state)),
    };
    check(state.status(&dir)?)?;
    let file = args.file.display().to_string();
    let text = std::fs::read(&args.file)
        .map_err(|error| Error::io(file.clone(), "open", &error).kind(Kind::Usage))?;
    let in_file = |error: Error| error.context(file);
    let config = Saved::read(&dir, &state)?.config;
    let host = Host::probe(config.labels())?;
    let (plan, warnings) = match args.action {
        MountsAction::Add => {
            let (mounts, warnings) = spec::mounts(&text, &state.bundle).map_err(in_file)?;
            (plan::add_mounts(config, mounts, &host)?, warnings)
        }
        MountsAction::Remove => {
            let (points, warnings) = spec::mount_points(&text).map_err(in_file)?;
            (plan::remove_mounts(&config, &points, &host)?, warnings)
        }
    };
    for warning in warnings.iter().chain(&plan.warnings) {
        context.log.warn(warning.as_str());
    }
    run::change_mounts(&state, &plan, &host)
        .map_err(|error| unless_stopped(error, &dir, &state, check))
}
