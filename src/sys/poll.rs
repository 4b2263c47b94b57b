//! Waits for descriptors by poll(2).

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

use super::{Fail, Sys};

/// Waits until one of `entries` is ready, for at most `limit`. Returns whether one is. A signal does
/// not end the wait.
///
/// # Errors
/// poll(2) failed.
pub fn wait(entries: &mut [PollFd], limit: Option<Duration>) -> Sys<bool> {
    let limit = limit.map(|limit| (Instant::now(), limit));
    loop {
        let timeout = limit.map_or(PollTimeout::NONE, |(start, limit)| {
            rounded_up(limit.saturating_sub(start.elapsed()))
        });
        match poll(entries, timeout) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready.map_err(|errno| Fail::new("poll", errno))? > 0),
        }
    }
}

/// Whether an entry was ready in the last wait.
pub fn is_ready(entry: &PollFd) -> bool {
    entry.any().unwrap_or(false)
}

/// Rounded up, so that the caller does not spin in the last millisecond.
fn rounded_up(left: Duration) -> PollTimeout {
    let whole = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use nix::poll::PollFlags;

    use super::*;

    #[test]
    fn a_wait_ends_when_a_descriptor_is_ready_or_the_time_is_over() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let mut entries = [PollFd::new(read.as_fd(), PollFlags::POLLIN)];
        assert!(!wait(&mut entries, Some(Duration::from_nanos(1))).unwrap());
        assert!(!is_ready(&entries[0]));
        drop(write);
        assert!(wait(&mut entries, None).unwrap() && is_ready(&entries[0]));
    }

    #[test]
    fn parts_of_a_millisecond_count() {
        let rounded = |nanos| rounded_up(Duration::from_nanos(nanos));
        assert_eq!(rounded(0), PollTimeout::ZERO);
        assert_eq!(rounded(1), PollTimeout::from(1u8));
        assert_eq!(rounded(2_000_000), PollTimeout::from(2u8));
        assert_eq!(rounded(u64::MAX), PollTimeout::MAX);
    }
}
