//! Removes what is left of a container whose state cannot be read.

use anyhow::Result;

use super::Context;
use super::saved::destroy;
use crate::config::Config;
use crate::error::{Code, Error};
use crate::host::Host;
use crate::plan;
use crate::run::planned_cgroup;
use crate::spec;
use crate::state::{CONFIG, Cgroup, DeferredWork, Dir, Locked, State};

/// Ends and removes a container whose `state.json` is broken; `text` is its content and `why` the
/// error. A state that another version wrote may still name the process and the cgroup. Otherwise
/// the saved config gives the path of the cgroup, which contains the processes.
///
/// # Errors
/// The processes cannot be found, or they cannot be ended; the directory is kept.
pub(super) fn remove_remains(
    context: &Context,
    locked: Locked,
    text: &[u8],
    why: Error,
) -> Result<()> {
    let dir = locked.dir();
    if let Some(state) = State::salvage(&dir.id, text) {
        let init = state.process()?;
        return destroy(context, locked, &state, init.as_ref());
    }
    context.log.warn_of(why.into());
    let Some(config) = dir.read(CONFIG)? else {
        // `create` writes the config first, so without a config it made nothing else.
        return locked.remove();
    };
    match spec::config(&config, &dir.path) {
        Ok(config) => {
            let state = state_of(dir, &config)?;
            destroy(context, locked, &state, None)
        }
        Err(error) => {
            let path = dir.path_of(CONFIG);
            let message = format!(
                "{}: {error}: processes and a cgroup of the container may be left",
                path.display()
            );
            let warning = Error::new(message).code_is(Code::WarningRemains);
            context.log.warn(warning);
            locked.remove()
        }
    }
}

/// Reconstructs the state from the config. The config does not record which manager made the
/// cgroup, so the function tries both paths and uses the one that exists.
fn state_of(dir: &Dir, config: &Config) -> Result<State> {
    let host = Host::probe(config.labels())?;
    let mut state = State {
        oci_version: config.oci_version.clone(),
        id: dir.id.clone(),
        bundle: dir.path.clone(),
        rootfs: config.root.path.clone(),
        annotations: config.annotations.clone(),
        later: DeferredWork::from(config),
        ..State::default()
    };
    let mut unplanned = None;
    for systemd in [false, true] {
        state.options.systemd_cgroup = systemd;
        let options = plan::Options {
            id: dir.id.clone(),
            systemd,
            ..plan::Options::default()
        };
        let plan = match plan::build(config, &host, &options) {
            Ok(plan) => plan,
            Err(error) => {
                unplanned = Some(error);
                continue;
            }
        };
        unplanned = None;
        state.cgroup = planned_cgroup(&plan, &host);
        if exists(state.cgroup.as_ref())? {
            return Ok(state);
        }
    }
    state.cgroup = None;
    unplanned.map_or(Ok(state), |error| Err(error.into()))
}

fn exists(place: Option<&Cgroup>) -> Result<bool> {
    match place {
        Some(place) => Ok(place.place().open()?.is_some()),
        None => Ok(false),
    }
}
