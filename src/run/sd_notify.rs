//! NOTIFY_SOCKET: the service manager hears of the container's readiness.
//!
//! The container gets a socket of its own, bound below its state directory. What a process in it
//! says there is passed on to the manager by the runtime: only `READY=1`, with the pid that the
//! host knows, because that is all that the manager may learn from a container. sd_notify(3).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::sys::socket;

/// The directory in the container's state directory that the container sees as `/run/notify`.
pub const DIRECTORY: &str = "notify";
const SOCKET: &str = "notify.sock";
/// How long the manager may take to have read everything, in milliseconds.
const BARRIER_PATIENCE: u16 = 5000;

/// Makes the directory that is bound into the container.
///
/// # Errors
/// mkdir(2) failed.
pub fn make_directory(state: &Path) -> Result<()> {
    let directory = state.join(DIRECTORY);
    std::fs::create_dir(&directory)
        .and_then(|()| std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)))
        .map_err(|error| Error::io(directory.display().to_string(), "mkdir", &error))
}

/// The container's socket, and the way to the manager.
pub struct SdNotify {
    container: UnixDatagram,
    manager: UnixDatagram,
}

impl SdNotify {
    /// Binds the container's socket, if the container was created with one and the caller has a
    /// manager to tell.
    ///
    /// # Errors
    /// The socket cannot be bound, or nobody listens at NOTIFY_SOCKET.
    pub fn bind(state: &Path) -> Result<Option<Self>> {
        let directory = state.join(DIRECTORY);
        let Some(manager) = std::env::var_os("NOTIFY_SOCKET").filter(|_| directory.exists()) else {
            return Ok(None);
        };
        let failed = |op: &str, error| Error::io("NOTIFY_SOCKET", op, &error);
        let path = directory.join(SOCKET);
        let container = bind(&directory).map_err(|error| failed("bind", error))?;
        // Any user of the container may say that it is ready.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))
            .map_err(|error| failed("chmod", error))?;
        let connected = UnixDatagram::unbound().and_then(|socket| {
            connect(&socket, &manager)?;
            Ok(socket)
        });
        let manager = connected.map_err(|error| failed("connect", error))?;
        Ok(Some(Self { container, manager }))
    }

    /// To poll for messages of the container.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.container.as_fd()
    }

    /// Reads one message; `true` if it said that the container is ready, which has been passed on.
    pub fn serve(&self, pid: Option<i32>) -> bool {
        let mut buffer = [0; 4096];
        let Ok(length) = self.container.recv(&mut buffer) else {
            return false;
        };
        let ready = buffer[..length]
            .split(|&byte| byte == b'\n')
            .find(|line| line.starts_with(b"READY="));
        let Some(ready) = ready else { return false };
        // A manager that has gone needs no notice.
        let _ = self.manager.send(&[ready, b"\n"].concat());
        if let Some(pid) = pid {
            let _ = self.manager.send(format!("MAINPID={pid}\n").as_bytes());
        }
        self.barrier();
        true
    }

    /// Waits until the manager has read what was sent, so that it still finds the sender's
    /// process. sd_notify_barrier(3).
    fn barrier(&self) {
        let Ok((ours, theirs)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else {
            return;
        };
        if socket::send(self.manager.as_fd(), b"BARRIER=1", Some(theirs.as_fd())).is_ok() {
            drop(theirs);
            let mut wait = [PollFd::new(ours.as_fd(), PollFlags::empty())];
            let _ = poll(&mut wait, PollTimeout::from(BARRIER_PATIENCE));
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
            match poll(&mut polled, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::sys("NOTIFY_SOCKET", "poll", errno)),
                Ok(_) => {}
            }
            let [message, ended] = polled.map(|entry| entry.any().unwrap_or(false));
            if (message && self.serve(Some(pid))) || (ended && !message) {
                return Ok(());
            }
        }
    }
}

/// Binds through the directory's descriptor: an address holds no long path.
fn bind(directory: &Path) -> std::io::Result<UnixDatagram> {
    let handle = std::fs::File::open(directory)?;
    // A start that failed may have left one.
    let _ = std::fs::remove_file(directory.join(SOCKET));
    let number = std::os::fd::AsRawFd::as_raw_fd(&handle);
    UnixDatagram::bind(format!("/proc/self/fd/{number}/{SOCKET}"))
}

/// `@name` is a socket in the abstract namespace. unix(7).
fn connect(socket: &UnixDatagram, manager: &std::ffi::OsStr) -> std::io::Result<()> {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(manager);
    match bytes.strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => socket.connect(manager),
    }
}
