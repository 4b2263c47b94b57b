//! Reads and writes whole files at trusted paths of the host.
//!
//! The C library and the standard library add system calls to each open file (setting flags that
//! are already set, asking for sizes, reads that begin with 32 bytes). For a short file they are
//! most of the cost.

use std::ffi::{CStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{Fail, Sys, io, path, stat};

/// Large enough for most files of /proc and of a container's directory to need one read(2).
const FIRST_READ: usize = 4096;

/// openat(2), close-on-exec. `mode` applies if the file is created.
pub fn open(file: &Path, flags: i32, mode: u32) -> Sys<OwnedFd> {
    file.with_nix_path(|name| path::open_at(None, name, flags, mode))
        .map_err(|errno| Fail::new("open", errno))?
}

/// Opens a file that others have named for something to be written to it: a regular file, a FIFO or a
/// character device. `flags` are further flags of openat(2). The descriptor is non-blocking, because
/// a FIFO without a reader is an error: waiting for a reader might never end.
///
/// # Errors
/// ENXIO: the FIFO has no reader. ENOTSUP: the file is of another type.
pub fn open_to_write(dir: Option<BorrowedFd>, name: &CStr, flags: i32) -> Sys<OwnedFd> {
    let kinds = [libc::S_IFREG, libc::S_IFCHR, libc::S_IFIFO];
    let check = |file: OwnedFd, kinds: &[u32]| {
        let found = stat::stat(file.as_fd())?;
        let refused = Fail::new("open", Errno::ENOTSUP);
        let is_one = kinds.iter().any(|&kind| found.is(kind));
        is_one.then_some(file).ok_or(refused)
    };
    let flags = flags | libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    match path::open_at(dir, name, flags, 0o600) {
        // A socket cannot be opened either.
        Err(fail) if fail.errno == Errno::ENXIO => {
            check(path::open_at(dir, name, libc::O_PATH, 0)?, &kinds[2..])?;
            Err(fail)
        }
        opened => check(opened?, &kinds),
    }
}

/// Changes the flags of an open file, which every holder of the descriptor shares. fcntl(2).
pub fn set_flags(file: BorrowedFd, flags: OFlag) -> Sys<()> {
    fcntl(file, FcntlArg::F_SETFL(flags))
        .map(drop)
        .map_err(|errno| Fail::new("fcntl(F_SETFL)", errno))
}

/// close(2) with its result. For an end of a pipe or of a connection whose closing this or another
/// process waits for: an end that stayed open would be waited for forever.
///
/// # Errors
/// The descriptor may still be open. EINTR is not an error: the kernel has closed the descriptor.
pub fn close(fd: OwnedFd) -> Sys<()> {
    // SAFETY: the number is not used again, because the owner has given it up.
    let closed = unsafe { libc::syscall(libc::SYS_close, fd.into_raw_fd()) };
    match super::check("close", closed) {
        Err(fail) if fail.errno == Errno::EINTR => Ok(()),
        closed => closed.map(drop),
    }
}

/// The absolute path without symbolic links. realpath(3). It is called with a buffer because
/// without one it allocates from the C library's heap, which costs system calls.
///
/// # Errors
/// `open`: the file does not exist, or its path cannot be searched.
pub fn real_path(file: &Path) -> Sys<PathBuf> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); libc::PATH_MAX as usize];
    let found = file.with_nix_path(|name| {
        // SAFETY: the name is NUL-terminated, and the buffer has the size that realpath requires.
        // It returns null or the buffer, which then holds a string.
        unsafe {
            let found = libc::realpath(name.as_ptr(), buffer.as_mut_ptr().cast());
            (!found.is_null()).then(|| CStr::from_ptr(found).to_bytes().to_owned())
        }
        .ok_or_else(Errno::last)
    });
    let path = found
        .and_then(|found| found)
        .map_err(|errno| Fail::new("open", errno))?;
    Ok(OsString::from_vec(path).into())
}

/// The content of a file.
///
/// # Errors
/// `open` or `read` failed.
pub fn read(file: &Path) -> Sys<Vec<u8>> {
    read_open(open(file, libc::O_RDONLY, 0)?.as_fd())
}

/// Reads the rest of an open file.
///
/// # Errors
/// `read` failed.
pub fn read_open(file: BorrowedFd) -> Sys<Vec<u8>> {
    let mut content = Vec::with_capacity(FIRST_READ);
    while io::read_more(file, &mut content)? > 0 {
        if content.len() == content.capacity() {
            content.reserve_exact(3 * content.len());
        }
    }
    Ok(content)
}

/// Reads the rest of a file of one line. If a read(2) ends with the line feed, the file ends there,
/// which saves the read that would return 0. A file without a line feed is read to its end.
///
/// # Errors
/// `read` failed.
pub fn read_line(file: BorrowedFd) -> Sys<Vec<u8>> {
    let mut content = Vec::with_capacity(FIRST_READ);
    io::read_more(file, &mut content)?;
    if content.last() != Some(&b'\n') {
        content.extend(read_open(file)?);
    }
    Ok(content)
}

/// The content of a text file; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// As [`read`].
pub fn read_text(file: &Path) -> Sys<String> {
    read(file).map(text)
}

fn text(content: Vec<u8>) -> String {
    String::from_utf8(content)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The content of a file of procfs or of a cgroup that is a single record. The kernel returns such
/// a file whole in one read(2), which saves the read that would return 0.
///
/// # Errors
/// As [`read`].
pub fn read_record(file: &Path) -> Sys<String> {
    let opened = open(file, libc::O_RDONLY, 0)?;
    let mut content = Vec::with_capacity(FIRST_READ);
    io::read_more(opened.as_fd(), &mut content)?;
    if content.len() == content.capacity() {
        content.extend(read_open(opened.as_fd())?);
    }
    Ok(text(content))
}

/// Writes to an existing file, in one write(2).
///
/// # Errors
/// `open` or `write` failed.
pub fn write(file: &Path, content: &[u8]) -> Sys<()> {
    let opened = open(file, libc::O_WRONLY, 0)?;
    io::write_all(opened.as_fd(), content)
}

/// Writes to a file of the process `pid` in /proc, in one write(2). proc(5).
///
/// # Errors
/// `open` or `write` failed.
pub fn write_proc(pid: i32, name: &str, content: &str) -> Sys<()> {
    write(
        Path::new(&format!("/proc/{pid}/{name}")),
        content.as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_every_length_comes_back() {
        let file = std::env::temp_dir().join(format!("sampan-file-{}", std::process::id()));
        for length in [0, 1, FIRST_READ - 1, FIRST_READ, FIRST_READ + 1, 100_000] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            std::fs::write(&file, &content).unwrap();
            assert_eq!(read(&file).unwrap(), content);
            std::fs::remove_file(&file).unwrap();
        }
        let missing = read(&file).unwrap_err();
        assert_eq!((missing.op, missing.errno), ("open", Errno::ENOENT));
    }
}
