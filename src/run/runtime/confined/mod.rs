//! Compares what restored processes have with what the config takes away. CRIU asks each process
//! about itself while it dumps the container, so a process can put other credentials into the images
//! (CVE-2026-18107); and the images may be those of another config.

mod status;

use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::config::{Config, Namespace};
use crate::error::{Call as _, Chain as _, Code, Context as _, Error};
use crate::plan::{Confinement, IdMap, is_same_map};
use crate::sys::{file, stat};

use status::{Allowed, Status};

const HINT: &str = "the images are of another config, or a process has forged them; what exec gave to a process must be in the config";

/// Compares each process that CRIU has restored. They are stopped.
///
/// # Errors
/// A process has more than the config gives, or cannot be looked at.
pub(super) fn check(init: i32, config: &Config, confinement: &Confinement) -> Result<()> {
    let user = user_namespace(config)?;
    let maps = [&config.linux.uid_mappings[..], &config.linux.gid_mappings];
    let allowed = Allowed::new(confinement, maps);
    for process in processes(init)? {
        check_user_namespace(process, &user)?;
        for thread in threads(process)? {
            let path = format!("/proc/{process}/task/{thread}/status");
            if let Some(status) = if_there(file::read_text(path.as_ref()).context(path))? {
                allowed.check(&Status(&status))?;
            }
        }
    }
    check_alive(init)?;
    confinement
        .id_maps
        .iter()
        .try_for_each(|map| check_id_map(init, map))
}

/// If init was killed before its children were listed, they are those of another process and were not
/// compared.
fn check_alive(init: i32) -> Result<()> {
    let path = format!("/proc/{init}/status");
    let status = file::read_text(path.as_ref()).context(path)?;
    if Status(&status).has_ended() {
        bail!(
            Error::new(format!("{} has been killed", Status(&status)))
                .code_is(Code::RestoreRefused)
                .hint("its children could not be compared with the config: restore it again")
        );
    }
    Ok(())
}

/// The restored processes: init and its descendants, parents first. CRIU restores no others.
///
/// # Errors
/// /proc cannot be read.
pub(super) fn processes(init: i32) -> Result<Vec<i32>> {
    let mut found = vec![init];
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        next += 1;
        for thread in threads(process)? {
            let path = format!("/proc/{process}/task/{thread}/children");
            let children = file::read_text(path.as_ref()).context(path);
            // A kernel without the file would hide every process but init, which is stopped.
            let children = if process == init {
                Some(children?)
            } else {
                if_there(children)?
            };
            let children = children.unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(number::<i32>));
        }
    }
    Ok(found)
}

fn threads(process: i32) -> Result<Vec<i32>> {
    let path = format!("/proc/{process}/task");
    let list = std::fs::read_dir(&path).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name()));
        names.collect::<std::io::Result<Vec<_>>>()
    });
    let names = if_there(list.call("getdents").context(path))?.unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| number(name.to_str()?))
        .collect())
}

/// `None` if the process has ended.
fn if_there<T>(looked: Result<T>) -> Result<Option<T>> {
    match looked {
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ESRCH)) => Ok(None),
        looked => looked.map(Some),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The user namespace that the config demands, and its inode, or that of the runtime if it is a new
/// one.
fn user_namespace(config: &Config) -> Result<(bool, (u64, u64))> {
    let (is_new, path) = match &config.linux.namespaces.user {
        Namespace::New => (true, Path::new("/proc/self/ns/user")),
        Namespace::Inherit => (false, Path::new("/proc/self/ns/user")),
        Namespace::Join { path, .. } => (false, path.as_path()),
    };
    Ok((is_new, inode(path)?))
}

fn inode(path: &Path) -> Result<(u64, u64)> {
    let opened = file::open(path, libc::O_RDONLY, 0).and_then(|file| stat::stat(file.as_fd()));
    Ok(opened.with_context(|| path.display().to_string())?.inode())
}

fn check_user_namespace(process: i32, (is_new, known): &(bool, (u64, u64))) -> Result<()> {
    let path = format!("/proc/{process}/ns/user");
    let Some(found) = if_there(inode(path.as_ref()))? else {
        return Ok(());
    };
    if (found == *known) == *is_new {
        let what = if *is_new {
            "is in the user namespace of the host"
        } else {
            "is in another user namespace"
        };
        let status = file::read_text(format!("/proc/{process}/status").as_ref());
        let status = status.with_context(|| format!("process {process}"))?;
        bail!(refused(
            "linux.namespaces",
            &format!("{} {what}", Status(&status))
        ));
    }
    Ok(())
}

fn check_id_map(init: i32, planned: &IdMap) -> Result<()> {
    let name = if planned.group { "gid_map" } else { "uid_map" };
    let path = format!("/proc/{init}/{name}");
    let map = file::read_text(path.as_ref()).context(path)?;
    if !is_same_map(&map, &planned.map) {
        let found: Vec<_> = map.split_whitespace().collect();
        let what = format!("the user namespace has the map {}", found.join(" "));
        bail!(refused(&planned.field, &what));
    }
    Ok(())
}

fn refused(field: &str, what: &str) -> Error {
    let error = Error::config(field, format!("{what}, which the config does not allow"));
    error.code_is(Code::RestoreRefused).hint(HINT)
}
