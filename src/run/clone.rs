//! clone3(2), with what must be so in the process that calls it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::slice;

use nix::errno::Errno;

use super::init::{self, Inherited};
use super::sync::{self, Report};
use crate::config::NamespaceKind;
use crate::error::{Error, Result};
use crate::plan::{Entry, EntryStep, InitStep, List, OwnProcfs, Plan, Position};
use crate::sys::interrupt::{self, Aim};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Note, Sys, file, mount, path, pidfd, socket};

const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;

/// A new process, and the runtime's end of the connection to it.
pub struct Spawned {
    pub pid: i32,
    pub pidfd: Rc<OwnedFd>,
    /// A signal to the runtime ends the process, as long as this is kept.
    _aim: Aim,
}

impl Spawned {
    fn new(pid: i32, pidfd: OwnedFd) -> Self {
        let pidfd = Rc::new(pidfd);
        let _aim = interrupt::aim(&pidfd);
        Self { pid, pidfd, _aim }
    }
}

/// Makes init, or the process between the runtime and init that the plan asks for. Never returns
/// in the new process.
///
/// # Errors
/// The position of the step that failed and how; clone3(2) itself has no position.
pub fn spawn(
    plan: &Plan,
    mut inherited: Inherited,
    cgroup: Option<BorrowedFd>,
) -> std::result::Result<Spawned, (Option<Position>, Fail)> {
    let flags = match plan.entry {
        Entry::Direct => plan.clone_flags,
        Entry::ThroughUserNamespace => plan.clone_flags & NEW_USER,
        Entry::ThroughRuntime => 0,
    };
    let own = Own::leave(plan, &mut inherited)?;
    let cloned = process::clone3(flags, cgroup, false);
    if let Ok(Cloned::Child) = cloned {
        if plan.has_process_between() {
            intermediate(plan, inherited)
        }
        init::run(plan, inherited, plan.first_waits())
    }
    own.come_back().map_err(|fail| (None, fail))?;
    match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => {
            // With a copy of its end here, the end of the process would not be seen.
            if let Err(fail) = file::close(inherited.runtime) {
                process::end(pidfd.as_fd());
                return Err((None, fail));
            }
            Ok(Spawned::new(pid, pidfd))
        }
        Ok(Cloned::Child) => process::exit(1),
        Err(fail) => Err((None, fail)),
    }
}

/// The sentence for what [`spawn`] says.
pub fn failed(plan: &Plan, position: Option<Position>, fail: Fail) -> Error {
    match position.and_then(|position| plan.at(position)) {
        Some(found) => super::words::found_failed(found, fail),
        None => error(fail),
    }
}

/// The sentence for a clone3(2) or unshare(2) that failed.
pub fn error(fail: Fail) -> Error {
    let error = Error::failed("linux.namespaces", fail);
    match fail.errno {
        Errno::ENOSPC | Errno::EUSERS => {
            error.hint("a limit below /proc/sys/user or a nesting limit of namespaces is reached")
        }
        Errno::ENOSYS => {
            error.hint("the kernel or a seccomp filter around the runtime lacks clone3")
        }
        Errno::EPERM => error.hint("new namespaces take root, or a user namespace in the config"),
        _ => error,
    }
}

/// The runtime's own namespaces for children, while they are others.
struct Own(Vec<(NamespaceKind, OwnedFd)>);

impl Own {
    /// Enters what only a child can be in (the pid namespace to join, a time namespace whose
    /// offsets are set before anybody is in it), and what takes the runtime's rights.
    fn leave(
        plan: &Plan,
        inherited: &mut Inherited,
    ) -> std::result::Result<Self, (Option<Position>, Fail)> {
        let mut own = Self(Vec::new());
        for (index, planned) in plan.leave.iter().enumerate() {
            let list = List::Leave;
            let position = Position { list, index };
            let entered = own
                .keep(&planned.step)
                .and_then(|()| init::enter(&planned.step, inherited.opened.get(position)));
            if let Err(fail) = entered {
                // The failure that led here is the one to report.
                let _ = own.come_back();
                return Err((Some(position), fail));
            }
        }
        if plan.entry != Entry::ThroughRuntime
            && let Err((position, fail)) = make_early(plan, inherited)
        {
            let _ = own.come_back();
            return Err((position, fail));
        }
        Ok(own)
    }

    /// Opens what a step leads out of.
    fn keep(&mut self, step: &EntryStep) -> Sys<()> {
        let kinds = match step {
            EntryStep::JoinNamespace { kind, .. } => slice::from_ref(kind),
            EntryStep::EnterContainer { kinds, .. } => kinds,
            EntryStep::TimeOffsets { .. } => &[NamespaceKind::Time],
            EntryStep::CheckIdMap { .. } | EntryStep::BecomeRoot => &[],
        };
        for &kind in kinds {
            let own = path::open(own_file(kind), libc::O_RDONLY)?;
            self.0.push((kind, own));
        }
        Ok(())
    }

    fn come_back(self) -> Sys<()> {
        self.0
            .iter()
            .try_for_each(|(kind, own)| process::setns(own.as_fd(), kind.flag()))
    }
}

