//! A flag is defined once, as a field of a struct in [`flags!`].
//!
//! Such a struct is written for clap's derive, and clap receives it unchanged: names, help, values
//! and defaults mean what clap's documentation says. The macro also reads a few words of the same
//! attributes into [`Flags::FIELDS`], for the two users that need them before clap has a
//! definition. The [normaliser](super::normalise) rewrites Go's spellings. [`Lazy`] omits from
//! clap's definition the groups of flags that a command line does not name.

use std::ffi::OsString;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// A struct that [`flags!`] defined.
pub trait Flags: Args {
    /// The parts of its fields that the normaliser needs.
    const FIELDS: &'static [Field];
    /// The function that adds its flags to a command, if clap's derive leaves that to
    /// [`define_named`].
    const LEFT_OUT: Option<Define> = None;
}

pub(super) type Define = fn(Command) -> Command;

/// A field of such a struct.
#[derive(Debug)]
pub enum Field {
    /// `#[arg(…)]`: a flag or a positional argument.
    Arg(Arg),
    /// `#[command(flatten)]`: the fields of another struct.
    Flatten(Group),
}

/// The longest name of a field.
const LONGEST: usize = 24;

/// A flag or a positional argument. Its name is in place, because the program would relocate a
/// pointer to it at each start.
#[derive(Debug)]
pub struct Arg {
    name: [u8; LONGEST],
    /// The length of `name`.
    length: u8,
    short: Option<u8>,
    is_long: bool,
    pub(super) takes_value: bool,
    pub(super) takes_rest: bool,
}

/// A struct flattened into another.
#[derive(Debug)]
pub struct Group {
    fields: &'static [Field],
    left_out: Option<Define>,
}

impl Arg {
    /// As in clap's derive, a flag takes a value unless its type is `bool`.
    pub(crate) const fn new(id: &str, kind: &str) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "at most LONGEST")]
        let length = id.len() as u8;
        let mut name = [0; LONGEST];
        let (start, _) = name.split_at_mut(id.len());
        start.copy_from_slice(id.as_bytes());
        Self {
            name,
            length,
            short: None,
            is_long: false,
            takes_value: !matches!(kind.as_bytes(), b"bool"),
            takes_rest: false,
        }
    }

    pub(crate) const fn long(mut self) -> Self {
        self.is_long = true;
        self
    }

    /// `short` without a letter means the first letter of the name.
    pub(crate) const fn short(self) -> Self {
        let letter = self.name[0] as char;
        self.short_is(letter)
    }

    pub(crate) const fn short_is(mut self, letter: char) -> Self {
        assert!(letter.is_ascii());
        self.short = Some(letter as u8);
        self
    }

    pub(crate) const fn trailing_var_arg(mut self) -> Self {
        self.takes_rest = true;
        self
    }

    fn name(&self) -> &[u8] {
        &self.name[..self.length.into()]
    }

    /// The field's name, which clap uses as the id.
    fn id(&self) -> &str {
        std::str::from_utf8(self.name()).unwrap_or_default()
    }

    /// Whether this is the flag `--NAME`, with a dash for each underscore of the field.
    pub(super) fn is_long(&self, name: &[u8]) -> bool {
        let same = |(given, own): (&u8, u8)| *given == if own == b'_' { b'-' } else { own };
        let own = self.name();
        self.is_long && name.len() == own.len() && name.iter().zip(own.iter().copied()).all(same)
    }

    /// Whether this is the flag `-LETTER` and takes a value.
    pub(super) fn is_short_with_value(&self, letter: u8) -> bool {
        self.takes_value && self.short == Some(letter)
    }
}

impl Group {
    pub(crate) const fn of<T: Flags>() -> Self {
        Self {
            fields: T::FIELDS,
            left_out: T::LEFT_OUT,
        }
    }
}

