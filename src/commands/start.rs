//! `start`.

use super::{Context, delete};
use crate::cli::Id;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::plan::{self, Phase, Plan};
use crate::run;
use crate::spec;
use crate::state::{Dir, State, Status};

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
    let text = read_config(&dir)?;
    let config = spec::config(&text, &state.bundle)?;
    if config.process.is_none() {
        let message = "process: absent, and a container without a process cannot be started";
        return Err(Error::new(Kind::Config, message));
    }
    run::start(&dir.path, &state, || saved_plan(&dir, &state))?;
    if config.hooks.poststart.is_empty() {
        return Ok(());
    }
    let plan = saved_plan(&dir, &state)?;
    let hooks = run::run_hooks(&plan, Phase::Started, &state, Status::Running);
    if hooks.is_err() {
        // Source: runtime-spec 1.3, runtime.md, lifecycle, step 10.
        delete::destroy(context, &dir, &state)?;
    }
    hooks
}

fn refuse(message: &str) -> Error {
    Error::new(Kind::Status, message)
}

fn read_config(dir: &Dir) -> Result<Vec<u8>> {
    let file = dir.config_file();
    std::fs::read(&file).map_err(|error| Error::io(file.display().to_string(), "open", &error))
}

/// The plan that the container was made by, from the saved config: later verbs take its hooks and
/// its words from it.
pub fn saved_plan(dir: &Dir, state: &State) -> Result<Plan> {
    let config = spec::config(&read_config(dir)?, &state.bundle)?;
    let options = plan::Options {
        id: state.id.clone(),
        no_pivot: state.options.no_pivot,
        no_new_keyring: state.options.no_new_keyring,
        no_cgroup: state.options.no_cgroup,
        listen_fds: state.options.listen_fds,
        preserved_fds: state.options.preserved_fds,
    };
    plan::build(&config, &Host::probe()?, &options)
}
