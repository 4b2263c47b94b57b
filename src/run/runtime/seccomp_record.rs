//! Records the system calls of a container. The filter asks about each call, and a process of the
//! runtime's answers until no process has the filter any more. Then it writes the profile.
//!
//! It is a process of its own because `start` returns while the container runs. It holds nothing but
//! the file and its directory, the listeners, and a socket on which `exec` gives it the listener of one more process.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags};

use crate::error::{Call as _, Context as _, Error};
use crate::plan::seccomp::record;
use crate::state::{Dir, RECORD_SOCKET};
use crate::sys::process::{self, Cloned};
use crate::sys::seccomp_notify::{let_through, receive};
use crate::sys::{Fail, Reported, Sys, file, inherited, io, path, poll, signals, socket, stat};

fn object(file: &Path) -> String {
    format!("--seccomp-record: {}", file.display())
}

/// Checks that the file does not exist, before anything is made.
///
/// # Errors
/// It exists, or cannot be looked for.
pub(super) fn check(file: &Path) -> Result<()> {
    match stat::stat_of(file).with_context(|| object(file))? {
        None => Ok(()),
        Some(_) => bail!(exists(file)),
    }
}

fn exists(file: &Path) -> Error {
    Error::failed(object(file), Fail::new("open", Errno::EEXIST))
        .hint("a recording does not replace a file; remove it, or name another one")
}

/// Makes the file, the socket in the container's directory, and the process that answers the calls.
/// Returns the pipe on which the process reports its outcome: [`finish`].
///
/// # Errors
/// The file exists or cannot be made, or a system call failed.
pub(super) fn start(dir: &Dir, file: &Path, listener: OwnedFd) -> Result<OwnedFd> {
    let output = Output::make(file)?;
    let socket =
        socket::datagram_in(dir.fd(), RECORD_SOCKET).with_context(|| dir.object(RECORD_SOCKET))?;
    let (outcome, told) = nix::unistd::pipe2(OFlag::O_CLOEXEC)
        .call("pipe2")
        .with_context(|| object(file))?;
    match process::clone3(0, None, false).with_context(|| object(file))? {
        Cloned::Parent { .. } => Ok(outcome),
        Cloned::Child => {
            let done = alone([&listener, &output.file, &output.dir, &socket, &told])
                .and_then(|()| answer(listener, &socket))
                .and_then(|calls| output.put(record::profile(&calls).as_bytes()));
            let outcome = match done {
                Ok(()) => SUCCESS.to_vec(),
                Err(fail) => {
                    output.remove();
                    Reported::from(fail).encode().to_vec()
                }
            };
            // Nobody reads it if the container has outlived `run`.
            let _ = io::write_all(told.as_fd(), &outcome);
            process::exit(0)
        }
    }
}

/// What the process writes once the profile is complete.
const SUCCESS: &[u8] = b"written";

/// The file of the profile. It gets its name when it is complete: a recorder that is killed leaves
/// nothing. Only where the file system has no unnamed files, it has the name from the beginning.
struct Output {
    dir: OwnedFd,
    name: CString,
    file: OwnedFd,
    is_named: bool,
}

impl Output {
    fn make(path: &Path) -> Result<Self> {
        let failed = |fail: Fail| match fail.errno {
            Errno::EEXIST => exists(path),
            _ => Error::failed(object(path), fail),
        };
        check(path)?;
        let (parent, name) = (path.parent(), path.file_name());
        let parent = parent.unwrap_or_else(|| Path::new("/"));
        let dir = file::open(parent, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(failed)?;
        let name = path::c_string(name.unwrap_or_default()).map_err(failed)?;
        let open = |name: &CStr, flags| {
            path::open_at(Some(dir.as_fd()), name, flags | libc::O_WRONLY, 0o600)
        };
        let (file, is_named) = match open(c".", libc::O_TMPFILE) {
            // The file system does not support O_TMPFILE. The name may be in a directory of others: no
            // link is followed, and no file replaced.
            Err(fail) if [Errno::ENOTSUP, Errno::EISDIR].contains(&fail.errno) => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
                (open(&name, flags).map_err(failed)?, true)
            }
            opened => (opened.map_err(failed)?, false),
        };
        Ok(Self {
            dir,
            name,
            file,
            is_named,
        })
    }

