//! What is opened before any process exists: namespaces to join, trees to bind.
//!
//! A source that is missing or of the wrong kind fails here, before one directory is made.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::{clone, init};
use crate::config::NamespaceKind;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::plan::{Bind, BindSource, Plan, Planned, Step};
use crate::sys::{Fail, inherited, mount, path, process};

/// Descriptors by the position of their step in the plan.
///
/// # Errors
/// A path of the config cannot be opened, or is no namespace of the type that it is listed for.
pub fn open(plan: &Plan, host: &Host) -> Result<Vec<Option<OwnedFd>>> {
    inherited::make_room_for(plan.steps.iter().filter(|it| may_be_held(&it.step)).count());
    plan.steps
        .iter()
        .map(|planned| open_step(planned, plan, host))
        .collect()
}

/// Whether [`open_step`] may return a descriptor.
fn may_be_held(step: &Step) -> bool {
    matches!(step, Step::JoinNamespace { .. } | Step::Bind(_))
}

fn open_step(planned: &Planned, plan: &Plan, host: &Host) -> Result<Option<OwnedFd>> {
    match &planned.step {
        Step::JoinNamespace {
            kind,
            path,
            not_own,
        } => {
            // What is no namespace may be a pipe or a terminal, which could be waited for for ever.
            let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
            let opened = path::open(path, flags);
            let namespace = opened.map_err(|fail| words(planned, &path.to_string_lossy(), fail))?;
            check_namespace(*kind, &namespace).map_err(|message| {
                Error::config(
                    &planned.field,
                    format!("{}: {message}", path.to_string_lossy()),
                )
            })?;
            if let Some(why) = not_own {
                refuse_own(*kind, &namespace, why).map_err(|error| {
                    error.context(format!("{}: {}", planned.field, path.to_string_lossy()))
                })?;
            }
            Ok(Some(namespace))
        }
        // Copying a mount takes privilege over the runtime's own mount namespace. Without it init
        // copies in its own namespace.
        Step::Bind(bind) if plan.reach_for_init => check_source(planned, bind).map(|()| None),
        Step::Bind(bind) if host.euid == 0 && !host.in_user_namespace => {
            open_bind(planned, bind, plan)
        }
        _ => Ok(None),
    }
}

/// Puts a pidfd of the container, a copy of `init`, where the plan enters it.
///
/// # Errors
/// dup(2) failed.
pub fn enter(plan: &Plan, init: &OwnedFd, opened: &mut [Option<OwnedFd>]) -> Result<()> {
    for (planned, opened) in plan.steps.iter().zip(opened) {
        if let Step::EnterContainer { .. } = planned.step {
            let copy = init.try_clone();
            *opened =
                Some(copy.map_err(|error| Error::io("pidfd of the container", "dup", &error))?);
        }
    }
    Ok(())
}

fn words(planned: &Planned, object: &str, fail: Fail) -> Error {
    Error::failed(format!("{}: {object}", planned.field), fail).kind(Kind::Config)
}

fn check_namespace(kind: NamespaceKind, namespace: &OwnedFd) -> std::result::Result<(), String> {
    let found = process::namespace_type(namespace.as_fd())
        .map_err(|_| "not a namespace file, as in /proc/PID/ns")?;
    if found == kind.flag() {
        return Ok(());
    }
    let name = NamespaceKind::ALL
        .into_iter()
        .find(|other| other.flag() == found)
        .map_or("unknown", NamespaceKind::name);
    Err(format!(
        "a {name} namespace, where one of type {} is expected",
        kind.name()
    ))
}

/// Refuses the namespace that the runtime is in, and the host's, whatever path has led there.
pub(super) fn refuse_own(kind: NamespaceKind, namespace: &OwnedFd, why: &str) -> Result<()> {
    let name = kind.name();
    let failed = |fail: Fail| Error::failed(format!("{name} namespace"), fail);
    let id = |namespace: &OwnedFd| path::stat(namespace.as_fd()).map(|stat| (stat.dev, stat.ino));
    let found = id(namespace).map_err(failed)?;
    let own = path::open(clone::own_file(kind), libc::O_PATH).and_then(|own| id(&own));
    let whose = match process::initial_namespace(kind.flag()) {
        _ if own.map_err(failed)? == found => "the runtime's own",
        Some(inode) if inode == found.1 => "the host's",
        _ => return Ok(()),
    };
    let message = format!("{whose} {name} namespace: {why}");
    Err(Error::new(Kind::Config, message)
        .hint("without a path the container gets a namespace of its own"))
}

/// The source that will be opened when its turn comes: a missing one is told before anything is
/// made.
fn check_source(planned: &Planned, bind: &Bind) -> Result<()> {
    let BindSource::Host(source) = &bind.source else {
        return Ok(());
    };
    let object = format!("source {}", source.to_string_lossy());
    path::open(source, libc::O_PATH)
        .map(drop)
        .map_err(|fail| words(planned, &object, fail))
}

fn open_bind(planned: &Planned, bind: &Bind, plan: &Plan) -> Result<Option<OwnedFd>> {
    let BindSource::Host(source) = &bind.source else {
        return Ok(None);
    };
    let object = source.to_string_lossy();
    let source_words = |fail| words(planned, &format!("source {object}"), fail);
    if copied_by_init(bind, source, plan) {
        return path::open(source, libc::O_PATH)
            .map(|_| None)
            .map_err(source_words);
    }
    let tree = match mount::clone_tree(None, source, bind.recursive) {
        Ok(tree) => tree,
        // A mount that may not be bound here (unbindable, or in another namespace) may be
        // bindable in init's own namespace, where the failure will be told if it is not.
        Err(Fail {
            errno: Errno::EINVAL,
            ..
        }) => return Ok(None),
        Err(fail) => return Err(source_words(fail)),
    };
    init::change(tree.as_fd(), bind.attrs, &bind.propagation, bind.recursive)
        .map_err(|fail| super::words::step_failed(planned, fail))?;
    Ok(Some(tree))
}

/// Whether init can copy the mount as well as the runtime. Then it does so when the mount's turn
/// comes: mountinfo lists mounts in the order of their making (since Linux 6.8), and its readers
/// expect those of the config in the order of the config.
///
/// In a user namespace init lacks the rights; in a joined mount namespace the path means something
/// else, and below /proc it could name a descriptor or a property of the runtime itself.
fn copied_by_init(bind: &Bind, source: &CStr, plan: &Plan) -> bool {
    let new_mount_namespace = plan.clone_flags & libc::CLONE_NEWNS as u64 != 0;
    let of_process = [b"/proc/".as_slice(), b"/dev/fd/"];
    new_mount_namespace
        && !bind.attrs.keep_source
        && !of_process
            .iter()
            .any(|directory| source.to_bytes().starts_with(directory))
}
