//! Makes the container's cgroup, if the caller may make one and move processes into it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::host::{CgroupHost, Host};
use crate::plan::{NewCgroup, Plan, RuntimeStep};
use crate::sys::Fail;

/// Carries out [`RuntimeStep::CreateCgroup`]. Returns `None` if the container does not need a
/// cgroup and the caller may not make one, or may not move processes into it.
///
/// # Errors
/// A limit needs the cgroup, and it cannot be made; or the cgroup is in use.
pub(super) fn make(
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
        (Some(file), true) => Err(unreachable(field, &file).into()),
        (Some(_), false) => Ok(None),
        (None, true) => Cgroup::create(mount, path, controllers, optional).map(Some),
        (None, false) => Cgroup::create_if_permitted(mount, path, controllers, optional),
    };
    made.map_err(|error| match first_limit(plan) {
        Some(field) if host.is_ordinary() => error.context(field.to_owned()),
        _ => error,
    })
}

/// The file whose permissions keep the caller from moving processes into the cgroup `path`.
fn out_of_reach(host: &Host, hierarchy: &CgroupHost, path: &Path) -> Option<PathBuf> {
    if !host.is_ordinary() {
        return None;
    }
    let own = Path::new(hierarchy.own.trim_start_matches('/'));
    Cgroup::denied_move(&hierarchy.mount, own, path)
}

fn unreachable(field: &str, file: &Path) -> Error {
    let denied = Fail::new("access", Errno::EACCES);
    Error::failed(file.display(), denied).about(field).hint(
        "a limit needs a cgroup that is delegated to the caller, who must be in it too: \
             systemd-run --user --scope -p Delegate=yes starts the runtime in one",
    )
}

/// The property of the first limit, which is why a cgroup is needed.
fn first_limit(plan: &Plan) -> Option<&str> {
    let is_limit = |step: &RuntimeStep| matches!(step, RuntimeStep::CgroupWrite(_));
    let mut steps = plan.prepare.iter();
    steps
        .find(|planned| is_limit(&planned.step))
        .map(|planned| planned.field.as_str())
}
