//! Calls clone3(2), after putting the calling process into the state that it needs.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::slice;

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::cgroup::Cgroup;
use crate::config::NamespaceKind;
use crate::error::{Code, Context as _, Error};
use crate::plan::{Entry, EntryStep, InitStep, List, OwnProcfs, Plan, Position};
use crate::run::failure;
use crate::run::init::{self, Inherited};
use crate::run::protocol::{self, Report};
use crate::sys::command_line;
use crate::sys::interrupt::{self, Aim};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Note, Sys, file, mount, path, pidfd, socket};

const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;

/// A new process, and the runtime's end of the connection to it.
pub(super) struct Spawned {
    pub pid: i32,
    pub pidfd: Rc<OwnedFd>,
    /// As long as this is kept, a signal that ends the runtime also ends the process.
    _aim: Aim,
}

impl Spawned {
    fn new(pid: i32, pidfd: OwnedFd) -> Self {
        let pidfd = Rc::new(pidfd);
        let _aim = interrupt::aim(&pidfd);
        Self { pid, pidfd, _aim }
    }
}

/// Makes init, or the intermediate process between the runtime and init, if the plan has one. It
/// never returns in the new process. `check` runs after the runtime has entered the namespaces for it,
/// and before it exists.
///
/// # Errors
/// The position of the step that failed, and the failure. clone3(2) itself has no position.
pub(super) fn spawn(
    plan: &Plan,
    mut inherited: Inherited,
    cgroup: Option<&Cgroup>,
    check: impl FnOnce() -> Sys<()>,
) -> std::result::Result<Spawned, (Option<Position>, Fail)> {
    let flags = match plan.entry {
        Entry::Direct => plan.clone_flags,
        Entry::ThroughUserNamespace => plan.clone_flags & NEW_USER,
        Entry::ThroughRuntime => 0,
    };
    let _hidden = command_line::hide();
    let own = Own::leave(plan, &mut inherited)?;
    let cloned = check().and_then(|()| clone_into(flags, cgroup));
    if let Ok(Cloned::Child) = cloned {
        if plan.has_process_between() {
            intermediate(plan, inherited)
        }
        init::run(plan, inherited, plan.first_waits())
    }
    let back = own.come_back();
    match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => {
            // As long as the runtime holds a copy of the process's end of the connection, it would
            // not see when the process ends.
            if let Err(fail) = back.and_then(|()| file::close(inherited.runtime)) {
                process::end(pidfd.as_fd());
                return Err((None, fail));
            }
            Ok(Spawned::new(pid, pidfd))
        }
        Ok(Cloned::Child) => process::exit(1),
        // A runtime that is not back must not go on.
        Err(fail) => Err((None, back.err().unwrap_or(fail))),
    }
}

/// clone3(2) of a process in `cgroup`.
fn clone_into(flags: u64, cgroup: Option<&Cgroup>) -> Sys<Cloned> {
    let fd = cgroup.map(Cgroup::fd);
    match (process::clone3(flags, fd, false), cgroup) {
        (Err(fail), Some(cgroup))
            if fail.errno == Errno::EOPNOTSUPP && cgroup.make_threaded() == Ok(true) =>
        {
            process::clone3(flags, fd, false)
        }
        (cloned, _) => cloned,
    }
}

/// The error for a failure of [`spawn`].
pub(super) fn failed(
    plan: &Plan,
    position: Option<Position>,
    fail: Fail,
    cgroup: Option<&Cgroup>,
) -> Error {
    match position.and_then(|position| plan.at(position)) {
        Some(found) => failure::found_failed(found, fail),
        None => cgroup
            .and_then(|cgroup| cgroup.not_entered(fail))
            .unwrap_or_else(|| error(fail)),
    }
}

/// The error for a clone3(2) or unshare(2) that failed.
pub(super) fn error(fail: Fail) -> Error {
    let error = Error::failed("linux.namespaces", fail).code_is(match fail.errno {
        Errno::EAGAIN => Code::HostNoProcesses,
        errno => Code::of_host(errno).unwrap_or(Code::NamespaceFailed),
    });
    match fail.errno {
        Errno::ENOSPC | Errno::EUSERS => {
            error.hint("a limit in /proc/sys/user or the nesting limit of namespaces is reached")
        }
        Errno::ESTALE => error.hint(
            "init has left the container's user namespace, and may show other files at each path",
        ),
        Errno::ENOSYS => {
            error.hint("the kernel or a seccomp filter around the runtime lacks clone3")
        }
        Errno::EPERM => error.hint("new namespaces need root, or a user namespace in the config"),
        _ => error,
    }
}

/// The runtime's original namespaces and directories, kept while the runtime has entered other
/// namespaces.
#[derive(Default)]
struct Own {
    namespaces: Vec<(NamespaceKind, OwnedFd)>,
    directories: Option<Directories>,
}

