//! The id maps of a new user namespace and of mounts. user_namespaces(7), newuidmap(1).
//!
//! The kernel accepts any map from a privileged process, but from other processes only a single
//! line that maps the process's own id. For the ids that /etc/subuid and /etc/subgid grant to a
//! user, the set-user-ID programs newuidmap and newgidmap write the map.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::error::{Code, Context as _, Error};
use crate::plan::{
    AnyStep, Found, IfMapDenied, InitStep, Plan, Planned, Position, RuntimeStep, c_string,
};
use crate::run::{failure, program};
use crate::sys::exec::StringArray;
use crate::sys::mount::{self, Change};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Sys, file, socket};

/// The map of the container's user namespace.
pub(super) enum Own {
    /// That of this process.
    OfProcess(i32),
    /// These texts of a uid_map and a gid_map, while no process is in the namespace.
    Text(String, String),
}

/// Maps the ids of `tree`, the mount of the step at `position`. The map is that of the container's
/// user namespace, or that of a user namespace made for this map, which exists as long as the mount.
///
/// # Errors
/// mount_setattr(2) failed, or the namespace cannot be made.
pub(super) fn map_mount(
    plan: &Plan,
    position: Position,
    own: &Own,
    tree: BorrowedFd,
) -> Result<()> {
    let found = plan.at(position);
    let Some((planned, map)) = found.and_then(|found| match found.step {
        AnyStep::Init(InitStep::Bind(bind)) => Some((found, bind.id_map.as_ref()?)),
        AnyStep::Init(InitStep::Filesystem(fs)) => Some((found, fs.id_map.as_ref()?)),
        _ => None,
    }) else {
        bail!("internal error: init asked to map ids for a step without a map");
    };
    let failed =
        |fail: Fail| {
            let error = failure::found_failed(planned, fail).code_is(Code::MountIdMap);
            match fail.errno {
                Errno::EINVAL => error
                    .hint("the file system cannot map ids, or the source has mapped ids already"),
                Errno::EPERM => error
                    .hint("mapped ids need root on the host, or where the file system was mounted"),
                _ => error,
            }
        };
    let namespace = match (&map.maps, own) {
        (None, Own::OfProcess(pid)) => user_namespace(*pid).map_err(failed)?,
        (Some((uids, gids)), _) | (None, Own::Text(uids, gids)) => made_for(planned, uids, gids)?,
    };
    let change = Change {
        set: libc::MOUNT_ATTR_IDMAP,
        userns_fd: namespace.as_raw_fd() as u64,
        ..Change::default()
    };
    Ok(mount::set_attr(tree, change, map.recursive).map_err(failed)?)
}

fn user_namespace(pid: i32) -> Sys<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    file::open(path.as_ref(), libc::O_RDONLY, 0)
}

/// Makes a user namespace with these maps. The process that holds it open ends at once.
fn made_for(planned: Found, uids: &str, gids: &str) -> Result<OwnedFd> {
    let failed = |fail: Fail| failure::found_failed(planned, fail);
    let (connection, childs) = socket::pair().map_err(failed)?;
    match process::clone3(libc::CLONE_NEWUSER as u64, None, false).map_err(failed)? {
        Cloned::Child => {
            drop(connection);
            // Wait until the runtime kills this process or ends.
            let _ = socket::receive(childs.as_fd(), &mut [0]);
            process::exit(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let made = file::write_proc(pid, "gid_map", gids)
                .and_then(|()| file::write_proc(pid, "uid_map", uids))
                .and_then(|()| user_namespace(pid))
                .map_err(failed);
            process::end(pidfd.as_fd());
            Ok(made?)
        }
    }
}

/// Writes an id map of the process's user namespace.
///
/// # Errors
/// write(2) failed; the helper is missing or refuses.
pub(super) fn write(
    planned: &Planned<RuntimeStep>,
    pid: i32,
    group: bool,
    map: &str,
    if_denied: IfMapDenied,
) -> Result<()> {
    let name = if group { "gid_map" } else { "uid_map" };
    let failed = |fail: Fail| failure::step_failed(planned, fail);
    let Err(fail) = file::write_proc(pid, name, map) else {
        return Ok(());
    };
    match if_denied {
        // setgroups(2) is denied because a process could otherwise leave a group that a file's mode
        // denies access to (CVE-2014-8989).
        IfMapDenied::DenySetgroups if fail.errno == Errno::EPERM => {
            Ok(file::write_proc(pid, "setgroups", "deny")
                .and_then(|()| file::write_proc(pid, name, map))
                .map_err(failed)?)
        }
        IfMapDenied::Helper if fail.errno == Errno::EPERM => helper(planned, pid, group, map),
        _ => bail!(failed(fail)),
    }
}

/// Runs newuidmap or newgidmap, which writes the map. The environment is empty, so the caller's
/// variables do not reach the set-user-ID program.
fn helper(planned: &Planned<RuntimeStep>, pid: i32, group: bool, map: &str) -> Result<()> {
    let (name, grants) = if group {
        (HELPERS[1], "/etc/subgid")
    } else {
        (HELPERS[0], "/etc/subuid")
    };
    let program = find_helper(planned, group)?;
    let pid = pid.to_string();
    let words = [name, pid.as_str()].into_iter();
    let words = words.chain(map.split_whitespace());
    let args: Vec<_> = words.map(c_string).collect();
    let ended = program::run(&program, &args, &StringArray::new(std::iter::empty()))
        .with_context(|| format!("{planned}: {name}"))?;
    if ended.status == 0 {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    let message = format!("{planned}: {name}: {}", words.trim());
    let hint = format!("{grants} must grant these ids to the user");
    bail!(Error::new(message).code_is(Code::IdMapRefused).hint(hint))
}

/// The programs that write a map for an unprivileged caller: of users, and of groups.
const HELPERS: [&str; 2] = ["newuidmap", "newgidmap"];

/// The program that writes the map for an unprivileged caller.
///
/// # Errors
/// There is none.
pub(super) fn find_helper(
    planned: &Planned<RuntimeStep>,
    group: bool,
) -> Result<std::path::PathBuf> {
    let name = HELPERS[usize::from(group)];
    let missing = || {
        let message = format!("{planned}: {name} is not in PATH");
        Error::new(message).code_is(Code::IdMapRefused).hint(
            "without privileges it writes maps of more than one's own id: install uidmap, or map one id",
        )
    };
    Ok(program::find(name)?.ok_or_else(missing)?)
}
