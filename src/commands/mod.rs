//! The verbs, one file each.

pub mod bundle;
mod create;
mod delete;
mod events;
mod everyone;
mod exec;
mod explain;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod remains;
mod saved;
mod spec;
mod start;
mod state;
mod update;

use std::io::Write;

use crate::cgroup::Cgroup;
use crate::cli::{CgroupFlags, CgroupManager, Cli, Command, Global};
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::run::sd_notify::SdNotify;
use crate::state::{Dir, Root, State, Status};

/// What every verb has at hand.
#[derive(Debug)]
pub struct Context<'a> {
    pub root: Root,
    pub global: Global,
    pub log: &'a Log,
}

impl Context<'_> {
    /// The directory of an existing container, held.
    ///
    /// # Errors
    /// `invalid container ID format`, `container does not exist`; or it cannot be opened, or others
    /// than the caller may change it.
    pub fn open(&self, id: &str) -> Result<Dir> {
        let place = self.root.container(id)?;
        place.open()?.ok_or_else(|| place.missing())
    }

    /// The directory and the state of an existing container.
    ///
    /// # Errors
    /// Those of [`Context::open`], or an unreadable state.
    pub fn load(&self, id: &str) -> Result<(Dir, State)> {
        let dir = self.open(id)?;
        let state = State::load(&dir)?;
        Ok((dir, state))
    }

    /// The way for the container's readiness to the caller's service manager, if there is one; that
    /// there is none at NOTIFY_SOCKET is a warning.
    fn notify(&self, dir: &Dir) -> Option<SdNotify> {
        SdNotify::bind(dir).unwrap_or_else(|error| {
            self.log.warn(error.to_string());
            None
        })
    }

    /// The ids that the extended regular expression `pattern` matches anywhere, sorted.
    ///
    /// # Errors
    /// The pattern is wrong, or the root directory cannot be read.
    pub fn matching(&self, pattern: &str) -> Result<Vec<String>> {
        let regex = regex_lite::Regex::new(pattern)
            .map_err(|error| Error::new(Kind::Usage, format!("--regex: {pattern:?}: {error}")))?;
        let mut ids: Vec<_> = self
            .root
            .containers()?
            .into_iter()
            .map(|place| place.id)
            .collect();
        ids.retain(|id| regex.is_match(id));
        Ok(ids)
    }

    /// Does `one` to the container `id`, or with `regex` to each that `id` matches; then a failure
    /// is a warning.
    ///
    /// # Errors
    /// Those of `one` without `regex`, and those of [`Context::matching`].
    pub fn each(&self, id: &str, regex: bool, one: impl Fn(&str) -> Result<()>) -> Result<()> {
        if !regex {
            return one(id);
        }
        for id in self.matching(id)? {
            if let Err(error) = one(&id) {
                self.log.warn(format!("{id}: {error}"));
            }
        }
        Ok(())
    }
}

/// Who manages the cgroup of a new container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// This runtime makes it in the cgroup2 file system.
    Cgroupfs,
    /// systemd makes it, with a unit around the container.
    Systemd,
    /// Nobody: the container stays in the cgroup of its caller.
    Disabled,
}

impl CgroupDriver {
    /// What the flags ask for; for verbs that make a container. The others take it from the
    /// state, because engines do not repeat the flag.
    pub fn of(flags: &CgroupFlags) -> Self {
        match (flags.cgroup_manager, flags.systemd_cgroup) {
            (Some(CgroupManager::Disabled), _) => Self::Disabled,
            (Some(CgroupManager::Systemd), _) | (_, true) => Self::Systemd,
            (Some(CgroupManager::Cgroupfs) | None, false) => Self::Cgroupfs,
        }
    }
}

