//! The process that a state refers to: alive, gone, or hidden from the caller.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;

use crate::error::{Call as _, Context as _, Error};
use crate::sys::end::{self, End, Record};
use crate::sys::{Fail, file, pidfd};

/// PF_EXITING of the kernel's flags word: the process is exiting, and has closed its files or is
/// about to.
const EXITING: u64 = 4;

/// The start time of a process: field 22 of /proc/PID/stat, in clock ticks since boot. `None` if
/// the process does not exist or has ended. Source: proc_pid_stat(5).
///
/// # Errors
/// The file cannot be read or is hidden from the caller, so nothing is known about the process.
pub fn start_time(pid: i32) -> Result<Option<u64>> {
    let path = format!("/proc/{pid}/stat");
    for _ in 0..2 {
        match file::read_record(path.as_ref()) {
            Ok(text) => {
                return match Life::parse(&text) {
                    Some(Life::Since(start)) => Ok(Some(start)),
                    Some(Life::Ended) => Ok(None),
                    None => Err(Fail::new("read", Errno::EBADMSG)).context(path),
                };
            }
            Err(fail) if !GONE.contains(&fail.errno) => {
                return Err(fail).context(path);
            }
            Err(_) => {}
        }
        if open_number(pid)?.is_none() {
            return Ok(None);
        }
        // Another process got the pid meanwhile, or /proc does not show this one.
    }
    Err(hidden(path))
}

/// The error if /proc does not show a process that exists.
fn hidden(path: String) -> anyhow::Error {
    let (errno, hint) = match file::read("/proc/self/stat".as_ref()) {
        Ok(_) => (
            Errno::EACCES,
            "/proc is mounted with hidepid and does not show processes of other users",
        ),
        Err(fail) => (
            fail.errno,
            "a procfs of the caller's pid namespace must be mounted on /proc",
        ),
    };
    Error::failed(path, Fail::new("open", errno))
        .hint(hint)
        .into()
}

/// The state of a process according to /proc/PID/stat.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Since(u64),
    Ended,
}

impl Life {
    /// `None` if the text has another format.
    fn parse(stat: &str) -> Option<Self> {
        // The second field is the name in parentheses, and the name may contain blanks and
        // parentheses.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.strip_prefix(' ')?.split(' ');
        let state = fields.next()?;
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        let threads: u64 = fields.nth(10)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let ended = ["Z", "X", "x"].contains(&state) || flags & EXITING != 0;
        // If only the first thread has ended, the process is still alive.
        Some(if ended && threads <= 1 {
            Self::Ended
        } else {
            Self::Since(start)
        })
    }
}

/// Looks for the process `pid`, with a pidfd of it if it still is the process that started at `start`.
///
/// The descriptor is opened before the start time is compared. Whichever process has the pid during
/// the comparison, the descriptor refers to the same process, or to one that has died.
///
/// # Errors
/// pidfd_open(2) failed for another reason than a missing process, or the start time cannot be
/// read.
pub(super) fn open_process(pid: i32, start: u64) -> Result<Sought<OwnedFd>> {
    let Some(fd) = open_number(pid)? else {
        return Ok(Sought::Nothing);
    };
    Ok(match start_time(pid)? {
        Some(found) if found == start => Sought::Found(fd),
        Some(_) => Sought::Another,
        None => Sought::Nothing,
    })
}

/// What has the pid and the start time of a process that is looked for.
#[derive(Debug)]
pub(super) enum Sought<T> {
    /// The process.
    Found(T),
    /// No process has the pid, or one that has ended.
    Nothing,
    /// A process that started at another time has the pid.
    Another,
}

/// As [`open_process`], also for a process that has ended and is still to be reaped.
///
/// # Errors
/// Those of [`open_process`].
pub(super) fn open_unreaped(pid: i32, start: u64) -> Result<Sought<OwnedFd>> {
    let Some(fd) = open_number(pid)? else {
        return Ok(Sought::Nothing);
    };
    let path = format!("/proc/{pid}/stat");
    match Record::of(pid) {
        Ok(record) if record.start == start => Ok(Sought::Found(fd)),
        Ok(_) => Ok(Sought::Another),
        Err(fail) if !GONE.contains(&fail.errno) => Err(fail).context(path),
        Err(_) => match pidfd::send_signal(fd.as_fd(), 0) {
            Err(fail) if fail.errno == Errno::ESRCH => Ok(Sought::Nothing),
            _ => Err(hidden(path)),
        },
    }
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The kernel has told it.
    Known {
        /// Its status or signal.
        end: End,
        /// Whether it had executed the container's program. `None` after it has been reaped.
        executed: Option<bool>,
    },
    /// Its parent had reaped it before the caller had a descriptor of it.
    Reaped,
    /// Its parent has reaped it, and the kernel is older than Linux 6.15.
    Untold,
    /// The caller may not inspect it.
    Denied,
}

