//! Spellings that a Go command line accepts and clap does not.
//!
//! Engines were written against a runtime whose flags Go's `flag` package parses: a long flag may
//! have one dash (`-root X`), a switch may have a value (`--debug=true`), and an empty value is
//! the same as no flag.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Kind, Result};

/// Every long flag of every command, in order; `true` if it takes a value. A test compares this with the
/// definitions: building those only to read the names would cost more than parsing.
pub(super) const LONG_FLAGS: &[(&str, bool)] = &[
    ("additional-gids", true),
    ("all", false),
    ("apparmor", true),
    ("blkio-weight", true),
    ("bundle", true),
    ("cap", true),
    ("cgroup", true),
    ("cgroup-manager", true),
    ("config", true),
    ("console-socket", true),
    ("cpu-burst", true),
    ("cpu-idle", true),
    ("cpu-period", true),
    ("cpu-quota", true),
    ("cpu-rt-period", true),
    ("cpu-rt-runtime", true),
    ("cpu-share", true),
    ("cpuset-cpus", true),
    ("cpuset-mems", true),
    ("cwd", true),
    ("debug", false),
    ("detach", false),
    ("env", true),
    ("file", true),
    ("force", false),
    ("format", true),
    ("help", false),
    ("ignore-paused", false),
    ("interval", true),
    ("json", false),
    ("keep", false),
    ("kernel-memory", true),
    ("kernel-memory-tcp", true),
    ("l3-cache-schema", true),
    ("log", true),
    ("log-format", true),
    ("log-level", true),
    ("mem-bw-schema", true),
    ("memory", true),
    ("memory-reservation", true),
    ("memory-swap", true),
    ("no-new-keyring", false),
    ("no-new-privs", false),
    ("no-pivot", false),
    ("no-subreaper", false),
    ("pid-file", true),
    ("pidfd-socket", true),
    ("pids-limit", true),
    ("preserve-fds", true),
    ("process", true),
    ("process-label", true),
    ("quiet", false),
    ("regex", false),
    ("resources", true),
    ("root", true),
    ("rootless", true),
    ("stats", false),
    ("systemd-cgroup", false),
    ("tty", false),
    ("user", true),
    ("version", false),
];

/// Commands whose arguments after the container's name belong to another program, each with its short
/// flags that take a value.
pub(super) const PASS_ARGUMENTS_ON: &[(&str, &str)] = &[("exec", "cegpu"), ("ps", "f")];

/// A boolean as Go's `strconv.ParseBool` reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Rewrites `args`, which do not include the program's name, for clap.
///
/// # Errors
/// [`Kind::Usage`] for a switch whose value is no boolean, and for an empty `--root`.
pub fn normalise(args: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut out = Vec::with_capacity(args.len());
    let mut command: Option<OsString> = None;
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            out.push(arg);
            break;
        }
        let Some(flag) = Flag::read(&arg, command.as_deref()) else {
            if wants_value(&arg, command.as_deref()) {
                push_short(&mut out, arg, args.next());
                continue;
            }
            // A dash alone is no flag.
            let plain = arg == "-" || !arg.as_bytes().starts_with(b"-");
            let ends = plain && positional(&arg, &mut command);
            out.push(arg);
            if ends {
                pass_on(&mut out, &mut args);
                break;
            }
            continue;
        };
        match flag.value {
            Some(value) if flag.takes_value => push_value(&mut out, flag.name, value)?,
            Some(value) => push_switch(&mut out, flag.name, &value)?,
            None if !flag.takes_value => out.push(long(flag.name)),
            None => match args.next() {
                Some(value) => push_value(&mut out, flag.name, value)?,
                None => out.push(long(flag.name)),
            },
        }
    }
    out.extend(args);
    Ok(out)
}

