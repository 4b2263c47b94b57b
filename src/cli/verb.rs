//! The definition of one verb, for a command line that names it.
//!
//! clap builds the definitions of all verbs before it reads the first word, which costs more memory
//! than anything else that a short verb does. A command line that is right needs only its own. What
//! this parser does not take, help among it, is for the definition of the whole.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::{Args, FromArgMatches};

use super::{
    Cli, Create, Delete, Events, Exec, Explain, Global, Id, Kill, List, Mounts, NoArgs, Ps, Run,
    Spec, Update,
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

/// Parses normalised arguments; `None` if that takes the whole definition.
pub(super) fn parse(args: &[OsString]) -> Option<Cli> {
    let verb = args.iter().find(|arg| !arg.as_bytes().starts_with(b"-"))?;
    let &(name, augment) = VERBS.iter().find(|(name, _)| *name == verb.as_os_str())?;
    let bare = |name| clap::Command::new(name).disable_help_flag(true);
    let mut command = Global::augment_args(bare("sampan"))
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_subcommand(true)
        .subcommand(augment(bare(name)));
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
