//! Opens files before any process exists: namespaces to join and trees to bind-mount.
//!
//! A source that is missing or has the wrong type is an error here, before any directory is made.

mod for_init;
mod locked_copies;

pub(super) use for_init::open_for_init;
pub(super) use locked_copies::copy_locked;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::clone;
use crate::config::NamespaceKind;
use crate::error::{Code, Context as _, Error};
use crate::plan::{
    self, AnyStep, Bind, BindSource, EntryStep, Found, InitStep, Plan, Planned, Position,
};
use crate::run::init::Opened;
use crate::run::{failure, init};
use crate::sys::{Fail, inherited, mount, path, process, stat};

/// Opens the files of the host that steps of other processes need.
///
/// # Errors
/// A path of the config cannot be opened, or is not a namespace of the type that the config says.
pub(super) fn open(plan: &Plan) -> Result<Opened> {
    let mut opened = Opened::none(plan);
    let binds = plan.init.iter().filter(|it| is_bind(&it.step)).count();
    inherited::make_room_for(plan.entry_steps().count() + binds);
    for (position, found) in plan.entry_steps() {
        if let Some(namespace) = open_namespace(found)? {
            opened.put(position, namespace);
        }
    }
    for (index, planned) in plan.init.iter().enumerate() {
        if let InitStep::Bind(bind) = &planned.step
            && let Some(tree) = open_source(planned, bind)?
        {
            opened.put(Position::init(index), tree);
        }
        if let InitStep::Filesystem(fs) = &planned.step
            && let (Some(attrs), Some(_)) = (fs.made_early, &fs.id_map)
        {
            let made = mount::make(&fs.fstype, &fs.source, &fs.data, attrs)
                .map_err(|fail| failure::step_failed(planned, fail))?;
            opened.put(Position::init(index), made);
        }
    }
    Ok(opened)
}

/// Looks up the files of the host that steps of other processes need, without copying a mount.
pub(super) fn look(plan: &Plan) -> Vec<anyhow::Error> {
    let namespaces = plan
        .entry_steps()
        .map(|(_, found)| open_namespace(found).map(drop));
    let binds = plan.init.iter().map(|planned| match &planned.step {
        InitStep::Bind(bind) => look_up(planned, bind),
        _ => Ok(()),
    });
    namespaces.chain(binds).filter_map(Result::err).collect()
}

/// Looks up the source of a bind mount, if it is a path of the host.
fn look_up(planned: &Planned<InitStep>, bind: &Bind) -> Result<()> {
    let path = bind.source.path();
    match &bind.source {
        BindSource::Rootfs(_)
        | BindSource::CopiedByInit {
            looked_up: false, ..
        } => Ok(()),
        _ => match path::open(path, libc::O_PATH | bind.source_flags()) {
            Ok(_) => Ok(()),
            Err(fail) => bail!(not_opened(planned, bind, fail)),
        },
    }
}

fn not_opened(planned: &Planned<InitStep>, bind: &Bind, fail: Fail) -> Error {
    let path = bind.source.path().to_string_lossy();
    let object = format!("source {path} of {}", bind.target.to_string_lossy());
    let mut error = Error::failed(object, fail).about(&planned.field);
    error.path = Some(path.as_ref().into());
    match fail.errno {
        Errno::ENOENT | Errno::ENOTDIR => error.code_is(Code::MountSourceMissing),
        _ => error,
    }
}

const fn is_bind(step: &InitStep) -> bool {
    matches!(step, InitStep::Bind(_))
}

/// Opens the namespace that a step joins. `None` if it joins none by a path.
///
/// # Errors
/// The path does not lead to a namespace of this type, or leads to one that must not be joined.
pub(super) fn open_namespace(found: Found) -> Result<Option<OwnedFd>> {
    let AnyStep::Entry(EntryStep::JoinNamespace {
        kind,
        path,
        not_own,
    }) = found.step
    else {
        return Ok(None);
    };
    // A file that is not a namespace may be a FIFO or a terminal, and opening it could block
    // forever.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let text = path.to_string_lossy();
    let opened = path::open(path, flags);
    let namespace = opened.map_err(|fail| {
        let error = Error::failed(Path::new(&*text), fail).about(found.field);
        match fail.errno {
            Errno::ENOENT | Errno::ENOTDIR => error.code_is(Code::NamespaceNotFound),
            _ => error,
        }
    })?;
    check_namespace(*kind, &namespace).map_err(|message| {
        Error::config(found.field, format!("{text}: {message}")).code_is(Code::NamespaceInvalid)
    })?;
    if let Some(why) = not_own {
        refuse_own(*kind, &namespace, why).with_context(|| format!("{}: {text}", found.field))?;
    }
    Ok(Some(namespace))
}

/// Copies the source of a bind mount, if that is the runtime's part. A source that another process
/// opens later is only looked up, so that a missing one is reported before anything is made.
fn open_source(planned: &Planned<InitStep>, bind: &Bind) -> Result<Option<OwnedFd>> {
    let (path, flags) = (bind.source.path(), bind.source_flags());
    match &bind.source {
        BindSource::CopiedByRuntime { or_by_init, .. } => {
            match mount::clone_tree_at(None, path, bind.recursive, flags) {
                Ok(tree) => changed(planned, bind, tree).map(Some),
                Err(fail) if fail.errno == Errno::EINVAL && *or_by_init => Ok(None),
                Err(fail) if fail.errno == Errno::EINVAL => {
                    bail!(plan::unbindable(&planned.field, &bind.source))
                }
                Err(fail) => bail!(not_opened(planned, bind, fail)),
            }
        }
        _ => look_up(planned, bind).map(|()| None),
    }
}

fn changed(planned: &Planned<InitStep>, bind: &Bind, tree: OwnedFd) -> Result<OwnedFd> {
    init::change(tree.as_fd(), bind.attrs, &bind.propagation, bind.recursive)
        .map_err(|fail| failure::step_failed(planned, fail))?;
    Ok(tree)
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

/// Refuses the runtime's own namespace and the host's, by whatever path they were opened.
pub(super) fn refuse_own(kind: NamespaceKind, namespace: &OwnedFd, why: &str) -> Result<()> {
    let name = kind.name();
    let object = || format!("{name} namespace");
    let id = |namespace: &OwnedFd| stat::stat(namespace.as_fd()).map(|stat| (stat.dev, stat.ino));
    let found = id(namespace).with_context(object)?;
    let own = path::open(clone::own_file(kind), libc::O_PATH).and_then(|own| id(&own));
    let whose = match process::initial_namespace(kind.flag()) {
        _ if own.with_context(object)? == found => "the runtime's own",
        Some(inode) if inode == found.1 => "the host's",
        _ => return Ok(()),
    };
    let message = format!("{whose} {name} namespace: {why}");
    let error = Error::new(message).code_is(Code::NamespaceInvalid);
    bail!(error.hint("without a path the container gets a namespace of its own"))
}
