//! Signals: dispositions, the signal mask, and signalfd(2). signal(7).
//!
//! These are raw system calls for all 64 signals. The C library reserves the first real-time
//! signals for itself and removes them from every set that it is given.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::{Fail, Sys, check, descriptor, io};

/// The highest signal of every architecture but MIPS.
pub const LAST: i32 = 64;
const ALL: u64 = u64::MAX;
/// The kernel's sigset_t, in bytes.
const SET_SIZE: usize = size_of::<u64>();

/// The action of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// SIG_DFL
    Default,
    /// SIG_IGN
    Ignored,
}

/// rt_sigaction(2). The kernel refuses to change SIGKILL and SIGSTOP, which is not an error here.
pub fn set(signal: i32, disposition: Disposition) -> Sys<()> {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    // The kernel's struct sigaction begins with the handler. Flags and mask have no meaning for
    // these two actions.
    let action = [handler as u64, 0, 0, 0];
    // SAFETY: the kernel reads the action, which contains no function pointer.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &action,
            ptr::null::<u8>(),
            SET_SIZE,
        )
    };
    match check("sigaction", done) {
        Err(fail) if fail.errno == Errno::EINVAL => Ok(()),
        done => done.map(drop),
    }
}

/// Blocks every signal.
pub fn block() -> Sys<()> {
    set_mask(libc::SIG_SETMASK, ALL)
}

/// Blocks every signal except `signals`, which keep their state.
pub fn block_all_but(signals: &[i32]) -> Sys<()> {
    set_mask(libc::SIG_BLOCK, ALL & !set_of(signals))
}

/// Unblocks every signal.
pub fn unblock() -> Sys<()> {
    set_mask(libc::SIG_SETMASK, 0)
}

/// While this value lives, these signals wait.
#[must_use]
pub struct Held {
    before: u64,
}

impl Held {
    /// Blocks `signals` beside those that are blocked already.
    pub fn new(signals: &[i32]) -> Sys<Self> {
        change_mask(libc::SIG_BLOCK, set_of(signals)).map(|before| Self { before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = set_mask(libc::SIG_SETMASK, self.before);
    }
}

fn set_of(signals: &[i32]) -> u64 {
    signals
        .iter()
        .fold(0, |set, signal| set | 1 << (signal - 1))
}

fn set_mask(how: i32, mask: u64) -> Sys<()> {
    change_mask(how, mask).map(drop)
}

/// Returns the mask before.
fn change_mask(how: i32, mask: u64) -> Sys<u64> {
    let mut before: u64 = 0;
    // SAFETY: the kernel reads one mask and writes the other.
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &mask, &mut before, SET_SIZE) };
    check("sigprocmask", done).map(|_| before)
}

/// A descriptor that is readable while a blocked signal is pending. signalfd(2).
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// For every signal.
    pub fn new() -> Sys<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the kernel reads the mask.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &ALL, SET_SIZE, flags) };
        descriptor("signalfd", fd).map(Self)
    }

    /// Takes a pending signal and returns its number.
    pub fn next(&self) -> Sys<Option<i32>> {
        // The buffer holds a struct signalfd_siginfo, which begins with the number.
        let mut info = [0; 128];
        match io::read(self.0.as_fd(), &mut info) {
            Ok(_) => Ok(Some(i32::from_ne_bytes([
                info[0], info[1], info[2], info[3],
            ]))),
            Err(Fail {
                errno: Errno::EAGAIN,
                ..
            }) => Ok(None),
            Err(fail) => Err(fail),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_signals_have_dispositions_too() {
        let ignored = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        // No other test uses these signals.
        for signal in [40, LAST] {
            set(signal, Disposition::Ignored).unwrap();
            assert_ne!(ignored() & 1 << (signal - 1), 0, "{signal}");
            set(signal, Disposition::Default).unwrap();
            assert_eq!(ignored() & 1 << (signal - 1), 0, "{signal}");
        }
    }
}
