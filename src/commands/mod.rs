//! The verbs. Each has a file with its flags and its code. [`VERBS`] lists them.

pub mod bundle;
mod check;
mod checkpoint;
mod create;
mod criu_flags;
mod delete;
mod ending;
mod events;
mod exec;
mod explain;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod remains;
mod restore;
mod run;
mod saved;
mod spec;
mod start;
mod state;
mod terminal;
mod update;
mod wait;

use std::cell::RefCell;
use std::io::Write;

use anyhow::Result;

use crate::cgroup::Cgroup;
use crate::cli::groups::{CgroupManager, Global};
use crate::cli::{self, Effect};
use crate::error::{Call as _, Context as _, Error, Kind};
use crate::log::Log;
use crate::run::sd_notify::SdNotify;
use crate::state::{Dir, Root, State, Status, not_running};
use crate::sys::binary::OwnMount;

/// What every verb receives: the root directory, the cgroup manager and the log.
#[derive(Debug)]
pub struct Context<'a> {
    /// The root directory, `--root`.
    pub root: Root,
    /// The manager for a new container. The state of an existing container records its own.
    pub cgroup_manager: CgroupManager,
    /// Where warnings and messages for debugging go.
    pub log: &'a Log,
    /// The mount of the own binary, for the verbs with [`Effect::Creates`].
    pub own_mount: RefCell<Option<OwnMount>>,
}

impl<'a> Context<'a> {
    /// # Errors
    /// No directory for the state can be determined.
    pub fn new(flags: &Global, log: &'a Log) -> Result<Self> {
        Ok(Self {
            root: Root::choose(flags.state.root.as_deref())?,
            cgroup_manager: flags.cgroups.manager(),
            log,
            own_mount: RefCell::default(),
        })
    }

    /// Opens the directory of an existing container.
    ///
    /// # Errors
    /// `invalid container ID format`, `container does not exist`; or the directory cannot be
    /// opened, or users other than the caller may change it.
    pub fn open(&self, id: &str) -> Result<Dir> {
        let place = self.root.container(id)?;
        Ok(place.open()?.ok_or_else(|| place.missing())?)
    }

    /// Opens the directory of an existing container and reads its state.
    ///
    /// # Errors
    /// Those of [`Context::open`], or the state cannot be read.
    pub fn load(&self, id: &str) -> Result<(Dir, State)> {
        let dir = self.open(id)?;
        let state = State::load(&dir)?;
        Ok((dir, state))
    }

    /// Binds the socket that passes the container's readiness to the caller's service manager, if
    /// there is one. If no socket can be reached at NOTIFY_SOCKET, this is a warning.
    fn notify(&self, dir: &Dir) -> Option<SdNotify> {
        SdNotify::bind(dir).unwrap_or_else(|error| {
            self.log.warn_of(error);
            None
        })
    }

    /// Returns the ids in which the extended regular expression `pattern` matches anywhere, sorted.
    ///
    /// # Errors
    /// The pattern is invalid, or the root directory cannot be read.
    pub fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let regex =
            regex_lite::Regex::new(pattern).with_context(|| format!("--regex: {pattern:?}"))?;
        let mut ids: Vec<_> = self
            .root
            .containers()?
            .into_iter()
            .map(|place| place.id)
            .collect();
        ids.retain(|id| regex.is_match(id));
        Ok(ids)
    }

    /// Calls `one` for the container `id`. With `regex`, `id` is a pattern, `one` is called for
    /// each container that matches, and a failure is a warning.
    ///
    /// # Errors
    /// Those of `one` without `regex`, and those of [`Context::matching`].
    pub fn each(&self, id: &str, regex: bool, one: impl Fn(&str) -> Result<()>) -> Result<()> {
        if !regex {
            return one(id);
        }
        for id in self.matching(id)? {
            if let Err(error) = one(&id) {
                self.log.warn_of(error.context(id));
            }
        }
        Ok(())
    }
}

/// Only tests print and compare the flags of a verb. In the program each flag would be a name and a
/// table, to be relocated at each start.
#[cfg(any(test, feature = "fuzzing"))]
pub trait Inspected: std::any::Any + std::fmt::Debug {}
#[cfg(any(test, feature = "fuzzing"))]
impl<T: std::any::Any + std::fmt::Debug> Inspected for T {}
/// See above.
#[cfg(not(any(test, feature = "fuzzing")))]
pub trait Inspected {}
#[cfg(not(any(test, feature = "fuzzing")))]
impl<T> Inspected for T {}

