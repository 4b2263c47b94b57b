//! SEQPACKET sockets between the runtime and init, passing descriptors over any Unix socket, and a
//! connection that copies.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    SockaddrStorage, UnixAddr, bind, connect, listen, recvmsg, sendmsg, socket, socketpair,
};

use super::{Fail, Sys, descriptor, file, interrupt, process, tag};

/// A pair of connected SEQPACKET sockets, close-on-exec.
pub fn pair() -> Sys<(OwnedFd, OwnedFd)> {
    let made = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    );
    tag("socketpair", made)
}

/// How long [`send`] waits for descriptors in flight to arrive: attempts, and the time between them, as
/// between those of [`connect_stream`].
const ATTEMPTS: u32 = 5000;
const PAUSE: Duration = Duration::from_millis(1);

/// Sends one message, with a descriptor if `fd` is given. No SIGPIPE. Retried on EINTR.
///
/// Retried for five seconds on ETOOMANYREFS: the user's processes have more descriptors in flight
/// than this process may have files open, and it has lost the capabilities that lift this limit.
/// unix(7). Where the limit is low, that happens when containers start at the same time.
pub fn send(socket: BorrowedFd, data: &[u8], fd: Option<BorrowedFd>) -> Sys<()> {
    let fds: Option<[RawFd; 1]> = fd.map(|fd| [fd.as_raw_fd()]);
    let control = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    let mut attempts = ATTEMPTS;
    loop {
        let sent = sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(data)],
            control.as_slice(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        match sent {
            Err(Errno::EINTR) => {}
            Err(Errno::ETOOMANYREFS) if attempts > 0 => {
                attempts -= 1;
                thread::sleep(PAUSE);
            }
            other => return tag("sendmsg", other).map(drop),
        }
    }
}

/// Sends all of the data over a stream, with a descriptor at its beginning. No SIGPIPE.
///
/// While the reader does not read and the socket is full, this waits, until a signal asks the runtime
/// to end: see [`connect_stream`].
pub fn send_all(stream: BorrowedFd, mut data: &[u8], fd: BorrowedFd) -> Sys<()> {
    let fds = [fd.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let mut control = &control[..];
    while !data.is_empty() {
        let sent = sendmsg::<()>(
            stream.as_raw_fd(),
            &[IoSlice::new(data)],
            control,
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
            None,
        );
        match sent {
            Err(Errno::EAGAIN) if !interrupt::is_caught() => thread::sleep(PAUSE),
            Err(Errno::EINTR) => {}
            sent => {
                data = data.get(tag("sendmsg", sent)?..).unwrap_or_default();
                control = &[];
            }
        }
    }
    Ok(())
}

/// Receives one message. Returns its length (0 at the end of file) and the descriptor that came
/// with it, if any.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> Sys<(usize, Option<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(buffer)];
    loop {
        let received = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        );
        let message = match received {
            Err(Errno::EINTR) => continue,
            other => tag("recvmsg", other)?,
        };
        let mut fd = None;
        for control in tag("recvmsg", message.cmsgs())? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                for raw in fds {
                    // SAFETY: the kernel has just installed this descriptor, and nothing else owns
                    // it.
                    fd = Some(unsafe { OwnedFd::from_raw_fd(raw) });
                }
            }
        }
        return Ok((message.bytes, fd));
    }
}

/// accept4(2), close-on-exec. Retried on EINTR and ECONNABORTED.
pub fn accept(listener: BorrowedFd) -> Sys<OwnedFd> {
    loop {
        // SAFETY: the null pointers mean that no address is returned.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_accept4,
                listener.as_raw_fd(),
                std::ptr::null::<u8>(),
                std::ptr::null::<u8>(),
                libc::SOCK_CLOEXEC,
            )
        };
        match descriptor("accept4", fd) {
            Err(Fail {
                errno: Errno::EINTR | Errno::ECONNABORTED,
                ..
            }) => {}
            other => return other,
        }
    }
}

/// The address of `name` in the directory `dir`. An address holds at most 107 bytes, so the
/// directory is given by its descriptor.
fn address_in(dir: BorrowedFd, name: &CStr) -> Sys<UnixAddr> {
    let path = format!(
        "/proc/self/fd/{}/{}",
        dir.as_raw_fd(),
        name.to_string_lossy()
    );
    tag("bind", UnixAddr::new(path.as_str()))
}

