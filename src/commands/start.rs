//! `start`.

use anyhow::{Result, bail};

use super::saved::{Saved, destroy_started, saved_hooks};
use super::{Context, DONE, Verb};
use crate::cli::flags::flags;
use crate::cli::groups::Container;
use crate::error::{Chain as _, Error, Kind};
use crate::plan::{HookMoment, Plan, Steps};
use crate::run;
use crate::state::{Dir, State, Status};

flags! {
    /// Run the process of a created container
    #[derive(Debug)]
    pub(super) struct Start {
        #[command(flatten)]
        pub container: Container,
    }
}

impl Verb for Start {
    fn container(&self) -> Option<&str> {
        Some(&self.container.id)
    }

    /// Lets the created container execute its process, and runs the poststart hooks.
    fn run(&self, context: &Context) -> Result<u8> {
        let (dir, state) = context.load(&self.container.id)?;
        run::check_startable(state.status(&dir)?, &state.id)?;
        // For the listener, and after a failure: init reports the position of the step, and
        // the plan has its words.
        // Init has the plan too, but does not format text: the container's filter and limits may
        // already apply to it.
        let plan = || Saved::read(&dir, &state)?.plan();
        if !state.later.process {
            bail!(nothing_to_start(&dir, &state, plan));
        }
        // Once the program runs, nothing may keep its hooks from running.
        let hooks = if state.later.poststart_hooks {
            saved_hooks(&dir, &state, HookMoment::Poststart)?
        } else {
            Steps::default()
        };
        let notify = context.notify(&dir);
        let started = run::start(&dir, &state, plan)
            .and_then(|()| run::run_hooks(&hooks, &state, Status::Running));
        if started
            .as_ref()
            .is_err_and(|error| error.kind() == Kind::Hook)
        {
            // Source: runtime-spec 1.3, runtime.md, lifecycle, steps 7 and 10.
            destroy_started(context, &dir, &state)?;
        }
        started?;
        let Some(notify) = notify else {
            return Ok(DONE);
        };
        if let Some(pidfd) = state.process()? {
            notify.wait(state.pid, &pidfd)?;
        }
        Ok(DONE)
    }
}

/// The error of a container whose config has no process. Init ends, as after any other failure of
/// `start`. Source: runtime-spec 1.3, runtime.md, start.
fn nothing_to_start(dir: &Dir, state: &State, plan: impl Fn() -> Result<Plan>) -> Error {
    // This fails for the reason that is reported.
    let _ = run::start(dir, state, plan);
    Error::missing("process").hint("there is nothing to start: the container stops")
}
