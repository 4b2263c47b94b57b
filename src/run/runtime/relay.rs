//! Serves a container in the foreground: forwards signals, copies the terminal's input and output,
//! and returns how the process has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;
use nix::sys::termios::{self, OutputFlags, SetArg, Termios};
use nix::unistd::isatty;

use super::sd_notify::SdNotify;
use crate::error::{Call as _, Context as _};
use crate::sys::end::End;
use crate::sys::signals::{self, SignalFd};
use crate::sys::{interrupt, io, pidfd, poll, process, terminal};

/// The objects of failures.
const SIGNALS: &str = "signals";
const TERMINAL: &str = "terminal";
const EXIT_STATUS: &str = "exit status of the process";
/// How many bytes of the container's output are read at once.
const COPIED_AT_ONCE: usize = 16 * 1024;
/// More bytes than the kernel buffers of a terminal's output. Source: TTYB_DEFAULT_MEM_LIMIT in the
/// kernel.
const BUFFERED: usize = 1024 * 1024;

/// A signalfd(2) for every signal that can be caught. The signals are blocked before the container
/// is created, so that none is lost.
pub struct Signals(SignalFd);

impl Signals {
    /// For a runtime that stays with the process: [`Signals::block`], and unless `no_subreaper`, it
    /// reaps the orphans of the container.
    ///
    /// # Errors
    /// A system call failed.
    pub fn of_foreground(no_subreaper: bool) -> Result<Self> {
        let signals = Self::block()?;
        if !no_subreaper {
            become_subreaper()?;
        }
        Ok(signals)
    }

    /// Blocks all signals, except those that end the runtime as long as there is no process to
    /// forward them to. Init unblocks its signals before it executes the program.
    ///
    /// # Errors
    /// A system call failed.
    fn block() -> Result<Self> {
        signals::block_all_but(&interrupt::ASKING)
            .and_then(|()| SignalFd::new())
            .map(Self)
            .context(SIGNALS)
    }

    /// Blocks the remaining signals too: from now on every signal is forwarded to the process.
    ///
    /// # Errors
    /// A system call failed; or the runtime was interrupted by an earlier signal.
    pub fn block_all(&self) -> Result<()> {
        super::interrupt::instead(signals::block().context(SIGNALS))
    }
}

/// Makes orphans of the container children of this process, which reaps them.
///
/// # Errors
/// prctl(2) failed.
fn become_subreaper() -> Result<()> {
    let arguments = [1, 0, 0, 0];
    process::prctl(
        "prctl(PR_SET_CHILD_SUBREAPER)",
        libc::PR_SET_CHILD_SUBREAPER,
        arguments,
    )
    .map(drop)
    .context("subreaper")
}

