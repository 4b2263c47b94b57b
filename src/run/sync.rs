//! What the runtime and init say to each other.
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
//!  In `run` and `exec` the last Go of the runtime goes ahead of Ready, if nothing is to be done
//!  between the two.
//!
//!  At any moment init may say Failure{step, call, errno, note} and exit.
//! ```
//!
//! The end of file before `Executing` means that init died. The runtime's end of file means that
//! the runtime died: init exits, and the kernel takes its namespaces with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::plan::Position;
use crate::sys::{Fail, Reported, Sys, path, socket};

/// The part of a hook's state that goes into one message: far below the default socket buffer. The
/// annotations of a state have no limit.
const PART: usize = 32 * 1024;
const LAST: u8 = b'G';
const MORE: u8 = b'S';
const REPORT_LENGTH: usize = 8 + Reported::LENGTH;

/// A report, and the descriptor that came along; nothing at the end of file.
pub type Received = Option<(Report, Option<OwnedFd>)>;

/// From init to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The mounts are there: run the hooks of the runtime and tell the state.
    Hooks,
    /// The pseudo-terminal comes along.
    Console,
    /// Everything but the user process is there; the container's root comes along. The number is
    /// the candidate that will be executed.
    Ready(u32),
    /// execve comes next. A seccomp filter that comes before may keep init from saying what fails.
    Executing { filtered: bool },
    /// The filter is loaded; its listener is this descriptor of the process.
    Listener(i32),
    /// The intermediate process has made init, with this pid.
    Pid(i32),
    /// Open the host's path of this step below the root that comes along, init's own.
    Reach(Position),
    /// The source of this step comes along, copied by a process that does nothing else.
    Tree(Position),
    /// Map the ids of the mount that comes along, that of this step.
    MapIds(Position),
    /// A step failed.
    Failure(Failure),
}

/// Where init failed. The runtime has the plan and finds the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which step; `None` is what init does for itself.
    pub step: Option<Position>,
    /// How.
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

    /// `None` for a message that no init of this program sends.
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

    /// Sends it by write(2), which a seccomp filter that asks a listener must allow.
    pub fn write(self, socket: BorrowedFd) -> Sys<()> {
        path::write_all(socket, &self.encode())
    }

    /// Sends it, with a descriptor if there is one.
    pub fn send(self, socket: BorrowedFd, fd: Option<BorrowedFd>) -> Sys<()> {
        socket::send(socket, &self.encode(), fd)
    }

    /// Waits for the next one; `None` at the end of file, however it came about. A process that ends
    /// with words unread resets the connection once, and what it said before is still there.
    pub fn receive(socket: BorrowedFd) -> Sys<Received> {
        match Self::receive_once(socket) {
            Err(fail) if fail.errno == Errno::ECONNRESET => Self::receive_once(socket),
            received => received,
        }
    }

    /// The same, with the reset of the connection as an error.
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

/// From the runtime to init: a go-ahead, with the state that the next hooks read (or nothing).
pub fn send_go(socket: BorrowedFd, state: &[u8]) -> Sys<()> {
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

/// From the runtime to init: what it was asked to open.
pub fn send_opened(socket: BorrowedFd, opened: BorrowedFd) -> Sys<()> {
    socket::send(socket, b"O", Some(opened))
}

/// What was said to a process that may have ended: it does not hear it, and its end, or what it said
/// before, is received next.
pub fn unless_gone(sent: Sys<()>) -> Sys<()> {
    match sent {
        Err(fail) if [Errno::EPIPE, Errno::ECONNRESET].contains(&fail.errno) => Ok(()),
        sent => sent,
    }
}

/// Waits for what the runtime opens.
///
/// # Errors
/// ECHILD when the runtime is gone.
pub fn receive_opened(socket: BorrowedFd) -> Sys<OwnedFd> {
    match socket::receive(socket, &mut [0; 1])? {
        (0, _) => Err(Fail::new("recvmsg", Errno::ECHILD)),
        (_, opened) => opened.ok_or(Fail::new("recvmsg", Errno::EPROTO)),
    }
}

/// Waits for the go-ahead; `None` when the runtime is gone.
pub fn receive_go(socket: &OwnedFd, with_state: bool) -> Sys<Option<Vec<u8>>> {
    let mut buffer = vec![0; if with_state { PART + 1 } else { 1 }];
    let mut state = Vec::new();
    loop {
        let (length, _) = socket::receive(socket.as_fd(), &mut buffer)?;
        let Some((word, part)) = buffer[..length].split_first() else {
            return Ok(None);
        };
        state.extend_from_slice(part);
        if *word == LAST {
            return Ok(Some(state));
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
    fn last_words_are_heard_though_others_were_not() {
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
    fn a_reset_is_an_error_where_it_means_something() {
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
