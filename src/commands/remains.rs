//! Removes what is left of a container whose state is missing or cannot be read.

use anyhow::{Result, bail};

use super::Context;
use super::saved::destroy;
use crate::config::Config;
use crate::error::{Code, Error};
use crate::host::Host;
use crate::plan;
use crate::run::planned_cgroup;
use crate::spec;
use crate::state::{CONFIG, Cgroup, DeferredWork, Dir, Locked, State};

/// Ends and removes a container whose `state.json` is broken or missing; `text` is its content and
/// `why` the error. Each field that can be read counts. Otherwise the saved config gives the path of
/// the cgroup, which contains the processes.
///
/// # Errors
/// The directory is not a container's. The container had a process, and neither it nor the cgroup
/// can be found; or they cannot be ended. The directory is kept.
pub(super) fn remove_remains(
    context: &Context,
    locked: Locked,
    text: &[u8],
    why: Option<Error>,
) -> Result<()> {
    let dir = locked.dir();
    dir.check_own()?;
    // `create` saves a state before it makes anything else, in particular before it makes init's
    // lock. The cgroup of the config may be that of another container until then.
    if why.is_none() && !dir.had_init()? {
        return locked.remove();
    }
    let config = read_config(context, dir)?;
    let salvaged = State::salvage(&base(dir, config.as_ref()), text);
    let mut state = salvaged.state;
    if let (false, Some(config)) = (salvaged.has_cgroup, &config) {
        find_cgroup(dir, config, &mut state)?;
    }
    let init = state.process()?;
    // Without its namespaces, a process that is not found may be one of another pid namespace.
    let is_known = state.pid != 0 && (init.is_some() || state.namespaces.is_some());
    if !is_known && state.cgroup.is_none() {
        if dir.had_init()? {
            bail!(lost(dir));
        }
        why.into_iter()
            .for_each(|why| context.log.warn_of(why.into()));
    }
    destroy(context, locked, &state, init.as_ref())
}

/// The saved config. A config that cannot be read is a warning.
fn read_config(context: &Context, dir: &Dir) -> Result<Option<Config>> {
    let Some(text) = dir.read(CONFIG)? else {
        return Ok(None);
    };
    match spec::config(&text, &dir.path) {
        Ok(config) => Ok(Some(config)),
        Err(error) => {
            let path = dir.path_of(CONFIG);
            let message = format!(
                "{}: {error}: processes and a cgroup of the container may be left",
                path.display()
            );
            let warning = Error::new(message).code_is(Code::WarningRemains);
            context.log.warn(warning);
            Ok(None)
        }
    }
}

/// The state without what a create found out.
fn base(dir: &Dir, config: Option<&Config>) -> State {
    let nothing = State {
        id: dir.id.clone(),
        bundle: dir.path.clone(),
        ..State::default()
    };
    let Some(config) = config else {
        return nothing;
    };
    State {
        oci_version: config.oci_version.clone(),
        rootfs: config.root.path.clone(),
        annotations: config.annotations.clone(),
        later: DeferredWork::from(config),
        ..nothing
    }
}

/// Looks for the cgroup that the config asks for. The config does not record which manager made the
/// cgroup, so the function tries both paths and uses the one that exists. Most values of
/// `linux.cgroupsPath` are right for one manager only.
///
/// # Errors
/// Neither path can be planned, or a cgroup cannot be opened.
fn find_cgroup(dir: &Dir, config: &Config, state: &mut State) -> Result<()> {
    let host = Host::probe(config.labels())?;
    let mut unplanned = Vec::new();
    for systemd in [false, true] {
        let options = plan::Options {
            id: dir.id.clone(),
            systemd,
            ..plan::Options::default()
        };
        let plan = match plan::build(config, &host, &options) {
            Ok(plan) => plan,
            Err(error) => {
                unplanned.push(error);
                continue;
            }
        };
        let planned = planned_cgroup(&plan, &host);
        if exists(planned.as_ref())? {
            state.options.systemd_cgroup = systemd;
            state.cgroup = planned;
            return Ok(());
        }
    }
    match unplanned.pop() {
        Some(error) if !unplanned.is_empty() => Err(error.into()),
        _ => Ok(()),
    }
}

fn exists(place: Option<&Cgroup>) -> Result<bool> {
    match place {
        Some(place) => Ok(place.place().open()?.is_some()),
        None => Ok(false),
    }
}

/// The error if nothing leads to a process that may be running.
fn lost(dir: &Dir) -> Error {
    let message = format!(
        "container {}: its state cannot be read, and its cgroup is not where its config and the \
         caller's own cgroup put it: processes may be left",
        dir.id
    );
    let hint = format!(
        "end them, if there are any, and remove {}",
        dir.path.display()
    );
    Error::new(message).code_is(Code::StateBroken).hint(hint)
}
