//! NOTIFY_SOCKET: reports the container's readiness to the service manager.
//!
//! The container gets a socket of its own, bound below its state directory. The runtime reads the
//! messages that the container's processes send there and passes on only `READY=1`, with the pid
//! that the host knows. A container must not be able to send the manager anything else.
//! sd_notify(3).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::error::{Call as _, Context as _, Error};
use crate::state::{Dir, NOTIFY};
use crate::sys::{Fail, path, poll, process, socket};

/// The variable that contains the manager's socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";
const SOCKET: &CStr = c"notify.sock";
/// How long the runtime waits for the manager to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the directory that is bind-mounted into the container. Its mode lets every user of the
/// container search it.
///
/// # Errors
/// mkdir(2) failed.
pub fn make_directory(dir: &Dir) -> Result<()> {
    process::with_umask(0, || path::mkdir_at(dir.fd(), NOTIFY, 0o755))
        .with_context(|| dir.object(NOTIFY))
}

/// The container's socket, and a socket that is connected to the manager.
pub struct SdNotify {
    container: UnixDatagram,
    manager: UnixDatagram,
}

impl SdNotify {
    /// Binds the container's socket, if the container was created with one and the caller has a
    /// manager to notify.
    ///
    /// # Errors
    /// No socket listens at NOTIFY_SOCKET, or the container's socket cannot be bound. The container
    /// can be started nevertheless: the variable may have outlived the manager that set it.
    pub fn bind(dir: &Dir) -> Result<Option<Self>> {
        let manager = std::env::var_os(VARIABLE).filter(|manager| !manager.is_empty());
        let Some(manager) = manager else {
            return Ok(None);
        };
        let failed = |fail: Fail| {
            Error::failed(format!("{VARIABLE}: {}", manager.display()), fail).hint(
                "no service manager will know when the container is ready: unset a variable that is stale",
            )
        };
        let directory = match dir.open(NOTIFY, libc::O_PATH | libc::O_DIRECTORY, 0) {
            Err(fail) if fail.errno == Errno::ENOENT => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let manager = connect(&manager).map_err(failed)?;
        // A start that failed may have left a socket. If the name is taken otherwise, bind(2)
        // reports it.
        let _ = path::unlink_at(Some(directory.as_fd()), SOCKET);
        let container = socket::open_to_all_in(directory.as_fd(), SOCKET).map_err(failed)?;
        let (container, manager) = (container.into(), UnixDatagram::from(manager));
        let limited = manager.set_write_timeout(Some(PATIENCE));
        limited.call("setsockopt").context(VARIABLE)?;
        Ok(Some(Self { container, manager }))
    }

    /// The descriptor to poll for messages from the container.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Reads one message. Returns `true` if there is nothing more to wait for: either the message
    /// said that the container is ready and was passed on, or the socket cannot be read.
    pub fn serve(&self, pid: Option<i32>) -> bool {
        let mut buffer = [0; 4096];
        let length = match self.container.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return false,
            // If recv(2) fails for good, waiting for a message would never end.
            Err(_) => return true,
        };
        let ready = buffer[..length]
            .split(|&byte| byte == b'\n')
            .find(|line| line.starts_with(b"READY="));
        let Some(ready) = ready else { return false };
        // A manager that has ended or does not read gets no further messages.
        if self.manager.send(&[ready, b"\n"].concat()).is_err() {
            return true;
        }
        if let Some(pid) = pid {
            let _ = self.manager.send(format!("MAINPID={pid}\n").as_bytes());
        }
        self.barrier();
        true
    }

    /// Waits until the manager has read the messages. It identifies the sender by its process,
    /// which must not have ended by then. sd_notify_barrier(3).
    fn barrier(&self) {
        let Ok((ours, theirs)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else {
            return;
        };
        if socket::send(self.manager.as_fd(), b"BARRIER=1", Some(theirs.as_fd())).is_ok() {
            drop(theirs);
            let mut wait = [PollFd::new(ours.as_fd(), PollFlags::empty())];
            let _ = poll::wait(&mut wait, Some(PATIENCE));
        }
    }

    /// Waits until the container is ready or has ended.
    ///
    /// # Errors
    /// poll(2) failed.
    pub fn wait(&self, pid: i32, pidfd: &OwnedFd) -> Result<()> {
        loop {
            let mut polled = [
                PollFd::new(self.fd(), PollFlags::POLLIN),
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            ];
            poll::wait(&mut polled, None).context(VARIABLE)?;
            let [message, ended] = polled.map(|entry| poll::is_ready(&entry));
            if (message && self.serve(Some(pid))) || (ended && !message) {
                return Ok(());
            }
        }
    }
}

/// Connects to the manager. `@name` is a socket in the abstract namespace. unix(7).
fn connect(manager: &OsStr) -> crate::sys::Sys<OwnedFd> {
    let Some(name) = manager.as_bytes().strip_prefix(b"@") else {
        return socket::connect_datagram(Path::new(manager));
    };
    let connected = SocketAddr::from_abstract_name(name).and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        Ok(socket)
    });
    let failed =
        |error: std::io::Error| error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw);
    connected
        .map(OwnedFd::from)
        .map_err(|error| Fail::new("connect", failed(error)))
}
