//! The definition of one verb, for a command line that names it.
//!
//! clap builds the definitions of all verbs before it reads the first word, which costs more memory
//! than anything else that a short verb does. A command line that is right needs only that of its own
//! verb, and of the [groups](super::groups) of flags those that it names. What this parser does not
//! take, help among it, is for the definition of the whole.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::FromArgMatches;

use super::groups::{Part, always, define, named};
use super::{
    Bundle, CgroupFlags, Cli, Delete, Events, Executed, Explain, Handover, Id, Kill, List,
    LogFlags, Mode, Mounts, NewId, NoArgs, PrivilegeFlags, Ps, Settings, Shape, Spec, StateFlags,
    Until, Update,
};

/// The parts of [`Global`](super::Global).
const GLOBAL: &[Part] = &[
    named::<StateFlags>(),
    named::<LogFlags>(),
    named::<CgroupFlags>(),
    named::<PrivilegeFlags>(),
];

/// The parts of each verb's arguments. A test compares this with [`Command`](super::Command).
const VERBS: &[(&str, &[Part])] = &[
    (
        "create",
        &[
            always::<Bundle>(),
            named::<Shape>(),
            named::<Handover>(),
            always::<NewId>(),
        ],
    ),
    ("start", &[always::<Id>()]),
    (
        "run",
        &[
            always::<Bundle>(),
            named::<Shape>(),
            named::<Handover>(),
            always::<NewId>(),
            named::<Until>(),
        ],
    ),
    (
        "exec",
        &[
            always::<Executed>(),
            named::<Mode>(),
            named::<Settings>(),
            named::<Handover>(),
        ],
    ),
    ("state", &[always::<Id>()]),
    ("kill", &[always::<Kill>()]),
    ("delete", &[always::<Delete>()]),
    ("list", &[always::<List>()]),
    ("ps", &[always::<Ps>()]),
    ("pause", &[always::<Id>()]),
    ("resume", &[always::<Id>()]),
    ("update", &[always::<Update>()]),
    ("mounts", &[always::<Mounts>()]),
    ("events", &[always::<Events>()]),
    ("spec", &[always::<Spec>()]),
    ("features", &[always::<NoArgs>()]),
    ("explain", &[always::<Explain>()]),
];

/// Parses normalised arguments; `None` if that takes the whole definition.
pub(super) fn parse(args: &[OsString]) -> Option<Cli> {
    let is_verb = |arg: &OsString| !arg.as_bytes().starts_with(b"-");
    let (before, after) = args.split_at(args.iter().position(is_verb)?);
    let (verb, after) = after.split_first()?;
    let &(name, parts) = VERBS.iter().find(|(name, _)| *name == verb.as_os_str())?;
    let bare = |name| clap::Command::new(name).disable_help_flag(true);
    let command = bare("sampan")
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_subcommand(true);
    let verb = define(bare(name), parts, after);
    let mut command = define(command, GLOBAL, before).subcommand(verb);
    let mut matches = command.try_get_matches_from_mut(args).ok()?;
    Cli::from_arg_matches_mut(&mut matches).ok()
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
            "create box",
            "create --no-pivot --preserve-fds=2 --console-socket=/c -b /b box",
            "run --keep --no-subreaper box",
            "exec box true",
            "exec --cwd=/ --user=1 --pid-file=/p box true --cwd=/x --tty",
            "exec --detach --process=/p --pid-file=/f box",
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