/// Carries out a command; the value is the exit status.
///
/// # Errors
/// Those of the command.
pub fn dispatch(cli: Cli, log: &Log) -> Result<u8> {
    let context = Context {
        root: Root::choose(cli.global.state.root.as_deref())?,
        global: cli.global,
        log,
    };
    match cli.command {
        Command::State(args) => state::state(&context, &args)?,
        Command::Kill(args) => kill::kill(&context, &args)?,
        Command::List(args) => list::list(&context, &args)?,
        Command::Ps(args) => ps::ps(&context, &args)?,
        Command::Pause(args) => pause::pause(&context, &args)?,
        Command::Resume(args) => pause::resume(&context, &args)?,
        Command::Mounts(args) => mounts::mounts(&context, &args)?,
        Command::Update(args) => update::update(&context, &args)?,
        Command::Events(args) => events::events(&context, &args)?,
        Command::Spec(args) => spec::spec(&context, &args)?,
        Command::Explain(args) => explain::explain(&context, &args)?,
        Command::Features(args) => features::features(&context, &args)?,
        Command::Create(args) => create::create(&context, &args)?,
        Command::Run(args) => return create::run(&context, &args),
        Command::Exec(args) => return exec::exec(&context, &args),
        Command::Start(args) => start::start(&context, &args)?,
        Command::Delete(args) => delete::delete(&context, &args)?,
    }
    Ok(0)
}

/// The container's cgroup, open; `None` if it is gone. What has its path by now is another
/// container's if this one was deleted meanwhile.
///
/// # Errors
/// [`Kind::Status`]: the container shares the cgroup of its caller. [`Kind::NotFound`]: it was
/// deleted. Or the cgroup cannot be opened.
fn open_cgroup(dir: &Dir, state: &State) -> Result<Option<Cgroup>> {
    let cgroup = state.cgroup.as_ref().ok_or_else(|| {
        let message = format!("container {} has no cgroup of its own", state.id);
        Error::new(Kind::Status, message)
            .hint("it was created with --cgroup-manager disabled, or by a user who may make none")
    })?;
    let cgroup = Cgroup::open(&cgroup.dir())?;
    dir.check_current()?;
    Ok(cgroup)
}

/// The container's cgroup, open.
///
/// # Errors
/// Those of [`open_cgroup`]; `container not running` if the cgroup is gone.
fn cgroup_of(dir: &Dir, state: &State) -> Result<Cgroup> {
    open_cgroup(dir, state)?.ok_or_else(|| kill::not_running(state))
}

/// What to say of a failure: that the container has stopped meanwhile, in the words of `check`,
/// whichever system call was the first to notice it; otherwise the failure itself.
fn unless_stopped(
    error: Error,
    dir: &Dir,
    state: &State,
    check: impl FnOnce(Status) -> Result<()>,
) -> Error {
    match state.status(dir) {
        Ok(Status::Stopped) => check(Status::Stopped).err().unwrap_or(error),
        _ => error,
    }
}

/// Writes `text` on standard output.
///
/// # Errors
/// write(2) failed, as on a closed pipe.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Error::io("standard output", "write", &error))
}

/// `value` as JSON, indented.
///
/// # Errors
/// A path in it is not UTF-8.
fn pretty(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Error::new(Kind::Setup, format!("JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_told_by_either_flag() {
        let of = |systemd_cgroup, cgroup_manager| {
            CgroupDriver::of(&CgroupFlags {
                systemd_cgroup,
                cgroup_manager,
            })
        };
        assert_eq!(of(false, None), CgroupDriver::Cgroupfs);
        assert_eq!(of(true, None), CgroupDriver::Systemd);
        assert_eq!(
            of(false, Some(CgroupManager::Systemd)),
            CgroupDriver::Systemd
        );
        assert_eq!(
            of(true, Some(CgroupManager::Disabled)),
            CgroupDriver::Disabled
        );
    }

    #[test]
    fn a_pattern_picks_ids_and_failures_are_warnings() {
        let path = std::env::temp_dir().join(format!("sampan-each-{}", std::process::id()));
        let log = Log::default();
        let context = Context {
            root: Root::choose(Some(&path)).unwrap(),
            global: Global::default(),
            log: &log,
        };
        for id in ["web-1", "web-2", "db"] {
            context.root.claim(id, b"{}").unwrap().keep();
        }
        assert_eq!(context.matching("^web-[0-9]$").unwrap(), ["web-1", "web-2"]);
        assert_eq!(context.matching("b").unwrap(), ["db", "web-1", "web-2"]);
        let seen = std::cell::RefCell::new(Vec::new());
        let fail = |id: &str| {
            seen.borrow_mut().push(id.to_owned());
            Err(Error::new(Kind::Status, "no"))
        };
        context.each("web", true, fail).unwrap();
        assert!(context.each("db", false, fail).is_err());
        assert_eq!(seen.take(), ["web-1", "web-2", "db"]);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
