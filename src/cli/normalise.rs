//! Rewrites spellings that a Go command line accepts and clap does not.
//!
//! Engines were written for a runtime whose flags Go's `flag` package parses: a long flag may have
//! a single dash (`-root X`), a switch may have a value (`--debug=true`), and an empty value means
//! the same as leaving out the flag. Users also write a signal as kill(1) does (`-9`, `-KILL`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::flags::{self, Arg, Field, Flags};
use super::groups::Global;
use super::units::parse_bool;
use super::verbs::{self, Verb};
use crate::error::{Error, Result};
use crate::signal;

/// The flag that clap adds to every command.
static HELP: Arg = Arg::new("help", "bool").long();

/// Rewrites `args` for clap. They do not include the program's name.
///
/// # Errors
/// A switch whose value is not a boolean, or an empty `--root`.
pub(super) fn normalise<T>(verbs: &[Verb<T>], args: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut out = Vec::with_capacity(args.len());
    let mut place = Place::BeforeVerb;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            break;
        }
        if let Some(flag) = Flag::read(verbs, place, &arg) {
            match flag.value {
                None if flag.takes_value => match args.next() {
                    Some(value) => push_value(&mut out, flag.name, value)?,
                    None => out.push(long(flag.name)),
                },
                None => out.push(long(flag.name)),
                Some(value) if flag.takes_value => push_value(&mut out, flag.name, value.into())?,
                Some(value) => push_switch(&mut out, flag.name, value)?,
            }
            continue;
        }
        if let Some(signal) = place.signal(&arg) {
            push_value(&mut out, OsStr::new("signal"), signal.into())?;
            continue;
        }
        if place.wants_value(&arg) {
            push_short(&mut out, arg, args.next());
            continue;
        }
        // A single dash is not a flag.
        if arg != "-" && arg.as_bytes().starts_with(b"-") {
            out.push(arg);
            continue;
        }
        let rest = place.passes_rest_on();
        if let Place::BeforeVerb = place {
            place = Place::Behind(verbs::find(verbs, &arg).map_or(&[], |verb| verb.fields));
        }
        out.push(arg);
        if rest {
            // The arguments after the container's name belong to another program, even if they
            // look like flags.
            if args.as_slice().first().is_some_and(|next| next != "--") {
                out.push("--".into());
            }
            break;
        }
    }
    out.extend(args);
    Ok(out)
}

/// Finds the values of `--log` and `--log-format`, even if the rest of the command line is wrong.
pub(super) fn log_values<T>(
    verbs: &[Verb<T>],
    args: &[OsString],
) -> (Option<OsString>, Option<OsString>) {
    let (mut target, mut format) = (None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(flag) = Flag::read(verbs, Place::BeforeVerb, arg) else {
            if arg.as_bytes().starts_with(b"-") {
                continue;
            }
            break;
        };
        let value = match flag.value {
            None if flag.takes_value => args.next().map(OsString::as_os_str),
            value => value,
        };
        let value = value.filter(|value| !value.is_empty()).map(OsStr::to_owned);
        match (flag.name.as_bytes(), value) {
            (b"log", Some(value)) => target = Some(value),
            (b"log-format", Some(value)) => format = Some(value),
            _ => {}
        }
    }
    (target, format)
}

/// The position of an argument on the command line.
#[derive(Clone, Copy)]
enum Place {
    BeforeVerb,
    /// After a verb with these fields; an unknown verb has none.
    Behind(&'static [Field]),
}

impl Place {
    /// The fields of the verb, if its last arguments belong to another program.
    fn with_rest(self) -> Option<&'static [Field]> {
        match self {
            Self::Behind(fields) if flags::find(fields, &|arg| arg.takes_rest).is_some() => {
                Some(fields)
            }
            _ => None,
        }
    }

    /// Whether the arguments after a positional argument belong to another program.
    fn passes_rest_on(self) -> bool {
        self.with_rest().is_some()
    }

