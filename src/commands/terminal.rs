//! Makes a table fit the terminal on which it is shown.

use std::io::stdout;
use std::os::fd::AsFd;

use crate::sys::terminal;

/// The number of columns of the terminal on standard output. `None` if standard output is not a
/// terminal, or a terminal that does not know its size.
pub(super) fn columns() -> Option<usize> {
    let (_, columns) = terminal::size(stdout().as_fd()).ok()?;
    (columns > 0).then_some(columns.into())
}

/// Cuts each line after this many characters.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let lines = text.lines();
    let cut = lines.map(|line| line.chars().take(columns).chain(['\n']).collect::<String>());
    cut.collect()
}

/// The last characters of `text`, after an ellipsis if some are missing.
pub(super) fn end_of(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let kept = text.chars().skip(length + 1 - room);
    std::iter::once('…').chain(kept).collect()
}
