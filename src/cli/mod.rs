//! Defines and parses the command line. Nothing here acts on it.
//!
//! The spellings are those that engines use with other runtimes. [`normalise`] rewrites spellings
//! that a Go command line accepts and clap does not (`-root=X`, `--debug=true`). A flag is a field
//! of a struct in [`flags!`](flags). The flags of a single verb are in the verb's file in
//! `commands/`; the others are in [`groups`].

pub(crate) mod flags;
pub mod groups;
mod normalise;
pub(crate) mod units;
mod usage;
mod verbs;

use std::ffi::OsString;

use clap::error::{ErrorKind, KindFormatter};

use crate::config::SPEC_VERSION;
use crate::error::Error;

use groups::{Global, LogFlags};
use usage::usage_error;
pub use verbs::{Effect, Verb, definition};

const NAME: &str = "sampan";

/// The commit that the binary was built from, taken from `SAMPAN_COMMIT` at build time.
pub const COMMIT: &str = match option_env!("SAMPAN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The output of `--version`. Engines read the first line, and the line that begins with
/// `commit: `. No later line may contain the word `version`, which engines search for.
fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{NAME} version {version}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n+CRIU\n")
}

/// A parsed command line; `T` holds the arguments of its verb.
#[derive(Debug)]
pub struct Line<T> {
    /// The flags before the verb.
    pub global: Global,
    /// The arguments of the verb.
    pub verb: T,
    /// What the verb does to containers.
    pub effect: Effect,
}

/// What a command line requests.
#[derive(Debug)]
pub enum Parsed<T> {
    /// Run a verb.
    Run(Line<T>),
    /// Print a text on standard output, for `--help` or `--version`.
    Print(String),
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// A one-line message that names the flag. For a flag without its value it is
/// `flag needs an argument: --x`, which podman matches when it probes a runtime.
pub fn parse<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
    let args = normalise::normalise(verbs, args)?;
    match verbs::parse_by_one(verbs, &args) {
        Some(parsed) => Ok(parsed),
        None => by_all(verbs, asking_for_help(args)),
    }
}

/// Rewrites the spellings of `--help` that clap does not know: no argument at all, `help`, and
/// `help VERB`.
fn asking_for_help(mut args: Vec<OsString>) -> Vec<OsString> {
    match verbs::place_of_verb(&args) {
        None if args.is_empty() => {}
        Some(place) if args[place] == "help" => drop(args.remove(place)),
        _ => return args,
    }
    // Not at the end: `exec ID COMMAND --help` is a call of the command.
    let place = verbs::place_of_verb(&args).map_or(args.len(), |verb| verb + 1);
    args.insert(place, "--help".into());
    args
}

/// Parses normalised arguments with the definition of all verbs.
fn by_all<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
    match verbs::parse_by_all(verbs, &args) {
        Ok(line) => Ok(Parsed::Run(line)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => {
                // clap's other formatter, which is smaller. Both print help in the same way.
                let help = error.apply::<KindFormatter>();
                Ok(Parsed::Print(help.render().to_string()))
            }
            ErrorKind::DisplayVersion => Ok(Parsed::Print(version_text())),
            ErrorKind::InvalidUtf8 => Err(must_be_text(verbs, args)),
            _ => {
                let verb = verbs::place_of_verb(&args);
                let verb = verb.and_then(|place| verbs::find(verbs, &args[place]));
                Err(usage_error(verbs, verb, &error))
            }
        },
    }
}

/// Builds the error for an argument that has to be UTF-8 and is not. Paths, environment variables
/// and the arguments of `exec` may contain any bytes; all other arguments must be UTF-8.
///
/// clap does not report which argument it rejected. This function replaces the arguments that are
/// not UTF-8 one by one, from the last to the first; the one whose replacement satisfies clap is
/// the rejected one.
fn must_be_text<T>(verbs: &[Verb<T>], mut args: Vec<OsString>) -> Error {
    let mut refused = String::new();
    for index in (0..args.len()).rev() {
        if args[index].to_str().is_some() {
            continue;
        }
        refused = args[index].to_string_lossy().into_owned();
        args[index] = refused.clone().into();
        let error = verbs::parse_by_all(verbs, &args).err();
        if error.is_none_or(|error| error.kind() != ErrorKind::InvalidUtf8) {
            break;
        }
    }
    Error::new(format!("{refused:?} is not UTF-8"))
        .hint("only paths and the arguments and variables of exec may contain other bytes")
}

/// Reads the flags that decide where a failure to parse `args` is reported.
pub fn log_flags<T>(verbs: &[Verb<T>], args: &[OsString]) -> LogFlags {
    let (log, format) = normalise::log_values(verbs, args);
    LogFlags {
        log,
        log_format: format.and_then(|format| format.into_string().ok()),
        ..LogFlags::default()
    }
}

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::*;

    /// Like [`parse`], but uses only the definition of all verbs.
    ///
    /// # Errors
    /// Those of [`parse`].
    pub fn parse_by_all<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
        by_all(verbs, asking_for_help(normalise::normalise(verbs, args)?))
    }

    /// Whether the definition of a single verb can parse `args`.
    pub fn is_read_by_one<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> bool {
        normalise::normalise(verbs, args)
            .is_ok_and(|args| verbs::parse_by_one(verbs, &args).is_some())
    }
}

#[cfg(test)]
mod tests;
