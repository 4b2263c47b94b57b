//! The one error, and the chain of objects around it.
//!
//! What checks and plans returns the leaf, [`Error`]: it owns the property, the call, the errno and
//! the remedy. What acts returns [`anyhow::Result`] and adds the objects that it acts on:
//! `.with_context(|| path)`. Where the leaf needs no more than the call, it is a [`Fail`]. At the
//! end `main` turns the chain into one [`Error`] again, whose text, data and class it reports.

mod code;
mod object;

use std::fmt;
use std::ops::{Deref, DerefMut};

use nix::errno::Errno;

pub use code::Code;
#[cfg(test)]
pub use code::page::has_example;
pub use object::{Named, Object};

pub use crate::sys::errno_text;
use crate::sys::{Fail, Failed, Note};

/// The class of a failure, where the runtime acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `container does not exist`: nothing to do for `delete --force`, and nothing to list.
    NotFound,
    /// `container not running`, `cannot start …`: the status forbids the verb.
    Status,
    /// A hook failed: the specification ends the container then.
    Hook,
    /// A signal, by its number, asked the runtime to end.
    Interrupted(i32),
    /// Everything else.
    Other,
}

/// What of the call and the errno stands behind the text of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Both.
    CallAndErrno,
    /// The text names the call.
    Errno,
    /// The text says both.
    Nothing,
}

/// What is known about a failure, as data: this is the leaf of every chain.
///
/// The text names, in this order, the objects around the failure, the property, the object or what
/// is wrong with it, the system call and its errno, what a program printed, and the remedy.
///
/// It is one pointer, because most functions that return it succeed.
#[derive(Clone)]
pub struct Error(Box<Facts>);

/// The data of an [`Error`].
#[derive(Clone)]
pub struct Facts {
    /// The class. It decides the exit status, and what callers do about the failure.
    pub kind: Kind,
    /// The code, where it does not follow from the rest. See [`Error::code`].
    pub code: Option<Code>,
    /// The phase of the plan, as in `explain`, in which a step failed.
    pub phase: Option<&'static str>,
    /// The objects around the failure, outermost first. [`Error::of_chain`] sets it.
    pub context: Option<Box<str>>,
    /// The path of the property in the config that is to blame.
    pub field: Option<Box<str>>,
    /// Whether the context or the text names the property, which is not to be repeated.
    pub text_has_field: bool,
    /// The object of the system call, or what is wrong.
    pub text: Option<Box<str>>,
    /// The path of the object, if it is a file.
    pub path: Option<Box<str>>,
    /// The name of the system call, as in its man page.
    pub call: Option<Box<str>>,
    /// The errno of that call.
    pub errno: Option<Errno>,
    /// What of the call and the errno stands behind the text.
    pub tail: Tail,
    /// What is known beyond the call and the errno. Its text may stand in their place.
    pub note: Option<Note>,
    /// What a program printed about the failure.
    pub detail: Option<Box<str>>,
    /// What to do next.
    pub hint: Option<Box<str>>,
}

/// A problem that does not stop the command. It has the same data as a failure.
pub type Warning = Error;

/// The result of what checks and plans. What acts returns [`anyhow::Result`], and adds the objects
/// that it acts on as context.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of which nothing is known.
    fn unknown() -> Self {
        Self(Box::new(Facts {
            kind: Kind::Other,
            code: None,
            phase: None,
            context: None,
            field: None,
            text_has_field: false,
            text: None,
            path: None,
            call: None,
            errno: None,
            tail: Tail::CallAndErrno,
            note: None,
            detail: None,
            hint: None,
        }))
    }

    /// A failure described by `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(Kind::Other, message)
    }

    /// A failure of `kind` described by `message`.
    pub fn of(kind: Kind, message: impl Into<String>) -> Self {
        let mut this = Self::unknown();
        this.kind = kind;
        this.text = Some(message.into().into());
        this
    }

    /// A wrong property: `field` is its path in the config, as in `linux.devices[2].type`.
    pub fn config(field: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(message.to_string()).about(field.to_string())
    }

    /// Warns of a property, by its path in the config, that has no effect. `message` says why.
    pub fn no_effect(field: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::config(field, message).code_is(Code::WarningNoEffect)
    }

    /// A required property is absent.
    pub fn missing(field: impl fmt::Display) -> Self {
        Self::config(field, "missing").code_is(Code::ConfigMissing)
    }

    /// A wrong flag or argument.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(message).code_is(Code::UsageInvalid)
    }

    /// A failed system call on `object`.
    pub fn failed(object: impl Object, fail: Failed) -> Self {
        let mut this = Self::from(fail);
        this.text = Some(object.text().into());
        this.path = object.path().map(Into::into);
        this
    }

    /// The leaf of a chain, with the objects of the chain as its context. The text is that of the
    /// chain.
    pub fn of_chain(chain: anyhow::Error) -> Self {
        let mut objects: Vec<String> = chain.chain().map(ToString::to_string).collect();
        let root = objects.pop().unwrap_or_default();
        let mut leaf = match chain.root_cause().downcast_ref::<Fail>() {
            Some(fail) => Self::from(*fail),
            None => chain.downcast().unwrap_or_else(|_| Self::new(root)),
        };
        objects.extend(leaf.context.take().map(String::from));
        leaf.context = (!objects.is_empty()).then(|| objects.join(": ").into());
        leaf
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code.unwrap_or_else(|| Code::of(self))
    }

    /// Says what the failure is, where the other data does not.
    #[must_use]
    pub fn code_is(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// What a program printed about the failure; shown behind the reason.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into());
        self
    }

    /// Says what to do next; shown in parentheses at the end.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// Names the property of the config that is to blame; shown before the object.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into().into());
        self.text_has_field = false;
        self
    }

    /// Changes the class.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }
}

