//! `events`: statistics, and notices of memory that ran out.

use std::time::Instant;

use serde_json::{Value, json};

use super::kill::not_running;
use super::{Context, cgroup_of, print};
use crate::cgroup::Event;
use crate::cli::Events;
use crate::error::Result;
use crate::state::Status;

/// Prints an object a line, once or until the container's last process has ended.
pub fn events(context: &Context, args: &Events) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    let cgroup = match state.status(&dir)? {
        Status::Creating | Status::Stopped => return Err(not_running(&state)),
        _ => cgroup_of(&dir, &state)?,
    };
    if args.stats {
        let stats = cgroup.stats()?.ok_or_else(|| not_running(&state))?;
        return print_stats(&args.id, &stats);
    }
    let mut watch = cgroup.watch()?;
    let mut deadline = Instant::now() + args.interval;
    loop {
        match watch.next(deadline)? {
            Event::Empty => return Ok(()),
            Event::OutOfMemory => print_line(&json!({"type": "oom", "id": args.id}))?,
            Event::Timeout => {
                let Some(stats) = cgroup.stats()? else {
                    return Ok(());
                };
                print_stats(&args.id, &stats)?;
                // A reader that was slow does not get what it missed.
                deadline = (deadline + args.interval).max(Instant::now());
            }
        }
    }
}

fn print_stats(id: &str, stats: &Value) -> Result<()> {
    print_line(&json!({"type": "stats", "id": id, "data": stats}))
}

fn print_line(event: &Value) -> Result<()> {
    print(&format!("{event}\n"))
}
