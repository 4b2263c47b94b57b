//! The init process that a state names: alive, ended, or not to be seen from here.
//!
//! The pid is a number in the pid namespace of the runtime that made the container, and the start
//! time counts from the boot of its time namespace. In another namespace the numbers are those of no
//! process or of another one, and the container would seem to have stopped. So a process that is not
//! found has ended only if the caller is in the same namespaces, or if the container's cgroup, which
//! has no such numbers, has no process.

use std::os::fd::OwnedFd;

use anyhow::{Result, bail};

use super::State;
use super::namespaces::Kind;
use super::process::{Sought, open_process, open_unreaped, start_time};
use crate::error::{Code, Error};

impl State {
    /// Whether init is alive.
    ///
    /// # Errors
    /// The process cannot be inspected, or cannot be seen from here.
    pub(super) fn is_alive(&self) -> Result<bool> {
        let sought = match start_time(self.pid)? {
            Some(start) if start == self.start_time => Sought::Found(()),
            Some(_) => Sought::Another,
            None => Sought::Nothing,
        };
        Ok(self.found(sought)?.is_some())
    }

    /// A pidfd of init if it is alive, whatever its status.
    ///
    /// # Errors
    /// The process cannot be inspected, or cannot be seen from here.
    pub fn process(&self) -> Result<Option<OwnedFd>> {
        match self.pid {
            0 => Ok(None),
            pid => self.found(open_process(pid, self.start_time)?),
        }
    }

    /// As [`State::process`], also if init has ended and is still to be reaped.
    ///
    /// # Errors
    /// Those of [`State::process`].
    pub fn unreaped(&self) -> Result<Option<OwnedFd>> {
        match self.pid {
            0 => Ok(None),
            pid => self.found(open_unreaped(pid, self.start_time)?),
        }
    }

    /// Takes init for ended only if it can be seen from here.
    fn found<T>(&self, sought: Sought<T>) -> Result<Option<T>> {
        let kinds: &[Kind] = match sought {
            Sought::Found(process) => return Ok(Some(process)),
            Sought::Nothing => &[Kind::Pid],
            Sought::Another => &[Kind::Pid, Kind::Time],
        };
        let foreign = match &self.namespaces {
            Some(namespaces) => namespaces.foreign(kinds)?,
            None => None,
        };
        match foreign {
            Some((kind, recorded)) if !self.has_no_process()? => {
                bail!(self.unseen(kind, recorded))
            }
            _ => Ok(None),
        }
    }

    /// Whether the container's cgroup says that no process is left. This decides after the end of the
    /// namespaces too, as when the container that the runtime runs in was started again.
    fn has_no_process(&self) -> Result<bool> {
        let Some(place) = &self.cgroup else {
            return Ok(false);
        };
        place.place().open()?.map_or(Ok(true), |it| it.is_empty())
    }

    fn unseen(&self, kind: Kind, recorded: u64) -> Error {
        let kind = kind.name();
        let message = format!(
            "container {}: its process cannot be seen from here, and may be running",
            self.id
        );
        Error::new(message)
            .code_is(Code::ContainerUnseen)
            .hint(format!(
                "it was created in the {kind} namespace {kind}:[{recorded}]: run the command there, \
                 as with nsenter --{kind}"
            ))
    }
}
