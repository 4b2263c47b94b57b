//! clap's definition of the verbs: of the one that a command line names, or of all.
//!
//! clap builds the definitions of all verbs before it reads the first word, which costs more memory
//! than anything else that a short verb does. A correct command line needs only the definition of its
//! own verb, without the [lazy](super::flags::Lazy) groups of flags that it does not name. What that
//! definition refuses, `--help` among it, is left to the definition of all.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, FromArgMatches};

use super::flags::{Define, Field, Flags, define_all, define_named};
use super::groups::Global;
use super::{Line, NAME, Parsed, version_text};

/// What has to be prepared for a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks, asks the kernel for something, or writes files for the user.
    Looks,
    /// It waits for children or makes files of the runtime's.
    Changes,
    /// A process of the runtime enters a container, where others can see it; it changes things too.
    Enters,
}

/// A verb, whose arguments become a `T`.
#[derive(Debug)]
pub struct Verb<T> {
    pub name: &'static str,
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

/// The verb that is called `name`.
pub(super) fn find<'v, T>(verbs: &'v [Verb<T>], name: &OsStr) -> Option<&'v Verb<T>> {
    verbs.iter().find(|verb| name == verb.name)
}

/// What both definitions begin with.
fn root() -> Command {
    Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        // It is among the flags of `Global`, with the letter that Go programs give it.
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        // As with Go's flags, the last one wins: engines put the user's flags after their own.
        .args_override_self(true)
}

/// The definition of all verbs with all their flags.
pub fn definition<T>(verbs: &[Verb<T>]) -> Command {
    let root = root()
        .about("Run containers as the OCI runtime specification describes them")
        .subcommand_required(true)
        .subcommand_value_name("COMMAND");
    let root = define_all(root, Global::FIELDS);
    verbs.iter().fold(root, |root, verb| {
        let command = (verb.define)(Command::new(verb.name));
        root.subcommand(define_all(command, verb.fields))
    })
}

/// Parses normalised arguments by the definition of all verbs.
pub(super) fn parse_by_all<T>(
    verbs: &[Verb<T>],
    args: &[OsString],
) -> Result<Line<T>, clap::Error> {
    let name = OsString::from(NAME);
    let matches = definition(verbs).try_get_matches_from(std::iter::once(&name).chain(args))?;
    read(verbs, matches)
}

/// Parses normalised arguments by the definition of their verb, or of none for `--version`; `None` if
/// it takes that of all.
pub(super) fn parse_by_one<T>(verbs: &[Verb<T>], args: &[OsString]) -> Option<Parsed<T>> {
    let is_verb = |arg: &OsString| !arg.as_bytes().starts_with(b"-");
    let place = args.iter().position(is_verb).unwrap_or(args.len());
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
