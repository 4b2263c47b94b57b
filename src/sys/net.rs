//! Sets up the loopback interface, which is all that a new network namespace needs.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Sys, check, tag};

/// Sets IFF_UP on `lo` in the current network namespace. netdevice(7).
pub fn loopback_up() -> Sys<()> {
    let socket = tag(
        "socket",
        socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        ),
    )?;
    // SAFETY: ifreq is plain data, for which all-zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is an ifreq with a NUL-terminated name, as SIOCSIFFLAGS requires.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &request,
        )
    };
    check("ioctl(SIOCSIFFLAGS)", done).map(drop)
}
