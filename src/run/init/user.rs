//! The identity of the process: ids, groups, capabilities, keyring and home directory.

use std::ffi::CString;
use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::plan::{Capabilities, Credentials};
use crate::sys::{Fail, Sys, credentials, io, path, process, stat};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Becomes root of the user namespace, in most cases without the caller's groups.
pub(super) fn become_root(keep_groups: bool) -> Sys<()> {
    if !keep_groups {
        // The process sets its groups again at the end, and only then has to succeed.
        set_groups(&[], || Ok(true))?;
    }
    credentials::set_ids(0, 0)
}

/// Sets the supplementary groups. A user namespace may deny setgroups(2), which `denied` finds out.
/// That is ignored if the list is empty, because the config then needs no groups.
/// user_namespaces(7).
///
/// Everywhere else EPERM means that a seccomp filter refuses the call, or that the runtime lacks
/// CAP_SETGID. The process would then keep the groups of the runtime's caller.
fn set_groups(groups: &[u32], denied: impl FnOnce() -> Sys<bool>) -> Sys<()> {
    let set = credentials::set_groups(groups);
    let refused = set.is_err_and(|fail| fail.errno == Errno::EPERM) && groups.is_empty();
    if refused && (!credentials::has_groups()? || denied() == Ok(true)) {
        return Ok(());
    }
    set
}

/// Drops everything that the config does not grant. The order follows from the privileges that each
/// step needs. capabilities(7), credentials(7).
pub(super) fn become_user(
    user: &Credentials,
    groups_are_denied: impl FnOnce() -> Sys<bool>,
) -> Sys<Granted> {
    for capability in 0..=user.last_capability {
        if user.capabilities.bounding & 1 << capability == 0 {
            credentials::drop_bounding(capability)?;
        }
    }
    credentials::keep_capabilities(true)?;
    if let Some(groups) = &user.groups {
        set_groups(groups, groups_are_denied)?;
    }
    credentials::set_ids(user.uid, user.gid)?;
    process::umask(user.umask)?;
    let (_, held, _) = credentials::capget()?;
    let granted = Granted::new(user.capabilities, held);
    if user.keep_sys_admin {
        let admin = CAP_SYS_ADMIN & held;
        let (effective, permitted) = (granted.effective | admin, granted.permitted | admin);
        credentials::capset(effective, permitted, granted.inheritable)?;
    } else {
        granted.set()?;
    }
    for capability in 0..=user.last_capability {
        let ambient = user.capabilities.ambient & granted.permitted & granted.inheritable;
        if ambient & 1 << capability != 0 {
            credentials::raise_ambient(capability)?;
        }
    }
    Ok(granted)
}

/// The capabilities that the config grants and the process holds. A capability that the process
/// does not hold cannot be granted, which is not an error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Granted {
    effective: u64,
    permitted: u64,
    inheritable: u64,
}

impl Granted {
    fn new(sets: Capabilities, held: u64) -> Self {
        let permitted = sets.permitted & held;
        Self {
            effective: sets.effective & permitted,
            permitted,
            inheritable: sets.inheritable & held,
        }
    }

    /// Sets them with capset(2).
    pub(super) fn set(self) -> Sys<()> {
        credentials::capset(self.effective, self.permitted, self.inheritable)
    }
}

/// Builds `HOME=` from the user's line in /etc/passwd. The default is `/`.
///
/// # Errors
/// The file could not be read for a reason that the image did not cause: the line may exist.
pub(super) fn home(uid: u32) -> Sys<CString> {
    let directory = home_directory(uid)?.unwrap_or_else(|| b"/".to_vec());
    let home = CString::new([b"HOME=".as_slice(), &directory].concat());
    Ok(home.unwrap_or_else(|_| c"HOME=/".into()))
}

fn home_directory(uid: u32) -> Sys<Option<Vec<u8>>> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match path::open(c"/etc/passwd", flags) {
        // The file is missing, not accessible to this user, or not a regular file.
        Err(Fail {
            errno: Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP | Errno::ENXIO,
            ..
        }) => return Ok(None),
        opened => opened?,
    };
    if !stat::stat(file.as_fd())?.is(libc::S_IFREG) {
        return Ok(None);
    }
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    // A limit of one megabyte, because an image could contain an endless file.
    while text.len() < 1 << 20 {
        match io::read(file.as_fd(), &mut chunk)? {
            0 => break,
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(find_home(&text, uid))
}

/// Returns the sixth field of the first line whose third field is `uid`. passwd(5).
fn find_home(text: &[u8], uid: u32) -> Option<Vec<u8>> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?;
        let home = fields.nth(2)?;
        (id.parse() == Ok(uid) && !home.is_empty()).then(|| home.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_the_sixth_field() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:33::/srv/web:/bin/sh\nx:x:7:7::\n";
        assert_eq!(find_home(passwd, 0).unwrap(), b"/root");
        assert_eq!(find_home(passwd, 33).unwrap(), b"/srv/web");
        assert_eq!(find_home(passwd, 7), None);
        assert_eq!(find_home(passwd, 1), None);
    }
}