impl From<Failed<'_>> for Error {
    fn from(fail: Failed) -> Self {
        let errno = fail.told_errno();
        let hint = match errno {
            Some(Errno::EFBIG) => {
                Some("the caller's limit of file sizes is too low: see ulimit -f".into())
            }
            _ => None,
        };
        let mut this = Self::unknown();
        this.call = Some(fail.op.into());
        this.errno = errno;
        this.note = fail.note;
        this.hint = hint;
        this
    }
}

impl Deref for Error {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = match (self.call.as_deref(), self.errno) {
            _ if self.tail == Tail::Nothing => None,
            (Some(op), errno) if self.tail == Tail::CallAndErrno => {
                let errno = errno.unwrap_or(Errno::UnknownErrno);
                let note = self.note;
                Some(Failed { op, errno, note }.to_string().into())
            }
            (_, errno) => errno.map(|errno| errno_text(errno).into()),
        };
        let field = self.field.as_ref().filter(|_| !self.text_has_field);
        let parts = [
            self.context.as_ref(),
            field,
            self.text.as_ref(),
            call.as_ref(),
            self.detail.as_ref(),
        ];
        let mut between = "";
        for part in parts.into_iter().flatten() {
            write!(f, "{between}{}", printable(part))?;
            between = ": ";
        }
        match &self.hint {
            Some(hint) => write!(f, " ({})", printable(hint)),
            None => Ok(()),
        }
    }
}

/// The text: the data has a name and a table for each member, to be relocated at each start.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// What callers look at in a failure that passes by.
pub trait Chain {
    /// The class of the leaf.
    fn kind(&self) -> Kind;

    /// The property of the config that is to blame.
    fn field(&self) -> Option<&str>;

    /// The errno of the leaf.
    fn errno(&self) -> Option<Errno>;

    /// Says what to do next. See [`Error::hint`].
    #[must_use]
    fn hint(self, hint: impl Into<String>) -> Self;

    /// Says what the failure is. See [`Error::code_is`].
    #[must_use]
    fn code_is(self, code: Code) -> Self;
}

impl Chain for anyhow::Error {
    fn kind(&self) -> Kind {
        self.downcast_ref::<Error>()
            .map_or(Kind::Other, |leaf| leaf.kind)
    }

    fn field(&self) -> Option<&str> {
        self.downcast_ref::<Error>()?.field.as_deref()
    }

    fn errno(&self) -> Option<Errno> {
        match self.downcast_ref::<Error>() {
            Some(leaf) => leaf.errno,
            None => self.downcast_ref::<Fail>().map(|fail| fail.errno),
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Error::of_chain(self).hint(hint).into()
    }

    fn code_is(self, code: Code) -> Self {
        Error::of_chain(self).code_is(code).into()
    }
}

/// Adds the object that is acted on to a failure.
///
/// This is anyhow's context for any failure. anyhow's own trait makes a type, with a table of its
/// functions, for each pair of an error and a context, and the program relocates those tables at
/// each start. Here each failure becomes an `anyhow::Error` first, and each object a `String`.
pub trait Context<T> {
    /// Adds `object`.
    fn context(self, object: impl Object) -> anyhow::Result<T>;

    /// Adds the object that `object` returns, which is only called after a failure.
    fn with_context<O: Object>(self, object: impl FnOnce() -> O) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, object: impl Object) -> anyhow::Result<T> {
        self.map_err(|error| around(error, object))
    }

