//! `events`: prints statistics and out-of-memory events.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags};
use serde::Serialize;
use serde_json::Value;

use super::{Context, DONE, Verb, cgroup_of, print};
use crate::cgroup::{self, Event};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::cli::units;
use crate::error::Context as _;
use crate::state::Status;
use crate::state::not_running;
use crate::sys::poll;

flags! {
    /// Print statistics and out-of-memory events of a container.
    ///
    /// Each line is a JSON object. The first statistics are printed after the first interval. The
    /// command ends when the last process of the container has ended.
    #[derive(Debug)]
    pub(super) struct Events {
        /// Time between statistics, such as 500ms, 5s or 1m30s
        #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "5s")]
        pub interval: Duration,

        /// Print the statistics once and exit
        #[arg(long)]
        pub stats: bool,

        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Events {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Prints one object per line, once or until the container's last process has ended.
    fn run(&self, context: &Context) -> Result<u8> {
        let id = &self.container.id;
        let (dir, state) = context.load(id)?;
        let (status, init) = state.status_and_init(&dir)?;
        if matches!(status, Status::Creating | Status::Stopped) {
            bail!(not_running(&state));
        }
        if state.cgroup.is_none() {
            let init = init.ok_or_else(|| not_running(&state))?;
            return self.without_cgroup(&init);
        }
        let cgroup = cgroup_of(&dir, &state)?;
        if self.stats {
            let stats = cgroup.stats()?.ok_or_else(|| not_running(&state))?;
            print_stats(id, &stats)?;
            return Ok(DONE);
        }
        let mut watch = cgroup.watch()?;
        let mut deadline = Instant::now() + self.interval;
        loop {
            match watch.next(deadline)? {
                Event::Empty => return Ok(DONE),
                Event::OutOfMemory => print_line(&Line::new("oom", id))?,
                Event::Timeout => {
                    let Some(stats) = cgroup.stats()? else {
                        return Ok(DONE);
                    };
                    print_stats(id, &stats)?;
                    // After a slow reader has delayed the output, skip the missed intervals.
                    deadline = (deadline + self.interval).max(Instant::now());
                }
            }
        }
    }
}

impl Events {
    /// The events of a container of an ordinary user who could not make a cgroup: statistics in
    /// which everything is 0, until init has ended.
    fn without_cgroup(&self, init: &OwnedFd) -> Result<u8> {
        let stats = cgroup::uncounted();
        if self.stats {
            return print_stats(&self.container.id, &stats).map(|()| DONE);
        }
        let interval = self.interval.max(Duration::from_millis(1));
        let mut ended = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
        while !poll::wait(&mut ended, Some(interval)).context("init")? {
            print_stats(&self.container.id, &stats)?;
        }
        Ok(DONE)
    }
}

/// One line of output. Scripts match its beginning, `{"type":"stats","id":"…"`, so the order of the
/// members must not change.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl<'a> Line<'a> {
    fn new(kind: &'static str, id: &'a str) -> Self {
        Self {
            r#type: kind,
            id,
            data: None,
        }
    }
}

fn print_stats(id: &str, stats: &Value) -> Result<()> {
    print_line(&Line {
        data: Some(stats),
        ..Line::new("stats", id)
    })
}

fn print_line(line: &Line) -> Result<()> {
    let text = serde_json::to_string(line).expect("text and numbers");
    print(&format!("{text}\n"))
}
