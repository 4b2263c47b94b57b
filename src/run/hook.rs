//! Runs one hook, a program that reads the container's state on its standard input.
//!
//! A hook gets streams of its own. Its output belongs neither to the container nor to the runtime,
//! whose streams may be closed or read-only. The end of the output is kept for the error, because
//! it is not shown anywhere else.
//!
//! The runtime and init share this code, so it uses only system calls.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek};

use crate::plan::HookStep;
use crate::sys::end::End;
use crate::sys::exec::{self, StringArray};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Note, Reported, Sys, file, inherited, interrupt, io, path, poll, signals};

/// How many bytes of a hook's output are kept. They fit into one page together with the mark of a
/// cut.
const KEPT: usize = 4000;
/// How many bytes every pipe can hold. pipe(7).
const SMALLEST_PIPE: usize = 4096;
/// How often [`SMALLEST_PIPE`] bytes are read after the hook has ended. Together that is the
/// capacity of an ordinary pipe.
const LAST_READS: usize = 16;

/// A hook that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HookFail {
    /// The failed system call, or how the hook ended.
    pub told: Reported,
    /// The end of its output on both streams, without surrounding white space.
    pub output: Vec<u8>,
}

/// The working directory and the environment of a hook.
pub(super) struct Surroundings<'a> {
    pub directory: Directory<'a>,
    /// The environment, if the config has none for the hook.
    pub environment: &'a StringArray<'a>,
    /// The files for stdout and stderr, if their paths cannot be reached any more.
    pub streams: Option<&'a Streams>,
}

/// The working directory of a hook.
#[derive(Clone, Copy)]
pub(super) enum Directory<'a> {
    /// This path, or `/` if it does not exist: engines delete containers whose bundle is already
    /// gone.
    Path(&'a CStr),
    Open(BorrowedFd<'a>),
    /// The working directory of this process, which waits to execute the container's program.
    Own,
}

/// Runs a hook and waits for its end.
///
/// # Errors
/// The hook could not be executed, failed, or timed out. The error has the end of its output.
pub(super) fn run(hook: &HookStep, around: &Surroundings, state: &[u8]) -> Result<(), HookFail> {
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
    // The child reports a failed execve(2) on a pipe that a successful execve(2) closes.
    let (failed, fail_end) = pipe()?;
    let (printed, print_end) = pipe()?;
    let input = filled_pipe(state)?;
    let opened;
    let files = match around.streams {
        Some(streams) => streams,
        None => {
            opened = open_streams(hook)?;
            &opened
        }
    };
    let pidfd = match process::clone3(0, None, false)? {
        Cloned::Child => {
            let streams = files.each_ref().map(|it| it.as_ref().unwrap_or(&print_end));
            execute(hook, around, &input, streams, &fail_end)
        }
        Cloned::Parent { pidfd, .. } => Rc::new(pidfd),
    };
    let _aim = interrupt::aim_meanwhile(&pidfd);
    // This process must not hold the write end of a pipe that it reads, or it would never see the
    // end of file.
    let closed = [input, print_end, fail_end]
        .into_iter()
        .try_for_each(file::close);
    let ended = closed
        .and_then(|()| file::set_flags(printed.as_fd(), OFlag::O_NONBLOCK))
        .and_then(|()| wait(hook, pidfd.as_fd(), printed.as_fd(), output));
    let ended = ended.inspect_err(|_| process::end(pidfd.as_fd()));
    // The number of reads is limited, because a process that the hook left behind may print
    // forever.
    let mut reads = LAST_READS;
    while reads > 0 && output.read(printed.as_fd()) == Read::Some {
        reads -= 1;
    }
    match ended? {
        End::Exited(0) => Ok(()),
        end => Err(not_executed(failed.as_fd())?.unwrap_or_else(|| {
            let fail = Fail::new("waitid", Errno::ECHILD);
            fail.note(Note::Ended(end.status().into())).into()
        })),
    }
}

/// The files for stdout and stderr. The output in a file is not kept for the error.
pub(super) type Streams = [Option<OwnedFd>; 2];

/// Opens the files. They block the hook, not the runtime: it waits if the reader of a FIFO is slow.
pub(super) fn open_streams(hook: &HookStep) -> Sys<Streams> {
    let [stdout, stderr] = &hook.streams;
    let open_one = |file: &CString| {
        let opened = file::open_to_write(None, file, libc::O_APPEND | libc::O_CREAT);
        let opened = opened.map_err(|fail| fail.note(Note::HookStream))?;
        file::set_flags(opened.as_fd(), OFlag::O_APPEND)?;
        Ok(opened)
    };
    let open = |file: &Option<CString>| file.as_ref().map(open_one).transpose();
    Ok([open(stdout)?, open(stderr)?])
}

fn pipe() -> Sys<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| Fail::new("pipe2", errno))
}

