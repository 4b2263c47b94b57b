//! Copies trees of the host for a running container that has its own user namespace.
//!
//! When a mount namespace is copied for another user namespace, the kernel locks the flags of its
//! mounts, and the mounts that cover something. The container's mount namespace already exists and
//! no longer contains the host's mounts, and a tree that is copied on the host has no locks. So a
//! process enters only the container's user namespace, copies the host's mounts into a new mount
//! namespace, where they are locked, and copies the trees from there. mount_namespaces(7).

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::open_for_init;
use crate::config::NamespaceKind;
use crate::error::Context as _;
use crate::plan::{Bind, BindSource, InitStep, Plan, Position};
use crate::run::failure;
use crate::run::init::{self, Opened};
use crate::run::protocol::{self, Report};
use crate::run::runtime::serve_init::CONNECTION;
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Sys, file, mount, path, socket};

/// Copies the host's trees that the plan bind-mounts, each with its attributes, for the container
/// of `container`, a pidfd. They are stored in `opened` at the positions of their steps.
///
/// # Errors
/// The step whose source cannot be opened, copied or changed.
pub(crate) fn copy_locked(plan: &Plan, container: &OwnedFd, opened: &mut Opened) -> Result<()> {
    if sources(plan).next().is_none() {
        return Ok(());
    }
    let (connection, childs) = socket::pair().context(CONNECTION)?;
    match process::clone3(0, None, false).context(CONNECTION)? {
        Cloned::Child => {
            drop(connection);
            if let Err((position, fail)) = send_all(plan, container, &childs) {
                init::tell(&childs, position, fail);
            }
            process::exit(0)
        }
        Cloned::Parent { pidfd, .. } => {
            let received = file::close(childs)
                .context(CONNECTION)
                .and_then(|()| receive_all(plan, &connection, opened));
            process::end(pidfd.as_fd());
            received
        }
    }
}

/// The bind mounts of the host's trees, with their positions.
fn sources(plan: &Plan) -> impl Iterator<Item = (Position, &Bind)> {
    let steps = plan.init.iter().enumerate();
    steps.filter_map(|(index, planned)| match &planned.step {
        InitStep::Bind(bind) if matches!(bind.source, BindSource::CopiedInUserNamespace(_)) => {
            Some((Position::init(index), bind.as_ref()))
        }
        _ => None,
    })
}

/// The child's part. A failure that does not belong to a bind mount is reported for the first one.
fn send_all(
    plan: &Plan,
    container: &OwnedFd,
    connection: &OwnedFd,
) -> std::result::Result<(), (Option<Position>, Fail)> {
    let first = sources(plan).next().map(|(position, _)| position);
    let root = leave(container).map_err(|fail| (first, fail))?;
    for (position, bind) in sources(plan) {
        send_one(position, bind, &root, connection).map_err(|fail| (Some(position), fail))?;
    }
    Ok(())
}

/// Opens the root of a copy of the host's mounts that the container's user namespace owns.
fn leave(container: &OwnedFd) -> Sys<OwnedFd> {
    process::setns(container.as_fd(), NamespaceKind::User.flag())?;
    process::unshare(NamespaceKind::Mount.flag())?;
    path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)
}

fn send_one(position: Position, bind: &Bind, root: &OwnedFd, connection: &OwnedFd) -> Sys<()> {
    let connection = connection.as_fd();
    Report::Reach(position).send(connection, Some(root.as_fd()))?;
    let source = protocol::receive_opened(connection)?;
    let tree = mount::clone_tree(Some(source.as_fd()), c"", bind.recursive)?;
    init::change(tree.as_fd(), bind.attrs, &bind.propagation, bind.recursive)?;
    Report::Tree(position).send(connection, Some(tree.as_fd()))
}

/// The runtime's part: it opens the sources, because the container's root may lack search
/// permission on the directories above them.
fn receive_all(plan: &Plan, connection: &OwnedFd, opened: &mut Opened) -> Result<()> {
    let connection = connection.as_fd();
    let mut missing = sources(plan).count();
    while missing > 0 {
        match Report::receive(connection).context(CONNECTION)? {
            Some((Report::Reach(position), Some(root))) => {
                let source = open_for_init(plan, position, root.as_fd())?;
                protocol::send_opened(connection, source.as_fd()).context(CONNECTION)?;
            }
            Some((Report::Tree(position), Some(tree))) => {
                opened.put(position, tree);
                missing -= 1;
            }
            Some((Report::Failure(failure), _)) => bail!(failure::failure(plan, &failure)),
            Some(_) => return Err(Fail::new("recvmsg", Errno::EPROTO)).context(CONNECTION),
            None => bail!("the process that copies the sources of binds died"),
        }
    }
    Ok(())
}
