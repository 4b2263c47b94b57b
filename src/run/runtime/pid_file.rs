//! `--pid-file`: its path is checked before anything is made, and the file is written last.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use nix::errno::Errno;
use nix::unistd::{ftruncate, geteuid};

use crate::error::{Context as _, Error, Named};
use crate::run::failure;
use crate::state::Prepared;
use crate::sys::path as syspath;
use crate::sys::stat::Stat;
use crate::sys::{Fail, Sys, file, io, stat};

/// The file that the pid will be written to.
pub(super) struct PidFile {
    path: PathBuf,
    target: Target,
}

enum Target {
    /// A regular file, or a file that does not exist yet. It is replaced atomically, so a reader
    /// sees the old file or the new one, but never a part of one.
    Replaced { dir: OwnedFd, name: CString },
    /// A device, a FIFO, or a link to one, which /dev/stdout may be. It is written to, because
    /// rename(2) would destroy it.
    Written(OwnedFd),
}

impl PidFile {
    /// Opens the file or its directory.
    ///
    /// # Errors
    /// The directory is missing, or the file is of a type that a pid cannot be written to.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |fail| failed(path, fail);
        let name = path
            .file_name()
            .ok_or_else(|| anyhow!("--pid-file: {:?} is not the path of a file", path.display()))?;
        let name = syspath::c_string(name).map_err(failed)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let dir = file::open(parent, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(failed)?;
        let target = match stat::stat_at(dir.as_fd(), &name).map_err(failed)? {
            Some(found) if is_written(dir.as_fd(), &name, &found).map_err(failed)? => {
                Target::Written(file::open_to_write(Some(dir.as_fd()), &name, 0).map_err(failed)?)
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
    pub(super) fn write(&self, pid: i32) -> Result<()> {
        let text = pid.to_string();
        match &self.target {
            Target::Replaced { dir, name } => {
                match put_unnamed(dir.as_fd(), name, text.as_bytes()) {
                    // The file system does not support O_TMPFILE, or there is no /proc through
                    // which link_at could name the file.
                    Err(fail)
                        if [Errno::ENOTSUP, Errno::EISDIR, Errno::ENOENT, Errno::EEXIST]
                            .contains(&fail.errno) => {}
                    put => return Ok(put.map_err(|fail| failed(&self.path, fail))?),
                }
                Prepared::write(dir.as_fd(), &self.path, name, text.as_bytes(), 0o644)
                    .and_then(Prepared::put)
                    .context("--pid-file")
            }
            Target::Written(file) => Ok(stat::stat(file.as_fd())
                .and_then(|stat| {
                    if stat.is(libc::S_IFREG) {
                        ftruncate(file, 0).map_err(|errno| Fail::new("ftruncate", errno))
                    } else {
                        Ok(())
                    }
                })
                .and_then(|()| io::write_all(file.as_fd(), text.as_bytes()))
                .map_err(|fail| failed(&self.path, fail))?),
        }
    }
}

/// Writes an unnamed file and links it at `name`. The old file is removed first; its pid is stale.
/// Because the new file has no temporary name, none is left behind if the runtime is killed.
fn put_unnamed(dir: BorrowedFd, name: &CStr, content: &[u8]) -> Sys<()> {
    let flags = libc::O_WRONLY | libc::O_TMPFILE;
    let made = syspath::open_at(Some(dir), c".", flags, 0o644)?;
    io::write_all(made.as_fd(), content)?;
    match syspath::link_at(made.as_fd(), dir, name) {
        Err(fail) if fail.errno == Errno::EEXIST => {
            syspath::unlink_at(Some(dir), name)?;
            syspath::link_at(made.as_fd(), dir, name)
        }
        linked => linked,
    }
}

/// Whether the file is written to rather than replaced.
///
/// A symbolic link of another user could lead anywhere, and its FIFO could be read by anyone, so both
/// are replaced. A link to a regular file is replaced too, because nothing is lost. A link to a
/// descriptor in /proc, such as /dev/stdout, belongs to the host and is kept, whatever the descriptor
/// refers to.
fn is_written(dir: BorrowedFd, name: &CStr, found: &Stat) -> Sys<bool> {
    let foreign = ![0, geteuid().as_raw()].contains(&found.uid);
    if foreign && (found.is(libc::S_IFLNK) || found.is(libc::S_IFIFO)) {
        return Ok(false);
    }
    if !found.is(libc::S_IFLNK) {
        return Ok(!found.is(libc::S_IFREG));
    }
    let link = syspath::open_at(Some(dir), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    if syspath::read_link(link.as_fd())?.starts_with(b"/proc/") {
        return Ok(true);
    }
    match syspath::open_at(Some(dir), name, libc::O_PATH, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => Ok(false),
        target => Ok(!stat::stat(target?.as_fd())?.is(libc::S_IFREG)),
    }
}

fn failed(path: &Path, fail: Fail) -> Error {
    let error = Error::failed(Named("--pid-file", path), fail);
    match failure::not_written(fail.errno) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
