//! The network namespace of a container, made by the runtime while init is at work.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use super::sync;
use crate::plan::{NamespaceKind, Phase, Plan, Step};
use crate::sys::{Sys, net, path, process};

/// namespaces(7), the /proc/PID/ns directory.
const OWN: &CStr = c"/proc/self/ns/net";
const FLAG: i32 = NamespaceKind::Network.flag();

/// Makes the namespace where the plan asks for one, and hands it to init, which waits for it when it
/// needs it. The runtime is in it for so long; nothing that it has open belongs to one.
///
/// # Errors
/// What clone3(2) would say of the namespace; the runtime cannot go back.
pub fn make(plan: &Plan, init: BorrowedFd) -> Sys<()> {
    let is_asked = |step: &Step| matches!(step, Step::MakeNetwork);
    let mut steps = plan.phase(Phase::Parent);
    if !steps.any(|(_, planned)| is_asked(&planned.step)) {
        return Ok(());
    }
    let own = path::open(OWN, libc::O_RDONLY)?;
    // Where a filter keeps the runtime from coming back, it does not leave.
    process::setns(own.as_fd(), FLAG)?;
    process::unshare(FLAG)?;
    let made = hand_over(init);
    process::setns(own.as_fd(), FLAG)?;
    made
}

/// Gives init the namespace that the runtime is in, before what else there is to do in it.
fn hand_over(init: BorrowedFd) -> Sys<()> {
    let made = path::open(OWN, libc::O_RDONLY)?;
    sync::unless_gone(sync::send_opened(init, made.as_fd()))?;
    net::loopback_up()
}
