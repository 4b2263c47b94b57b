//! The messages between the runtime and init.
//!
//! ```text
//!  runtime                                   init
//!     │  clone3 ─────────────────────────────▶ │
//!     │  (new user namespace: id maps)         │
//!     │ ── Go ────────────────────────────────▶│  namespaces, mounts, devices
//!     │ ── Opened + network namespace ────────▶│  (only with one made meanwhile)
//!     │ ◀────────────────────── Reach(n) + root│  (only with a user namespace: a path
//!     │ ── Opened + path ─────────────────────▶│  of the host, for each that a step needs)
//!     │ ◀───────────────────── MapIds(n) + tree│  (only with mapped ids of a mount)
//!     │ ── Go ────────────────────────────────▶│
//!     │ ◀──────────────────────────────── Hooks│  (only with hooks of `create`)
//!     │  prestart, createRuntime               │
//!     │ ── Go + state ────────────────────────▶│  createContainer, masks, pivot_root
//!     │ ◀────────────────────── Console + ptmx │  (only with a terminal)
//!     │                                        │  user, capabilities, executable found
//!     │ ◀───────────────── Ready + root        │
//!     │  rlimits, executable read, state.json  │
//!     │ ── Go ────────────────────────────────▶│  now `start` may speak
//!     ╵                                        │
//!  start (or the same `run`)                   │
//!     │ ── Go + state ────────────────────────▶│  startContainer
//!     │ ◀──────────────────────────── Executing│  seccomp
//!     │ ◀──────────────────────────── Listener │  (only with a filter that asks one)
//!     │ ── Go ────────────────────────────────▶│
//!     │ ◀───────────────────────── end of file │  execve closed the connection
//!
//!  In `run` and `exec` the runtime sends its last Go before it receives Ready, if nothing has to
//!  be done between the two.
//!
//!  At any moment init may send Failure{step, call, errno, note} and exit.
//!
//!  exec of an ordinary user, before start
//!     │ ── Namespaces ────────────────────────▶│
//!     │ ◀──────────────────── Opened, for each │
//!     │ ◀───────────────────────── end of file │  init accepts the next client
//! ```
//!
//! End of file before `Executing` tells the runtime that init died. End of file tells init that the
//! runtime died: init exits, and the kernel removes its namespaces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::plan::Position;
use crate::sys::{Fail, Reported, Sys, io, socket};

/// The number of bytes of a hook's state that are sent in one message. It is far below the default
/// socket buffer. A state has to be split, because its annotations have no limit.
const PART: usize = 32 * 1024;
const LAST: u8 = b'G';
const MORE: u8 = b'S';
const NAMESPACES: u8 = b'N';
const REPORT_LENGTH: usize = 8 + Reported::LENGTH;

/// A report with the descriptor that was sent with it; `None` at the end of file.
pub(super) type Received = Option<(Report, Option<OwnedFd>)>;

/// A message from init to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The mounts are complete: run the hooks of the runtime and send the state.
    Hooks,
    /// The pseudo-terminal is complete; its master is attached.
    Console,
    /// The container is complete except for its program; the root is attached. The number is the
    /// candidate that will be executed.
    Ready(u32),
    /// execve(2) is next. If a seccomp filter is loaded before it, the filter may keep init from
    /// reporting a failure.
    Executing { filtered: bool },
    /// The filter is loaded; its listener is this descriptor of the process.
    Listener(i32),
    /// The intermediate process has made init, with this pid.
    Pid(i32),
    /// Open the host's path of this step below init's root, which is attached.
    Reach(Position),
    /// The source of this step is attached. It was copied by a process that does nothing else.
    Tree(Position),
    /// Map the ids of this step's mount, which is attached.
    MapIds(Position),
    /// A step failed.
    Failure(Failure),
}

/// A failure of init. The runtime, which has the plan, turns it into an error text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed; `None` for an operation of init that is not a step of the plan.
    pub step: Option<Position>,
    /// The system call, its errno and a note.
    pub told: Reported,
}

impl Failure {
    /// A failed step.
    pub fn new(step: Option<Position>, told: impl Into<Reported>) -> Self {
        Self {
            step,
            told: told.into(),
        }
    }

    fn number(&self) -> u32 {
        self.step.map_or(u32::MAX, Position::number)
    }
}

impl Report {
    fn encode(self) -> [u8; REPORT_LENGTH] {
        let (kind, value) = match self {
            Self::Hooks => (1u32, 0),
            Self::Console => (2, 0),
            Self::Ready(candidate) => (3, candidate),
            Self::Executing { filtered } => (4, filtered.into()),
            Self::Pid(pid) => (5, pid as u32),
            Self::Failure(failure) => (6, failure.number()),
            Self::Reach(step) => (7, step.number()),
            Self::Listener(fd) => (8, fd as u32),
            Self::MapIds(step) => (9, step.number()),
            Self::Tree(step) => (10, step.number()),
        };
        let mut bytes = [0; REPORT_LENGTH];
        bytes[0..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&value.to_ne_bytes());
        if let Self::Failure(failure) = self {
            bytes[8..].copy_from_slice(&failure.told.encode());
        }
        bytes
    }

