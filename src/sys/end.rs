//! How a process has ended, as its parent, procfs and a pidfd tell it.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Fail, Sys, check, file};

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// exit(2) with this status.
    Exited(u8),
    /// The signal of this number.
    Killed(u8),
}

impl End {
    /// The status in the format of wait4(2).
    fn of_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited((status >> 8) as u8),
            signal => Self::Killed(signal as u8),
        }
    }

    /// The status as a shell counts it: 128 + signal if a signal ended the process.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// What /proc/PID/stat says about a process. Source: proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The start time, in clock ticks since boot.
    pub start: u64,
    /// Whether its parent has still to reap it.
    pub is_zombie: bool,
    /// Whether it still runs the program of the process that forked it: it has not called
    /// execve(2).
    pub forked_only: bool,
    /// How it has ended: `Exited(0)` while it lives, and for a caller who may not inspect it.
    pub end: End,
}

impl Record {
    /// The record of the process `pid`.
    ///
    /// # Errors
    /// The process does not exist, or procfs cannot be read.
    pub fn of(pid: i32) -> Sys<Self> {
        let text = file::read_text(format!("/proc/{pid}/stat").as_ref())?;
        Self::parse(&text).ok_or(Fail::new("read", Errno::EPROTO))
    }

    fn parse(stat: &str) -> Option<Self> {
        /// PF_FORKNOEXEC of the kernel's include/linux/sched.h, which execve(2) clears.
        const FORKED_ONLY: u64 = 0x40;
        // The second field, the program's name, is in parentheses and may contain any character.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            start: field(22)?,
            is_zombie: ["Z", "X"].contains(fields.first()?),
            forked_only: field(9)? & FORKED_ONLY != 0,
            end: End::of_wait_status(field(52).unwrap_or_default() as i32),
        })
    }
}

/// How the process of a pidfd has ended, even after its parent has reaped it. `None` if it has not
/// been reaped yet, or if the kernel does not tell: PIDFD_INFO_EXIT is of Linux 6.15. The
/// descriptor must have been open when the process was reaped.
///
/// # Errors
/// ioctl(2) failed for another reason.
pub fn of_reaped(pidfd: BorrowedFd) -> Sys<Option<End>> {
    /// `struct pidfd_info` of linux/pidfd.h in its first size.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const EXIT: u64 = 8;
    const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
    let mut info = Info {
        mask: EXIT,
        ..Info::default()
    };
    // SAFETY: the number of the ioctl contains the size of `info`, which is writable.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            pidfd.as_raw_fd(),
            PIDFD_GET_INFO,
            &raw mut info,
        )
    };
    match check("ioctl(PIDFD_GET_INFO)", done) {
        // Before Linux 6.13 there is no such ioctl, and before 6.15 a reaped process has no
        // information.
        Err(fail) if [Errno::ENOTTY, Errno::EINVAL, Errno::ESRCH].contains(&fail.errno) => Ok(None),
        done => done.map(|_| (info.mask & EXIT != 0).then(|| End::of_wait_status(info.exit_code))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    #[test]
    fn a_record_comes_after_a_hostile_name() {
        let stat = |state: &str, flags: u64, exit: i32| {
            let fields = format!(
                "7 (a) Z 1 (b) {state} 1 7 7 0 -1 {flags} 9 0 0 0 0 0 0 0 20 0 1 0 12345 1000"
            );
            format!("{fields}{} {exit}\n", " 0".repeat(28))
        };
        let expected = Record {
            start: 12345,
            is_zombie: true,
            forked_only: false,
            end: End::Exited(3),
        };
        assert_eq!(Record::parse(&stat("Z", 0x40_0004, 0x300)), Some(expected));
        let expected = Record {
            is_zombie: false,
            forked_only: true,
            end: End::Killed(31),
            ..expected
        };
        assert_eq!(Record::parse(&stat("R", 0x44, 0x80 | 31)), Some(expected));
        assert_eq!(Record::parse("7 (a) Z 1"), None);
    }

    #[test]
    fn a_zombie_and_a_reaped_process_have_an_end() {
        for (script, end) in [("exit 7", End::Exited(7)), ("kill -9 $$", End::Killed(9))] {
            let mut shell = Command::new("sh");
            let shell = shell.args(["-c", script]).stderr(Stdio::null());
            let mut child = shell.spawn().unwrap();
            let pid = child.id() as i32;
            let pidfd = super::super::pidfd::open(pid).unwrap();
            let poll = nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN);
            nix::poll::poll(&mut [poll], nix::poll::PollTimeout::NONE).unwrap();
            let record = Record::of(pid).unwrap();
            assert_eq!((record.is_zombie, record.end), (true, end));
            assert!(!record.forked_only);
            assert_eq!(of_reaped(pidfd.as_fd()).unwrap(), None, "it is a zombie");
            child.wait().unwrap();
            assert!(Record::of(pid).is_err());
            // Older kernels do not tell.
            if let Some(told) = of_reaped(pidfd.as_fd()).unwrap() {
                assert_eq!(told, end);
            }
        }
    }

    #[test]
    fn a_status_is_that_of_a_shell() {
        let end = End::of_wait_status(9);
        assert_eq!(
            (end.status(), end.to_string().as_str()),
            (137, "killed by signal 9")
        );
        let end = End::of_wait_status(0x300);
        assert_eq!(
            (end.status(), end.to_string().as_str()),
            (3, "exit status 3")
        );
    }
}