fn unconnected(kind: SockType) -> Sys<OwnedFd> {
    made(kind, SockFlag::SOCK_CLOEXEC)
}

fn made(kind: SockType, flags: SockFlag) -> Sys<OwnedFd> {
    tag("socket", socket(AddressFamily::Unix, kind, flags, None))
}

/// A listening SEQPACKET socket named `name` in `dir`. unix(7).
pub fn listen_in(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let listener = unconnected(SockType::SeqPacket)?;
    tag("bind", bind(listener.as_raw_fd(), &address_in(dir, name)?))?;
    let backlog = tag("listen", Backlog::new(8))?;
    tag("listen", listen(&listener, backlog))?;
    Ok(listener)
}

/// A datagram socket named `name` in `dir`.
pub fn datagram_in(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let socket = unconnected(SockType::Datagram)?;
    tag("bind", bind(socket.as_raw_fd(), &address_in(dir, name)?))?;
    Ok(socket)
}

/// [`datagram_in`], that every user may write to. bind(2) creates the socket with its final mode: a
/// later chmod(2) could reach another file that has been given this name.
pub fn open_to_all_in(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    process::with_umask(0, || datagram_in(dir, name))
}

/// A SEQPACKET connection to the socket named `name` in `dir`.
pub fn connect_in(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    connect_to_name(SockType::SeqPacket, dir, name)
}

/// A datagram socket that is connected to the socket named `name` in `dir`.
pub fn connect_datagram_in(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    connect_to_name(SockType::Datagram, dir, name)
}

fn connect_to_name(kind: SockType, dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let socket = unconnected(kind)?;
    let address = address_in(dir, name)?;
    tag("connect", connect(socket.as_raw_fd(), &address))?;
    Ok(socket)
}

/// A stream connection to the socket at `path`, on which an engine waits for a console or a pidfd.
///
/// While the socket's backlog is full, this waits, until a signal asks the runtime to end. A connect(2)
/// that blocks would not return then: no process that the signal could end has to answer it.
pub fn connect_stream(path: &Path) -> Sys<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = made(SockType::Stream, flags)?;
    connect_to(&socket, path)?;
    file::set_flags(socket.as_fd(), OFlag::empty())?;
    Ok(socket)
}

/// A datagram socket that is connected to the socket at `path`.
pub fn connect_datagram(path: &Path) -> Sys<OwnedFd> {
    let socket = unconnected(SockType::Datagram)?;
    connect_to(&socket, path)?;
    Ok(socket)
}

/// A connection by Multipath TCP, to a server of plain TCP too. It copies what is sent, also by
/// splice(2). `None` if the kernel has no Multipath TCP, or it is off.
pub fn connect_copying(address: SocketAddr) -> Sys<Option<OwnedFd>> {
    let family = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let made = descriptor("socket", unsafe {
        libc::syscall(libc::SYS_socket, family, kind, libc::IPPROTO_MPTCP)
    });
    let socket = match made {
        Err(fail) if matches!(fail.errno, Errno::EPROTONOSUPPORT | Errno::ENOPROTOOPT) => {
            return Ok(None);
        }
        made => made?,
    };
    tag(
        "connect",
        connect(socket.as_raw_fd(), &SockaddrStorage::from(address)),
    )?;
    Ok(Some(socket))
}

/// A path that is too long for an address is opened, and the address refers to the descriptor.
fn connect_to(socket: &OwnedFd, path: &Path) -> Sys<()> {
    let connect = |address: &UnixAddr| {
        loop {
            match connect(socket.as_raw_fd(), address) {
                Err(Errno::EAGAIN) if !interrupt::is_caught() => thread::sleep(PAUSE),
                connected => return connected,
            }
        }
    };
    let done = match UnixAddr::new(path) {
        Err(Errno::ENAMETOOLONG) => {
            let opened = file::open(path, libc::O_PATH, 0)?;
            let name = format!("/proc/self/fd/{}", opened.as_raw_fd());
            UnixAddr::new(name.as_str()).and_then(|address| connect(&address))
        }
        address => address.and_then(|address| connect(&address)),
    };
    tag("connect", done)
}
