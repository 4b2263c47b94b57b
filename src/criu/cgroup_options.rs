//! The options of the cgroup2 file system, which apply to the whole host. CRIU mounts the file
//! system without any, and in the initial cgroup namespace each mount sets them anew: `nsdelegate`
//! and `memory_recursiveprot`, which systemd sets, would be off from then on.
//!
//! Another CRIU may have reset them already when one starts. So the first runtime records them in an
//! extended attribute of the hierarchy's root, and the last one removes it. Each has a shared lock of
//! the root while its CRIU runs. If a runtime is killed, the next one finds the record.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Result;

use super::container;
use crate::error::Context as _;
use crate::sys::mountinfo::Mounted;
use crate::sys::{mount, path, xattr};

/// The attribute, which only CAP_SYS_ADMIN can read and write.
const RECORD: &CStr = c"trusted.sampan.options";

/// The options before CRIU runs. They are given back when the value is dropped.
pub(crate) struct Kept(Option<Hierarchy>);

/// The hierarchy of a host that sets options for it.
struct Hierarchy {
    root: OwnedFd,
    options: CString,
}

impl Kept {
    /// Reads the options, or the record of another runtime.
    ///
    /// # Errors
    /// The mount table cannot be read, or the root of the hierarchy cannot be opened or locked.
    pub(crate) fn look() -> Result<Self> {
        let Some(mounted) = mounted()? else {
            return Ok(Self(None));
        };
        let object = || String::from_utf8_lossy(&mounted.point).into_owned();
        let root = path::c_string(OsStr::from_bytes(&mounted.point))
            .and_then(|point| path::open(&point, libc::O_RDONLY | libc::O_DIRECTORY))
            .with_context(object)?;
        loop {
            if path::try_lock(root.as_fd()).with_context(object)? {
                return record(root).map(Self);
            }
            // This waits while another runtime writes the record.
            path::lock_shared(root.as_fd()).with_context(object)?;
            if let Some(options) = recorded(root.as_fd()) {
                return Ok(Self(Some(Hierarchy { root, options })));
            }
        }
    }
}

/// Records the options, while no other runtime has a lock of `root`. `None` if the host sets none.
fn record(root: OwnedFd) -> Result<Option<Hierarchy>> {
    let options = options()?;
    let options = if options.is_empty() {
        // The runtime that has recorded these was killed.
        recorded(root.as_fd())
    } else {
        CString::new(options).ok()
    };
    let Some(options) = options else {
        return Ok(None);
    };
    // In a container, the hierarchy may not have such attributes. Without a record, others must not
    // see a lock.
    let locked = match xattr::set(root.as_fd(), RECORD, options.as_bytes()) {
        Ok(()) => path::lock_shared(root.as_fd()),
        Err(_) => path::unlock(root.as_fd()),
    };
    locked.context("cgroup2")?;
    Ok(Some(Hierarchy { root, options }))
}

fn recorded(root: BorrowedFd) -> Option<CString> {
    CString::new(xattr::get(root, RECORD).ok()??).ok()
}

/// The options that the host sets now.
fn options() -> Result<Vec<u8>> {
    let options = mounted()?.map(|mounted| without_generic(&mounted.options));
    Ok(options.unwrap_or_default())
}

/// The first mount of the file system.
fn mounted() -> Result<Option<Mounted>> {
    let table = container::table("self")?;
    let is_cgroup2 = |mounted: &Mounted| mounted.fstype == b"cgroup2";
    Ok(table.into_iter().find(is_cgroup2))
}

/// The options apart from those that every file system has.
fn without_generic(options: &[u8]) -> Vec<u8> {
    let words = options.split(|&byte| byte == b',');
    let own = words.filter(|word| ![b"rw".as_slice(), b"ro", b"seclabel"].contains(word));
    own.collect::<Vec<_>>().join(&b',')
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(Hierarchy { root, options }) = &self.0 else {
            return;
        };
        let is_last = matches!(path::try_lock(root.as_fd()), Ok(true));
        // If one of these fails, CRIU's result still is what the caller has asked for. A mount that
        // is attached nowhere sets the options too.
        if !matches!(self::options(), Ok(now) if now == options.as_bytes()) {
            let _ = mount::make(c"cgroup2", c"cgroup2", options, 0);
        }
        if is_last {
            let _ = xattr::remove(root.as_fd(), RECORD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_of_cgroup2_are_set_again() {
        let options = b"rw,seclabel,nsdelegate,memory_recursiveprot";
        assert_eq!(without_generic(options), b"nsdelegate,memory_recursiveprot");
        assert_eq!(without_generic(b"rw"), b"");
    }
}