/// A verb. Its fields are its parsed flags.
pub trait Verb: Inspected + 'static {
    /// Runs the verb and returns the exit status.
    ///
    /// # Errors
    /// Those of the verb.
    fn run(&self, context: &Context) -> Result<u8>;

    /// The id of the container on the command line.
    fn container(&self) -> Option<&str> {
        None
    }

    /// The exit status if [`Verb::run`] fails.
    fn failure_status(&self) -> u8 {
        1
    }
}

impl<V: Verb> From<V> for Box<dyn Verb> {
    fn from(verb: V) -> Self {
        Box::new(verb)
    }
}

/// The exit status of a verb that succeeded.
const DONE: u8 = 0;

/// Every verb, in the order of `--help`.
pub const VERBS: &[cli::Verb<Box<dyn Verb>>] = &[
    cli::Verb::new::<create::Create>("create", Effect::Creates),
    cli::Verb::new::<start::Start>("start", Effect::Changes),
    cli::Verb::new::<run::Run>("run", Effect::Creates),
    cli::Verb::new::<exec::Exec>("exec", Effect::Enters),
    cli::Verb::new::<state::State>("state", Effect::Looks),
    cli::Verb::new::<kill::Kill>("kill", Effect::Looks),
    cli::Verb::new::<wait::Wait>("wait", Effect::Looks),
    cli::Verb::new::<delete::Delete>("delete", Effect::Changes),
    cli::Verb::new::<list::List>("list", Effect::Looks),
    cli::Verb::new::<ps::Ps>("ps", Effect::Changes),
    cli::Verb::new::<pause::Pause>("pause", Effect::Looks),
    cli::Verb::new::<pause::Resume>("resume", Effect::Looks),
    cli::Verb::new::<update::Update>("update", Effect::Changes),
    cli::Verb::new::<mounts::Mounts>("mounts", Effect::Enters),
    cli::Verb::new::<checkpoint::Checkpoint>("checkpoint", Effect::Changes),
    cli::Verb::new::<restore::Restore>("restore", Effect::Changes),
    cli::Verb::new::<events::Events>("events", Effect::Looks),
    cli::Verb::new::<spec::Spec>("spec", Effect::Looks),
    cli::Verb::new::<features::Features>("features", Effect::Looks),
    cli::Verb::new::<explain::Explain>("explain", Effect::Looks),
    cli::Verb::new::<check::Check>("check", Effect::Looks),
];

/// Opens the container's cgroup. Returns `None` if the cgroup is gone.
///
/// The container's directory is checked after the cgroup is open: if the container was deleted in
/// the meantime, the cgroup at this path may belong to another container.
///
/// # Errors
/// [`Kind::Status`]: the container shares the cgroup of its caller. [`Kind::NotFound`]: the
/// container was deleted. Or the cgroup cannot be opened, or cannot be seen from here.
fn open_cgroup(dir: &Dir, state: &State) -> Result<Option<Cgroup>> {
    let cgroup = state.cgroup.as_ref().ok_or_else(|| {
        let message = format!("container {} has no cgroup of its own", state.id);
        Error::of(Kind::Status, message)
            .hint("it was created with --cgroup-manager disabled, or by a user without a cgroup")
    })?;
    let cgroup = cgroup.place().open()?;
    dir.check_current()?;
    Ok(cgroup)
}

/// Opens the container's cgroup.
///
/// # Errors
/// Those of [`open_cgroup`]; `container not running` if the cgroup is gone.
fn cgroup_of(dir: &Dir, state: &State) -> Result<Cgroup> {
    open_cgroup(dir, state)?.ok_or_else(|| not_running(state).into())
}

/// Replaces `error` with the error of `check` if the container has stopped in the meantime: then
/// the message does not depend on which system call noticed it first.
fn unless_stopped(
    error: anyhow::Error,
    dir: &Dir,
    state: &State,
    check: impl FnOnce(Status) -> Result<()>,
) -> anyhow::Error {
    match state.status(dir) {
        Ok(Status::Stopped) => check(Status::Stopped).err().unwrap_or(error),
        _ => error,
    }
}

/// Writes `text` to standard output.
///
/// # Errors
/// write(2) failed, as on a closed pipe.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .call("write")
        .context("standard output")
}

/// Serialises `value` as indented JSON.
///
/// # Errors
/// A path in it is not UTF-8.
fn pretty(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(Error::from)
        .context("JSON")?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests;