/// Finds the first argument for which `is` holds, among `fields` and the fields flattened into
/// them.
pub(super) fn find(fields: &'static [Field], is: &dyn Fn(&Arg) -> bool) -> Option<&'static Arg> {
    fields.iter().find_map(|field| match field {
        Field::Arg(arg) => is(arg).then_some(arg),
        Field::Flatten(group) => find(group.fields, is),
    })
}

/// The long flags among `fields` and the fields flattened into them, as users write them.
pub(super) fn long_flags(fields: &'static [Field]) -> Vec<String> {
    let names = fields.iter().flat_map(|field| match field {
        Field::Arg(arg) if arg.is_long => vec![format!("--{}", arg.id().replace('_', "-"))],
        Field::Arg(_) => Vec::new(),
        Field::Flatten(group) => long_flags(group.fields),
    });
    names.collect()
}

/// Defines structs of flags. Each is written as for `#[derive(clap::Args)]`. The doc comment of a
/// struct is the help of its verb, so a struct that several verbs share has none. An enum is a
/// choice of values, written as for `#[derive(clap::ValueEnum)]`.
macro_rules! flags {
    () => {};
    (
        $(#[$($meta:tt)*])* $vis:vis struct $name:ident {
            $($(#[$($attribute:tt)*])* pub $field:ident: $type:ty,)*
        }
        $($next:tt)*
    ) => {
        $(#[$($meta)*])*
        #[derive(clap::Args)]
        #[group(skip)]
        #[allow(missing_docs, reason = "clap would print the docstring of a group in the help")]
        $vis struct $name {
            $($(#[$($attribute)*])* pub $field: $type,)*
        }

        impl $crate::cli::flags::Flags for $name {
            const FIELDS: &'static [$crate::cli::flags::Field] = &[
                $($crate::cli::flags::field!($field: $type, $([$($attribute)*])*),)*
            ];
        }

        $crate::cli::flags::flags! { $($next)* }
    };
    ($(#[$($meta:tt)*])* $vis:vis enum $name:ident { $($variants:tt)* } $($next:tt)*) => {
        $(#[$($meta)*])*
        #[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "clap would print the docstring of a variant in the help")]
        $vis enum $name { $($variants)* }

        $crate::cli::flags::flags! { $($next)* }
    };
}

/// Builds the [`Field`] of a field from its attributes.
macro_rules! field {
    ($field:ident: $type:ty, [arg($($words:tt)*)]) => {
        $crate::cli::flags::Field::Arg($crate::cli::flags::arg!(
            $crate::cli::flags::Arg::new(stringify!($field), stringify!($type)), $($words)*
        ))
    };
    ($field:ident: $type:ty, [command(flatten)]) => {
        $crate::cli::flags::Field::Flatten($crate::cli::flags::Group::of::<$type>())
    };
    ($field:ident: $type:ty, [doc $($text:tt)*] $($next:tt)*) => {
        $crate::cli::flags::field!($field: $type, $($next)*)
    };
}

/// Builds the [`Arg`] of `#[arg(…)]` from those of its words that the normaliser needs.
macro_rules! arg {
    ($arg:expr,) => {
        $arg
    };
    ($arg:expr, long = $($next:tt)*) => {
        compile_error!("the long name of a flag is the name of its field")
    };
    ($arg:expr, long $($next:tt)*) => {
        $crate::cli::flags::arg!($arg.long(), $($next)*)
    };
    ($arg:expr, short = $letter:literal $($next:tt)*) => {
        $crate::cli::flags::arg!($arg.short_is($letter), $($next)*)
    };
    ($arg:expr, short $($next:tt)*) => {
        $crate::cli::flags::arg!($arg.short(), $($next)*)
    };
    ($arg:expr, trailing_var_arg $($next:tt)*) => {
        $crate::cli::flags::arg!($arg.trailing_var_arg(), $($next)*)
    };
    ($arg:expr, $other:tt $($next:tt)*) => {
        $crate::cli::flags::arg!($arg, $($next)*)
    };
}

pub(crate) use {arg, field, flags};

/// A group of rarely used flags. clap's definition of the enclosing struct does not contain them;
/// [`define_named`] and [`define_all`] add them. If the command line has none of its flags, the
/// group has its default value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lazy<T>(T);

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Flags + Default> Flags for Lazy<T> {
    const FIELDS: &'static [Field] = T::FIELDS;
    const LEFT_OUT: Option<Define> = Some(T::augment_args);
}

impl<T: Flags + Default> Args for Lazy<T> {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl<T: Flags + Default> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        if is_any_given(T::FIELDS, matches) {
            T::from_arg_matches_mut(matches).map(Self)
        } else {
            Ok(Self::default())
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Uses `try_contains_id`, because clap panics on queries for an id that is not defined.
fn is_any_given(fields: &'static [Field], matches: &ArgMatches) -> bool {
    let is_given = |arg: &Arg| matches.try_contains_id(arg.id()).unwrap_or(false);
    find(fields, &is_given).is_some()
}

/// Adds every group that the definition of `fields` omits.
pub(super) fn define_all(command: Command, fields: &'static [Field]) -> Command {
    define_groups(command, fields, &|_| true)
}

/// Adds the groups whose flags `args` may name. `args` must be normalised.
pub(super) fn define_named(
    command: Command,
    fields: &'static [Field],
    args: &[OsString],
) -> Command {
    define_groups(command, fields, &|fields| {
        args.iter().any(|arg| may_name(arg.as_bytes(), fields))
    })
}

fn define_groups(
    command: Command,
    fields: &'static [Field],
    is_wanted: &dyn Fn(&'static [Field]) -> bool,
) -> Command {
    let mut wanted = Vec::new();
    add_wanted(&mut wanted, fields, is_wanted);
    wanted
        .into_iter()
        .fold(command, |command, define| define(command))
}

fn add_wanted(
    wanted: &mut Vec<Define>,
    fields: &'static [Field],
    is_wanted: &dyn Fn(&'static [Field]) -> bool,
) {
    for field in fields {
        let Field::Flatten(group) = field else {
            continue;
        };
        match group.left_out {
            None => add_wanted(wanted, group.fields, is_wanted),
            Some(define) if is_wanted(group.fields) => wanted.push(define),
            Some(_) => {}
        }
    }
}

/// Whether `arg` may name a flag among `fields`. Short flags can be combined and can contain their
/// value, so an argument with a single dash counts as a match for every group.
fn may_name(arg: &[u8], fields: &'static [Field]) -> bool {
    match arg {
        [b'-', b'-', long @ ..] => {
            let name = long.split(|&byte| byte == b'=').next().unwrap_or_default();
            find(fields, &|arg| arg.is_long(name)).is_some()
        }
        [b'-', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::{CgroupFlags, Global, LogFlags, StateFlags};
    use super::*;

    #[test]
    fn flags_are_found_however_they_are_written() {
        for arg in ["--root", "--root=/r", "--root=", "-r", "-x"] {
            assert!(may_name(arg.as_bytes(), StateFlags::FIELDS), "{arg}");
        }
        for arg in ["root", "--rootless", "--ro", "--", "", "--log=--root"] {
            assert!(!may_name(arg.as_bytes(), StateFlags::FIELDS), "{arg}");
        }
        assert!(may_name(b"--log-format=json", LogFlags::FIELDS));
        assert!(!may_name(b"--log_format=json", LogFlags::FIELDS));
    }

    #[test]
    fn groups_are_defined_for_the_lines_that_name_them() {
        let defined = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let command = define_named(Command::new("sampan"), Global::FIELDS, &args);
            command.get_arguments().count()
        };
        assert_eq!(defined("--frob root"), 0);
        assert_eq!(defined("--root=/r"), StateFlags::FIELDS.len());
        let groups = StateFlags::FIELDS.len() + CgroupFlags::FIELDS.len();
        assert_eq!(defined("--systemd-cgroup --root=/r"), groups);
    }
}
