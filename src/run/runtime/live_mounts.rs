//! Adds mounts to a running container, or removes them. A process enters the container to do it.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;

use super::entrance::Entrance;
use super::places::{Newcomer, Places};
use super::serve_init::{self, CONNECTION};
use super::sources;
use crate::config::NamespaceKind;
use crate::error::{Code, Context as _, Error};
use crate::plan::{AnyStep, EntryStep, Plan};
use crate::run::init::{Inherited, Opened};
use crate::state::{Dir, State, not_running};
use crate::sys::{credentials, file, pidfd, process};

/// Carries out a plan of [`crate::plan::add_mounts`] or [`crate::plan::remove_mounts`].
///
/// # Errors
/// The container is gone; or a step failed, which the error names by its place in the list.
pub fn change_mounts(dir: &Dir, state: &State, plan: &Plan) -> Result<()> {
    let init = state.process()?.ok_or_else(|| not_running(state))?;
    let places = Places::find(plan, state)?;
    let entrance = Entrance::open(plan, dir, state, &init)?;
    refuse_own_cgroups(plan, state.pid, &init, &entrance)?;
    // The container's processes must not be able to inspect the runtime while its process joins.
    credentials::set_dumpable(false).context(CONNECTION)?;
    let newcomer = Newcomer {
        verb: "mounts",
        plan,
        entrance: &entrance,
        inherits: &|runtimes| {
            let opened = open(plan, &init, &entrance)?;
            Ok(Inherited::joining(runtimes, opened))
        },
        beside: &|_, _| Ok(()),
    };
    let (connection, spawned) = newcomer.spawn(&places)?;
    let no_hooks = || Ok(Vec::new());
    let death = || {
        Error::new("the process in the container died")
            .code_is(Code::InitDied)
            .hint("possibly OOM-killed, or the container has ended")
    };
    let result = serve_init::serve(plan, &connection, spawned.pid, None, no_hooks, death);
    // The process has finished and waits for a message.
    process::end(spawned.pidfd.as_fd());
    result.map(drop)
}

/// Compares the container's cgroup namespace with the runtime's own, if the plan requires it.
fn refuse_own_cgroups(plan: &Plan, pid: i32, init: &OwnedFd, entrance: &Entrance) -> Result<()> {
    let kind = NamespaceKind::Cgroup;
    for (_, found) in plan.entry_steps() {
        let AnyStep::Entry(
            EntryStep::EnterContainer {
                not_own: Some(why), ..
            }
            | EntryStep::EnterNamespace {
                not_own: Some(why), ..
            },
        ) = found.step
        else {
            continue;
        };
        if let Some(namespace) = entrance.namespace(kind) {
            sources::refuse_own(kind, namespace, why)?;
            continue;
        }
        let name = format!("/proc/{pid}/ns/cgroup");
        let object = || name.clone();
        let namespace = file::open(name.as_ref(), libc::O_PATH, 0).with_context(object)?;
        // Another process may have got this pid before the file was opened.
        pidfd::send_signal(init.as_fd(), 0).with_context(object)?;
        sources::refuse_own(kind, &namespace, why)?;
    }
    Ok(())
}

/// Opens the sources on the host, because inside the container the same paths mean other files.
fn open(plan: &Plan, init: &OwnedFd, entrance: &Entrance) -> Result<Opened> {
    let mut opened = sources::open(plan)?;
    sources::copy_locked(plan, init, &mut opened)?;
    entrance.copy_into(plan, &mut opened)?;
    Ok(opened)
}
