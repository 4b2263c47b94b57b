//! Passes the listener of a seccomp filter from the process that loaded the filter to the agent
//! that answers its system calls.
//!
//! Source: runtime-spec 1.3, config-linux.md, "The Container Process State"; seccomp_unotify(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Result, anyhow, bail};

use super::{hooks, seccomp_record};
use crate::error::{Code, Context as _, Error, Named};
use crate::json::{self, object, texts};
use crate::plan::{InitStep, Listener, Plan};
use crate::state::{Dir, State, Status};
use crate::sys::{process, socket, stat};

const FIELD: &str = "linux.seccomp.listenerPath";

/// The agent's socket and the metadata for the agent.
fn listener(plan: &Plan) -> Option<&Listener> {
    plan.start.iter().find_map(|planned| match &planned.step {
        InitStep::Seccomp { listener, .. } => listener.as_ref(),
        _ => None,
    })
}

/// Checks that the agent's socket exists. The agent receives the listener when the filter is loaded,
/// and until then it has no reason to accept a connection.
///
/// # Errors
/// There is no socket at `linux.seccomp.listenerPath`.
pub(super) fn check_agent(plan: &Plan) -> Result<()> {
    let Some(listener) = listener(plan) else {
        return Ok(());
    };
    if listener.records {
        return seccomp_record::check(&listener.path);
    }
    let object = || Named(FIELD, &listener.path);
    let found = stat::stat_of(&listener.path).with_context(object)?;
    let message = match found {
        None => "no such file or directory",
        Some(stat) if !stat.is(libc::S_IFSOCK) => "not a socket",
        Some(_) => return Ok(()),
    };
    let path = listener.path.display();
    let mut error = Error::config(FIELD, format!("{path}: {message}"));
    error.path = Some(path.to_string().into());
    let error = error.code_is(Code::SeccompListener);
    bail!(error.hint("the seccomp agent must listen there on a Unix stream socket"))
}

/// Sends the process's descriptor `number` to the agent in one message, then closes the connection.
/// If the calls are recorded, it makes the process that does so instead, and returns its pidfd.
///
/// # Errors
/// No process listens at `linux.seccomp.listenerPath`, or the container's process is gone.
pub(super) fn hand_over(
    plan: &Plan,
    (dir, state, status): (&Dir, &State, Status),
    process: (i32, BorrowedFd),
    number: i32,
) -> Result<Option<OwnedFd>> {
    let (pid, pidfd) = process;
    let listener = listener(plan)
        .ok_or_else(|| anyhow!("linux.seccomp: init sent a listener that the config lacks"))?;
    let object = || Named(FIELD, &listener.path);
    let fd = process::fetch_fd(pidfd, number).with_context(object)?;
    if listener.records {
        return seccomp_record::start(dir, &listener.path, fd).map(Some);
    }
    let agent = socket::connect_stream(&listener.path).map_err(|fail| {
        Error::failed(object(), fail)
            .code_is(Code::SeccompListener)
            .hint("the seccomp agent must listen there on a Unix stream socket")
    })?;
    let message = object! {
        "ociVersion": state.oci_version.as_str(),
        "fds": texts(["seccompFd"]),
        "pid": pid,
        "metadata": listener.metadata.as_str(),
        "state": serde_json::to_value(hooks::state_view(state, status))?,
    };
    let message = json::text(&message);
    socket::send_all(agent.as_fd(), message.as_bytes(), fd.as_fd())
        .with_context(object)
        .map(|()| None)
}
