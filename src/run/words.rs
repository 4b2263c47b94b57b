//! Sentences for what failed in init: the plan knows what each step was for.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::hints::hint;
use super::sync::Failure;
use super::{executable, hooks};
use crate::error::{Error, Kind};
use crate::plan::{Plan, Planned, Step};
use crate::sys::{Failed, Note};

/// The sentence for a failed step.
pub fn failure(plan: &Plan, failure: &Failure) -> Error {
    let fail = failure.told.fail();
    match plan.steps.get(failure.step as usize) {
        Some(planned) => step_failed(planned, fail),
        None => Error::failed("init", fail),
    }
}

/// The sentence for a step that failed, with what init shows for the reason: a text in a pipe,
/// otherwise the container's root.
pub fn failure_shown(plan: &Plan, failed: &Failure, shown: Option<BorrowedFd>) -> Error {
    let fail = failed.told.fail();
    let planned = plan.steps.get(failed.step as usize);
    let (Some(planned), Some(shown)) = (planned, shown) else {
        return failure(plan, failed);
    };
    match (&planned.step, fail.note) {
        (Step::Hook(_), _) => with_output(step_failed(planned, fail), &hooks::printed(shown)),
        // A call that is missing says nothing about the file.
        (Step::FindExecutable { .. } | Step::Exec(_), _) if fail.errno != Errno::ENOSYS => {
            executable::explain(plan, fail.errno, shown)
        }
        (Step::SwitchRoot { .. }, Some(Note::HostView)) => {
            let point = hooks::printed(shown);
            let call = format!("hide {} of the host", String::from_utf8_lossy(&point));
            with_hint(Error::sys(what(planned), &call, fail.errno), planned, fail)
        }
        _ => step_failed(planned, fail),
    }
}

/// The sentence for one step and the system call that failed in it.
pub fn step_failed(planned: &Planned, fail: Failed) -> Error {
    let error = match &planned.step {
        Step::Hook(_) => Error::failed(what(planned), fail).kind(Kind::Hook),
        _ => Error::failed(what(planned), fail),
    };
    with_hint(error, planned, fail)
}

/// The error of a hook ends with what the hook has printed.
pub fn with_output(error: Error, printed: &[u8]) -> Error {
    match printed {
        [] => error,
        _ => error.detail(String::from_utf8_lossy(printed)),
    }
}

fn with_hint(error: Error, planned: &Planned, fail: Failed) -> Error {
    match hint(&planned.step, fail) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn what(planned: &Planned) -> String {
    format!("{}: {}", planned.field, planned.step)
}
