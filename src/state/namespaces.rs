//! The namespaces that the numbers in a state are relative to.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::error::Context as _;
use crate::sys::process;

/// The inodes of the namespaces of the runtime that made the container. 0 if the kernel does not have
/// the kind.
///
/// The kernel may give the inode of a namespace that has ended to another one. So two that differ are
/// two namespaces, but two that are equal need not be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Of the pid namespace: `pid` is a number in it.
    pub pid: u64,
    /// Of the time namespace: `startTime` counts from its boot.
    pub time: u64,
}

/// A kind of namespace that a number of a process depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pid,
    Time,
}

impl Kind {
    /// As in /proc/self/ns.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Time => "time",
        }
    }

    /// # Errors
    /// `stat` of the namespace file in /proc failed.
    fn own(self) -> Result<u64> {
        let name = self.name();
        let found = process::own_namespace(name);
        Ok(found
            .with_context(|| format!("/proc/self/ns/{name}"))?
            .unwrap_or_default())
    }
}

impl Namespaces {
    /// Those of the caller.
    ///
    /// # Errors
    /// `stat` of a namespace file in /proc failed.
    pub fn own() -> Result<Self> {
        Ok(Self {
            pid: Kind::Pid.own()?,
            time: Kind::Time.own()?,
        })
    }

    /// The first of `kinds` of which the caller is in another namespace, and the namespace that is
    /// recorded.
    ///
    /// # Errors
    /// Those of [`Namespaces::own`].
    pub(super) fn foreign(&self, kinds: &[Kind]) -> Result<Option<(Kind, u64)>> {
        for &kind in kinds {
            let recorded = match kind {
                Kind::Pid => self.pid,
                Kind::Time => self.time,
            };
            if kind.own()? != recorded {
                return Ok(Some((kind, recorded)));
            }
        }
        Ok(None)
    }
}
