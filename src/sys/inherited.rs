//! Attributes that fork(2) and execve(2) pass on. The runtime starts from a known state whatever
//! its caller has, and the container's program gets a known state whatever the runtime has.
//!
//! | inherited | in the runtime | in the container's program |
//! |---|---|---|
//! | streams 0 to 2 | /dev/null if closed | the same |
//! | other descriptors | stay open | as `--preserve-fds` says, hooks none |
//! | ignored signals | SIGPIPE and SIGXFSZ, never SIGCHLD | none; the same for hooks |
//! | blocked signals | stay blocked | none; the same for hooks |
//! | umask | cleared for the owner, set for others' write permission | as the config says |
//! | RLIMIT_NOFILE | raised where it is too low | the caller's, unless the config sets it |
//! | CPU affinity | unchanged: at worst the runtime is slower | every CPU that the cgroup allows |
//!
//! For an ordinary caller each of these costs at most one system call, and only the verbs that need
//! it make the call.

use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use super::process;
use super::signals::{self, Disposition};
use super::{Fail, Sys, check, io, path};

/// Enough for the runtime's own files, sockets and namespaces, with some to spare.
const DESCRIPTORS: usize = 64;
/// The soft limit on open files that the kernel gives to the first process.
const USUAL_LIMIT: u64 = 1024;
/// The permissions of a file's owner.
const OWNER: u32 = 0o700;
/// The write permission of the group and of others.
const OTHERS_WRITE: u32 = 0o022;

/// RLIMIT_NOFILE. getrlimit(2).
#[allow(
    clippy::unnecessary_cast,
    reason = "the C libraries disagree about the type"
)]
pub const OPEN_FILES: u32 = libc::RLIMIT_NOFILE as u32;

/// The signals that the caller ignores: bit n for signal n + 1. Until [`look_at_signals`] has read
/// the real set, every signal counts as ignored.
static IGNORED: AtomicU64 = AtomicU64::new(u64::MAX);
/// The caller's soft and hard RLIMIT_NOFILE, if the runtime has raised its own.
static CALLERS_LIMIT: OnceLock<(u64, u64)> = OnceLock::new();

/// Opens /dev/null for each standard stream that the caller has closed, so that no other file gets
/// the stream's number, and ignores SIGXFSZ, so that a file that reaches RLIMIT_FSIZE is an error
/// of write(2). Every verb needs both.
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
    // One call answers both questions: poll(2) reports POLLNVAL for a closed descriptor, and fails
    // with EINVAL if the list is longer than RLIMIT_NOFILE. It skips entries with a negative
    // number.
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
            // open(2) returns the lowest free number, which is this one. The descriptor must stay
            // open across execve(2).
            // SAFETY: the path is NUL-terminated.
            let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            check("open", fd.into())?;
        }
    }
    Ok(enough)
}

/// poll(2) with a timeout of zero, which cannot be interrupted either.
fn poll(entries: &mut [libc::pollfd]) -> Sys<()> {
    // SAFETY: the pointer and the length describe the slice.
    let done = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, 0) };
    check("poll", done.into()).map(drop)
}

/// For verbs that wait for children or create files. With SIGCHLD ignored, the kernel would discard
/// the exit status of children. With the owner's permissions masked, the next verb could not open
/// the state. Other bits of the caller's umask are kept.
///
/// # Errors
/// rt_sigaction(2) failed.
pub fn prepare_for_children_and_files() -> Sys<()> {
    signals::set(libc::SIGCHLD, Disposition::Default)?;
    // umask(2) has no way to read the mask without setting it.
    let Ok(callers) = process::umask(OTHERS_WRITE) else {
        // A seccomp filter around the runtime refuses umask(2). Init needs the call for the files
        // that it creates, and reports the error there.
        return Ok(());
    };
    let wanted = callers & !OWNER | OTHERS_WRITE;
    if wanted != OTHERS_WRITE {
        let _ = process::umask(wanted);
    }
    Ok(())
}

/// Raises RLIMIT_NOFILE for `count` descriptors beside the runtime's own. [`begin`] has checked
/// that a few fit, so an ordinary container does not cost a prlimit(2).
pub fn make_room_for(count: usize) {
    if count > DESCRIPTORS / 2 {
        raise_limit((DESCRIPTORS + count) as u64);
    }
}

/// Raises RLIMIT_NOFILE to the usual limit, after [`begin`] has found that it is too low.
pub fn raise_to_usual_limit() {
    raise_limit(USUAL_LIMIT);
}

/// Raises the soft limit as far as the hard limit or CAP_SYS_RESOURCE allows. If that is not
/// enough, the call that gets EMFILE reports it.
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

/// Restores the caller's RLIMIT_NOFILE in this process: the raised limit is for the runtime alone.
///
/// # Errors
/// prlimit(2) failed.
pub fn give_back_limit() -> Sys<()> {
    match CALLERS_LIMIT.get() {
        Some(&(soft, hard)) => process::set_rlimit(0, OPEN_FILES, soft, hard),
        None => Ok(()),
    }
}

/// Gives this process, which will execute a program of the host, what a program expects of its
/// caller: the caller's limit of open files, and every signal with its default action and unblocked.
///
/// # Errors
/// A system call failed.
pub fn give_back() -> Sys<()> {
    give_back_limit()?;
    default_signals()?;
    signals::unblock()
}

/// Reads which signals the caller ignores, so that the container's program does not need an
/// rt_sigaction(2) for each of the others. proc_pid_status(5), SigIgn.
pub fn look_at_signals() {
    let mut text = Vec::with_capacity(4096);
    let read = path::open(c"/proc/self/status", libc::O_RDONLY)
        .and_then(|status| io::read_more(status.as_fd(), &mut text));
    // If the file cannot be read, every signal is reset.
    if read.is_ok()
        && let Some(ignored) = ignored_signals(&text)
    {
        IGNORED.store(ignored, Ordering::Relaxed);
    }
}

/// Whether the caller ignores `signal`, or may ignore it.
pub fn is_ignored(signal: i32) -> bool {
    IGNORED.load(Ordering::Relaxed) >> (signal - 1) & 1 != 0
}

fn ignored_signals(status: &[u8]) -> Option<u64> {
    let mut lines = status.split(|&byte| byte == b'\n');
    let mask = lines.find_map(|line| line.strip_prefix(b"SigIgn:\t"))?;
    u64::from_str_radix(std::str::from_utf8(mask).ok()?, 16).ok()
}

/// Sets each signal to its default action, including real-time signals. execve(2) preserves ignored
/// signals, and nohup(1), Python and a shell's background jobs start programs with some of them
/// ignored.
///
/// # Errors
/// rt_sigaction(2) failed: the program would ignore a signal that is meant to end it.
pub fn default_signals() -> Sys<()> {
    let mut all = (1..=signals::LAST).filter(|&signal| is_ignored(signal));
    all.try_for_each(|signal| signals::set(signal, Disposition::Default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status =
            b"Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t8000000000001000\nSigCgt:\t0\n";
        assert_eq!(ignored_signals(status), Some(1 << 63 | 1 << 12));
        // A long list of groups can push SigIgn beyond the part that is read.
        assert_eq!(ignored_signals(b"Name:\tx\nGroups:\t1 2 3"), None);
    }
}
