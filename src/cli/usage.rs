//! What is wrong with a command line, as a sentence.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::NAME;
use super::flags::{self, Flags as _};
use super::groups::Global;
use super::verbs::Verb;
use crate::error::Error;
use crate::spelling;

/// The error for what clap found. clap's own sentences are not used: they have several lines.
pub(super) fn usage_error<T>(
    verbs: &[Verb<T>],
    verb: Option<&Verb<T>>,
    error: &clap::Error,
) -> Error {
    let meant = match (probably_meant(verbs, verb, error), usage(error)) {
        (Some(word), _) => format!("did you mean {word}? "),
        (None, Some(usage)) => format!("usage: {usage}; "),
        (None, None) => String::new(),
    };
    let verb = verb.map_or_else(String::new, |verb| format!("{} ", verb.name));
    Error::new(sentence(error)).hint(format!("{meant}see {NAME} {verb}--help"))
}

fn sentence(error: &clap::Error) -> String {
    let text = |kind| words(error, kind).join(", ");
    let arg = || text(ContextKind::InvalidArg);
    let value = || text(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing".to_owned()
        }
        ErrorKind::InvalidSubcommand => {
            let verb = text(ContextKind::InvalidSubcommand);
            format!("unrecognized command '{verb}'")
        }
        ErrorKind::UnknownArgument => format!("unexpected argument '{}' found", arg()),
        ErrorKind::MissingRequiredArgument => format!("missing: {}", arg()),
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            prior if prior == arg() => format!("'{prior}' cannot be used multiple times"),
            prior => format!("'{}' cannot be used with '{prior}'", arg()),
        },
        ErrorKind::InvalidValue if value().is_empty() => match arg() {
            // Followed by the name of its value.
            flag if flag.starts_with('-') => {
                let name = flag.split(' ').next().unwrap_or_default();
                format!("flag needs an argument: {name}")
            }
            arg => format!("'{arg}' is empty"),
        },
        ErrorKind::InvalidValue => {
            let valid = text(ContextKind::ValidValue);
            let list = if valid.is_empty() {
                valid
            } else {
                format!(" [possible values: {valid}]")
            };
            format!("invalid value '{}' for '{}'{list}", value(), arg())
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map(|why| format!(": {why}"));
            let why = why.unwrap_or_default();
            format!("invalid value '{}' for '{}'{why}", value(), arg())
        }
        ErrorKind::TooManyValues => {
            format!("unexpected value '{}' for '{}' found", value(), arg())
        }
        kind => format!("{}: {}", kind.as_str().unwrap_or("not understood"), arg()),
    }
}

/// What clap says about its error: words, or none.
fn words(error: &clap::Error, kind: ContextKind) -> Vec<&str> {
    match error.get(kind) {
        Some(ContextValue::String(word)) => vec![word.as_str()],
        Some(ContextValue::Strings(words)) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Returns the usage of the verb, if `error` says that arguments are missing.
fn usage(error: &clap::Error) -> Option<String> {
    let ErrorKind::MissingRequiredArgument = error.kind() else {
        return None;
    };
    let ContextValue::StyledStr(usage) = error.get(ContextKind::Usage)? else {
        return None;
    };
    let usage = usage.to_string();
    usage.strip_prefix("Usage: ").map(str::to_owned)
}

/// Returns the verb, or the flag of `verb` or before the verb, that is spelled like an unknown one.
fn probably_meant<T>(
    verbs: &[Verb<T>],
    verb: Option<&Verb<T>>,
    error: &clap::Error,
) -> Option<String> {
    let given = |kind| words(error, kind).into_iter().next();
    let known = match error.kind() {
        ErrorKind::InvalidSubcommand => verbs.iter().map(|verb| verb.name.to_owned()).collect(),
        ErrorKind::UnknownArgument => {
            let fields = verb.map_or(&[][..], |verb| verb.fields);
            [flags::long_flags(fields), flags::long_flags(Global::FIELDS)].concat()
        }
        _ => Vec::new(),
    };
    let word = given(ContextKind::InvalidSubcommand).or_else(|| given(ContextKind::InvalidArg))?;
    let known = known.iter().map(String::as_str);
    spelling::nearest(word, known).map(str::to_owned)
}
