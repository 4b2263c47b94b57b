//! The one error type: what failed, on which object, with which errno, and what to do next.

use std::fmt;

use nix::errno::Errno;

pub use crate::sys::errno_text;
use crate::sys::{Failed, Sys};

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

/// A failure, reported once, at the top.
#[derive(Clone, Debug)]
pub struct Error {
    /// The class.
    pub kind: Kind,
    /// Outermost context first; joined with `: `.
    context: Vec<String>,
    /// The path of a property in the config.
    field: Option<String>,
    errno: Option<Errno>,
    /// What a program printed about the failure.
    detail: Option<String>,
    hint: Option<String>,
}

/// The result of everything outside `sys` and the init executor.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure described by `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(Kind::Other, message)
    }

    /// A failure of `kind` described by `message`.
    pub fn of(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            context: vec![message.into()],
            field: None,
            errno: None,
            detail: None,
            hint: None,
        }
    }

    /// A wrong property: `field` is its path in the config, as in `linux.devices[2].type`.
    pub fn config(field: impl fmt::Display, message: impl fmt::Display) -> Self {
        let field = field.to_string();
        Self::new(format!("{field}: {message}")).about(field)
    }

    /// A failed system call `op` on the object that `what` names.
    pub fn sys(what: impl Into<String>, op: &str, errno: Errno) -> Self {
        let mut error = Self::new(what);
        error.context.push(op.to_owned());
        error.errno = Some(errno);
        match errno {
            Errno::EFBIG => {
                error.hint("the caller's limit of file sizes is too low: see ulimit -f")
            }
            _ => error,
        }
    }

    /// A failed system call on the object that `what` names.
    pub fn failed(what: impl Into<String>, fail: Failed) -> Self {
        match fail.told_errno() {
            Some(errno) => Self::sys(what, &fail.call(), errno),
            None => Self::new(format!("{}: {}", what.into(), fail.call())),
        }
    }

    /// A failed operation of the standard library, as [`Error::sys`].
    pub fn io(what: impl Into<String>, op: &str, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::sys(what, op, Errno::from_raw(errno)),
            None => Self::new(format!("{}: {op}: {error}", what.into())),
        }
    }

    /// Puts `context` in front.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context.insert(0, context.into());
        self
    }

    /// What a program printed about the failure; shown behind the reason.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says what to do next; shown in parentheses at the end.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the property of the config that is to blame, which the text names already.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Changes the class.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The path of the wrong property in the config, if one is to blame.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The errno of the system call behind the failure, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.context.join(": ")))?;
        if let Some(errno) = self.errno {
            write!(f, ": {}", errno_text(errno))?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {}", printable(detail))?;
        }
        match &self.hint {
            Some(hint) => write!(f, " ({})", printable(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

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

/// Names the object of a system call that failed.
pub trait On<T> {
    /// Puts `object` in front of the failure. It is formatted only if there is one.
    fn on<O: Into<String>>(self, object: impl FnOnce() -> O) -> Result<T>;
}

impl<T> On<T> for Sys<T> {
    fn on<O: Into<String>>(self, object: impl FnOnce() -> O) -> Result<T> {
        self.map_err(|fail| Error::failed(object(), fail))
    }
}
