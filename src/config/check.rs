//! Small checks that all parts of the config share.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result, Warning};
use crate::lexical;
use crate::sorted::sorted;

/// Refuses a NUL byte. The strings of the config become C strings for system calls, which would
/// end at the NUL.
pub(super) fn no_nul(field: impl Display, text: impl AsRef<OsStr>) -> Result<()> {
    if text.as_ref().as_bytes().contains(&0) {
        Err(Error::config(field, "has a NUL byte"))
    } else {
        Ok(())
    }
}

/// Checks that `path` is absolute and has no NUL byte. Returns it lexically clean.
pub(super) fn absolute(field: impl Display, path: &Path) -> Result<PathBuf> {
    no_nul(&field, path)?;
    if path.as_os_str().is_empty() {
        return Err(Error::missing(field));
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

/// Checks an optional string. An empty string counts as absent.
pub(super) fn text(field: impl Display, value: Option<&String>) -> Result<Option<String>> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => no_nul(field, value).map(|()| Some(value.clone())),
    }
}

/// Refuses a property that this runtime does not support yet.
pub(super) fn unsupported(field: impl Display, present: bool) -> Result<()> {
    if present {
        Err(Error::config(field, "not supported")
            .code_is(Code::ConfigUnsupported)
            .hint("remove the property"))
    } else {
        Ok(())
    }
}

/// Warns of a control that only cgroup v1 had. Ignoring it is safe.
pub(super) fn only_v1(field: impl Display) -> Warning {
    Error::no_effect(field, "cgroup v2 has no such control, ignored")
}

/// An optional list as a slice, which is empty when the list is absent.
pub(super) fn list<T>(value: &Option<Vec<T>>) -> &[T] {
    value.as_deref().unwrap_or_default()
}

/// The entries of an optional map in the order of their names, so that the same config always gives
/// the same plan or the same error.
pub(super) fn by_name<V>(map: Option<&HashMap<String, V>>) -> Vec<(&String, &V)> {
    let Some(map) = map else { return Vec::new() };
    let names = sorted(map.keys().collect());
    names.into_iter().map(|name| (name, &map[name])).collect()
}

/// Refuses a number outside `range`, and returns it in a type that holds this range.
pub(super) fn narrowed<T, U>(
    field: impl Display,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<U>
where
    T: PartialOrd + Display + Copy,
    U: TryFrom<T>,
{
    within(&field, value, range)?;
    let too_large = |_| Error::config(&field, format!("{value} is too large"));
    U::try_from(value).map_err(too_large)
}

/// Refuses a number outside `range`.
pub(super) fn within<T>(
    field: impl Display,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<()>
where
    T: PartialOrd + Display,
{
    if range.contains(&value) {
        Ok(())
    } else {
        Err(Error::config(
            field,
            format!(
                "{value} is outside the range {} to {}",
                range.start(),
                range.end()
            ),
        ))
    }
}