    /// Decodes a message. Returns `None` for a message that no init of this program sends.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let value = word(4)?;
        Some(match word(0)? {
            1 => Self::Hooks,
            2 => Self::Console,
            3 => Self::Ready(value),
            4 => Self::Executing {
                filtered: value != 0,
            },
            5 => Self::Pid(value as i32),
            6 => Self::Failure(Failure {
                step: Position::from_number(value),
                told: Reported::decode(bytes.get(8..)?)?,
            }),
            7 => Self::Reach(Position::from_number(value)?),
            8 => Self::Listener(value as i32),
            9 => Self::MapIds(Position::from_number(value)?),
            10 => Self::Tree(Position::from_number(value)?),
            _ => return None,
        })
    }

    /// Sends the report with write(2), which a seccomp filter with a listener must allow.
    pub fn write(self, socket: BorrowedFd) -> Sys<()> {
        io::write_all(socket, &self.encode())
    }

    /// Sends the report, with a descriptor if there is one.
    pub fn send(self, socket: BorrowedFd, fd: Option<BorrowedFd>) -> Sys<()> {
        socket::send(socket, &self.encode(), fd)
    }

    /// Waits for the next report. Returns `None` at the end of file, also after a reset: a process
    /// that ends with unread messages resets the connection once, but the reports that it sent
    /// before can still be received.
    pub fn receive(socket: BorrowedFd) -> Sys<Received> {
        match Self::receive_once(socket) {
            Err(fail) if fail.errno == Errno::ECONNRESET => Self::receive_once(socket),
            received => received,
        }
    }

    /// The same, but a reset of the connection is an error.
    pub fn receive_once(socket: BorrowedFd) -> Sys<Received> {
        let mut buffer = [0; REPORT_LENGTH];
        let (length, fd) = socket::receive(socket, &mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        let report = Self::decode(&buffer[..length]).ok_or(Fail::new("recvmsg", Errno::EPROTO))?;
        Ok(Some((report, fd)))
    }
}

/// How long a step took. Init writes one into a pipe after each step, if the caller asks for timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StepTime {
    pub step: Position,
    pub took: Duration,
}

impl StepTime {
    const LENGTH: usize = 12;

