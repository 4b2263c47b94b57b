//! Signals that ask the runtime to end while it sets up a process.
//!
//! Their default action would end the runtime on the spot and leave behind what it has made so far.
//! Instead, the handler kills the process that the runtime waits for. The wait then returns as it
//! does when that process dies, and the usual error path undoes everything. The runtime does not
//! need to poll for signals while it waits.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

use super::signals::{self, Disposition};
use super::{Sys, inherited, pidfd, tag};

/// The signals that terminals, shells and service managers send first.
pub const ASKING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The first signal caught, or 0.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// The pidfd of the process that the runtime waits for, or -1.
static TARGET: AtomicI32 = AtomicI32::new(-1);

/// Catches these signals from now on, except those that the caller ignores.
///
/// # Errors
/// sigaction(2) failed.
pub fn catch() -> Sys<()> {
    for signal in ASKING.into_iter().filter(|&it| !inherited::is_ignored(it)) {
        // SAFETY: sigaction is plain data, for which all-zero is a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(i32) = caught;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler uses two atomics and makes one system call.
        let done = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
        tag("sigaction", Errno::result(done))?;
    }
    Ok(())
}

/// Restores the default action: the signals end the program again.
///
/// # Errors
/// rt_sigaction(2) failed.
pub fn release() -> Sys<()> {
    let mut caught = ASKING.into_iter().filter(|&it| !inherited::is_ignored(it));
    caught.try_for_each(|signal| signals::set(signal, Disposition::Default))
}

extern "C" fn caught(signal: i32) {
    let _ = CAUGHT.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    let interrupted = Errno::last();
    kill_target();
    interrupted.set();
}

fn kill_target() {
    let target = TARGET.load(Ordering::SeqCst);
    if target >= 0 {
        // SAFETY: an `Aim` keeps the descriptor open as long as it is the target.
        let target = unsafe { BorrowedFd::borrow_raw(target) };
        // The process may have ended already.
        let _ = pidfd::send_signal(target, libc::SIGKILL);
    }
}

/// Whether a signal has been caught since the last [`take`].
pub fn is_caught() -> bool {
    CAUGHT.load(Ordering::SeqCst) != 0
}

/// The signal caught since the last call.
pub fn take() -> Option<i32> {
    match CAUGHT.swap(0, Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// While this value lives, a caught signal kills the process; one caught before kills it at once.
#[must_use]
pub struct Aim {
    pidfd: Rc<OwnedFd>,
    before: i32,
}

/// Makes a process that the runtime waits for the target. Afterwards there is no target.
pub fn aim(pidfd: &Rc<OwnedFd>) -> Aim {
    Aim::at(pidfd.clone(), -1)
}

/// Makes a process the target, and afterwards restores the previous target.
pub fn aim_meanwhile(pidfd: &Rc<OwnedFd>) -> Aim {
    Aim::at(pidfd.clone(), TARGET.load(Ordering::SeqCst))
}

impl Aim {
    fn at(pidfd: Rc<OwnedFd>, before: i32) -> Self {
        TARGET.store(pidfd.as_fd().as_raw_fd(), Ordering::SeqCst);
        if is_caught() {
            kill_target();
        }
        Self { pidfd, before }
    }
}

impl Drop for Aim {
    fn drop(&mut self) {
        // Another process may have become the target in the meantime.
        let own = self.pidfd.as_raw_fd();
        let _ = TARGET.compare_exchange(own, self.before, Ordering::SeqCst, Ordering::SeqCst);
    }
}
