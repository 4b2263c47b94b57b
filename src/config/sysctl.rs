//! `linux.sysctl`: only kernel parameters that belong to a namespace of the container.

use std::collections::HashMap;

use super::check;
use super::namespaces::{NamespaceKind, Namespaces};
use crate::error::{Error, Result};

/// One parameter of `linux.sysctl`.
#[derive(Clone, Debug)]
pub struct Sysctl {
    /// Below /proc/sys.
    pub path: String,
    /// What is written to the file.
    pub value: String,
    /// Its path in the config, with the key as it is written there.
    pub field: String,
}

/// Checks `linux.sysctl`; the result is sorted by path below /proc/sys.
///
/// # Errors
/// A key is not a path, is not namespaced, belongs to a namespace that the config does not list,
/// or appears twice in two spellings.
pub(super) fn new(
    sysctl: &Option<HashMap<String, String>>,
    namespaces: &Namespaces,
) -> Result<Vec<Sysctl>> {
    let mut out: Vec<Sysctl> = Vec::new();
    for (key, value) in check::by_name(sysctl.as_ref()) {
        let field = format!("linux.sysctl[{key:?}]");
        check::no_nul(&field, value)?;
        let path = path_of(key);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
            return Err(Error::config(field, "not the name of a kernel parameter"));
        }
        allowed(&field, &path, namespaces)?;
        let Err(place) = out.binary_search_by(|other| other.path.cmp(&path)) else {
            return Err(Error::config(field, "is set twice, in two spellings"));
        };
        let value = value.clone();
        out.insert(place, Sysctl { path, value, field });
    }
    Ok(out)
}

/// The path below /proc/sys. As in sysctl(8), the first separator decides: if it is a slash, the
/// key already is a path; otherwise dots and slashes are swapped.
fn path_of(key: &str) -> String {
    match key.chars().find(|c| matches!(c, '.' | '/')) {
        Some('.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn allowed(field: &str, path: &str, namespaces: &Namespaces) -> Result<()> {
    if path == "kernel/hostname" {
        return Err(Error::config(field, "not allowed").hint("set hostname instead"));
    }
    let kind = namespace(path).ok_or_else(|| {
        let message = "not a namespaced parameter; setting it would change the host";
        Error::config(field, message)
    })?;
    namespaces.require(field, kind)
}

/// The type of namespace to which the parameter at this path below /proc/sys belongs. `None` for a
/// parameter of the whole host.
pub fn namespace(path: &str) -> Option<NamespaceKind> {
    match path {
        "kernel/hostname" | "kernel/domainname" => Some(NamespaceKind::Uts),
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Some(NamespaceKind::Ipc),
        path if path.starts_with("fs/mqueue/") => Some(NamespaceKind::Ipc),
        path if path.starts_with("net/") => Some(NamespaceKind::Network),
        path if path.starts_with("user/") => Some(NamespaceKind::User),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eno2/100.forwarding",
                "net/ipv4/conf/eno2.100/forwarding",
            ),
            (
                "net/ipv4/conf/eno2.100/forwarding",
                "net/ipv4/conf/eno2.100/forwarding",
            ),
        ] {
            assert_eq!(path_of(key), path, "{key}");
        }
    }
}
