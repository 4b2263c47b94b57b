//! The network namespace of a container, made by the runtime while init is at work.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{clone, sync};
use crate::plan::NamespaceKind;
use crate::sys::{Sys, net, path, process};

const FLAG: i32 = NamespaceKind::Network.flag();

/// Makes the namespace, and hands it to init, which waits for it when it
/// needs it. The runtime is in it for so long; nothing that it has open belongs to one.
///
/// # Errors
/// What clone3(2) would say of the namespace; the runtime cannot go back.
pub fn make(init: BorrowedFd) -> Sys<()> {
    let own = current()?;
    // Where a filter keeps the runtime from coming back, it does not leave.
    process::setns(own.as_fd(), FLAG)?;
    process::unshare(FLAG)?;
    let made = hand_over(init);
    process::setns(own.as_fd(), FLAG)?;
    made
}

/// Gives init the namespace that the runtime is in, before what else there is to do in it.
fn hand_over(init: BorrowedFd) -> Sys<()> {
    let made = current()?;
    sync::unless_gone(sync::send_opened(init, made.as_fd()))?;
    net::loopback_up()
}

/// The namespace that the runtime is in now.
fn current() -> Sys<OwnedFd> {
    path::open(clone::own_file(NamespaceKind::Network), libc::O_RDONLY)
}
