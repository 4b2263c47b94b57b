//! Small checks that every part of the config shares.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::lexical;

/// Refuses a NUL byte: every string of the config ends up in a system call.
pub(super) fn no_nul(field: impl Display, text: impl AsRef<OsStr>) -> Result<()> {
    match text.as_ref().as_bytes().contains(&0) {
        true => Err(Error::config(field, "has a NUL byte")),
        false => Ok(()),
    }
}

/// An absolute path without a NUL byte, lexically clean.
pub(super) fn absolute(field: impl Display, path: &Path) -> Result<PathBuf> {
    no_nul(&field, path)?;
    if path.as_os_str().is_empty() {
        return Err(Error::config(field, "missing"));
    }
    if !path.is_absolute() {
        let text = path.to_string_lossy();
        return Err(Error::config(
            field,
            format!("{text:?} is not an absolute path"),
        ));
    }
    Ok(lexical::clean(path))
}

/// An empty string means the same as an absent one.
pub(super) fn text(field: impl Display, value: Option<&String>) -> Result<Option<String>> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => no_nul(field, value).map(|()| Some(value.clone())),
    }
}

/// Refuses a property that this runtime does not serve yet.
pub(super) fn unsupported(field: impl Display, present: bool) -> Result<()> {
    match present {
        false => Ok(()),
        true => Err(Error::config(field, "not supported").hint("remove the property")),
    }
}

/// A list, absent or not, as a slice.
pub(super) fn list<T>(value: &Option<Vec<T>>) -> &[T] {
    value.as_deref().unwrap_or_default()
}

/// Refuses a number outside of `range`.
pub(super) fn within<T>(
    field: impl Display,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<()>
where
    T: PartialOrd + Display,
{
    match range.contains(&value) {
        true => Ok(()),
        false => Err(Error::config(
            field,
            format!("{value} is outside of {} to {}", range.start(), range.end()),
        )),
    }
}
