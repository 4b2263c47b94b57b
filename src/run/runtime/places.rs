//! The cgroup in which a process enters a container.
//!
//! It is one of the container's from its first moment. What the process uses, such as the memory of
//! the files that it writes, counts for the container then and not for the caller, and the
//! container's device program decides which nodes it can make.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::clone::{self, Spawned};
use super::entrance::Entrance;
use super::serve_init::CONNECTION;
use crate::cgroup::{self, Cgroup, systemd};
use crate::error::{Code, Context as _, Error};
use crate::plan::{Place, Plan, Position};
use crate::run::init::Inherited;
use crate::state::{State, Unit};
use crate::sys::{Fail, process, socket};

/// The errnos of clone3(2) after which the next cgroup is tried: the cgroup has children with
/// controllers, is gone, or denies access.
const ELSEWHERE: [Errno; 4] = [
    Errno::EBUSY,
    Errno::ENODEV,
    Errno::EACCES,
    Errno::EOPNOTSUPP,
];

/// The cgroups that the process can be put into.
#[derive(Default)]
pub(super) struct Places<'a> {
    /// None if the container has no cgroup of its own. In order of preference: the container's
    /// cgroup, then the cgroup of its init process, which may have moved to a child of it.
    cgroups: Vec<Cgroup>,
    /// Why the cgroup of init is not known. The container may have hidden it below a path that is
    /// too long, so this matters only if the first cgroup cannot be used.
    unseen: Option<anyhow::Error>,
    /// The unit that systemd can move the process into if the caller may not, and the path below
    /// it: from a session, the path to the user's units leads through a cgroup that does not belong
    /// to the user.
    unit: Option<(&'a Unit, &'a str)>,
}

impl<'a> Places<'a> {
    /// The places that the plan allows.
    ///
    /// # Errors
    /// The container has a cgroup, and it cannot be opened or is gone.
    pub(super) fn find(plan: &Plan, state: &'a State) -> Result<Self> {
        let Some(cgroup) = &state.cgroup else {
            return Ok(Self::default());
        };
        let own = cgroup.place();
        match &plan.place {
            Place::Container => Ok(Self {
                unit: cgroup.unit_and_below(),
                ..Self::of_container(own, state)?
            }),
            Place::Below(path) => {
                let whole = Path::new(&cgroup.path).join(path);
                // A path alone may lead below another cgroup than the container's.
                own.open()?.ok_or_else(|| missing(path))?;
                let below = own.other(&whole).open()?.ok_or_else(|| missing(path))?;
                Ok(Self {
                    cgroups: vec![below],
                    ..Self::default()
                })
            }
        }
    }

    /// A process that the container's cgroup does not take would have none of its limits, and could
    /// use every device. So at least one cgroup is open.
    fn of_container(own: cgroup::Place, state: &State) -> Result<Self> {
        let mut cgroups = Vec::from_iter(own.open()?);
        let mut unseen = None;
        match cgroup::of_process(state.pid) {
            Ok(Some(path)) if Path::new(&path) != own.path => {
                match own.other(Path::new(&path)).open() {
                    Ok(of_init) => cgroups.extend(of_init),
                    Err(error) => unseen = Some(error),
                }
            }
            Ok(_) => {}
            Err(error) => unseen = Some(error),
        }
        if cgroups.is_empty() {
            if let Some(unseen) = unseen {
                return Err(unseen);
            }
            let message = format!("container {}: its cgroup is gone", state.id);
            let error = Error::new(message).code_is(Code::CgroupFailed);
            bail!(error.hint("a process without it would have no limits: kill the container"));
        }
        let unit = None;
        Ok(Self {
            cgroups,
            unseen,
            unit,
        })
    }

    fn not_made(&self, plan: &Plan, (position, fail): Failed, cgroup: Option<&Cgroup>) -> Error {
        let error = clone::failed(plan, position, fail, cgroup);
        match &self.unseen {
            Some(unseen) => error.hint(format!("the cgroup of init is not known: {unseen:#}")),
            None => error,
        }
    }
}

fn missing(path: &Path) -> Error {
    let path = path.display();
    Error::usage(format!("--cgroup: {path}: no such cgroup in the container"))
        .hint("without the option it is the value of the annotation run.oci.delegate-cgroup")
}

