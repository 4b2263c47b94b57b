//! What a process needs to enter a container.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use nix::errno::Errno;

use super::clone;
use crate::config::NamespaceKind;
use crate::error::{Call as _, Context as _};
use crate::host::Host;
use crate::plan::{AnyStep, EntryStep, Plan};
use crate::run::init::Opened;
use crate::run::protocol;
use crate::state::{Dir, START_SOCKET, State};
use crate::sys::{Fail, Note, Sys, file, path, process, socket, stat};

/// The descriptors for setns(2).
pub(super) struct Entrance<'a> {
    /// A pidfd of the container's init process.
    init: &'a OwnedFd,
    /// The namespaces that init has handed out.
    namespaces: Vec<OwnedFd>,
    home: Option<Home>,
}

/// The object of an error about a descriptor for setns(2).
const NAMESPACES: &str = "namespaces of the container";

/// The user namespace in which init began.
///
/// Without any privilege init can make a user namespace, and in that a mount namespace with other
/// files at each path. A process that entered it would execute them, and a mount there would not be
/// locked. But init cannot come back: if it is in its first user namespace now, the other
/// namespaces that it had before are the container's.
struct Home {
    /// /proc/PID of init.
    proc: OwnedFd,
    /// The inode number of the user namespace, which has this one as long as init runs.
    user: u64,
}

impl Home {
    const USER: &'static CStr = c"ns/user";

    fn of(state: &State) -> Result<Option<Self>> {
        let Some(user) = state.user_namespace else {
            return Ok(None);
        };
        let name = format!("/proc/{}", state.pid);
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let proc = file::open(name.as_ref(), flags, 0).context(name)?;
        Ok(Some(Self { proc, user }))
    }

    fn check(&self) -> Sys<()> {
        self.compare(stat::stat_target(self.proc.as_fd(), Self::USER)?.ino)
    }

    fn compare(&self, user: u64) -> Sys<()> {
        if user == self.user {
            Ok(())
        } else {
            Err(Fail::new("setns", Errno::ESTALE).note(Note::InitLeft))
        }
    }

    /// Opens the user namespace.
    fn open(&self) -> Sys<OwnedFd> {
        let user = path::open_at(Some(self.proc.as_fd()), Self::USER, libc::O_RDONLY, 0)?;
        self.compare(stat::stat(user.as_fd())?.ino)?;
        Ok(user)
    }
}

impl<'a> Entrance<'a> {
    /// Asks init for its namespaces, if the plan has a step that needs one.
    ///
    /// # Errors
    /// Init cannot be asked, for another reason than that it does not wait for `start` any more.
    pub(super) fn open(plan: &Plan, dir: &Dir, state: &State, init: &'a OwnedFd) -> Result<Self> {
        let by_one = |step| matches!(step, AnyStep::Entry(EntryStep::EnterNamespace { .. }));
        let mut namespaces = Vec::new();
        if plan.entry_steps().any(|(_, found)| by_one(found.step)) {
            match ask(dir, &mut namespaces) {
                // If the container has been started meanwhile, the pidfd is enough.
                Err(fail) if protocol::is_left(&fail) => {}
                asked => asked.with_context(|| dir.object(START_SOCKET))?,
            }
        }
        let home = Home::of(state)?;
        Ok(Self {
            init,
            namespaces,
            home,
        })
    }

    /// Makes sure that the namespaces that have been entered through init are the container's.
    ///
    /// # Errors
    /// ESTALE: init has entered another user namespace.
    pub(super) fn check(&self) -> Sys<()> {
        self.home.as_ref().map_or(Ok(()), Home::check)
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
    /// dup(2) failed, or init has entered another user namespace.
    pub(super) fn copy_into(&self, plan: &Plan, opened: &mut Opened) -> Result<()> {
        let copy_of = |descriptor: &OwnedFd| descriptor.try_clone().call("dup");
        for (position, found) in plan.entry_steps() {
            let descriptor = match (found.step, &self.home) {
                // Entered after the check.
                (AnyStep::Entry(EntryStep::EnterContainer { kinds, .. }), Some(home))
                    if *kinds == [NamespaceKind::User] =>
                {
                    home.open().map_err(clone::error)
                }
                (AnyStep::Entry(EntryStep::EnterContainer { .. }), _) => copy_of(self.init),
                (AnyStep::Entry(EntryStep::EnterNamespace { kind, .. }), _) => {
                    copy_of(self.namespace(*kind).unwrap_or(self.init))
                }
                _ => continue,
            };
            opened.put(position, descriptor.context(NAMESPACES)?);
        }
        Ok(())
    }
}

/// The inode number of the user namespace of init, if the caller is root. The kernel keeps another
/// caller, and root without CAP_SYS_PTRACE, from looking at init later, when it waits for `start`.
/// `None` also if init has ended.
///
/// # Errors
/// stat(2) failed.
pub(super) fn user_namespace(init: i32, host: &Host) -> Result<Option<u64>> {
    if host.euid != 0 {
        return Ok(None);
    }
    let file = format!("/proc/{init}/ns/user");
    match std::fs::metadata(&file).call("stat") {
        Err(error)
            if matches!(
                error.errno,
                Some(Errno::EACCES | Errno::ENOENT | Errno::ESRCH)
            ) =>
        {
            Ok(None)
        }
        found => Ok(Some(found.context(file)?.ino())),
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
