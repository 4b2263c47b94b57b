//! Small checks that every part of the config shares.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

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
    Ok(clean(path))
}

/// `path` from the root on, without `.`, `..` and repeated or trailing slashes.
/// Purely lexical: `..` above the root stays at the root.
pub(super) fn clean(path: &Path) -> PathBuf {
    if is_clean(path) {
        return path.to_owned();
    }
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// Most paths are.
fn is_clean(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    let below = match text {
        b"/" => return true,
        [b'/', below @ ..] => below,
        _ => return false,
    };
    let mut parts = below.split(|byte| *byte == b'/');
    !parts.any(|part| matches!(part, b"" | b"." | b".."))
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

/// A limit: -1 means unlimited, and nothing lies below.
pub(super) fn limit(field: impl Display, value: i64) -> Result<()> {
    match value {
        -1.. => Ok(()),
        _ => Err(Error::config(
            field,
            format!("{value} is below -1, which means unlimited"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_lexical_and_stays_below_the_root() {
        for (from, to) in [
            ("/", "/"),
            ("/a/./b//c/", "/a/b/c"),
            ("/a/../../b", "/b"),
            ("/a/", "/a"),
            ("//a", "/a"),
            ("/a/b", "/a/b"),
            ("/..a/.b", "/..a/.b"),
            ("a/b", "/a/b"),
            ("../..", "/"),
        ] {
            assert_eq!(clean(Path::new(from)).as_os_str(), to, "{from}");
        }
    }
}