/// namespaces(7), the /proc/PID/ns directory.
pub(super) fn own_file(kind: NamespaceKind) -> &'static CStr {
    match kind {
        NamespaceKind::User => c"/proc/self/ns/user",
        NamespaceKind::Pid => c"/proc/self/ns/pid",
        NamespaceKind::Network => c"/proc/self/ns/net",
        NamespaceKind::Ipc => c"/proc/self/ns/ipc",
        NamespaceKind::Uts => c"/proc/self/ns/uts",
        NamespaceKind::Cgroup => c"/proc/self/ns/cgroup",
        NamespaceKind::Time => c"/proc/self/ns/time",
        NamespaceKind::Mount => c"/proc/self/ns/mnt",
    }
}

/// Makes what the plan has early, each in a child: it alone is in the pid namespace that its
/// parent has entered.
fn make_early(
    plan: &Plan,
    inherited: &mut Inherited,
) -> std::result::Result<(), (Option<Position>, Fail)> {
    for (index, planned) in plan.init.iter().enumerate() {
        let InitStep::Filesystem(fs) = &planned.step else {
            continue;
        };
        if let Some(attrs) = fs.made_early {
            let position = Position::init(index);
            let made = made_by_child(&fs.fstype, &fs.source, &fs.data, attrs)
                .map_err(|fail| (Some(position), fail))?;
            inherited.opened.put(position, made);
        }
    }
    if plan.procfs == OwnProcfs::MadeEarly {
        let made = made_by_child(c"proc", c"proc", c"", 0);
        inherited.procfs = Some(made.map_err(|fail| (None, fail))?);
    }
    Ok(())
}

fn made_by_child(fstype: &CStr, source: &CStr, data: &CStr, attrs: u64) -> Sys<OwnedFd> {
    let (connection, childs) = socket::pair()?;
    match process::clone3(0, None, false)? {
        Cloned::Child => {
            let sent = match mount::make(fstype, source, data, attrs) {
                Ok(made) => socket::send(childs.as_fd(), &[0], Some(made.as_fd())),
                Err(fail) => socket::send(childs.as_fd(), &(fail.errno as i32).to_ne_bytes(), None),
            };
            process::exit(i32::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            let mut errno = [0; 4];
            let received =
                file::close(childs).and_then(|()| socket::receive(connection.as_fd(), &mut errno));
            process::end(pidfd.as_fd());
            let failed = |errno| Fail::new("fsmount", errno).note(Note::InJoinedNamespaces);
            match received? {
                (_, Some(made)) => Ok(made),
                (4, None) => Err(failed(Errno::from_raw(i32::from_ne_bytes(errno)))),
                (_, None) => Err(failed(Errno::ECHILD)),
            }
        }
    }
}

/// Enters the user namespace and gets its rights, unless only init shall be in it; enters the
/// others, makes init as the runtime's own child and is done.
fn intermediate(plan: &Plan, mut inherited: Inherited) -> ! {
    match make_init(plan, &mut inherited) {
        // Otherwise init could speak before this process has named it.
        Ok(Cloned::Child) => init::run(plan, inherited, true),
        Ok(Cloned::Parent { pid, .. }) => {
            let sent = Report::Pid(pid).send(inherited.runtime.as_fd(), None);
            process::exit(i32::from(sent.is_err()))
        }
        Err((position, fail)) => {
            init::tell(&inherited.runtime, position, fail);
            process::exit(1)
        }
    }
}

fn make_init(
    plan: &Plan,
    inherited: &mut Inherited,
) -> std::result::Result<Cloned, (Option<Position>, Fail)> {
    let no_step = |fail| (None, fail);
    inherited.keep_only(plan).map_err(no_step)?;
    if plan.first_waits()
        && sync::receive_go(&inherited.runtime, false)
            .map_err(no_step)?
            .is_none()
    {
        process::exit(1)
    }
    for (index, planned) in plan.between.iter().enumerate() {
        let list = List::Between;
        let position = Position { list, index };
        init::enter(&planned.step, inherited.opened.get(position))
            .map_err(|fail| (Some(position), fail))?;
    }
    if plan.entry == Entry::ThroughRuntime {
        make_early(plan, inherited)?;
    }
    let flags = match plan.entry {
        Entry::ThroughRuntime => plan.clone_flags,
        Entry::Direct | Entry::ThroughUserNamespace => plan.clone_flags & !NEW_USER,
    };
    let list = List::Between;
    let position = Position { list, index: 0 };
    process::clone3(flags, None, true).map_err(|fail| (Some(position), fail))
}

/// Waits until init is there and may begin: the first process, or the one that a process between
/// hands over. `beside` carries out [`Plan::beside_init`] for it.
///
/// # Errors
/// The process between died, or reported a failure; a step failed.
pub fn hand_over(
    plan: &Plan,
    first: Spawned,
    connection: &OwnedFd,
    beside: impl FnOnce(i32) -> Result<()>,
) -> Result<Spawned> {
    if !plan.has_process_between() {
        return Ok(first);
    }
    let lost = |fail: Fail| Error::failed("intermediate process", fail);
    match Report::receive(connection.as_fd()).map_err(lost)? {
        Some((Report::Pid(pid), _)) => {
            process::wait(first.pidfd.as_fd()).map_err(lost)?;
            let spawned = Spawned::new(pid, pidfd::open(pid).map_err(lost)?);
            beside(pid)?;
            sync::unless_gone(sync::send_go(connection.as_fd(), &[])).map_err(lost)?;
            Ok(spawned)
        }
        Some((Report::Failure(failure), _)) => Err(super::words::failure(plan, &failure)),
        _ => Err(lost(Fail::new("recvmsg", Errno::ECHILD))),
    }
}