/// Makes a pipe, writes all of `content` to it, and returns its read end. The pipe is filled before
/// a process reads it, so a reader that does not want the content cannot kill the writer by
/// SIGPIPE, and a slow reader cannot block it.
///
/// # Errors
/// pipe2(2) failed, or memfd_create(2) for a content that is longer than the user's pipes may be.
/// pipe(7).
pub(super) fn filled_pipe(content: &[u8]) -> Sys<OwnedFd> {
    let (input, input_end) = pipe()?;
    let fail = |op| move |errno| Fail::new(op, errno);
    if content.len() > SMALLEST_PIPE {
        let wanted = i32::try_from(content.len()).unwrap_or(i32::MAX);
        let size =
            fcntl(&input_end, FcntlArg::F_GETPIPE_SZ).map_err(fail("fcntl(F_GETPIPE_SZ)"))?;
        if size < wanted {
            match fcntl(&input_end, FcntlArg::F_SETPIPE_SZ(wanted)) {
                Err(Errno::EPERM) => return filled_file(content),
                resized => resized.map_err(fail("fcntl(F_SETPIPE_SZ)"))?,
            };
        }
    }
    io::write_all(input_end.as_fd(), content)?;
    file::close(input_end)?;
    Ok(input)
}

/// A file in memory instead of a pipe.
fn filled_file(content: &[u8]) -> Sys<OwnedFd> {
    let made = memfd_create(c"input", MFdFlags::MFD_CLOEXEC);
    let made = made.map_err(|errno| Fail::new("memfd_create", errno))?;
    io::write_all(made.as_fd(), content)?;
    lseek(&made, 0, Whence::SeekSet).map_err(|errno| Fail::new("lseek", errno))?;
    Ok(made)
}

/// Reads the content of a [`filled_pipe`] from init. The content is complete, so this does not
/// wait.
pub(super) fn printed(pipe: BorrowedFd) -> Vec<u8> {
    let mut content = vec![0; SMALLEST_PIPE];
    let read = file::set_flags(pipe, OFlag::O_NONBLOCK).and_then(|()| io::read(pipe, &mut content));
    content.truncate(read.unwrap_or(0));
    content
}

fn execute(
    hook: &HookStep,
    around: &Surroundings,
    input: &OwnedFd,
    streams: [&OwnedFd; 2],
    failed: &OwnedFd,
) -> ! {
    let fail = prepare(around.directory, input, streams)
        .err()
        .unwrap_or_else(|| {
            let args = StringArray::from(hook.args.as_slice());
            match &hook.env {
                Some(env) => exec::execve(&hook.path, &args, &StringArray::from(env.as_slice())),
                None => exec::execve(&hook.path, &args, around.environment),
            }
        });
    let _ = io::write_all(failed.as_fd(), &Reported::from(fail).encode());
    process::exit(127)
}

fn prepare(directory: Directory, input: &OwnedFd, streams: [&OwnedFd; 2]) -> Sys<()> {
    match directory {
        Directory::Path(path) => path::chdir(path).or_else(|_| path::chdir(c"/"))?,
        Directory::Open(directory) => path::fchdir(directory)?,
        Directory::Own => {}
    }
    process::dup_over(input.as_fd(), 0)?;
    process::dup_over(streams[0].as_fd(), 1)?;
    process::dup_over(streams[1].as_fd(), 2)?;
    // A hook must not inherit the descriptors that the caller preserves for the container.
    process::close_on_exec_from(3)?;
    // Init has already done this before it runs a startContainer hook.
    match directory {
        Directory::Own => signals::unblock(),
        Directory::Path(_) | Directory::Open(_) => inherited::give_back(),
    }
}

/// Returns the failure that kept the hook from being executed, if there was one.
fn not_executed(failed: BorrowedFd) -> Sys<Option<Reported>> {
    let mut told = [0; Reported::LENGTH];
    let length = io::read(failed, &mut told)?;
    Ok(Reported::decode(&told[..length]))
}

/// Waits for the hook to end. The end of the pipe is not enough, because a process that the hook
/// left behind may keep it open.
fn wait(hook: &HookStep, pidfd: BorrowedFd, printed: BorrowedFd, output: &mut Tail) -> Sys<End> {
    let start = Instant::now();
    let mut open = true;
    loop {
        let left = hook
            .timeout
            .map(|limit| limit.saturating_sub(start.elapsed()));
        let mut polled = [pidfd, printed].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let polled = &mut polled[..if open { 2 } else { 1 }];
        poll::wait(polled, left)?;
        let ready = |at: usize| polled.get(at).is_some_and(poll::is_ready);
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

/// The end of the output.
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
    /// Reads once. A read error is treated as the end of the output, because it is not a reason to
    /// stop the hook.
    fn read(&mut self, pipe: BorrowedFd) -> Read {
        let mut buffer = [0; SMALLEST_PIPE];
        match io::read(pipe, &mut buffer) {
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
