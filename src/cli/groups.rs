//! Flags that most command lines do not name, in groups that need not be defined then.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

use super::{
    CgroupFlags, Handover, LogFlags, Mode, PrivilegeFlags, Settings, Shape, StateFlags, Until,
};

/// A group of flags. Without any of them it has its default.
pub(super) trait Group: Args + Default {
    /// Their long names. A test compares them with the definition.
    const FLAGS: &'static [&'static str];
}

impl Group for StateFlags {
    const FLAGS: &'static [&'static str] = &["root"];
}

impl Group for LogFlags {
    const FLAGS: &'static [&'static str] = &["log", "log-format", "log-level", "debug"];
}

impl Group for CgroupFlags {
    const FLAGS: &'static [&'static str] = &["systemd-cgroup", "cgroup-manager"];
}

impl Group for PrivilegeFlags {
    const FLAGS: &'static [&'static str] = &["rootless"];
}

impl Group for Shape {
    const FLAGS: &'static [&'static str] = &["no-pivot", "no-new-keyring", "preserve-fds"];
}

impl Group for Handover {
    const FLAGS: &'static [&'static str] =
        &["console-socket", "pidfd-socket", "pid-file", "no-subreaper"];
}

impl Group for Until {
    const FLAGS: &'static [&'static str] = &["detach", "keep"];
}

impl Group for Mode {
    const FLAGS: &'static [&'static str] = &["detach", "tty"];
}

impl Group for Settings {
    const FLAGS: &'static [&'static str] = &[
        "cwd",
        "env",
        "user",
        "additional-gids",
        "cap",
        "no-new-privs",
        "process-label",
        "apparmor",
        "ignore-paused",
        "cgroup",
        "preserve-fds",
    ];
}

/// What the command line has of a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<T>(T);

impl<T> Deref for Given<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Group> Args for Given<T> {
    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: Group> FromArgMatches for Given<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    /// clap may be asked only for what is defined.
    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        let given = |flag: &&str| {
            matches
                .try_contains_id(&flag.replace('-', "_"))
                .unwrap_or(false)
        };
        match T::FLAGS.iter().any(given) {
            true => T::from_arg_matches_mut(matches).map(Self),
            false => Ok(Self::default()),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A part of a command's definition.
#[derive(Clone, Copy)]
pub(super) struct Part {
    define: fn(Command) -> Command,
    /// The flags of a group.
    flags: Option<&'static [&'static str]>,
}

/// What is always defined.
pub(super) const fn always<T: Args>() -> Part {
    Part {
        define: T::augment_args,
        flags: None,
    }
}

/// What is defined for a line that names it.
pub(super) const fn named<T: Group>() -> Part {
    Part {
        define: T::augment_args,
        flags: Some(T::FLAGS),
    }
}

/// Defines those parts that `args`, which are normalised, may need.
pub(super) fn define(command: Command, parts: &[Part], args: &[OsString]) -> Command {
    let needed = |part: &&Part| match part.flags {
        None => true,
        Some(flags) => args.iter().any(|arg| may_name(arg.as_bytes(), flags)),
    };
    let parts = parts.iter().filter(needed);
    parts.fold(command, |command, part| (part.define)(command))
}

/// Short flags may be any.
fn may_name(arg: &[u8], flags: &[&str]) -> bool {
    match arg {
        [b'-', b'-', long @ ..] => {
            let name = long.split(|&byte| byte == b'=').next();
            flags.iter().any(|flag| Some(flag.as_bytes()) == name)
        }
        [b'-', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_defined_as_said<T: Group + std::fmt::Debug>() {
        let mut command = T::augment_args(Command::new("sampan"));
        let flags: Vec<_> = command.get_arguments().map(clap::Arg::get_long).collect();
        assert_eq!(
            flags,
            T::FLAGS.iter().copied().map(Some).collect::<Vec<_>>()
        );
        let mut matches = command.try_get_matches_from_mut(["sampan"]).unwrap();
        let nothing = T::from_arg_matches_mut(&mut matches).unwrap();
        assert_eq!(format!("{nothing:?}"), format!("{:?}", T::default()));
    }

    #[test]
    fn groups_are_defined_as_said() {
        is_defined_as_said::<StateFlags>();
        is_defined_as_said::<LogFlags>();
        is_defined_as_said::<CgroupFlags>();
        is_defined_as_said::<PrivilegeFlags>();
        is_defined_as_said::<Shape>();
        is_defined_as_said::<Handover>();
        is_defined_as_said::<Until>();
        is_defined_as_said::<Mode>();
        is_defined_as_said::<Settings>();
    }

    #[test]
    fn flags_are_found_however_they_are_written() {
        for arg in ["--root", "--root=/r", "--root=", "-r", "-x"] {
            assert!(may_name(arg.as_bytes(), StateFlags::FLAGS), "{arg}");
        }
        for arg in ["root", "--rootless", "--ro", "--", "", "--log=--root"] {
            assert!(!may_name(arg.as_bytes(), StateFlags::FLAGS), "{arg}");
        }
    }
}
