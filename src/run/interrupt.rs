//! A signal asks the runtime to end while it sets a process up.

use nix::sys::signal::Signal;

use crate::error::{Error, Kind, Result};
use crate::sys::interrupt;

/// That a signal has come, instead of what came of it: the process that was waited for is dead.
///
/// # Errors
/// A signal has come; otherwise the failure itself.
pub fn instead<T>(result: Result<T>) -> Result<T> {
    caught().map_or(result, Err)
}

/// The same of what is a failure already.
pub fn reason(error: Error) -> Error {
    caught().unwrap_or(error)
}

fn caught() -> Option<Error> {
    interrupt::take().map(|signal| {
        let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
        Error::of(Kind::Interrupted(signal), format!("interrupted by {name}"))
    })
}
