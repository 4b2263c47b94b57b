//! Waits for events of a cgroup: an out-of-memory kill, and the end of its last process.

use std::fs::File;
use std::time::Instant;

use anyhow::Result;

use super::file::is_gone;
use super::lifecycle::{Changes, flag, read_again};
use super::{Cgroup, file, stats};
use crate::error::Context as _;

/// The result of [`Watch::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed a process for lack of memory.
    OutOfMemory,
    /// No process is left, or the cgroup was removed.
    Empty,
    /// Nothing happened within the given time.
    Timeout,
}

/// The two files whose changes the kernel reports through poll(2). Source: cgroup-v2.rst.
#[derive(Debug)]
pub struct Watch<'a> {
    cgroup: &'a Cgroup,
    /// `cgroup.events`.
    life: File,
    /// `memory.events`; `None` without the memory controller.
    memory: Option<File>,
    /// The number of kills that were reported already.
    kills: u64,
    changes: Changes,
}

impl Cgroup {
    /// Starts to watch. Earlier events are not reported.
    ///
    /// # Errors
    /// The cgroup does not exist, or a system call failed.
    pub fn watch(&self) -> Result<Watch<'_>> {
        let open = |name| file::open(self.fd(), name, libc::O_RDONLY).map(File::from);
        let life = open("cgroup.events").with_context(|| self.object("cgroup.events"))?;
        let memory = match open("memory.events") {
            Ok(file) => Some(file),
            Err(fail) if is_gone(fail) => None,
            Err(fail) => return Err(fail).with_context(|| self.object("memory.events")),
        };
        let mut watch = Watch {
            cgroup: self,
            life,
            memory,
            kills: 0,
            changes: Changes::default(),
        };
        watch.kills = watch.count_kills()?;
        Ok(watch)
    }
}

impl Watch<'_> {
    /// Waits for the next event, at most until `deadline`.
    ///
    /// # Errors
    /// A system call failed.
    pub fn next(&mut self, deadline: Instant) -> Result<Event> {
        loop {
            // The order matters: the kernel counts a kill before the process is gone. If no process
            // is left, all kills have been counted.
            let alive = self.is_populated()?;
            let kills = self.count_kills()?;
            if kills > self.kills {
                self.kills = kills;
                return Ok(Event::OutOfMemory);
            }
            if !alive {
                return Ok(Event::Empty);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Timeout);
            }
            let files = std::iter::once(&self.life).chain(&self.memory);
            let waited = self.changes.wait(files, left);
            waited.with_context(|| self.cgroup.object(""))?;
        }
    }

    fn is_populated(&self) -> Result<bool> {
        match read_again(&self.life) {
            Ok(text) => Ok(flag(&text, "populated")),
            Err(fail) if is_gone(fail) => Ok(false),
            Err(fail) => Err(fail).with_context(|| self.cgroup.object("cgroup.events")),
        }
    }

    fn count_kills(&self) -> Result<u64> {
        match self.memory.as_ref().map(read_again) {
            Some(Ok(text)) => Ok(stats::keyed(&text, "oom_kill")),
            None => Ok(0),
            Some(Err(fail)) if is_gone(fail) => Ok(0),
            Some(Err(fail)) => Err(fail).with_context(|| self.cgroup.object("memory.events")),
        }
    }
}
