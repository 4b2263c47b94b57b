//! Turns what has failed into an error: which step, for which object, and what to do next.

pub mod executable;
mod filesystem;
mod hints;
mod step;
pub mod unexecuted;

pub use step::{failure, failure_shown, found_failed, step_failed, with_output};