/// The values of `--log` and `--log-format`, however wrong the rest is.
pub(super) fn log_values(args: &[OsString]) -> (Option<OsString>, Option<OsString>) {
    let (mut target, mut format) = (None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(flag) = Flag::read(arg, None) else {
            if arg.as_bytes().starts_with(b"-") {
                continue;
            }
            break;
        };
        let value = match flag.value {
            None if flag.takes_value => args.next().cloned(),
            value => value,
        };
        let value = value.filter(|value| !value.is_empty());
        match (flag.name, value) {
            ("log", Some(value)) => target = Some(value),
            ("log-format", Some(value)) => format = Some(value),
            _ => {}
        }
    }
    (target, format)
}

/// Notes a positional argument; true if what follows belongs to another program.
fn positional(arg: &OsStr, command: &mut Option<OsString>) -> bool {
    match command {
        None => {
            *command = Some(arg.to_owned());
            false
        }
        Some(command) => short_flags(command).is_some(),
    }
}

/// The short flags with a value of a command whose last arguments belong to another program.
fn short_flags(command: &OsStr) -> Option<&'static str> {
    let found = PASS_ARGUMENTS_ON.iter().find(|(name, _)| command == *name);
    found.map(|(_, flags)| *flags)
}

/// Whether `arg` is a short flag, or several together, whose value is the next argument.
fn wants_value(arg: &OsStr, command: Option<&OsStr>) -> bool {
    let (Some(letters), Some(flags)) = (
        arg.as_bytes().strip_prefix(b"-"),
        command.and_then(short_flags),
    ) else {
        return false;
    };
    // A letter behind the first that takes a value belongs to the value.
    let first = letters
        .iter()
        .position(|byte| flags.as_bytes().contains(byte));
    first.is_some_and(|first| first + 1 == letters.len())
}

/// What follows the container's name is another program's, whatever it looks like.
fn pass_on(out: &mut Vec<OsString>, rest: &mut std::vec::IntoIter<OsString>) {
    if rest.as_slice().first().is_some_and(|next| next != "--") {
        out.push("--".into());
    }
}

/// A known long flag with one or two dashes.
struct Flag {
    name: &'static str,
    takes_value: bool,
    /// What stands after `=`.
    value: Option<OsString>,
}

impl Flag {
    fn read(arg: &OsStr, command: Option<&OsStr>) -> Option<Self> {
        let bytes = arg.as_bytes();
        let rest = bytes.strip_prefix(b"--").or(bytes.strip_prefix(b"-"))?;
        let mut parts = rest.splitn(2, |byte| *byte == b'=');
        let given = parts.next()?;
        let value = parts
            .next()
            .map(|value| OsStr::from_bytes(value).to_owned());
        let place = LONG_FLAGS.binary_search_by(|(name, _)| name.as_bytes().cmp(given));
        let &(name, takes_value) = &LONG_FLAGS[place.ok()?];
        // `spec --rootless` is a switch, the global flag has a value.
        let takes_value = takes_value && !(name == "rootless" && command.is_some());
        Some(Self {
            name,
            takes_value,
            value,
        })
    }
}

fn long(name: &str) -> OsString {
    format!("--{name}").into()
}

/// `--name=value` as one argument, so that a value may begin with a dash as it may in Go.
fn push_value(out: &mut Vec<OsString>, name: &str, value: OsString) -> Result<()> {
    if value.is_empty() {
        if name == "root" {
            return Err(Error::new(Kind::Usage, "--root: the directory is empty"));
        }
        return Ok(());
    }
    let mut arg = long(name);
    arg.push("=");
    arg.push(value);
    out.push(arg);
    Ok(())
}

/// A short flag and its value as one argument, for the same reason; as it is without a value.
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

/// A switch with a value: `--name` if it is true, nothing if it is false.
fn push_switch(out: &mut Vec<OsString>, name: &str, value: &OsStr) -> Result<()> {
    match value.to_str().and_then(parse_bool) {
        Some(true) => out.push(long(name)),
        Some(false) => {}
        None => {
            return Err(Error::new(
                Kind::Usage,
                format!("--{name}: {value:?} is not true or false"),
            ));
        }
    }
    Ok(())
}
