//! What may be in a container's directory. Nothing else is ever removed.
//!
//! `--root` can name any directory, by mistake or by an old setting, and each directory in it looks
//! like one that a create which was killed has left. Its content tells.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use nix::errno::Errno;

use super::Dir;
use super::dir::{CONFIG, INIT_LOCK, NOTIFY, RECORD_SOCKET, START_SOCKET, STATE};
use crate::error::{Code, Context as _, Error};
use crate::sys::tree::{self, Entry};
use crate::sys::{Sys, path};

const FILES: [&CStr; 5] = [CONFIG, STATE, INIT_LOCK, START_SOCKET, RECORD_SOCKET];

/// Whether a container may have this.
fn is_own(entry: &Entry) -> bool {
    let name = entry.name.as_c_str();
    if entry.is_dir {
        return name == NOTIFY;
    }
    FILES.contains(&name) || [CONFIG, STATE].iter().any(|of| is_temporary(name, of))
}

/// Whether this is what [`super::Prepared`] calls the file `of` before it is complete.
fn is_temporary(name: &CStr, of: &CStr) -> bool {
    let number = name
        .to_bytes()
        .strip_prefix(b".")
        .and_then(|name| name.strip_prefix(of.to_bytes()))
        .and_then(|name| name.strip_prefix(b"."));
    number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

impl Dir {
    /// Something in the directory that no container has.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn foreign(&self) -> Result<Option<PathBuf>> {
        let entries = tree::entries(self.fd()).with_context(|| self.path.display())?;
        let foreign = entries.iter().find(|entry| !is_own(entry));
        let path = |entry: &Entry| self.path.join(OsStr::from_bytes(entry.name.to_bytes()));
        Ok(foreign.map(path))
    }

    /// Fails if the directory has something that no container has.
    ///
    /// # Errors
    /// See above; or the directory cannot be read.
    pub fn check_own(&self) -> Result<()> {
        match self.foreign()? {
            None => Ok(()),
            Some(foreign) => bail!(self.not_a_container(&foreign)),
        }
    }

    fn not_a_container(&self, foreign: &std::path::Path) -> Error {
        let message = format!(
            "{} is not removed: no container has {}",
            self.path.display(),
            foreign.display()
        );
        Error::new(message).code_is(Code::StateForeign).hint(
            "compare --root with that of the create; move the file away if it belongs nowhere",
        )
    }

    /// Removes everything that a container may have in its directory.
    ///
    /// # Errors
    /// Something is not a container's, or is mounted there; unlink(2) or rmdir(2) failed.
    pub(super) fn clear(&self) -> Result<()> {
        self.check_own()?;
        let entries = tree::entries(self.fd()).with_context(|| self.path.display())?;
        for entry in entries.iter().filter(|entry| is_own(entry)) {
            let removed = if entry.is_dir {
                clear_directory(self.fd(), &entry.name)
            } else {
                path::unlink_at(Some(self.fd()), &entry.name)
            };
            match removed {
                Err(fail) if fail.errno == Errno::ENOENT => {}
                removed => removed.with_context(|| self.path_of(&entry.name))?,
            }
        }
        Ok(())
    }
}

/// The container may have put anything there.
fn clear_directory(dir: BorrowedFd, name: &CStr) -> Sys<()> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let opened = path::open_at(Some(dir), name, flags, 0)?;
    tree::clear(opened.as_fd())?;
    path::remove_dir_at(dir, name)
}