/// How the process `pid`, which `pidfd` refers to, has ended. poll(2) of the pidfd has said that it
/// has.
///
/// # Errors
/// The kernel cannot be asked.
pub fn how_ended(pid: i32, start: u64, pidfd: BorrowedFd) -> Result<Ended> {
    let path = || format!("/proc/{pid}/stat");
    let record = match Record::of(pid) {
        Ok(record) => Some(record).filter(|record| record.start == start),
        Err(fail) if GONE.contains(&fail.errno) => None,
        Err(fail) => return Err(fail).with_context(path),
    };
    let Some(Record {
        end, forked_only, ..
    }) = record
    else {
        let told = end::of_reaped(pidfd).with_context(|| format!("process {pid}"))?;
        return Ok(told.map_or(Ended::Untold, |end| Ended::Known {
            end,
            executed: None,
        }));
    };
    // For a caller that may not inspect the process, its status is 0. proc_pid_stat(5).
    if end == End::Exited(0) && !may_inspect(pid)? {
        return Ok(Ended::Denied);
    }
    Ok(Ended::Known {
        end,
        executed: Some(!forked_only),
    })
}

/// Whether the caller may inspect a process that has ended. Such a process has no program.
fn may_inspect(pid: i32) -> Result<bool> {
    let path = format!("/proc/{pid}/exe");
    match std::fs::read_link(&path).call("readlink") {
        Err(error) if matches!(error.errno, Some(Errno::EACCES | Errno::EPERM)) => Ok(false),
        Err(error) if error.errno.is_none_or(|errno| !GONE.contains(&errno)) => {
            Err(error).context(path)
        }
        _ => Ok(true),
    }
}

/// The errnos of procfs for a process that does not exist.
const GONE: [Errno; 2] = [Errno::ENOENT, Errno::ESRCH];

/// A pidfd of the process that has this pid now. `None` if there is none.
fn open_number(pid: i32) -> Result<Option<OwnedFd>> {
    match pidfd::open(pid) {
        Ok(fd) => Ok(Some(fd)),
        // ESRCH if the pid is free. If it is the id of a thread, ENOENT, or EINVAL before Linux
        // 6.15.
        Err(fail) if [Errno::ESRCH, Errno::ENOENT, Errno::EINVAL].contains(&fail.errno) => Ok(None),
        Err(fail) => Err(fail).with_context(|| format!("process {pid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_process_comes_after_a_hostile_name() {
        let stat = |state: &str, flags: u64, threads: u64| {
            let text = format!(
                "7 (a) Z 1 (b) {state} 1 7 7 0 -1 {flags} 9 0 0 0 0 0 0 0 20 0 {threads} 0 12345 1000"
            );
            Life::parse(&text).unwrap()
        };
        let since = Life::Since(12345);
        assert_eq!(stat("S", 4_194_560, 1), since);
        assert_eq!(stat("Z", 4_194_564, 1), Life::Ended);
        assert_eq!(stat("X", 4_194_564, 0), Life::Ended);
        // The process has closed its files and is not a zombie yet.
        assert_eq!(stat("R", 4_194_564, 1), Life::Ended);
        // The first thread has ended; two others are running.
        assert_eq!(stat("Z", 4_194_564, 3), since);
        assert_eq!(Life::parse(""), None);
        assert_eq!(Life::parse("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let pid = std::process::id() as i32;
        let start = start_time(pid).unwrap().unwrap();
        let open = |pid, start| open_process(pid, start).unwrap();
        assert!(matches!(open(pid, start), Sought::Found(_)));
        assert!(matches!(open(pid, start + 1), Sought::Another));
        assert!(matches!(open(i32::MAX, 1), Sought::Nothing));
        assert_eq!(start_time(i32::MAX).unwrap(), None);
    }

    /// The kernel reuses a pid as a thread id too.
    #[test]
    fn a_thread_is_not_the_process_that_had_its_number() {
        let (send, receive) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = finished.recv();
        });
        let number = receive.recv().unwrap();
        assert!(matches!(open_process(number, 1), Ok(Sought::Nothing)));
        drop(finish);
        thread.join().unwrap();
    }
}
