//! What fork(2) and execve(2) pass on: the runtime begins with a known state whatever its caller
//! has, and the container's program gets a known state whatever the runtime has.
//!
//! | inherited | in the runtime | in the container's program |
//! |---|---|---|
//! | streams 0 to 2 | /dev/null if closed | the same |
//! | other descriptors | all stay open | as `--preserve-fds` says, hooks none |
//! | ignored signals | SIGPIPE and SIGXFSZ, never SIGCHLD | none, hooks too |
//! | blocked signals | all stay blocked | none, hooks too |
//! | umask | leaves the owner its rights, gives others no right to write | as the config says |
//! | RLIMIT_NOFILE | raised where it is too low | the caller's, unless the config sets it |
//! | CPU affinity | stays: it makes the runtime slower at worst | every CPU that the cgroup allows |
//!
//! Each of these is at most one system call where the caller is an ordinary one, and only the verbs
//! that need it make it.

use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::process;
use super::signals::{self, Disposition};
use super::{Fail, Sys, check, path};

/// The runtime's own files, sockets and namespaces, and some to spare.
const DESCRIPTORS: usize = 64;
/// The soft limit of open files that the kernel gives to the first process.
const USUAL_LIMIT: u64 = 1024;
/// The rights of a file's owner.
const OWNER: u32 = 0o700;
/// The right to write of everybody else.
const OTHERS_WRITE: u32 = 0o022;

/// RLIMIT_NOFILE. getrlimit(2).
#[allow(
    clippy::unnecessary_cast,
    reason = "the C libraries disagree about the type"
)]
pub const OPEN_FILES: u32 = libc::RLIMIT_NOFILE as u32;

/// The signals that the caller ignores: bit n for signal n + 1. All of them may be ignored, as long
/// as [`look_at_signals`] has not said which are.
static IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);
/// The caller's RLIMIT_NOFILE, soft and hard, where the runtime has raised its own.
static CALLERS_LIMIT: OnceLock<(u64, u64)> = OnceLock::new();

/// Makes sure that no file is taken for a standard stream that the caller has closed, and that a
/// file that may not grow is an error of write(2) and not a signal. Every verb needs that.
///
/// Returns whether RLIMIT_NOFILE leaves the runtime enough descriptors.
///
/// # Errors
/// rt_sigaction(2) or poll(2) failed, or open(2) of /dev/null.
pub fn begin() -> Sys<bool> {
    signals::set(libc::SIGXFSZ, Disposition::Ignored)?;
    let mut polled = [libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    }; DESCRIPTORS];
    for (stream, entry) in (0..3).zip(&mut polled) {
        entry.fd = stream;
    }
    // One call answers both questions: POLLNVAL stands at a descriptor that is closed, and a list
    // longer than RLIMIT_NOFILE is refused with EINVAL. Entries with a negative number are skipped.
    let enough = match poll(&mut polled) {
        Err(Fail {
            errno: Errno::EINVAL,
            ..
        }) => {
            poll(&mut polled[..3])?;
            false
        }
        answer => answer.map(|()| true)?,
    };
    for entry in &polled[..3] {
        if entry.revents & libc::POLLNVAL != 0 {
            // The lowest free number is this one. It must stay open across execve(2).
            // SAFETY: the path is NUL-terminated.
            let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            check("open", fd.into())?;
        }
    }
    Ok(enough)
}

/// poll(2) that does not wait, and so is not interrupted either.
fn poll(entries: &mut [libc::pollfd]) -> Sys<()> {
    // SAFETY: the pointer and the length describe the slice.
    let done = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, 0) };
    check("poll", done.into()).map(drop)
}

/// For verbs that wait for children or make files: an ignored SIGCHLD would make the kernel forget
/// how a child ended, and a mask of the owner's rights would lock the next verb out of the state.
/// What else the caller's mask takes from new files stays taken.
///
/// # Errors
/// rt_sigaction(2) failed.
pub fn prepare_for_children_and_files() -> Sys<()> {
    signals::set(libc::SIGCHLD, Disposition::Default)?;
    // The mask can only be read by setting it.
    let Ok(callers) = process::umask(OTHERS_WRITE) else {
        // A filter around the runtime: files that are made by init need the call, and say so.
        return Ok(());
    };
    let wanted = callers & !OWNER | OTHERS_WRITE;
    if wanted != OTHERS_WRITE {
        let _ = process::umask(wanted);
    }
    Ok(())
}

