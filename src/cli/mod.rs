//! The command line: how it is defined and read, and nothing that acts.
//!
//! The spellings are those that engines use with other runtimes. [`normalise`] turns what a Go
//! command line accepts and clap does not (`-root=X`, `--debug=true`) into what clap reads. A flag is
//! a field of a struct in [`flags!`](flags); those of one verb are in the verb's file in
//! `commands/`, the others in [`groups`].

pub(crate) mod flags;
pub mod groups;
mod normalise;
pub(crate) mod units;
mod verbs;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::SPEC_VERSION;
use crate::error::Error;

use groups::{Global, LogFlags};
pub use verbs::{Effect, Verb, definition};

const NAME: &str = "sampan";

/// The commit that the binary was built from, given by `SAMPAN_COMMIT` at build time.
pub const COMMIT: &str = match option_env!("SAMPAN_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// What `--version` prints. Engines read the first line and the line that begins
/// with `commit: `; no later line may have the first line's keyword in it.
fn version_text() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{NAME} version {version}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")
}

/// A command line that has been read; `T` has the arguments of its verb.
#[derive(Debug)]
pub struct Line<T> {
    pub global: Global,
    pub verb: T,
    pub effect: Effect,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed<T> {
    /// A verb.
    Run(Line<T>),
    /// A text for standard output: `--help` or `--version`.
    Print(String),
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// One line that names the flag. A flag without its value gives the words
/// `flag needs an argument: --x`, which podman looks for when it probes a runtime.
pub fn parse<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
    let args = normalise::normalise(verbs, args)?;
    match verbs::parse_by_one(verbs, &args) {
        Some(parsed) => Ok(parsed),
        None => by_all(verbs, args),
    }
}

/// Parses normalised arguments by the definition of all verbs.
fn by_all<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
    match verbs::parse_by_all(verbs, &args) {
        Ok(line) => Ok(Parsed::Run(line)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp => Ok(Parsed::Print(error.render().to_string())),
            ErrorKind::DisplayVersion => Ok(Parsed::Print(version_text())),
            ErrorKind::InvalidUtf8 => Err(must_be_text(verbs, args)),
            _ => Err(usage_error(&error)),
        },
    }
}

/// The error for an argument that is not UTF-8 and not a path, a word of a command or a variable,
/// which may have any bytes. clap does not say which one it is: it is the one whose replacement,
/// after that of those behind it, satisfies clap.
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
        .hint("arguments of exec, its variables and paths may have any bytes, and this may not")
}

/// The flags that say where a failure to parse `args` is reported.
pub fn log_flags<T>(verbs: &[Verb<T>], args: &[OsString]) -> LogFlags {
    let (log, format) = normalise::log_values(verbs, args);
    LogFlags {
        log,
        log_format: format.and_then(|format| format.into_string().ok()),
        ..LogFlags::default()
    }
}

/// One line of clap's message, and where to read more.
fn usage_error(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
    let message = match (missing_value(error), error.kind()) {
        (Some(flag), _) => format!("flag needs an argument: {flag}"),
        (
            None,
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ) => "a command is missing".to_owned(),
        (None, _) => line,
    };
    Error::new(message).hint("see sampan --help")
}

/// The flag that `error` finds without its value, as in `--root`.
fn missing_value(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let empty = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.is_empty(),
        _ => false,
    };
    if error.kind() != ErrorKind::InvalidValue || !empty || !flag.starts_with('-') {
        return None;
    }
    flag.split_whitespace().next().map(str::to_owned)
}

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    use super::*;

    /// [`parse`] by the definition of all verbs alone.
    ///
    /// # Errors
    /// As there.
    pub fn parse_by_all<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Parsed<T>, Error> {
        by_all(verbs, normalise::normalise(verbs, args)?)
    }

    /// Whether the definition of one verb is enough for `args`.
    pub fn is_read_by_one<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> bool {
        normalise::normalise(verbs, args)
            .is_ok_and(|args| verbs::parse_by_one(verbs, &args).is_some())
    }
}

#[cfg(test)]
mod tests;
