//! Signals that end the runtime while it sets up a process.

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::error::{Error, Kind};
use crate::sys::interrupt;

/// Replaces `result` with an interruption if a signal has arrived. The signal has killed the
/// process that the runtime waited for, so `result` only shows the consequence.
///
/// # Errors
/// A signal has arrived; otherwise the error in `result`.
pub fn instead<T>(result: Result<T>) -> Result<T> {
    caught().map_or(result, Err)
}

/// The same for an error.
pub fn reason(error: anyhow::Error) -> anyhow::Error {
    caught().unwrap_or(error)
}

fn caught() -> Option<anyhow::Error> {
    interrupt::take().map(|signal| {
        let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
        Error::of(Kind::Interrupted(signal), format!("interrupted by {name}")).into()
    })
}
