//! Compares what restored processes have with what the config takes away. CRIU asks each process
//! about itself while it dumps the container, so a process can put other credentials into the images
//! (CVE-2026-18107); and the images may be those of another config.

mod status;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::config::{Config, Namespace, NamespaceKind};
use crate::error::{Call as _, Chain as _, Code, Context as _, Error};
use crate::plan::{Confinement, IdMap, is_same_map};
use crate::sys::{file, stat};

use super::clone;
use status::{Allowed, Status};

const HINT: &str = "the images are of another config, or a process has forged them; what exec gave to a process must be in the config";

/// Compares each process that CRIU has restored. They are stopped.
///
/// # Errors
/// A process has more than the config gives, or cannot be looked at.
pub(super) fn check(init: i32, config: &Config, confinement: &Confinement) -> Result<()> {
    let namespaces = known_namespaces(config)?;
    let maps = [&config.linux.uid_mappings[..], &config.linux.gid_mappings];
    let allowed = Allowed::new(confinement, maps);
    for process in processes(init)? {
        namespaces
            .iter()
            .try_for_each(|known| check_namespace(process, known))?;
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

/// A namespace that each process must be in; or, if a new one is demanded, one of the runtime's, which
/// no process may be in.
struct Known {
    kind: NamespaceKind,
    is_new: bool,
    inode: (u64, u64),
}

/// What the config demands. Shared namespaces other than the user namespace are left out, because a
/// process with CAP_SYS_ADMIN may have made others; and cgroup namespaces, because CRIU restores them
/// only if it restores cgroups.
fn known_namespaces(config: &Config) -> Result<Vec<Known>> {
    let mut known = Vec::new();
    for kind in NamespaceKind::ALL {
        let own = Path::new("/proc/self").join(file_of(kind));
        let (is_new, path) = match config.linux.namespaces.get(kind) {
            Namespace::New if kind != NamespaceKind::Cgroup => (true, own),
            Namespace::Inherit if kind == NamespaceKind::User => (false, own),
            Namespace::Join { path, .. } if kind == NamespaceKind::User => (false, path.clone()),
            _ => continue,
        };
        let inode = inode(&path)?;
        known.push(Known {
            kind,
            is_new,
            inode,
        });
    }
    Ok(known)
}

/// The file of a namespace in /proc/PID.
fn file_of(kind: NamespaceKind) -> &'static str {
    let own = clone::own_file(kind).to_str().unwrap_or_default();
    own.trim_start_matches("/proc/self/")
}

fn inode(path: &Path) -> Result<(u64, u64)> {
    let opened = file::open(path, libc::O_RDONLY, 0).and_then(|file| stat::stat(file.as_fd()));
    Ok(opened.with_context(|| path.display().to_string())?.inode())
}

fn check_namespace(process: i32, known: &Known) -> Result<()> {
    let directory = PathBuf::from(format!("/proc/{process}"));
    let Some(found) = if_there(inode(&directory.join(file_of(known.kind))))? else {
        return Ok(());
    };
    if (found == known.inode) == known.is_new {
        let kind = known.kind.name();
        let what = if known.is_new {
            format!("is in the {kind} namespace of the host")
        } else {
            format!("is in another {kind} namespace")
        };
        let status = file::read_text(&directory.join("status"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_must_be_in_a_new_namespace_or_in_the_known_one() {
        let own = std::process::id().cast_signed();
        let path = Path::new("/proc/self").join(file_of(NamespaceKind::Uts));
        let inode = inode(&path).expect("a namespace");
        let check = |is_new, inode| {
            let kind = NamespaceKind::Uts;
            let known = Known {
                kind,
                is_new,
                inode,
            };
            check_namespace(own, &known).map_err(|error| error.to_string())
        };
        assert_eq!(check(false, inode), Ok(()));
        assert_eq!(check(true, (0, 0)), Ok(()));
        for (is_new, inode, words) in [
            (true, inode, "is in the uts namespace of the host"),
            (false, (0, 0), "is in another uts namespace"),
        ] {
            let refused = check(is_new, inode).expect_err("a refusal");
            assert!(
                refused.starts_with("linux.namespaces: process "),
                "{refused}"
            );
            assert!(refused.contains(words), "{refused}");
        }
    }
}
