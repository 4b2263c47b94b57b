//! Pseudo-terminals, by descriptor. tty_ioctl(4), pts(4).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Sys, check, descriptor};

/// `TIOCGPTPEER`: opens the other end of a ptmx without a path. Linux 4.13.
pub fn peer(ptmx: BorrowedFd) -> Sys<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the ioctl takes open flags by value.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            ptmx.as_raw_fd(),
            libc::TIOCGPTPEER as libc::c_ulong,
            flags,
        )
    };
    descriptor("ioctl(TIOCGPTPEER)", fd)
}

/// `TIOCSPTLCK`: unlocks the peer.
pub fn unlock(ptmx: BorrowedFd) -> Sys<()> {
    let lock: libc::c_int = 0;
    // SAFETY: the ioctl reads one int.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            ptmx.as_raw_fd(),
            libc::TIOCSPTLCK as libc::c_ulong,
            &lock,
        )
    };
    check("ioctl(TIOCSPTLCK)", done).map(drop)
}

/// `TIOCSWINSZ`.
pub fn set_size(terminal: BorrowedFd, rows: u16, columns: u16) -> Sys<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the ioctl reads one winsize.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            terminal.as_raw_fd(),
            libc::TIOCSWINSZ as libc::c_ulong,
            &size,
        )
    };
    check("ioctl(TIOCSWINSZ)", done).map(drop)
}

/// `TIOCGWINSZ`: rows and columns.
pub fn size(terminal: BorrowedFd) -> Sys<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the ioctl writes one winsize.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            terminal.as_raw_fd(),
            libc::TIOCGWINSZ as libc::c_ulong,
            &mut size,
        )
    };
    check("ioctl(TIOCGWINSZ)", done)?;
    Ok((size.ws_row, size.ws_col))
}

/// `TIOCSCTTY`: makes it the controlling terminal of the session that the caller leads.
pub fn make_controlling(terminal: BorrowedFd) -> Sys<()> {
    // SAFETY: the ioctl takes an int by value.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            terminal.as_raw_fd(),
            libc::TIOCSCTTY as libc::c_ulong,
            0,
        )
    };
    check("ioctl(TIOCSCTTY)", done).map(drop)
}
