//! Turns what has failed into an error: which step, for which object, and what to do next.

mod code;
pub(super) mod executable;
mod filesystem;
mod step;
pub(super) mod unexecuted;

pub(super) use step::{failure, failure_shown, found_failed, in_step, step_failed, with_output};
