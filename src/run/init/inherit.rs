//! The attributes that the container's processes inherit from each other: one match arm per step.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::labels::write_attribute;
use crate::plan::InheritedStep;
use crate::sys::{Fail, Sys, process, schedule};

/// Carries out the step in this process. `proc` returns a procfs that no other process can have
/// changed.
///
/// # Errors
/// The system call of the step failed.
pub(crate) fn perform<'a>(
    step: &InheritedStep,
    proc: impl FnOnce() -> Sys<BorrowedFd<'a>>,
) -> Sys<()> {
    match step {
        InheritedStep::SessionKeyring { label: None } => session_keyring(),
        InheritedStep::SessionKeyring { label: Some(label) } => labelled_keyring(label, proc()?),
        InheritedStep::Personality(persona) => process::personality(*persona),
        InheritedStep::MemoryPolicy(policy) => {
            let nodes = policy.nodes.as_ref().map(|nodes| &nodes.mask[..]);
            schedule::set_memory_policy(policy.mode_and_flags(), nodes.unwrap_or(&[]))
        }
        InheritedStep::IoPriority(priority) => schedule::set_io_priority(priority.value()),
    }
}

/// Joins a new session keyring, so that the container does not see the caller's keys.
fn session_keyring() -> Sys<()> {
    match process::new_session_keyring() {
        // The kernel has no keyrings, or a seccomp filter of the caller forbids them: the container
        // cannot reach the caller's keys either.
        Err(Fail {
            errno: Errno::ENOSYS | Errno::EPERM,
            ..
        }) => Ok(()),
        other => other,
    }
}

fn labelled_keyring(label: &CStr, proc: BorrowedFd) -> Sys<()> {
    write_attribute(proc, "keycreate", label.to_bytes())?;
    session_keyring()?;
    // An empty value restores the default. proc_pid_attr(5).
    write_attribute(proc, "keycreate", b"\0")
}
