//! Kills for lack of memory: how many, and whose limit was reached. Source:
//! Documentation/admin-guide/cgroup-v2.rst, memory interface files.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::file::{self, is_gone};
use super::lifecycle::read_again;
use super::{Cgroup, stats};
use crate::error::Context as _;
use crate::sys::{Fail, Sys, file as sysfile};

/// What is known about kills for lack of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The kernel counts them, and there were none.
    Enough,
    /// There were some.
    Short(Shortage),
    /// The cgroup has no memory controller, so nothing is counted.
    Uncounted,
    /// The cgroup has been removed before it could be read.
    Gone,
}

/// Kills for lack of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shortage {
    /// How many processes of the cgroup, and of those below it, the kernel has killed since the
    /// cgroup was made.
    pub kills: u64,
    /// The highest usage in bytes. `None` before Linux 5.19.
    pub peak: Option<u64>,
    /// Whose memory was used up.
    pub scope: Scope,
    /// The directory of the cgroup whose limit was reached, if one is known.
    pub cgroup: Option<String>,
    /// That limit in bytes.
    pub limit: Option<u64>,
}

/// Whose memory was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The limit of the cgroup itself was reached.
    Container,
    /// That of a cgroup below it, which the container has made.
    Below,
    /// That of a cgroup above it.
    Above,
    /// No limit: the host had no memory left.
    Host,
}

/// A cgroup whose kills are looked at while it exists, because nothing tells of them afterwards.
#[derive(Debug)]
pub struct MemoryWatch {
    cgroup: Cgroup,
    /// `memory.events`. `None` once the cgroup is gone, or without the controller.
    events: Option<File>,
    seen: Memory,
}

impl MemoryWatch {
    /// Looks for the first time.
    ///
    /// # Errors
    /// A file cannot be read for another reason than that it does not exist.
    pub fn new(cgroup: Cgroup) -> Result<Self> {
        let (events, seen) = match file::open(cgroup.fd(), "memory.events", libc::O_RDONLY) {
            Ok(file) => (Some(File::from(file)), Memory::Gone),
            // Every existing cgroup has this file.
            Err(fail) if is_gone(fail) => match file::read(cgroup.fd(), "cgroup.events") {
                Err(fail) if is_gone(fail) => (None, Memory::Gone),
                read => {
                    read.with_context(|| cgroup.object("cgroup.events"))?;
                    (None, Memory::Uncounted)
                }
            },
            Err(fail) => return Err(fail).with_context(|| cgroup.object("memory.events")),
        };
        let mut watch = Self {
            cgroup,
            events,
            seen,
        };
        watch.look()?;
        Ok(watch)
    }

    /// Polls as POLLPRI when the counters have changed since the last look. `None` if there is
    /// nothing to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(File::as_fd)
    }

    /// Looks again. What was seen last stays known when the cgroup is removed.
    ///
    /// # Errors
    /// A file cannot be read for another reason than that it does not exist.
    pub fn look(&mut self) -> Result<()> {
        let Some(events) = &self.events else {
            return Ok(());
        };
        match read_again(events).and_then(|text| self.cgroup.memory(&text)) {
            Ok(memory) => self.seen = memory,
            Err(fail) if is_gone(fail) => self.events = None,
            Err(fail) => return Err(fail).with_context(|| self.cgroup.object("memory.events")),
        }
        Ok(())
    }

    /// What was seen last.
    pub fn into_seen(self) -> Memory {
        self.seen
    }
}

impl Cgroup {
    /// What is known, from the text of `memory.events`.
    fn memory(&self, events: &str) -> Sys<Memory> {
        let kills = stats::keyed(events, "oom_kill");
        if kills == 0 {
            return Ok(Memory::Enough);
        }
        let number = |name| match file::read(self.fd(), name) {
            Err(fail) if is_gone(fail) => Ok(None),
            read => Ok::<_, Fail>(read?.trim_end().parse().ok()),
        };
        let local = match file::read(self.fd(), "memory.events.local") {
            Err(fail) if is_gone(fail) => String::new(),
            read => read?,
        };
        let peak = number("memory.peak")?;
        let reached = |scope, cgroup: Option<&Path>, limit| Shortage {
            kills,
            peak,
            scope,
            cgroup: cgroup.map(|cgroup| cgroup.display().to_string()),
            limit,
        };
        // `oom` is counted where the limit is, `oom_kill` where the killed process was.
        Ok(Memory::Short(if stats::keyed(&local, "oom") > 0 {
            reached(Scope::Container, Some(&self.path), number("memory.max")?)
        } else if stats::keyed(events, "oom") > 0 {
            reached(Scope::Below, None, None)
        } else if let Some((above, limit)) = limit_reached_above(&self.path)? {
            reached(Scope::Above, Some(above), limit)
        } else {
            reached(Scope::Host, None, None)
        }))
    }
}

/// The closest cgroup above `cgroup` whose limit was reached so that the kernel looked for a
/// process to kill, and the limit.
fn limit_reached_above(cgroup: &Path) -> Sys<Option<(&Path, Option<u64>)>> {
    for above in cgroup.ancestors().skip(1) {
        let read = |name: &str| match sysfile::read_text(&above.join(name)) {
            // The root of the hierarchy has no limit.
            Err(fail) if is_gone(fail) => Ok(String::new()),
            read => read,
        };
        if stats::keyed(&read("memory.events.local")?, "oom") > 0 {
            return Ok(Some((above, read("memory.max")?.trim_end().parse().ok())));
        }
    }
    Ok(None)
}
