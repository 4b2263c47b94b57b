//! A cgroup for the container, as far as the caller may make one and put processes into it.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::host::{CgroupHost, Host};
use crate::plan::{NewCgroup, Plan, RuntimeStep};

/// Carries out [`RuntimeStep::CreateCgroup`]; `None` where the container can do without and the caller
/// may not make it, or not put processes into it.
///
/// # Errors
/// The cgroup is needed for a limit, or it is in use.
pub fn make(
    plan: &Plan,
    field: &str,
    new: &NewCgroup,
    host: &Host,
    hierarchy: &CgroupHost,
) -> Result<Option<Cgroup>> {
    let NewCgroup {
        path,
        controllers,
        optional,
        required,
    } = new;
    let mount = &hierarchy.mount;
    let made = match (out_of_reach(host, hierarchy, path), *required) {
        (Some(file), true) => Err(unreachable(field, &file)),
        (Some(_), false) => Ok(None),
        (None, true) => Cgroup::create(mount, path, controllers, optional).map(Some),
        (None, false) => Cgroup::create_if_permitted(mount, path, controllers, optional),
    };
    made.map_err(|error| match first_limit(plan) {
        Some(field) if is_ordinary(host) => error.context(field),
        _ => error,
    })
}

fn is_ordinary(host: &Host) -> bool {
    host.euid != 0 || host.in_user_namespace
}

/// What keeps the caller from putting processes into the cgroup `path`.
fn out_of_reach(host: &Host, hierarchy: &CgroupHost, path: &Path) -> Option<PathBuf> {
    if !is_ordinary(host) {
        return None;
    }
    let own = Path::new(hierarchy.own.trim_start_matches('/'));
    Cgroup::denied_move(&hierarchy.mount, own, path)
}

fn unreachable(field: &str, file: &Path) -> Error {
    let what = format!("{field}: {}", file.display());
    Error::sys(what, "access", Errno::EACCES).hint(
        "a limit takes a cgroup that is delegated to the caller, who must be in it too: \
         systemd-run --user --scope -p Delegate=yes starts the runtime in one",
    )
}

/// What a cgroup is needed for.
fn first_limit(plan: &Plan) -> Option<&str> {
    let is_limit = |step: &RuntimeStep| matches!(step, RuntimeStep::CgroupWrite(_));
    let mut steps = plan.prepare.iter();
    steps
        .find(|planned| is_limit(&planned.step))
        .map(|planned| planned.field.as_str())
}