/// Serves the container until its process ends. Returns how it has ended.
///
/// # Errors
/// A system call failed. The caller's terminal is restored even then.
pub fn relay(
    signals: &Signals,
    pid: i32,
    pidfd: &OwnedFd,
    master: Option<OwnedFd>,
    mut notify: Option<SdNotify>,
) -> Result<End> {
    let mut terminal = master.map(Terminal::new).transpose()?;
    let end = loop {
        let input = terminal.as_ref().and_then(Terminal::wants_input);
        let output = terminal.as_ref().and_then(Terminal::wants_output);
        let mut polled = vec![
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(notify) = &notify {
            polled.push(PollFd::new(notify.fd(), PollFlags::POLLIN));
        }
        let first = polled.len();
        polled.extend(output.map(|(fd, events)| PollFd::new(fd, events)));
        polled.extend(input.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        poll::wait(&mut polled, None).context("relay")?;
        let ready = |index: usize| poll::is_ready(&polled[index]);
        let (signalled, ended) = (ready(0), ready(1));
        let notified = notify.is_some() && ready(first - 1);
        let outputs = output.is_some() && ready(first);
        let typed = input.is_some() && ready(polled.len() - 1);
        if let Some(terminal) = &mut terminal {
            terminal.serve(outputs, typed);
        }
        // The runtime keeps running and remains the manager's main process, so no MAINPID is sent.
        if notified && notify.as_ref().is_some_and(|notify| notify.serve(None)) {
            notify = None;
        }
        if signalled {
            forward(signals, pidfd, terminal.as_ref())?;
        }
        if (signalled || ended)
            && let Some(end) = reap(pid)?
        {
            break end;
        }
        if ended {
            // The pidfd is ready, but a debugger may still have to reap the process first. poll(2)
            // does not wait for that.
            break process::wait(pidfd.as_fd()).context(EXIT_STATUS)?;
        }
    };
    if let Some(terminal) = &mut terminal {
        terminal.drain();
    }
    Ok(end)
}

fn forward(signals: &Signals, pidfd: &OwnedFd, terminal: Option<&Terminal>) -> Result<()> {
    while let Some(number) = signals.0.next().context(SIGNALS)? {
        match (Signal::try_from(number), terminal) {
            (Ok(Signal::SIGCHLD | Signal::SIGURG | Signal::SIGPIPE), _) => {}
            (Ok(Signal::SIGWINCH), Some(terminal)) => resize(terminal.master.as_fd()),
            // An error means that the process has just ended and does not need the signal.
            _ => drop(pidfd::send_signal(pidfd.as_fd(), number)),
        }
    }
    Ok(())
}

/// Reaps every child that has ended. Returns the end of the container's process if it is one of
/// them.
fn reap(init: i32) -> Result<Option<End>> {
    let mut found = None;
    while let Some((pid, end)) = process::reap().context(EXIT_STATUS)? {
        if pid == init {
            found = Some(end);
        }
    }
    Ok(found)
}

/// Prepares the container's terminal, before the process can use it. It gets the size of the
/// caller's terminal. If the output goes to a file or a pipe, the terminal passes a newline on as
/// it is, so that the caller reads what the program has written, as without a terminal. A terminal
/// of the caller needs the carriage return, and full-screen programs need both terminals to agree.
///
/// # Errors
/// The settings cannot be changed.
pub fn prepare(master: BorrowedFd) -> Result<()> {
    resize(master);
    if isatty(process::standard_stream(1)).unwrap_or(false) {
        return Ok(());
    }
    let mut settings = termios::tcgetattr(master)
        .call("tcgetattr")
        .context(TERMINAL)?;
    settings.output_flags.remove(OutputFlags::ONLCR);
    termios::tcsetattr(master, SetArg::TCSANOW, &settings)
        .call("tcsetattr")
        .context(TERMINAL)
}

/// Copies the size of the caller's terminal to the container's, at first and whenever it changes.
/// Nothing is copied if the caller has no terminal, or if its terminal has size zero.
fn resize(master: BorrowedFd) {
    match terminal::size(process::standard_stream(0)) {
        Ok((0, 0)) | Err(_) => {}
        Ok((rows, columns)) => drop(terminal::set_size(master, rows, columns)),
    }
}

/// The container's terminal, connected to the caller's standard streams.
struct Terminal {
    master: OwnedFd,
    /// The settings of the caller's terminal before it became raw.
    saved: Option<Termios>,
    /// Input that has been read and not yet written to the container.
    pending: Vec<u8>,
    input_open: bool,
    master_open: bool,
}

impl Terminal {
    fn new(master: OwnedFd) -> Result<Self> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .call("fcntl")
            .context(TERMINAL)?;
        let input = process::standard_stream(0);
        let saved = if isatty(input).unwrap_or(false) {
            Some(make_raw(input)?)
        } else {
            None
        };
        Ok(Self {
            master,
            saved,
            pending: Vec::new(),
            input_open: true,
            master_open: true,
        })
    }

    fn wants_input(&self) -> Option<BorrowedFd<'static>> {
        (self.input_open && self.pending.is_empty()).then(|| process::standard_stream(0))
    }

    /// The master and the events to poll for, unless the container has closed its side.
    fn wants_output(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let out = if self.pending.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::POLLOUT
        };
        self.master_open
            .then(|| (self.master.as_fd(), PollFlags::POLLIN | out))
    }

    fn serve(&mut self, output: bool, typed: bool) {
        if typed {
            let mut buffer = [0; 4096];
            match io::read(process::standard_stream(0), &mut buffer) {
                Ok(0) | Err(_) => self.input_open = false,
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
            }
        }
        if output && self.copy_output() == Copied::Closed {
            self.master_open = false;
        }
        if self.pending.is_empty() {
            return;
        }
        match nix::unistd::write(&self.master, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.pending.clear(),
        }
    }

    fn copy_output(&mut self) -> Copied {
        let mut buffer = [0; COPIED_AT_ONCE];
        match io::read(self.master.as_fd(), &mut buffer) {
            Ok(0) => Copied::Closed,
            Err(fail) if fail.errno == Errno::EAGAIN => Copied::Nothing,
            // read(2) fails with EIO when all slaves are closed. pts(4).
            Err(_) => Copied::Closed,
            Ok(length) => {
                // If nothing reads the runtime's output, the output is lost and the container
                // continues.
                let _ = io::write_all(process::standard_stream(1), &buffer[..length]);
                Copied::Some
            }
        }
    }

    /// Copies the last output of the process, which the kernel still buffers when the process has
    /// ended. The amount is limited, because other processes may go on writing to the terminal.
    fn drain(&mut self) {
        let mut reads = BUFFERED / COPIED_AT_ONCE;
        while reads > 0 && self.copy_output() == Copied::Some {
            reads -= 1;
        }
    }
}

#[derive(PartialEq, Eq)]
enum Copied {
    Some,
    Nothing,
    Closed,
}

fn make_raw(input: BorrowedFd) -> Result<Termios> {
    let saved = termios::tcgetattr(input)
        .call("tcgetattr")
        .context(TERMINAL)?;
    let mut raw = saved.clone();
    termios::cfmakeraw(&mut raw);
    termios::tcsetattr(input, SetArg::TCSANOW, &raw)
        .call("tcsetattr")
        .context(TERMINAL)?;
    Ok(saved)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // An error means that the caller's terminal is gone, so it cannot be reported.
            let _ = termios::tcsetattr(process::standard_stream(0), SetArg::TCSADRAIN, saved);
        }
    }
}
