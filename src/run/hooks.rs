//! One hook: a program that reads the container's state on its standard input.
//!
//! A hook has streams of its own. What it prints is neither the container's output nor the
//! runtime's, whose streams may be closed or for reading only; the end of it is kept for the error,
//! because nobody else will see it.
//!
//! The same code serves the runtime and init, so it uses system calls only.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::plan::HookStep;
use crate::sys::process::{self, Cloned, StringArray};
use crate::sys::{Fail, Note, Reported, Sys, file, inherited, interrupt, path, signals};

/// How much of a hook's output is kept: what one page holds with the mark of a cut.
const KEPT: usize = 4000;
/// What any pipe holds. pipe(7).
const SMALLEST_PIPE: usize = 4096;
/// How often [`SMALLEST_PIPE`] is read after the hook has ended: all that an ordinary pipe holds.
const LAST_READS: usize = 16;

/// A hook that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookFail {
    /// The call, or how the hook ended.
    pub told: Reported,
    /// The end of what it printed on both streams, without white space around.
    pub output: Vec<u8>,
}

/// What a hook finds around it.
pub struct Surroundings<'a> {
    pub directory: Directory<'a>,
    /// The environment of a hook for which the config has none.
    pub environment: &'a StringArray<'a>,
}

/// Where a hook starts.
#[derive(Clone, Copy)]
pub enum Directory<'a> {
    /// This one, or `/` if it is gone: callers delete containers whose bundle no longer exists.
    Path(&'a CStr),
    Open(BorrowedFd<'a>),
    /// Where this process is, which waits to execute the container's program.
    Own,
}

/// Runs a hook to its end.
///
/// # Errors
/// It could not be run, failed, or ran too long, with what it printed last.
pub fn run(hook: &HookStep, around: &Surroundings, state: &[u8]) -> Result<(), HookFail> {
    let mut output = Tail::default();
    run_to_end(hook, around, state, &mut output).map_err(|told| HookFail {
        told,
        output: output.trimmed(),
    })
}

fn run_to_end(
    hook: &HookStep,
    around: &Surroundings,
    state: &[u8],
    output: &mut Tail,
) -> Result<(), Reported> {
    // The program's own failure to start comes back on a pipe that execve closes.
    let (failed, fail_end) = pipe()?;
    let (printed, print_end) = pipe()?;
    let input = filled_pipe(state)?;
    let pidfd = match process::clone3(0, None, false)? {
        Cloned::Child => execute(hook, around, &input, &print_end, &fail_end),
        Cloned::Parent { pidfd, .. } => Rc::new(pidfd),
    };
    let _aim = interrupt::aim_meanwhile(&pidfd);
    // Otherwise this process would wait for its own end of a pipe.
    let closed = [input, print_end, fail_end]
        .into_iter()
        .try_for_each(file::close);
    let ended = closed
        .and_then(|()| set_nonblocking(printed.as_fd()))
        .and_then(|()| wait(hook, pidfd.as_fd(), printed.as_fd(), output));
    let status = ended.inspect_err(|_| process::end(pidfd.as_fd()));
    // A process that the hook left behind may print for ever.
    let mut reads = LAST_READS;
    while reads > 0 && output.read(printed.as_fd()) == Read::Some {
        reads -= 1;
    }
    match status? {
        0 => Ok(()),
        status => Err(not_executed(failed.as_fd())?.unwrap_or_else(|| {
            let ended = Fail::new("waitid", Errno::ECHILD);
            ended.note(Note::Ended(status)).into()
        })),
    }
}

fn pipe() -> Sys<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| Fail::new("pipe2", errno))
}

/// The end to read of a pipe that holds all of `content`. It is written before anybody reads, so that a
/// reader that does not want it ends nobody by SIGPIPE, and one that is slow blocks nobody.
///
/// # Errors
/// pipe2(2) failed, or the content is longer than the user's pipes may be. pipe(7).
pub fn filled_pipe(content: &[u8]) -> Sys<OwnedFd> {
    let (input, input_end) = pipe()?;
    let fail = |op| move |errno| Fail::new(op, errno);
    if content.len() > SMALLEST_PIPE {
        let wanted = i32::try_from(content.len()).unwrap_or(i32::MAX);
        let size =
            fcntl(&input_end, FcntlArg::F_GETPIPE_SZ).map_err(fail("fcntl(F_GETPIPE_SZ)"))?;
        if size < wanted {
            fcntl(&input_end, FcntlArg::F_SETPIPE_SZ(wanted))
                .map_err(fail("fcntl(F_SETPIPE_SZ)"))?;
        }
    }
    path::write_all(input_end.as_fd(), content)?;
    file::close(input_end)?;
    Ok(input)
}