    /// Whether `arg` is a short flag, or several combined, whose value is the next argument. This
    /// matters only if the rest of the line belongs to another program, because the normaliser has
    /// to find where the rest begins.
    fn wants_value(self, arg: &OsStr) -> bool {
        let (Some(letters), Some(fields)) = (arg.as_bytes().strip_prefix(b"-"), self.with_rest())
        else {
            return false;
        };
        // The letters after the first flag that takes a value are its value.
        let first = letters.iter().position(|letter| {
            flags::find(fields, &|arg| arg.is_short_with_value(*letter)).is_some()
        });
        first.is_some_and(|first| first + 1 == letters.len())
    }

    /// The signal that `arg` names in kill(1)'s way, if the verb has the flag `--signal`.
    fn signal(self, arg: &OsStr) -> Option<&str> {
        let Self::Behind(fields) = self else {
            return None;
        };
        let name = arg.to_str()?.strip_prefix('-')?;
        flags::find(fields, &|arg| arg.is_long(b"signal"))?;
        signal::parse(name).is_ok().then_some(name)
    }

    /// The flag `--NAME`: that of the verb, or one before the verb. One of another verb is wrong
    /// here; it is known, so that the error has its whole name.
    fn long_flag<T>(self, verbs: &[Verb<T>], name: &[u8]) -> Option<&'static Arg> {
        let own = match self {
            Self::BeforeVerb => &[],
            Self::Behind(fields) => fields,
        };
        let others = verbs.iter().map(|verb| verb.fields);
        [own, Global::FIELDS]
            .into_iter()
            .chain(others)
            .find_map(|fields| flags::find(fields, &|arg| arg.is_long(name)))
            .or_else(|| HELP.is_long(name).then_some(&HELP))
    }
}

/// A known long flag with one or two dashes.
struct Flag<'a> {
    name: &'a OsStr,
    takes_value: bool,
    /// The text after `=`.
    value: Option<&'a OsStr>,
}

impl<'a> Flag<'a> {
    fn read<T>(verbs: &[Verb<T>], place: Place, arg: &'a OsStr) -> Option<Self> {
        let bytes = arg.as_bytes();
        let rest = bytes.strip_prefix(b"--").or(bytes.strip_prefix(b"-"))?;
        let mut parts = rest.splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
        let name = parts.next()?;
        Some(Self {
            name,
            takes_value: place.long_flag(verbs, name.as_bytes())?.takes_value,
            value: parts.next(),
        })
    }
}

fn long(name: &OsStr) -> OsString {
    let mut arg = OsString::from("--");
    arg.push(name);
    arg
}

/// Adds `--name=value` as one argument, so that a value may begin with a dash, as Go allows.
fn push_value(out: &mut Vec<OsString>, name: &OsStr, value: OsString) -> Result<()> {
    if value.is_empty() {
        if name == "root" {
            return Err(Error::new("--root: the directory is empty"));
        }
        return Ok(());
    }
    let mut arg = long(name);
    arg.push("=");
    arg.push(value);
    out.push(arg);
    Ok(())
}

/// Adds a short flag and its value as one argument, for the same reason as [`push_value`]. Without
/// a value the flag is added unchanged.
fn push_short(out: &mut Vec<OsString>, mut arg: OsString, value: Option<OsString>) {
    if let Some(value) = value {
        if value.is_empty() {
            return;
        }
        arg.push("=");
        arg.push(value);
    }
    out.push(arg);
}

/// Rewrites a switch that has a value: adds `--name` for true and nothing for false.
fn push_switch(out: &mut Vec<OsString>, name: &OsStr, value: &OsStr) -> Result<()> {
    match value.to_str().and_then(parse_bool) {
        Some(true) => out.push(long(name)),
        Some(false) => {}
        None => {
            let name = name.display();
            let message = format!("--{name}: {value:?} is not true or false");
            return Err(Error::new(message));
        }
    }
    Ok(())
}
