//! Turns what has failed into an error: which step, for which object, and what to do next.

mod code;
pub(super) mod executable;
mod filesystem;
mod step;
pub(super) mod unexecuted;

pub(crate) use step::step_failed;
pub(super) use step::{failure, failure_shown, found_failed, in_step, with_output};

use nix::errno::Errno;

/// The hint for an errno of [`crate::sys::file::open_to_write`].
pub(super) fn not_written(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENXIO => Some("no process has the FIFO open for reading: begin to read first"),
        Errno::ENOTSUP => Some("it must be a file, a FIFO or a character device"),
        _ => None,
    }
}
