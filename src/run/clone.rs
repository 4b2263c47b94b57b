//! clone3(2), with what must be so in the process that calls it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use super::init::{self, Inherited};
use super::sync::{self, Report};
use super::{attend, id_map};
use crate::config::NamespaceKind;
use crate::error::{Error, Result};
use crate::plan::{Phase, Plan, Step};
use crate::sys::interrupt::{self, Aim};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Note, Sys, file, mount, path, pidfd, socket};

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
) -> std::result::Result<Spawned, (Option<usize>, Fail)> {
    let new_user = libc::CLONE_NEWUSER as u64;
    let flags = match (plan.intermediate, plan.enters_before_user) {
        (false, _) => plan.clone_flags,
        (true, false) => plan.clone_flags & new_user,
        (true, true) => 0,
    };
    let own = Own::leave(plan, &mut inherited)?;
    let cloned = process::clone3(flags, cgroup, false);
    if let Ok(Cloned::Child) = cloned {
        if plan.intermediate {
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

/// The runtime's own namespaces for children, while they are others.
struct Own(Vec<(NamespaceKind, OwnedFd)>);

impl Own {
    /// Enters what only a child can be in (the pid namespace to join, a time namespace whose
    /// offsets are set before anybody is in it), and what takes the runtime's rights.
    fn leave(
        plan: &Plan,
        inherited: &mut Inherited,
    ) -> std::result::Result<Self, (Option<usize>, Fail)> {
        let mut own = Self(Vec::new());
        for (position, planned) in plan.phase(Phase::Clone) {
            if !is_runtimes(plan, &planned.step) {
                continue;
            }
            let kind = match planned.step {
                Step::TimeOffsets { .. } => NamespaceKind::Time,
                Step::JoinNamespace { kind, .. } => kind,
                _ => NamespaceKind::Pid,
            };
            let entered = path::open(own_file(kind), libc::O_RDONLY).and_then(|namespace| {
                own.0.push((kind, namespace));
                enter(&planned.step, inherited.opened[position].as_ref())
            });
            if let Err(fail) = entered {
                // The failure that led here is the one to report.
                let _ = own.come_back();
                return Err((Some(position), fail));
            }
        }
        if !plan.enters_before_user
            && let Err((position, fail)) = make_early(plan, inherited)
        {
            let _ = own.come_back();
            return Err((Some(position), fail));
        }
        Ok(own)
    }

    fn come_back(self) -> Sys<()> {
        self.0
            .iter()
            .try_for_each(|(kind, own)| process::setns(own.as_fd(), kind.flag()))
    }
}

/// Whether the runtime does this step of [`Phase::Clone`] and not the intermediate process.
fn is_runtimes(plan: &Plan, step: &Step) -> bool {
    let in_new_user = plan.first_has_maps();
    !plan.intermediate || (in_new_user && matches!(step, Step::JoinNamespace { .. }))
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

/// One step of [`Phase::Clone`].
fn enter(step: &Step, opened: Option<&OwnedFd>) -> Sys<()> {
    match step {
        Step::JoinNamespace { kind, .. } => {
            let namespace = opened.ok_or(Fail::new("setns", Errno::EBADF))?;
            process::setns(namespace.as_fd(), kind.flag())
        }
        Step::EnterContainer { kinds, .. } => init::enter_container(opened, kinds),
        Step::BecomeRoot { setgroups } => init::become_root(*setgroups),
        Step::CheckIdMap { group, map } => check_id_map(*group, map),
        Step::TimeOffsets { offsets } => {
            process::unshare(NamespaceKind::Time.flag())?;
            let file = path::open(c"/proc/self/timens_offsets", libc::O_WRONLY)?;
            path::write_all(file.as_fd(), offsets.as_bytes())
        }
        _ => Ok(()),
    }
}

/// Makes what the plan has early, each in a child: it alone is in the pid namespace that its
/// parent has entered.
fn make_early(plan: &Plan, inherited: &mut Inherited) -> std::result::Result<(), (usize, Fail)> {
    let mut any = 0;
    for (position, planned) in plan.phase(Phase::Init) {
        let Step::Filesystem(fs) = &planned.step else {
            continue;
        };
        if let Some(attrs) = fs.made_early {
            let made = made_by_child(&fs.fstype, &fs.source, &fs.data, attrs);
            inherited.opened[position] = Some(made.map_err(|fail| (position, fail))?);
            any = position;
        }
    }
    if plan.early_procfs {
        let made = made_by_child(c"proc", c"proc", c"", 0);
        inherited.procfs = Some(made.map_err(|fail| (any, fail))?);
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

/// The kernel aligns its columns and keeps the order in which the lines were written.
fn check_id_map(group: bool, wanted: &str) -> Sys<()> {
    let name = if group {
        c"/proc/self/gid_map"
    } else {
        c"/proc/self/uid_map"
    };
    let file = path::open(name, libc::O_RDONLY)?;
    // 340 lines of three columns, each of ten digits and a blank, fit. user_namespaces(7).
    let mut text = vec![0; 16 * 1024];
    let length = path::read(file.as_fd(), &mut text)?;
    let found = String::from_utf8_lossy(&text[..length]);
    if sorted_map(&found) == sorted_map(wanted) {
        Ok(())
    } else {
        Err(Fail::new("read", Errno::EINVAL).note(Note::OtherMap))
    }
}

fn sorted_map(text: &str) -> Vec<Vec<&str>> {
    let mut lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    lines.sort_unstable();
    lines
}

/// Enters the user namespace and gets its rights, unless only init shall be in it; enters the
/// others, makes init as the runtime's own child and is done.
fn intermediate(plan: &Plan, mut inherited: Inherited) -> ! {
    if let Err(fail) = inherited.keep_only(plan) {
        init::tell(&inherited.runtime, 0, fail);
        process::exit(1)
    }
    if plan.first_waits() {
        match sync::receive_go(&inherited.runtime, false) {
            Ok(Some(_)) => {}
            Ok(None) => process::exit(1),
            Err(fail) => {
                init::tell(&inherited.runtime, init::NO_STEP, fail);
                process::exit(1)
            }
        }
    }
    let steps = plan.phase(Phase::Clone);
    for (position, planned) in steps.filter(|(_, planned)| !is_runtimes(plan, &planned.step)) {
        if let Err(fail) = enter(&planned.step, inherited.opened[position].as_ref()) {
            init::tell(&inherited.runtime, position, fail);
            process::exit(1);
        }
    }
    if plan.enters_before_user
        && let Err((position, fail)) = make_early(plan, &mut inherited)
    {
        init::tell(&inherited.runtime, position, fail);
        process::exit(1);
    }
    let flags = match plan.enters_before_user {
        true => plan.clone_flags,
        false => plan.clone_flags & !(libc::CLONE_NEWUSER as u64),
    };
    match process::clone3(flags, None, true) {
        // Else init could speak before this process has named it.
        Ok(Cloned::Child) => init::run(plan, inherited, true),
        Ok(Cloned::Parent { pid, .. }) => {
            let sent = Report::Pid(pid).send(inherited.runtime.as_fd(), None);
            process::exit(i32::from(sent.is_err()))
        }
        Err(fail) => {
            let position = plan
                .phase(Phase::Clone)
                .next()
                .map_or(0, |(position, _)| position);
            init::tell(&inherited.runtime, position, fail);
            process::exit(1)
        }
    }
}

/// Waits for the intermediate process to hand over init, and lets that begin.
///
/// # Errors
/// It died, or reported a failure.
pub fn hand_over(plan: &Plan, first: &Spawned, connection: &OwnedFd) -> Result<Spawned> {
    let lost = |fail: Fail| Error::failed("intermediate process", fail);
    match Report::receive(connection.as_fd()).map_err(lost)? {
        Some((Report::Pid(pid), _)) => {
            process::wait(first.pidfd.as_fd()).map_err(lost)?;
            let spawned = Spawned::new(pid, pidfd::open(pid).map_err(lost)?);
            if plan.enters_before_user {
                id_map::write_all(plan, pid)?;
            }
            attend::apply(plan, Phase::Parent, pid)?;
            sync::unless_gone(sync::send_go(connection.as_fd(), &[])).map_err(lost)?;
            Ok(spawned)
        }
        Some((Report::Failure(failure), _)) => Err(super::words::failure(plan, &failure)),
        _ => Err(lost(Fail::new("recvmsg", Errno::ECHILD))),
    }
}