    fn with_context<O: Object>(self, object: impl FnOnce() -> O) -> anyhow::Result<T> {
        self.map_err(|error| around(error, object()))
    }
}

/// [`within`], for each type of failure and object. Not a part of the callers, of which there are
/// hundreds.
#[cold]
#[inline(never)]
fn around(error: impl Into<anyhow::Error>, object: impl Object) -> anyhow::Error {
    within(error.into(), object.text(), object.path())
}

/// Adds an object to a failure. The path closest to the failed call is that of the failure.
#[cold]
fn within(error: anyhow::Error, object: String, path: Option<String>) -> anyhow::Error {
    let error = match path {
        Some(path) => {
            let mut leaf = Error::of_chain(error);
            leaf.path.get_or_insert_with(|| path.into());
            leaf.into()
        }
        None => error,
    };
    error.context(object)
}

/// Names the system call behind a failure of nix or of the standard library.
pub trait Call<T> {
    /// The failure as that of the system call `name`.
    fn call(self, name: &'static str) -> Result<T>;
}

impl<T> Call<T> for std::io::Result<T> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Fail::new(name, Errno::from_raw(errno)).into(),
            None => Error::new(format!("{name}: {error}")),
        })
    }
}

impl<T> Call<T> for nix::Result<T> {
    fn call(self, name: &'static str) -> Result<T> {
        self.map_err(|errno| Fail::new(name, errno).into())
    }
}

/// Text that may come from a config or a container: control characters are escaped, so that it
/// cannot write to a terminal or feign a second line of a log.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// For tests: the text of each warning.
#[cfg(test)]
pub fn texts(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {

    use super::*;

    fn denied() -> std::result::Result<(), Fail> {
        Err(Fail::new("openat2", Errno::EACCES))
    }

    #[test]
    fn a_chain_becomes_its_leaf() {
        let chain = denied()
            .with_context(|| "/etc/\n")
            .context("mounts")
            .unwrap_err();
        assert_eq!(chain.errno(), Some(Errno::EACCES));
        let text = "mounts: /etc/\\n: openat2: permission denied";
        let leaf = Error::of_chain(chain);
        assert_eq!(leaf.to_string(), text);
        assert_eq!(leaf.context.as_deref(), Some("mounts: /etc/\n"));
        assert_eq!(
            (leaf.call.as_deref(), leaf.errno),
            (Some("openat2"), Some(Errno::EACCES))
        );
        let hinted = anyhow::Error::from(leaf).context("c1").hint("chmod it");
        assert_eq!(format!("{hinted:#}"), format!("c1: {text} (chmod it)"));
    }

    #[test]
    fn a_class_is_found_below_the_context() {
        let gone = Error::of(Kind::NotFound, "gone").about("root.path");
        let chain = anyhow::Error::from(gone)
            .context("/b/config.json")
            .context("c1");
        assert_eq!(chain.kind(), Kind::NotFound);
        let leaf = Error::of_chain(chain);
        assert_eq!(leaf.to_string(), "c1: /b/config.json: root.path: gone");
        assert_eq!(
            (leaf.field.as_deref(), leaf.kind),
            (Some("root.path"), Kind::NotFound)
        );
    }

    #[test]
    fn the_call_and_its_note_are_data() {
        let fail = Fail::new("mount", Errno::EPERM).note(Note::InsideProcfs);
        let leaf = Error::failed("/proc/x", fail).about("mounts[2]");
        let text = "mounts[2]: /proc/x: mount inside procfs: operation not permitted";
        assert_eq!(leaf.to_string(), text);
        assert_eq!(leaf.call.as_deref(), Some("mount"));
        assert_eq!((leaf.errno, leaf.note), (Some(Errno::EPERM), fail.note));
        let ended = Error::from(Fail::new("waitid", Errno::EPERM).note(Note::Ended(3)));
        assert_eq!(
            (ended.to_string().as_str(), ended.errno),
            ("exit status 3", None)
        );
    }

    #[test]
    fn a_message_alone_is_a_leaf() {
        let chain = anyhow::anyhow!("no COMMAND").context("exec");
        assert_eq!((chain.kind(), chain.errno()), (Kind::Other, None));
        assert_eq!(Error::of_chain(chain).to_string(), "exec: no COMMAND");
    }

    #[test]
    fn a_failure_of_the_standard_library_names_its_call() {
        let missing = std::fs::read("/nonexistent").call("open").unwrap_err();
        assert_eq!(missing.to_string(), "open: no such file or directory");
        let odd = std::io::Error::other("odd");
        let odd = Err::<(), _>(odd).call("read").unwrap_err();
        assert_eq!((odd.to_string().as_str(), odd.errno), ("read: odd", None));
    }
}