/// Whether clone3(2) itself failed so, and not another call of [`clone::spawn`].
fn is_refused(fail: Fail, errnos: &[Errno]) -> bool {
    fail.op == "clone3" && errnos.contains(&fail.errno)
}

/// What [`clone::spawn`] reports when it fails.
type Failed = (Option<Position>, Fail);

/// A process that is to enter a container.
pub(super) struct Newcomer<'a> {
    /// The verb, which is the object of an error about a process that could not be made.
    pub verb: &'static str,
    pub plan: &'a Plan,
    pub entrance: &'a Entrance<'a>,
    /// What the process inherits, with its end of the connection. Called for each attempt.
    pub inherits: &'a dyn Fn(OwnedFd) -> Result<Inherited>,
    /// What the runtime does while the process that has entered waits for it.
    pub beside: &'a dyn Fn(&OwnedFd, i32) -> Result<()>,
}

impl Newcomer<'_> {
    /// Makes the process in the first of the places that takes it. Returns the connection to it and
    /// the process.
    ///
    /// # Errors
    /// No place takes the process, or a step around clone3(2) failed.
    pub(super) fn spawn(&self, places: &Places) -> Result<(OwnedFd, Spawned)> {
        let mut refused = None;
        for cgroup in &places.cgroups {
            let (connection, inherited) = self.connect()?;
            match self.spawn_in(Some(cgroup), inherited) {
                Ok(first) => return self.hand_over(connection, first),
                Err((None, fail)) if is_refused(fail, &ELSEWHERE) => {
                    refused = Some((fail, cgroup));
                }
                // The container has as many processes as it may have. A process that moves into the
                // cgroup is not refused. cgroup-v2.rst, "PID".
                Err((None, fail)) if is_refused(fail, &[Errno::EAGAIN]) => {
                    refused = Some((fail, cgroup));
                    break;
                }
                Err(failed) => {
                    let error = places.not_made(self.plan, failed, Some(cgroup));
                    return Err(error).context(self.verb);
                }
            }
        }
        self.move_in(places, refused)
    }

    /// Makes the process in the runtime's cgroup, and moves it into the one that it should be in.
    fn move_in(
        &self,
        places: &Places,
        refused: Option<(Fail, &Cgroup)>,
    ) -> Result<(OwnedFd, Spawned)> {
        let full = refused.filter(|(fail, _)| fail.errno == Errno::EAGAIN);
        if let (Some((fail, cgroup)), None, None) = (refused, full, places.unit) {
            let error = places.not_made(self.plan, (None, fail), Some(cgroup));
            return Err(error).context(self.verb);
        }
        let (connection, inherited) = self.connect()?;
        let first = self
            .spawn_in(None, inherited)
            .map_err(|failed| places.not_made(self.plan, failed, None))
            .context(self.verb)?;
        let (connection, spawned) = self.hand_over(connection, first)?;
        let moved = match (full, places.unit) {
            (Some((_, cgroup)), _) => cgroup.add(spawned.pid),
            (None, Some((unit, below))) => {
                systemd::attach(unit.manager(), &unit.name, below, spawned.pid)
            }
            (None, None) => Ok(()),
        };
        if let Err(error) = moved {
            process::end(spawned.pidfd.as_fd());
            return Err(error).context(self.verb);
        }
        Ok((connection, spawned))
    }

    /// A connection for one attempt: the runtime's end, and what the process inherits.
    fn connect(&self) -> Result<(OwnedFd, Inherited)> {
        let (connection, runtimes) = socket::pair().context(CONNECTION)?;
        Ok((connection, (self.inherits)(runtimes)?))
    }

    fn spawn_in(
        &self,
        cgroup: Option<&Cgroup>,
        inherited: Inherited,
    ) -> std::result::Result<Spawned, Failed> {
        clone::spawn(self.plan, inherited, cgroup, || self.entrance.check())
    }

    /// [`clone::hand_over`], with the steps that the runtime carries out beside the process.
    fn hand_over(&self, connection: OwnedFd, first: Spawned) -> Result<(OwnedFd, Spawned)> {
        let beside = |pid| {
            self.entrance.check().map_err(clone::error)?;
            (self.beside)(&connection, pid)
        };
        let spawned = clone::hand_over(self.plan, first, &connection, beside)?;
        Ok((connection, spawned))
    }
}
