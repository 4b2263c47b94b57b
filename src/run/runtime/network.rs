//! The network namespace of a container. The runtime makes it while init does other work.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::clone;
use crate::plan::NamespaceKind;
use crate::run::protocol;
use crate::sys::{Sys, net, path, process};

const FLAG: i32 = NamespaceKind::Network.flag();

/// Makes the namespace and sends it to init, which waits for it only when it needs it.
///
/// The runtime is in the new namespace while this function runs. This does not affect its open
/// files, because none of them depends on a network namespace.
///
/// # Errors
/// Those of clone3(2) for a network namespace; or the runtime cannot return to its own namespace.
pub(super) fn make(init: BorrowedFd) -> Sys<OwnedFd> {
    let own = current()?;
    // Enter the runtime's own namespace first: if a seccomp filter forbids setns(2), the runtime
    // could not return, so it fails before it leaves.
    process::setns(own.as_fd(), FLAG)?;
    process::unshare(FLAG)?;
    let made = hand_over(init);
    process::setns(own.as_fd(), FLAG)?;
    made
}

/// Sends init the namespace that the runtime is in, and only then sets up the loopback device: init
/// does not have to wait for that.
fn hand_over(init: BorrowedFd) -> Sys<OwnedFd> {
    let made = current()?;
    protocol::unless_gone(protocol::send_opened(init, made.as_fd()))?;
    net::loopback_up()?;
    Ok(made)
}

/// Calls `act` in another network namespace.
///
/// # Errors
/// That of `act`; or the runtime may not enter the namespace, or not return from it.
pub(super) fn within<T>(namespace: BorrowedFd, act: impl FnOnce() -> Sys<T>) -> Sys<T> {
    let own = current()?;
    // As in `make`.
    process::setns(own.as_fd(), FLAG)?;
    process::setns(namespace, FLAG)?;
    let done = act();
    process::setns(own.as_fd(), FLAG)?;
    done
}

/// Opens the namespace that the runtime is in now.
pub(super) fn current() -> Sys<OwnedFd> {
    path::open(clone::own_file(NamespaceKind::Network), libc::O_RDONLY)
}