/// What init has put into a [`filled_pipe`]. Nothing of it comes later, and nothing is waited for.
pub fn printed(pipe: BorrowedFd) -> Vec<u8> {
    let mut content = vec![0; SMALLEST_PIPE];
    let read = set_nonblocking(pipe).and_then(|()| path::read(pipe, &mut content));
    content.truncate(read.unwrap_or(0));
    content
}

fn set_nonblocking(pipe: BorrowedFd) -> Sys<()> {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map(drop)
        .map_err(|errno| Fail::new("fcntl(F_SETFL)", errno))
}

fn execute(
    hook: &HookStep,
    around: &Surroundings,
    input: &OwnedFd,
    output: &OwnedFd,
    failed: &OwnedFd,
) -> ! {
    let fail = prepare(around.directory, input, output)
        .err()
        .unwrap_or_else(|| {
            let args = StringArray::from(hook.args.as_slice());
            match &hook.env {
                Some(env) => process::execve(&hook.path, &args, &StringArray::from(env.as_slice())),
                None => process::execve(&hook.path, &args, around.environment),
            }
        });
    let _ = path::write_all(failed.as_fd(), &Reported::from(fail).encode());
    process::exit(127)
}

fn prepare(directory: Directory, input: &OwnedFd, output: &OwnedFd) -> Sys<()> {
    match directory {
        Directory::Path(path) => path::chdir(path).or_else(|_| path::chdir(c"/"))?,
        Directory::Open(directory) => path::fchdir(directory)?,
        Directory::Own => {}
    }
    process::dup_over(input.as_fd(), 0)?;
    process::dup_over(output.as_fd(), 1)?;
    process::dup_over(output.as_fd(), 2)?;
    // Descriptors that the caller preserves for the container are none of the hook's business.
    process::close_on_exec_from(3)?;
    // Beside the process these are the process's own already.
    if !matches!(directory, Directory::Own) {
        inherited::give_back_limit()?;
        inherited::default_signals()?;
    }
    signals::unblock()
}

/// Why a hook that has ended was not executed, if it was not.
fn not_executed(failed: BorrowedFd) -> Sys<Option<Reported>> {
    let mut told = [0; Reported::LENGTH];
    let length = path::read(failed, &mut told)?;
    Ok(Reported::decode(&told[..length]))
}

/// Waits for the hook itself. A process that it leaves behind may keep the pipe open.
fn wait(hook: &HookStep, pidfd: BorrowedFd, printed: BorrowedFd, output: &mut Tail) -> Sys<i32> {
    let start = Instant::now();
    let mut open = true;
    loop {
        let left = hook
            .timeout
            .map(|limit| limit.saturating_sub(start.elapsed()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            // Rounded up, so that the last millisecond does not spin.
            let left = left.as_millis() + u128::from(!left.is_zero());
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut polled = [pidfd, printed].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let polled = &mut polled[..if open { 2 } else { 1 }];
        match poll(polled, timeout) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Fail::new("poll", errno)),
            Ok(_) => {}
        }
        let ready = |at: usize| polled.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
        if ready(0) {
            return process::wait(pidfd);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Err(Fail::new("waitid", Errno::ETIMEDOUT).note(Note::TimedOut));
        }
        if ready(1) {
            open = output.read(printed) != Read::End;
        }
    }
}

/// The end of what was printed.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

#[derive(PartialEq, Eq)]
enum Read {
    Some,
    NothingYet,
    End,
}

impl Tail {
    /// Reads once. What cannot be read is no reason to stop a hook.
    fn read(&mut self, pipe: BorrowedFd) -> Read {
        let mut buffer = [0; SMALLEST_PIPE];
        match path::read(pipe, &mut buffer) {
            Ok(0) => Read::End,
            Ok(length) => {
                self.push(&buffer[..length]);
                Read::Some
            }
            Err(fail) if fail.errno == Errno::EAGAIN => Read::NothingYet,
            Err(_) => Read::End,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
            self.cut = true;
        }
    }

    fn trimmed(&self) -> Vec<u8> {
        let mark = if self.cut { "…" } else { "" };
        [mark.as_bytes(), self.bytes.trim_ascii()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_kept() {
        let mut tail = Tail::default();
        assert_eq!(tail.trimmed(), b"");
        tail.push(b"\n first\n");
        tail.push(b"second\n\n");
        assert_eq!(tail.trimmed(), b"first\nsecond");
        tail.push(&[b'x'; 2 * KEPT]);
        tail.push(b"last");
        let text = String::from_utf8(tail.trimmed()).unwrap();
        assert!(
            text.starts_with("…xxx") && text.ends_with("xxxlast"),
            "{text}"
        );
        assert!(
            text.len() <= SMALLEST_PIPE,
            "what init reports fits into a pipe"
        );
    }
}
