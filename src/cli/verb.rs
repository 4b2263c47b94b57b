//! The definition of one verb, for a command line that names it.
//!
//! clap builds the definitions of all verbs before it reads the first word, which costs more memory
//! than anything else that a short verb does. A command line that is right needs only that of its own
//! verb, and of the flags before it only the groups that it names. What this parser does not take,
//! help among it, is for the definition of the whole.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::{ArgMatches, Args, FromArgMatches};

use super::{
    CgroupFlags, Cli, Command, Create, Delete, Events, Exec, Explain, Global, Id, Kill, List,
    LogFlags, Mounts, NoArgs, PrivilegeFlags, Ps, Run, Spec, StateFlags, Update,
};

type Augment = fn(clap::Command) -> clap::Command;

/// The arguments of each verb. A test compares this with [`Command`](super::Command).
const VERBS: &[(&str, Augment)] = &[
    ("create", Create::augment_args),
    ("start", Id::augment_args),
    ("run", Run::augment_args),
    ("exec", Exec::augment_args),
    ("state", Id::augment_args),
    ("kill", Kill::augment_args),
    ("delete", Delete::augment_args),
    ("list", List::augment_args),
    ("ps", Ps::augment_args),
    ("pause", Id::augment_args),
    ("resume", Id::augment_args),
    ("update", Update::augment_args),
    ("mounts", Mounts::augment_args),
    ("events", Events::augment_args),
    ("spec", Spec::augment_args),
    ("features", NoArgs::augment_args),
    ("explain", Explain::augment_args),
];

/// A group of the flags before the verb.
trait Group: Args + Default {
    /// Their names. A test compares this with the definition.
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

/// The arguments before the verb.
#[derive(Clone, Copy)]
struct Before<'a>(&'a [OsString]);

impl Before<'_> {
    fn names<T: Group>(self) -> bool {
        self.0.iter().any(|arg| {
            let words = arg.as_bytes().strip_prefix(b"--");
            let name = words.and_then(|words| words.split(|&byte| byte == b'=').next());
            name.is_some_and(|name| T::FLAGS.iter().any(|flag| flag.as_bytes() == name))
        })
    }

    fn define<T: Group>(self, command: clap::Command) -> clap::Command {
        match self.names::<T>() {
            true => T::augment_args(command),
            false => command,
        }
    }

    fn read<T: Group>(self, matches: &mut ArgMatches) -> Option<T> {
        match self.names::<T>() {
            true => T::from_arg_matches_mut(matches).ok(),
            false => Some(T::default()),
        }
    }
}

/// Parses normalised arguments; `None` if that takes the whole definition.
pub(super) fn parse(args: &[OsString]) -> Option<Cli> {
    let is_verb = |arg: &OsString| !arg.as_bytes().starts_with(b"-");
    let position = args.iter().position(is_verb)?;
    let (before, verb) = (Before(&args[..position]), &args[position]);
    let &(name, augment) = VERBS.iter().find(|(name, _)| *name == verb.as_os_str())?;
    let bare = |name| clap::Command::new(name).disable_help_flag(true);
    let command = bare("sampan")
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_subcommand(true);
    let command = before.define::<StateFlags>(command);
    let command = before.define::<LogFlags>(command);
    let command = before.define::<CgroupFlags>(command);
    let command = before.define::<PrivilegeFlags>(command);
    let mut command = command.subcommand(augment(bare(name)));
    let mut matches = command.try_get_matches_from_mut(args).ok()?;
    Some(Cli {
        global: Global {
            state: before.read(&mut matches)?,
            log: before.read(&mut matches)?,
            cgroups: before.read(&mut matches)?,
            privileges: before.read(&mut matches)?,
        },
        command: Command::from_arg_matches_mut(&mut matches).ok()?,
        version: (),
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn every_verb_is_here() {
        let command = Cli::command();
        let names: Vec<_> = command
            .get_subcommands()
            .map(|verb| verb.get_name())
            .collect();
        let here: Vec<_> = VERBS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, here);
    }

    fn has_its_flags<T: Group>() {
        let command = T::augment_args(clap::Command::new("sampan"));
        let flags: Vec<_> = command.get_arguments().map(|arg| arg.get_long()).collect();
        assert_eq!(
            flags,
            T::FLAGS.iter().copied().map(Some).collect::<Vec<_>>()
        );
        assert!(command.get_arguments().all(|arg| arg.get_short().is_none()));
    }

    #[test]
    fn every_group_has_its_flags() {
        has_its_flags::<StateFlags>();
        has_its_flags::<LogFlags>();
        has_its_flags::<CgroupFlags>();
        has_its_flags::<PrivilegeFlags>();
        let all = [
            StateFlags::FLAGS,
            LogFlags::FLAGS,
            CgroupFlags::FLAGS,
            PrivilegeFlags::FLAGS,
        ];
        let global = Global::augment_args(clap::Command::new("sampan"));
        assert_eq!(global.get_arguments().count(), all.concat().len());
    }

    #[test]
    fn one_definition_reads_what_all_of_them_read() {
        for line in [
            "state box",
            "--root=/r --log=/l --log-format=json --debug create --bundle=/b --pid-file=/p box",
            "--log-level=debug --rootless=auto --cgroup-manager=disabled state box",
            "--log=/a --root=/r --log=/b --root=/s state box",
            "--systemd-cgroup run -d -b /b --preserve-fds=2 --preserve-fds=3 box",
            "exec -t -e A=B -e C=D -u 1:2 --cap=X box sh -c --help",
            "exec --process=/p --detach box",
            "kill --all box KILL",
            "delete --force box",
            "update --memory=1 --resources=- box",
            "ps --format=json box -ef",
            "list -q",
            "events --stats box",
            "mounts add box /file",
            "spec --rootless",
            "features",
            "explain --json",
        ] {
            let args = words(line);
            let whole = Cli::try_parse_from(std::iter::once("sampan".into()).chain(args.clone()));
            let one = parse(&args).expect(line);
            assert_eq!(
                format!("{one:?}"),
                format!("{:?}", whole.expect(line)),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_wrong_or_asks_for_help_is_left_to_the_whole() {
        for line in [
            "",
            "-h",
            "--version",
            "state",
            "state --help",
            "state one two",
            "no-such-verb box",
            "--no-such-flag state box",
            "create --pid-file box",
            "run -x box",
        ] {
            assert!(parse(&words(line)).is_none(), "{line}");
        }
    }
}
