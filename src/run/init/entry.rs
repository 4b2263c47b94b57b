//! Enters namespaces, in init or in the processes that call clone3(2).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::user;
use crate::plan::{EntryStep, NamespaceKind, is_same_map};
use crate::sys::{Fail, Note, Sys, file, io, path, process};

/// Carries out one step. `opened` is the namespace, or a pidfd of the container to enter.
pub(crate) fn enter(step: &EntryStep, opened: Option<&OwnedFd>) -> Sys<()> {
    let into = |flags| {
        let namespace = opened.ok_or(Fail::new("setns", Errno::EBADF))?;
        process::setns(namespace.as_fd(), flags)
    };
    match step {
        EntryStep::JoinNamespace { kind, .. } | EntryStep::EnterNamespace { kind, .. } => {
            into(kind.flag())
        }
        // All namespaces at once. Linux 5.8.
        EntryStep::EnterContainer { kinds, .. } => {
            into(kinds.iter().fold(0, |flags, kind| flags | kind.flag()))
        }
        EntryStep::CheckIdMap { group, map } => check_id_map(*group, map),
        EntryStep::TimeOffsets { offsets } => {
            process::unshare(NamespaceKind::Time.flag())?;
            let file = path::open(c"/proc/self/timens_offsets", libc::O_WRONLY)?;
            io::write_all(file.as_fd(), offsets.as_bytes())
        }
        EntryStep::BecomeRoot { keep_groups } => user::become_root(*keep_groups),
    }
}

/// Compares an id map of this process with `wanted`.
fn check_id_map(group: bool, wanted: &str) -> Sys<()> {
    let name = if group {
        c"/proc/self/gid_map"
    } else {
        c"/proc/self/uid_map"
    };
    // The kernel returns at most a page of it in one read(2).
    let map = file::read_open(path::open(name, libc::O_RDONLY)?.as_fd())?;
    if is_same_map(&String::from_utf8_lossy(&map), wanted) {
        Ok(())
    } else {
        Err(Fail::new("read", Errno::EINVAL).note(Note::OtherMap))
    }
}