/// Makes room for `count` descriptors beside the runtime's own. [`begin`] has seen to it that a few
/// fit, so that an ordinary container needs no look at the limit.
pub fn make_room_for(count: usize) {
    if count > DESCRIPTORS / 2 {
        raise_limit((DESCRIPTORS + count) as u64);
    }
}

/// Raises RLIMIT_NOFILE where [`begin`] has found that it is too low.
pub fn raise_to_usual_limit() {
    raise_limit(USUAL_LIMIT);
}

/// As far as the hard limit or CAP_SYS_RESOURCE allows. Where that is not enough, the call that lacks
/// a descriptor will say so.
fn raise_limit(wanted: u64) {
    let Ok((soft, hard)) = process::limit(OPEN_FILES) else {
        return;
    };
    if soft >= wanted {
        return;
    }
    let raised = process::set_rlimit(0, OPEN_FILES, wanted, hard.max(wanted))
        .or_else(|_| process::set_rlimit(0, OPEN_FILES, hard, hard));
    if raised.is_ok() {
        CALLERS_LIMIT.get_or_init(|| (soft, hard));
    }
}

/// The runtime's own RLIMIT_NOFILE is not meant for others: this process gets the caller's again.
///
/// # Errors
/// prlimit(2) failed.
pub fn give_back_limit() -> Sys<()> {
    match CALLERS_LIMIT.get() {
        Some(&(soft, hard)) => process::set_rlimit(0, OPEN_FILES, soft, hard),
        None => Ok(()),
    }
}

/// Finds out which signals the caller ignores, so that the container's program costs no call for
/// each of the others. proc_pid_status(5), SigIgn.
pub fn look_at_signals() {
    let mut text = Vec::with_capacity(4096);
    let read = path::open(c"/proc/self/status", libc::O_RDONLY)
        .and_then(|status| path::read_more(status.as_fd(), &mut text));
    // Where it cannot be seen, every signal is reset.
    if read.is_ok()
        && let Some(ignored) = ignored_signals(&text)
    {
        IGNORED.store(ignored, Ordering::Relaxed);
    }
}

/// Whether the caller ignores it, or may.
pub fn is_ignored(signal: i32) -> bool {
    IGNORED.load(Ordering::Relaxed) >> (signal - 1) & 1 != 0
}

fn ignored_signals(status: &[u8]) -> Option<u64> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let mask = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}

/// Gives each signal its default action, real-time signals too: execve(2) keeps what the caller
/// ignored, as a daemon does that was started by nohup(1), by Python or in the background of a shell.
///
/// # Errors
/// rt_sigaction(2) failed: the program would ignore what is meant to end it.
pub fn default_signals() -> Sys<()> {
    let mut all = (1..=signals::LAST).filter(|&signal| is_ignored(signal));
    all.try_for_each(|signal| signals::set(signal, Disposition::Default))
}

/// Lets this process run on every CPU that its cgroup allows: a caller that is pinned, as an engine
/// often is, does not mean its containers. The kernel cuts the mask down to the CPUs that exist and
/// to those of the cpuset; since Linux 6.2 it also remembers it when the cpuset grows later.
/// sched_setaffinity(2).
///
/// A kernel or a filter that refuses leaves the caller's CPUs, which is no reason to fail.
pub fn use_every_cpu() {
    // No kernel is built for more than 8192.
    let mask = [u64::MAX; 8192 / 64];
    // SAFETY: the kernel reads as much of the mask as its own is long, and this one at most.
    unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask), &mask) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status =
            b"Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001000\nSigCgt:\t0\n";
        assert_eq!(ignored_signals(status), Some(1 << 63 | 1 << 12));
        // A list of groups may be longer than what is read.
        assert_eq!(ignored_signals(b"Name:\tx\nGroups:\t1 2 3"), None);
    }
}
