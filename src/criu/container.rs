//! What a running container has: its mounts and namespaces, as CRIU has to know them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;

use super::mounts::{Candidate, Kind, Named, candidates, to_dump};
use crate::error::Context as _;
use crate::plan::Plan;
use crate::sys::mountinfo::{self, Mounted};
use crate::sys::{Fail, Sys, path, stat};

/// The mounts of the process `pid` that belong to the host, with their names.
///
/// # Errors
/// /proc cannot be read.
pub(crate) fn external_mounts(pid: i32, plan: &Plan) -> Result<Vec<Named>> {
    let candidates = candidates(plan);
    let object = format!("/proc/{pid}/root");
    let looked = path::c_string(&object)
        .and_then(|name| path::open(&name, libc::O_PATH | libc::O_DIRECTORY))
        .and_then(|root| {
            let found = candidates.iter().map(|it| look(root.as_fd(), it));
            found.collect::<Sys<Vec<_>>>()
        })
        .with_context(|| object)?;
    let found: Vec<_> = candidates
        .iter()
        .zip(looked)
        .filter_map(|(candidate, looked)| looked.map(|(id, external)| (candidate, id, external)))
        .collect();
    Ok(to_dump(&found, &table(&pid.to_string())?)?)
}

/// The mount table of a process.
///
/// # Errors
/// The file in /proc cannot be read.
pub(crate) fn table(process: &str) -> Result<Vec<Mounted>> {
    let file = format!("/proc/{process}/mountinfo");
    path::c_string(&file)
        .and_then(|name| path::open(&name, libc::O_RDONLY))
        .and_then(|opened| mountinfo::read(opened.as_fd()))
        .with_context(|| file)
}

/// The mount at the path of a candidate, and whether it belongs to the host. `None` if there is no
/// mount: the container may have unmounted it, and a path that does not exist is not masked.
fn look(root: BorrowedFd, candidate: &Candidate) -> Sys<Option<(u64, bool)>> {
    let found = match path::open_in_root(root, &candidate.target, libc::O_PATH) {
        Err(fail) if is_absent(fail) => return Ok(None),
        found => found?,
    };
    if !stat::is_mount_root(found.as_fd())? {
        return Ok(None);
    }
    let external = match &candidate.kind {
        Kind::Bind { .. } => true,
        Kind::Mask => stat::stat(found.as_fd())?.is_char(1, 3),
        Kind::FileSystem { or_bind: None } => false,
        Kind::FileSystem {
            or_bind: Some(path),
        } => is_same_file(&found, path)?,
    };
    Ok(Some((stat::mountinfo_id(found.as_fd())?, external)))
}

const fn is_absent(fail: Fail) -> bool {
    matches!(
        fail.errno,
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES
    )
}

fn is_same_file(found: &OwnedFd, host: &std::ffi::CStr) -> Sys<bool> {
    let host = path::open(host, libc::O_PATH)?;
    Ok(stat::stat(found.as_fd())?.inode() == stat::stat(host.as_fd())?.inode())
}
