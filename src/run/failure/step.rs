//! Builds the errors for steps that failed. The plan says what each step was for.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::executable;
use super::hints::hint;
use crate::error::{Error, Kind};
use crate::plan::{AnyStep, Found, InitStep, Plan, Planned};
use crate::run::hook;
use crate::run::protocol::Failure;
use crate::sys::{Failed, Note};

/// The error for a failure that init has reported.
pub fn failure(plan: &Plan, failure: &Failure) -> Error {
    let fail = failure.told.fail();
    match failure.step.and_then(|position| plan.at(position)) {
        Some(found) => found_failed(found, fail),
        None => Error::failed("init", fail),
    }
}

/// The error for a failure that init has reported together with `shown`, a descriptor that helps to
/// explain it: a pipe with a text, or the container's root.
pub fn failure_shown(plan: &Plan, failed: &Failure, shown: Option<BorrowedFd>) -> Error {
    let fail = failed.told.fail();
    let found = failed.step.and_then(|position| plan.at(position));
    let (Some(found), Some(shown)) = (found, shown) else {
        return failure(plan, failed);
    };
    match (found.step, fail.note) {
        (AnyStep::Hook(_), _) => with_output(found_failed(found, fail), &hook::printed(shown)),
        // ENOSYS means that the system call is missing, so the file is not the reason.
        (AnyStep::Init(InitStep::FindExecutable { .. } | InitStep::Exec(_)), _)
            if fail.errno != Errno::ENOSYS =>
        {
            executable::explain(plan, fail.errno, shown)
        }
        (AnyStep::Init(InitStep::SwitchRoot { .. }), Some(Note::HostView)) => {
            let point = hook::printed(shown);
            let call = format!("hide {} of the host", String::from_utf8_lossy(&point));
            with_hint(
                Error::failed(found.step.to_string(), Failed::new(&call, fail.errno)),
                found,
                fail,
            )
        }
        _ => found_failed(found, fail),
    }
}

/// The error for a step and the system call that failed in it.
pub fn step_failed<'a, S>(planned: &'a Planned<S>, fail: Failed) -> Error
where
    AnyStep<'a>: From<&'a S>,
{
    found_failed(planned.found(), fail)
}

/// The same, for a step of any list.
pub fn found_failed(found: Found, fail: Failed) -> Error {
    let mut error = Error::failed(found.step.to_string(), fail);
    // Many steps are named after their system call.
    if fail.call() == fail.op
        && let (Some(step), Some(call)) = (&error.text, &error.call)
        && step
            .strip_prefix(&**call)
            .is_some_and(|rest| rest.starts_with(' '))
    {
        error.call = None;
    }
    let error = match found.step {
        AnyStep::Hook(_) => error.kind(Kind::Hook),
        _ => error,
    };
    with_hint(error, found, fail)
}

/// Appends the output of a hook to its error.
pub fn with_output(error: Error, printed: &[u8]) -> Error {
    match printed {
        [] => error,
        _ => error.detail(String::from_utf8_lossy(printed)),
    }
}

fn with_hint(error: Error, found: Found, fail: Failed) -> Error {
    let error = error.about(found.field);
    match hint(found.step, fail) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
