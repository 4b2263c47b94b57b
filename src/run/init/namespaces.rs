//! Hands the namespaces of init to a caller that may not inspect it.

use std::os::fd::{AsFd, OwnedFd};

use crate::plan::NamespaceKind;
use crate::run::protocol;
use crate::sys::{pidfd, process};

/// Sends the client a descriptor of each namespace. Until init executes the container's program, it
/// holds descriptors of the host, and a process that may inspect it could take them. So only root may,
/// and no caller has to: a descriptor of a namespace gives nothing else.
///
/// The client notices what is missing. Nothing that goes wrong here is a failure of the container.
pub(super) fn hand_out(client: &OwnedFd) {
    let Ok(own) = pidfd::open(process::own_pid()) else {
        return;
    };
    for kind in NamespaceKind::ALL {
        // There is none if the kernel is built without this kind, or is older than Linux 6.11.
        if let Ok(namespace) = pidfd::namespace(own.as_fd(), kind.flag()) {
            let _ = protocol::send_opened(client.as_fd(), namespace.as_fd());
        }
    }
}
