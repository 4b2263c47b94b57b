//! Atomic replacement of files: the content is written under a temporary name, which is then
//! renamed.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::errno::Errno;

use super::Dir;
use crate::error::Context as _;
use crate::sys::{Sys, io, path as syspath};

/// A complete file that has not been renamed to its final name. Dropping it removes the file.
#[must_use]
pub struct Prepared<'a> {
    dir: BorrowedFd<'a>,
    name: CString,
    temporary: Option<CString>,
    /// For messages.
    path: PathBuf,
}

impl<'a> Prepared<'a> {
    /// Writes the future content of the file `name` in the directory `dir`. `path` is for messages.
    ///
    /// # Errors
    /// A system call failed.
    pub fn write(
        dir: BorrowedFd<'a>,
        path: &Path,
        name: &CStr,
        content: &[u8],
        mode: u32,
    ) -> Result<Self> {
        let object = || path.display();
        let own = [
            b".",
            name.to_bytes(),
            b".",
            std::process::id().to_string().as_bytes(),
        ]
        .concat();
        let own = syspath::c_string(OsStr::from_bytes(&own)).with_context(object)?;
        let write = || write_new(dir, &own, content, mode);
        // The directory of a pid file may be writable by other users. Nothing is written through a
        // file that they have put there under the temporary name, in particular not through a link.
        let written = match write() {
            Err(fail) if fail.errno == Errno::EEXIST => {
                syspath::unlink_at(Some(dir), &own).and_then(|()| write())
            }
            written => written,
        };
        let prepared = Self {
            dir,
            name: name.to_owned(),
            temporary: Some(own.clone()),
            path: path.to_owned(),
        };
        written.with_context(object)?;
        Ok(prepared)
    }

    /// Renames the file to its final name. Readers see either the old file or the new one.
    ///
    /// # Errors
    /// rename(2) failed. The old file is still in place.
    pub fn put(mut self) -> Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        syspath::rename_at(self.dir, temporary, &self.name).with_context(|| self.path.display())?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The error that led here is the one to report.
            let _ = syspath::unlink_at(Some(self.dir), temporary);
        }
    }
}

fn write_new(dir: BorrowedFd, name: &CStr, content: &[u8], mode: u32) -> Sys<()> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let made = syspath::open_at(Some(dir), name, flags, mode)?;
    io::write_all(made.as_fd(), content)
}

impl Dir {
    /// Writes the future content of a file in this directory, with mode 0600.
    ///
    /// # Errors
    /// A system call failed.
    pub fn prepare(&self, name: &CStr, content: &[u8]) -> Result<Prepared<'_>> {
        Prepared::write(self.fd(), &self.path_of(name), name, content, 0o600)
    }
}