    fn encode(self) -> [u8; Self::LENGTH] {
        let nanoseconds = u64::try_from(self.took.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&self.step.number().to_ne_bytes());
        bytes[4..].copy_from_slice(&nanoseconds.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (step, nanoseconds) = bytes.split_first_chunk()?;
        Some(Self {
            step: Position::from_number(u32::from_ne_bytes(*step))?,
            took: Duration::from_nanos(u64::from_ne_bytes(nanoseconds.try_into().ok()?)),
        })
    }

    /// Writes it. A pipe that is full loses it, rather than that init waits.
    pub(super) fn write(self, pipe: BorrowedFd) {
        let _ = io::write_all(pipe, &self.encode());
    }

    /// Reads what the pipe has.
    pub(super) fn read_all(pipe: BorrowedFd) -> Vec<Self> {
        let mut found = Vec::new();
        let mut buffer = [0; Self::LENGTH * 64];
        while let Ok(length @ 1..) = io::read(pipe, &mut buffer) {
            found.extend(
                buffer[..length]
                    .chunks(Self::LENGTH)
                    .filter_map(Self::decode),
            );
        }
        found
    }
}

/// Sends init a go-ahead, with the state that the next hooks read, which may be empty.
pub(super) fn send_go(socket: BorrowedFd, state: &[u8]) -> Sys<()> {
    let mut rest = state;
    loop {
        let (part, after) = rest.split_at(rest.len().min(PART));
        let word = if after.is_empty() { LAST } else { MORE };
        socket::send(socket, &[&[word], part].concat(), None)?;
        if after.is_empty() {
            return Ok(());
        }
        rest = after;
    }
}

/// Sends init the file that the runtime has opened for it.
pub(super) fn send_opened(socket: BorrowedFd, opened: BorrowedFd) -> Sys<()> {
    socket::send(socket, b"O", Some(opened))
}

/// Whether the other end of the connection is closed.
pub(super) fn is_end(fail: &Fail) -> bool {
    matches!(fail.errno, Errno::EPIPE | Errno::ECONNRESET)
}

/// Whether init does not serve its socket any more: it has been started, or has ended.
pub(super) fn is_left(fail: &Fail) -> bool {
    is_end(fail) || matches!(fail.errno, Errno::ECONNREFUSED | Errno::ENOENT)
}

/// Ignores a failure to send because the receiver has ended. The runtime next receives the end of
/// file, or the reports that the process sent before it ended.
pub(super) fn unless_gone(sent: Sys<()>) -> Sys<()> {
    match sent {
        Err(fail) if is_end(&fail) => Ok(()),
        sent => sent,
    }
}

/// Waits for a file that the runtime opens.
///
/// # Errors
/// ECHILD when the runtime is gone.
pub fn receive_opened(socket: BorrowedFd) -> Sys<OwnedFd> {
    match socket::receive(socket, &mut [0; 1])? {
        (0, _) => Err(Fail::new("recvmsg", Errno::ECHILD)),
        (_, opened) => opened.ok_or(Fail::new("recvmsg", Errno::EPROTO)),
    }
}

/// What a client of init's socket wants.
pub(super) enum Request {
    /// To start the container. The state is for the next hooks.
    Start(Vec<u8>),
    /// The namespaces of init.
    Namespaces,
}

/// Asks init for its namespaces, which it sends one by one like [`send_opened`].
pub(super) fn ask_for_namespaces(socket: BorrowedFd) -> Sys<()> {
    socket::send(socket, &[NAMESPACES], None)
}

/// Waits for a go-ahead. Returns `None` if the runtime is gone.
pub fn receive_go(socket: &OwnedFd, with_state: bool) -> Sys<Option<Vec<u8>>> {
    match receive_request(socket, with_state)? {
        Some(Request::Start(state)) => Ok(Some(state)),
        Some(Request::Namespaces) => Err(Fail::new("recvmsg", Errno::EPROTO)),
        None => Ok(None),
    }
}

/// Waits for a request. Returns `None` if the client is gone.
pub(super) fn receive_request(socket: &OwnedFd, with_state: bool) -> Sys<Option<Request>> {
    let mut buffer = vec![0; if with_state { PART + 1 } else { 1 }];
    let mut state = Vec::new();
    loop {
        let (length, _) = socket::receive(socket.as_fd(), &mut buffer)?;
        let Some((word, part)) = buffer[..length].split_first() else {
            return Ok(None);
        };
        state.extend_from_slice(part);
        match *word {
            LAST => return Ok(Some(Request::Start(state))),
            NAMESPACES => return Ok(Some(Request::Namespaces)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_socket() {
        let (one, other) = socket::pair().unwrap();
        let failure = Failure::new(
            Some(Position::init(7)),
            Fail::new("mount_setattr", Errno::EPERM),
        );
        let reports = [
            Report::Hooks,
            Report::Console,
            Report::Ready(3),
            Report::Executing { filtered: false },
            Report::Executing { filtered: true },
            Report::Pid(1234),
            Report::Reach(Position::init(9)),
            Report::MapIds(Position::init(3)),
            Report::Listener(5),
            Report::Failure(failure),
        ];
        for report in reports {
            report.send(one.as_fd(), None).unwrap();
            let (got, fd) = Report::receive(other.as_fd()).unwrap().unwrap();
            assert_eq!(got, report);
            assert!(fd.is_none());
        }
        drop(one);
        assert!(Report::receive(other.as_fd()).unwrap().is_none());
    }

    #[test]
    fn the_last_report_is_received_although_a_message_was_not_read() {
        let (one, other) = socket::pair().unwrap();
        let failure = Report::Failure(Failure::new(
            Some(Position::init(7)),
            Fail::new("mount", Errno::EPERM),
        ));
        send_go(one.as_fd(), &[]).unwrap();
        failure.send(other.as_fd(), None).unwrap();
        drop(other);
        let (got, _) = Report::receive(one.as_fd()).unwrap().unwrap();
        assert_eq!(got, failure);
        assert!(Report::receive(one.as_fd()).unwrap().is_none());
        unless_gone(send_go(one.as_fd(), &[])).unwrap();
    }

    #[test]
    fn receive_once_reports_a_reset_as_an_error() {
        let (one, other) = socket::pair().unwrap();
        send_go(one.as_fd(), &[]).unwrap();
        drop(other);
        let fail = Report::receive_once(one.as_fd()).unwrap_err();
        assert_eq!(fail.errno, Errno::ECONNRESET);
        assert!(Report::receive(one.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_state_of_any_length_arrives() {
        for length in [0, 1, PART, PART + 1, 10 * PART] {
            let (one, other) = socket::pair().unwrap();
            let state: Vec<u8> = (0..length).map(|number| number as u8).collect();
            std::thread::scope(|scope| {
                scope.spawn(|| send_go(one.as_fd(), &state).unwrap());
                assert_eq!(receive_go(&other, true).unwrap().unwrap(), state);
            });
        }
    }

    #[test]
    fn foreign_messages_are_refused() {
        for bytes in [
            &[][..],
            &[9; 3],
            &[0xff; REPORT_LENGTH],
            &[6, 0, 0, 0, 1, 0, 0, 0],
        ] {
            assert_eq!(Report::decode(bytes), None);
        }
    }
}