    fn put(&self, profile: &[u8]) -> Sys<()> {
        io::write_all(self.file.as_fd(), profile)?;
        if self.is_named {
            return Ok(());
        }
        path::link_at(self.file.as_fd(), self.dir.as_fd(), &self.name)
    }

    /// Removes the file, unless another has got its name.
    fn remove(&self) {
        let own = stat::stat(self.file.as_fd()).map(|stat| stat.inode());
        let named = stat::stat_at(self.dir.as_fd(), &self.name);
        if self.is_named && named.is_ok_and(|found| found.map(|stat| stat.inode()) == own.ok()) {
            let _ = path::unlink_at(Some(self.dir.as_fd()), &self.name);
        }
    }
}

/// A connection to the process that records the container's system calls. `None` if it has ended, or
/// does not record yet.
///
/// # Errors
/// A system call failed.
pub fn recorder(dir: &Dir) -> Result<Option<OwnedFd>> {
    match socket::connect_datagram_in(dir.fd(), RECORD_SOCKET) {
        Ok(connection) => Ok(Some(connection)),
        Err(fail) if matches!(fail.errno, Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
        Err(fail) => Err(fail).with_context(|| dir.object(RECORD_SOCKET)),
    }
}

/// Gives the descriptor `number` of a process, which is the listener of its filter, to the recorder.
///
/// # Errors
/// The process or the recorder is gone.
pub(super) fn join(recorder: &OwnedFd, process: BorrowedFd, number: i32) -> Result<()> {
    process::fetch_fd(process, number)
        .and_then(|listener| socket::send(recorder.as_fd(), b"l", Some(listener.as_fd())))
        .context("--seccomp-record")
}

/// Waits until the process that [`start`] has made has written the profile.
///
/// # Errors
/// It could not write the profile, or has been killed.
pub fn finish(outcome: &OwnedFd) -> Result<()> {
    // Not waitid(2): the runtime may have reaped it with the orphans of the container.
    let told = file::read_open(outcome.as_fd()).context("--seccomp-record")?;
    if told == SUCCESS {
        return Ok(());
    }
    let error = match Reported::decode(&told) {
        Some(told) => Error::failed("--seccomp-record", told.fail()),
        None => Error::new("--seccomp-record: the process that records was killed"),
    };
    bail!(error.hint("there is no profile; the container itself has ended as its program did"))
}

/// Gives up what belongs to the runtime: its files, whose readers wait for their end, its terminal
/// and its working directory.
fn alone(keep: [&OwnedFd; 5]) -> Sys<()> {
    process::close_all_but(0, &keep.map(AsRawFd::as_raw_fd))?;
    path::chdir(c"/")?;
    inherited::default_signals()?;
    process::setsid()?;
    signals::unblock()
}

/// Answers until the last process with a filter has ended. Returns the calls: `seccomp_data.arch` and
/// `seccomp_data.nr`, sorted.
fn answer(listener: OwnedFd, socket: &OwnedFd) -> Sys<Vec<(u32, u32)>> {
    let (mut calls, mut listeners) = (Vec::new(), vec![listener]);
    while !listeners.is_empty() {
        let all = [socket].into_iter().chain(&listeners);
        let mut polled: Vec<_> = all
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        poll::wait(&mut polled, None)?;
        let events: Vec<_> = polled
            .iter()
            .map(|it| it.revents().unwrap_or(PollFlags::empty()))
            .collect();
        // From the last, so that the numbers of those before it stay.
        for at in (0..listeners.len()).rev() {
            let happened = events[at + 1];
            if happened.contains(PollFlags::POLLIN) {
                answer_one(listeners[at].as_fd(), &mut calls)?;
            } else if !happened.is_empty() {
                listeners.swap_remove(at);
            }
        }
        if events[0].contains(PollFlags::POLLIN) {
            let (_, listener) = socket::receive(socket.as_fd(), &mut [0])?;
            listeners.extend(listener);
        }
    }
    Ok(calls)
}

fn answer_one(listener: BorrowedFd, calls: &mut Vec<(u32, u32)>) -> Sys<()> {
    let Some(asked) = receive(listener)? else {
        return Ok(());
    };
    let call = (asked.arch, asked.number);
    if let Err(at) = calls.binary_search(&call) {
        calls.insert(at, call);
    }
    let_through(listener, asked)
}
