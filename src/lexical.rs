//! Paths as text. Nothing here reads the file system, so symbolic links are not resolved.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The absolute form of `path`, without `.`, `..` and repeated or trailing slashes. A relative path
/// starts at the root, and `..` at the root stays there.
#[must_use]
pub(crate) fn clean(path: &Path) -> PathBuf {
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

/// As [`clean`], relative to the root.
#[must_use]
pub(crate) fn below_root(path: &Path) -> PathBuf {
    clean(path).iter().skip(1).collect()
}

/// Whether `path` is clean already, as most paths are.
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
            let below = below_root(Path::new(from));
            assert_eq!(below.as_os_str(), &to[1..], "{from}");
        }
    }
}
