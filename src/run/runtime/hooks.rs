//! Runs the hooks in the runtime, and formats the state that a hook reads.

use anyhow::Result;

use crate::error::Context as _;
use crate::plan::{HookMoment, HookStep, InitStep, Plan, Steps};
use crate::run::failure;
use crate::run::hook::{self, Directory, Streams, Surroundings};
use crate::state::{State, Status, View};
use crate::sys::{Sys, exec, file, path};

/// Runs hooks in order, in the runtime, up to the first one that fails. The state that they read
/// has the given `status`.
///
/// # Errors
/// The hook that failed, named by its path in the config.
pub fn run_hooks(hooks: &Steps<HookStep>, state: &State, status: Status) -> Result<()> {
    each_hook(hooks, state, status).collect()
}

/// Runs all poststop hooks, even if one fails. Source: runtime-spec 1.3, runtime.md, lifecycle,
/// step 13.
pub fn run_poststop_hooks(hooks: &Steps<HookStep>, state: &State) -> Vec<anyhow::Error> {
    each_hook(hooks, state, Status::Stopped)
        .filter_map(Result::err)
        .collect()
}

/// Returns an iterator that runs one hook for each element.
fn each_hook(
    hooks: &Steps<HookStep>,
    state: &State,
    status: Status,
) -> impl Iterator<Item = Result<()>> {
    hooks.iter().map(move |planned| {
        let hook = &planned.step;
        // runtime-spec 1.0 ran the prestart hooks during `start`. Hooks written for it expect the
        // status `created`.
        let status = match hook.moment {
            HookMoment::Prestart => Status::Created,
            _ => status,
        };
        let bundle = path::c_string(&state.bundle).context("bundle")?;
        let around = Surroundings {
            directory: Directory::Path(&bundle),
            environment: &exec::environment(),
            streams: None,
        };
        hook::run(hook, &around, &state_text(state, status)).map_err(|failed| {
            let error = failure::step_failed(planned, failed.told.fail());
            failure::with_output(error, &failed.output).into()
        })
    })
}

/// The state that a hook reads.
pub(super) fn state_text(state: &State, status: Status) -> Vec<u8> {
    serde_json::to_vec(&state_view(state, status)).unwrap_or_default()
}

/// The state that hooks and seccomp agents receive. It contains the pid even if the container has
/// stopped.
pub(super) fn state_view(state: &State, status: Status) -> View {
    let mut view = state.view(status, String::new());
    view.pid = state.pid;
    view
}

/// The state that a hook in the container's pid namespace reads.
///
/// # Errors
/// The pid of init in that namespace cannot be read from /proc.
pub(super) fn state_text_inside(state: &State, status: Status) -> Sys<Vec<u8>> {
    let inside = State {
        pid: pid_inside(state.pid)?,
        ..state.clone()
    };
    Ok(state_text(&inside, status))
}

/// The pid that a process has in its own pid namespace: the last of `NSpid`. proc_pid_status(5).
fn pid_inside(pid: i32) -> Sys<i32> {
    let status = file::read_text(format!("/proc/{pid}/status").as_ref())?;
    // A kernel without pid namespaces has no such line.
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    Ok(last.unwrap_or(pid))
}

/// Opens the files for the output of startContainer hooks. They are the same for each hook.
///
/// # Errors
/// open(2) failed.
pub(super) fn open_streams(plan: &Plan) -> Result<Streams> {
    for planned in plan.start.iter() {
        if let InitStep::Hook(hook) = &planned.step {
            let streams = hook::open_streams(hook);
            return Ok(streams.map_err(|fail| failure::step_failed(planned, fail))?);
        }
    }
    Ok([None, None])
}
