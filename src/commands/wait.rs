//! `wait`: waits until the init process of a container has ended, and says why it has.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags};

use super::ending::{Ending, has_seccomp, watch_memory};
use super::{Context, Verb, print};
use crate::cgroup::{Memory, MemoryWatch};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::error::Context as _;
use crate::state::not_running;
use crate::state::{self, Dir, Ended};
use crate::sys::end::End;
use crate::sys::poll;

flags! {
    /// Wait until the process of a container has ended, and say why.
    ///
    /// Any caller may wait, not only the parent of the process. A container that is created and not
    /// started yet is waited for too. The exit status is that of the process, or 128 plus the
    /// number of the signal that ended it, as of `run`. It is 1 if it is not known.
    #[derive(Debug)]
    pub(super) struct Wait {
        /// Print JSON
        #[arg(long)]
        pub json: bool,

        #[command(flatten)]
        pub container: Container,
    }
}

/// The exit status if that of the container is not known.
const NOT_KNOWN: u8 = 1;

impl Verb for Wait {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Waits, and prints the ending.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        if state.pid == 0 {
            bail!(not_running(&state).hint("it is being created: wait again when that has ended"));
        }
        // Looked at before the wait, because a `delete` may remove both right after it.
        let seccomp = has_seccomp(&dir, &state);
        let mut memory = watch_memory(&dir, &state)?;
        let ended = match state.unreaped()? {
            None => Ended::Reaped,
            Some(init) => {
                wait_for(init.as_fd(), memory.as_mut().and_then(Option::as_mut))?;
                state::how_ended(state.pid, state.start_time, init.as_fd())?
            }
        };
        let ending = Ending {
            id: &state.id,
            memory: memory.map(|watch| watch.map_or(Memory::Gone, MemoryWatch::into_seen)),
            deleted: is_deleted(&dir, ended)?,
            ended,
            seccomp,
        };
        print(&if self.json {
            ending.json()?
        } else {
            ending.text() + "\n"
        })?;
        Ok(ending.status().unwrap_or(NOT_KNOWN))
    }
}

/// Waits until the process of `init` has ended. Meanwhile, and once more at the end, looks at the
/// container's memory: its cgroup may be removed together with its last process.
fn wait_for(init: BorrowedFd, mut memory: Option<&mut MemoryWatch>) -> Result<()> {
    loop {
        let mut polled = vec![PollFd::new(init, PollFlags::POLLIN)];
        let counters = memory.as_deref().and_then(MemoryWatch::fd);
        polled.extend(counters.map(|fd| PollFd::new(fd, PollFlags::POLLPRI)));
        poll::wait(&mut polled, None).context("init")?;
        let ended = poll::is_ready(&polled[0]);
        if let Some(memory) = &mut memory {
            memory.look()?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Whether a `delete` has ended the container, or has removed it meanwhile. A `delete` locks the
/// directory before it kills, so that this waits for its end.
fn is_deleted(dir: &Dir, ended: Ended) -> Result<bool> {
    let killed = matches!(
        ended,
        Ended::Known {
            end: End::Killed(9),
            ..
        }
    );
    Ok(killed && dir.lock()?.is_none())
}
