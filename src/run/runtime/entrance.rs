//! What a process needs to enter a container.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;

use crate::config::NamespaceKind;
use crate::error::{Call as _, Context as _};
use crate::plan::{AnyStep, EntryStep, Plan};
use crate::run::init::Opened;
use crate::run::protocol;
use crate::state::{Dir, START_SOCKET};
use crate::sys::{Sys, process, socket};

/// The descriptors for setns(2).
pub(super) struct Entrance<'a> {
    /// A pidfd of the container's init process.
    init: &'a OwnedFd,
    /// The namespaces that init has handed out.
    namespaces: Vec<OwnedFd>,
}

impl<'a> Entrance<'a> {
    /// Asks init for its namespaces, if the plan has a step that needs one.
    ///
    /// # Errors
    /// Init cannot be asked, for another reason than that it does not wait for `start` any more.
    pub(super) fn open(plan: &Plan, dir: &Dir, init: &'a OwnedFd) -> Result<Self> {
        let by_one = |step| matches!(step, AnyStep::Entry(EntryStep::EnterNamespace { .. }));
        let mut namespaces = Vec::new();
        if plan.entry_steps().any(|(_, found)| by_one(found.step)) {
            match ask(dir, &mut namespaces) {
                // If the container has been started meanwhile, the pidfd is enough.
                Err(fail) if protocol::is_left(&fail) => {}
                asked => asked.with_context(|| dir.object(START_SOCKET))?,
            }
        }
        Ok(Self { init, namespaces })
    }

    /// The namespace of this kind, if init has handed it out.
    pub(super) fn namespace(&self, kind: NamespaceKind) -> Option<&OwnedFd> {
        let is_it = |it: &&OwnedFd| process::namespace_type(it.as_fd()) == Ok(kind.flag());
        self.namespaces.iter().find(is_it)
    }

    /// Stores a copy of the descriptor for each step that enters the container. Where init has not
    /// handed out the namespace, it is the pidfd, so that the kernel decides.
    ///
    /// # Errors
    /// dup(2) failed.
    pub(super) fn copy_into(&self, plan: &Plan, opened: &mut Opened) -> Result<()> {
        for (position, found) in plan.entry_steps() {
            let descriptor = match found.step {
                AnyStep::Entry(EntryStep::EnterContainer { .. }) => self.init,
                AnyStep::Entry(EntryStep::EnterNamespace { kind, .. }) => {
                    self.namespace(*kind).unwrap_or(self.init)
                }
                _ => continue,
            };
            let copy = descriptor.try_clone().call("dup");
            opened.put(position, copy.context("namespaces of the container")?);
        }
        Ok(())
    }
}

/// Receives the namespaces until init closes the connection.
fn ask(dir: &Dir, namespaces: &mut Vec<OwnedFd>) -> Sys<()> {
    let connection = socket::connect_in(dir.fd(), START_SOCKET)?;
    protocol::ask_for_namespaces(connection.as_fd())?;
    loop {
        match socket::receive(connection.as_fd(), &mut [0; 1])? {
            (0, _) => return Ok(()),
            (_, namespace) => namespaces.extend(namespace),
        }
    }
}