/// The root and the working directory of the runtime. setns(2) replaces both when it enters a mount
/// namespace.
struct Directories {
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Directories {
    fn open() -> Sys<Self> {
        let root = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        let cwd = path::open(c".", libc::O_PATH | libc::O_DIRECTORY)?;
        Ok(Self { root, cwd })
    }

    fn come_back(&self) -> Sys<()> {
        path::fchdir(self.root.as_fd())?;
        path::chroot(c".")?;
        path::fchdir(self.cwd.as_fd())
    }
}

impl Own {
    /// Enters the namespaces that the runtime has to enter before clone3(2). Some affect only
    /// children: the pid namespace to join, and a time namespace whose offsets have to be set
    /// before a process is in it. Others need the runtime's privileges, or a process must not be in
    /// a pid namespace before it is in them.
    fn leave(
        plan: &Plan,
        inherited: &mut Inherited,
    ) -> std::result::Result<Self, (Option<Position>, Fail)> {
        let mut own = Self::default();
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

    /// Opens the namespaces that a step leaves, and the directories that it replaces.
    fn keep(&mut self, step: &EntryStep) -> Sys<()> {
        let kinds = match step {
            EntryStep::JoinNamespace { kind, .. } | EntryStep::EnterNamespace { kind, .. } => {
                slice::from_ref(kind)
            }
            EntryStep::EnterContainer { kinds, .. } => kinds,
            EntryStep::TimeOffsets { .. } => &[NamespaceKind::Time],
            EntryStep::CheckIdMap { .. } | EntryStep::BecomeRoot { .. } => &[],
        };
        for &kind in kinds {
            let own = path::open(own_file(kind), libc::O_RDONLY)?;
            self.namespaces.push((kind, own));
            if kind == NamespaceKind::Mount {
                self.directories = Some(Directories::open()?);
            }
        }
        Ok(())
    }

    fn come_back(self) -> Sys<()> {
        let mut namespaces = self.namespaces.iter();
        namespaces.try_for_each(|(kind, own)| process::setns(own.as_fd(), kind.flag()))?;
        self.directories
            .map_or(Ok(()), |directories| directories.come_back())
    }
}

/// The file of a namespace of this process. namespaces(7), the /proc/PID/ns directory.
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

/// Makes the file systems that have to be made early, each in a child process: after setns(2) only
/// children are in the new pid namespace, not the process that called it.
fn make_early(
    plan: &Plan,
    inherited: &mut Inherited,
) -> std::result::Result<(), (Option<Position>, Fail)> {
    for (index, planned) in plan.init.iter().enumerate() {
        let InitStep::Filesystem(fs) = &planned.step else {
            continue;
        };
        if let (Some(attrs), None) = (fs.made_early, &fs.id_map) {
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

/// Runs the intermediate process. It enters the user namespace and gains its privileges, unless
/// only init is to be in it. It then enters the other namespaces, makes init as a child of the
/// runtime, and exits.
fn intermediate(plan: &Plan, mut inherited: Inherited) -> ! {
    match make_init(plan, &mut inherited) {
        // Init waits, because it could otherwise send a report before this process has sent its
        // pid.
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
        && protocol::receive_go(&inherited.runtime, false)
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

/// Waits until init exists and may begin. Init is the first process, or the one that the
/// intermediate process has made. `beside` carries out [`Plan::beside_init`] for it.
///
/// # Errors
/// The intermediate process died or reported a failure, or a step failed.
pub(super) fn hand_over(
    plan: &Plan,
    first: Spawned,
    connection: &OwnedFd,
    beside: impl FnOnce(i32) -> Result<()>,
) -> Result<Spawned> {
    if !plan.has_process_between() {
        return Ok(first);
    }
    const OBJECT: &str = "intermediate process";
    match Report::receive(connection.as_fd()).context(OBJECT)? {
        Some((Report::Pid(pid), _)) => {
            process::wait(first.pidfd.as_fd()).context(OBJECT)?;
            let spawned = Spawned::new(pid, pidfd::open(pid).context(OBJECT)?);
            beside(pid)?;
            protocol::unless_gone(protocol::send_go(connection.as_fd(), &[])).context(OBJECT)?;
            Ok(spawned)
        }
        Some((Report::Failure(failure), _)) => bail!(failure::failure(plan, &failure)),
        _ => Err(Fail::new("recvmsg", Errno::ECHILD)).context(OBJECT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::has_example;

    #[test]
    fn a_host_without_room_for_processes_is_not_a_wrong_namespace() {
        let full = Fail::new("clone3", Errno::EAGAIN);
        has_example(error(full), "host.no-processes");
        let denied = error(Fail::new("clone3", Errno::EPERM));
        assert_eq!(denied.code().word(), "namespace.failed");
    }
}
