//! `--pid-file`: looked at before anything is made, and written when all is done.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{ftruncate, geteuid};

use crate::error::{Error, Result};
use crate::state::Prepared;
use crate::sys::path::{self as syspath, Stat};
use crate::sys::{Fail, Sys, file};

/// Where a pid will be written.
pub struct PidFile {
    path: PathBuf,
    target: Target,
}

enum Target {
    /// A regular file, or none yet: a reader finds the old file or the new one, never a part.
    Replaced { dir: OwnedFd, name: CString },
    /// A device, a FIFO, or a link that leads to one, as /dev/stdout may: renamed over, it would be
    /// lost.
    Written(OwnedFd),
}

impl PidFile {
    /// # Errors
    /// Its directory is missing, or it is something that no pid can be written to.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |fail| failed(path, fail);
        let name = path.file_name().ok_or_else(|| {
            let message = format!("--pid-file: {:?} is not the path of a file", path.display());
            Error::new(message)
        })?;
        let einval = |_| failed(Fail::new("open", Errno::EINVAL));
        let name = CString::new(name.as_bytes()).map_err(einval)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir = file::open(parent, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(failed)?;
        let target = match syspath::stat_at(dir.as_fd(), &name).map_err(failed)? {
            Some(found) if is_written(dir.as_fd(), &name, &found).map_err(failed)? => {
                Target::Written(open_to_write(dir.as_fd(), &name).map_err(failed)?)
            }
            _ => Target::Replaced { dir, name },
        };
        let path = path.to_owned();
        Ok(Self { path, target })
    }

    /// Writes the pid.
    ///
    /// # Errors
    /// A system call failed.
    pub fn write(&self, pid: i32) -> Result<()> {
        let text = pid.to_string();
        match &self.target {
            Target::Replaced { dir, name } => {
                match put_unnamed(dir.as_fd(), name, text.as_bytes()) {
                    // A file system without files without a name, or no /proc to name one by.
                    Err(fail)
                        if [Errno::ENOTSUP, Errno::EISDIR, Errno::ENOENT, Errno::EEXIST]
                            .contains(&fail.errno) => {}
                    put => return put.map_err(|fail| failed(&self.path, fail)),
                }
                Prepared::write(dir.as_fd(), &self.path, name, text.as_bytes(), 0o644)
                    .and_then(Prepared::put)
                    .map_err(|error| error.context("--pid-file"))
            }
            Target::Written(file) => syspath::stat(file.as_fd())
                .and_then(|stat| match stat.is(libc::S_IFREG) {
                    true => ftruncate(file, 0).map_err(|errno| Fail::new("ftruncate", errno)),
                    false => Ok(()),
                })
                .and_then(|()| syspath::write_all(file.as_fd(), text.as_bytes()))
                .map_err(|fail| failed(&self.path, fail)),
        }
    }
}

/// Puts a complete file in place of the old one, whose pid is worth nothing any more. No name of the
/// runtime's own is left beside it, whenever the runtime dies.
fn put_unnamed(dir: BorrowedFd, name: &CStr, content: &[u8]) -> Sys<()> {
    let flags = libc::O_WRONLY | libc::O_TMPFILE;
    let made = syspath::open_at(Some(dir), c".", flags, 0o644)?;
    syspath::write_all(made.as_fd(), content)?;
    match syspath::link_at(made.as_fd(), dir, name) {
        Err(fail) if fail.errno == Errno::EEXIST => {
            syspath::unlink_at(Some(dir), name)?;
            syspath::link_at(made.as_fd(), dir, name)
        }
        linked => linked,
    }
}

/// A link of another user may lead anywhere, and one to a regular file is no loss: both are
/// replaced. A link to a descriptor in /proc is the host's, whatever the descriptor is of.
fn is_written(dir: BorrowedFd, name: &CStr, found: &Stat) -> Sys<bool> {
    if !found.is(libc::S_IFLNK) {
        return Ok(!found.is(libc::S_IFREG));
    }
    if ![0, geteuid().as_raw()].contains(&found.uid) {
        return Ok(false);
    }
    let link = syspath::open_at(Some(dir), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    if syspath::read_link(link.as_fd())?.starts_with(b"/proc/") {
        return Ok(true);
    }
    match syspath::open_at(Some(dir), name, libc::O_PATH, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => Ok(false),
        target => Ok(!syspath::stat(target?.as_fd())?.is(libc::S_IFREG)),
    }
}

/// A FIFO without a reader is an error: nobody may ever come to read.
fn open_to_write(dir: BorrowedFd, name: &CStr) -> Sys<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let opened = syspath::open_at(Some(dir), name, flags, 0)?;
    let stat = syspath::stat(opened.as_fd())?;
    let kinds = [libc::S_IFREG, libc::S_IFCHR, libc::S_IFIFO];
    match kinds.iter().any(|&kind| stat.is(kind)) {
        true => Ok(opened),
        // A pid on a disk is damage.
        false => Err(Fail::new("open", Errno::ENOTSUP)),
    }
}

fn failed(path: &Path, fail: Fail) -> Error {
    let what = format!("--pid-file: {}", path.display());
    let error = Error::failed(what, fail);
    match fail.errno {
        Errno::ENXIO => error.hint("no process has the FIFO open for reading: begin to read first"),
        Errno::ENOTSUP => error.hint("a pid is written to a file, a FIFO or a character device"),
        _ => error,
    }
}
