//! Defines the verbs for clap: either the one verb that a command line names, or all of them.
//!
//! clap builds the definitions of all verbs before it reads the first argument. That costs more
//! memory than anything else in a short verb. A correct command line needs only the definition of
//! its own verb, without the [lazy](super::flags::Lazy) groups of flags that it does not name. If
//! that definition rejects the command line (`--help` is such a case), the definition of all verbs
//! parses it again and produces the help or the error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, FromArgMatches};

use super::flags::{Define, Field, Flags, define_all, define_named};
use super::groups::Global;
use super::{Line, NAME, Parsed, version_text};

/// What a verb does, which decides what main prepares before the verb runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The verb reads state, makes requests of the kernel, or writes files for the user.
    Looks,
    /// The verb waits for child processes or creates files of the runtime.
    Changes,
    /// Like `Changes`; in addition a process of the runtime enters a container, where the
    /// container's processes can see it.
    Enters,
    /// Like `Enters`, for a container that is new: nothing in it sees that process at first.
    Creates,
}

/// A verb, whose arguments are parsed into a `T`.
#[derive(Debug)]
pub struct Verb<T> {
    /// As typed on the command line.
    pub name: &'static str,
    /// What it does to containers.
    pub effect: Effect,
    pub(super) fields: &'static [Field],
    define: Define,
    read: fn(&mut ArgMatches) -> Result<T, clap::Error>,
}

impl<T> Verb<T> {
    /// The verb `name`, whose flags and positional arguments are the fields of `V`.
    pub const fn new<V: Flags + Into<T>>(name: &'static str, effect: Effect) -> Self {
        Self {
            name,
            effect,
            fields: V::FIELDS,
            define: V::augment_args,
            read: |matches| V::from_arg_matches_mut(matches).map(Into::into),
        }
    }
}

/// Finds the verb called `name`.
pub(super) fn find<'v, T>(verbs: &'v [Verb<T>], name: &OsStr) -> Option<&'v Verb<T>> {
    verbs.iter().find(|verb| name == verb.name)
}

/// The index of the verb in normalised arguments, in which a flag and its value are one argument.
pub(super) fn place_of_verb(args: &[OsString]) -> Option<usize> {
    args.iter()
        .position(|arg| !arg.as_bytes().starts_with(b"-"))
}

/// The settings that both definitions share.
fn root() -> Command {
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        // `Global` defines --version itself, with the short flag that Go programs use.
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        // The last of repeated flags wins, as with Go's flags: engines append the user's flags to
        // their own.
        .args_override_self(true)
}

/// Defines all verbs with all their flags.
pub fn definition<T>(verbs: &[Verb<T>]) -> Command {
    let root = root()
        .about("Run containers as the OCI runtime specification describes them")
        .subcommand_required(true)
        .subcommand_value_name("COMMAND")
        .after_help("sampan help COMMAND shows the flags of a command.");
    let root = define_all(root, Global::FIELDS);
    verbs.iter().fold(root, |root, verb| {
        let command = (verb.define)(Command::new(verb.name));
        root.subcommand(define_all(command, verb.fields))
    })
}

/// Parses normalised arguments with the definition of all verbs.
pub(super) fn parse_by_all<T>(
    verbs: &[Verb<T>],
    args: &[OsString],
) -> Result<Line<T>, clap::Error> {
    let name = OsString::from(NAME);
    let matches = definition(verbs).try_get_matches_from(std::iter::once(&name).chain(args))?;
    read(verbs, matches)
}

/// Parses normalised arguments with the definition of the verb that they name, or of no verb for
/// `--version`. Returns `None` if the definition of all verbs is needed.
pub(super) fn parse_by_one<T>(verbs: &[Verb<T>], args: &[OsString]) -> Option<Parsed<T>> {
    let place = place_of_verb(args).unwrap_or(args.len());
    let (before, after) = args.split_at(place);
    let root = root().disable_help_flag(true).no_binary_name(true);
    let mut root = define_named(root, Global::FIELDS, before);
    if let Some((name, after)) = after.split_first() {
        let verb = find(verbs, name)?;
        let command = Command::new(verb.name).disable_help_flag(true);
        let command = define_named((verb.define)(command), verb.fields, after);
        root = root.subcommand(command);
    }
    match root.try_get_matches_from(args) {
        Ok(matches) => read(verbs, matches).ok().map(Parsed::Run),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            Some(Parsed::Print(version_text()))
        }
        Err(_) => None,
    }
}

fn read<T>(verbs: &[Verb<T>], mut matches: ArgMatches) -> Result<Line<T>, clap::Error> {
    let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
    let (name, mut of_verb) = matches.remove_subcommand().ok_or_else(missing)?;
    let verb = find(verbs, name.as_ref()).ok_or_else(missing)?;
    Ok(Line {
        global: Global::from_arg_matches_mut(&mut matches)?,
        verb: (verb.read)(&mut of_verb)?,
        effect: verb.effect,
    })
}
