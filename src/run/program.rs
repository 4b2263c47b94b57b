//! Runs a program of the host and returns what it printed: newuidmap(1) and ps(1).
//!
//! [`std::process::Command`] would be 20 kB of the binary.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Call as _, Context as _};
use crate::plan::{DEFAULT_PATH, c_string};
use crate::sys::exec::{self, StringArray};
use crate::sys::process::{self, Cloned};
use crate::sys::{Fail, Reported, Sys, file, inherited, io, path};

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, or 128 plus the number of the signal that ended it.
    pub status: u8,
    /// All that it printed there.
    pub stdout: Vec<u8>,
    /// All that it printed there.
    pub stderr: Vec<u8>,
}

/// The absolute path of the program `name`, from `PATH`. Engines may execute the runtime without that.
///
/// # Errors
/// A file could not be inspected.
pub fn find(name: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    for directory in std::env::split_paths(&path).filter(|directory| directory.is_absolute()) {
        let file = directory.join(name);
        if is_executable(&file)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn is_executable(file: &Path) -> Result<bool> {
    const CANNOT_BE: [i32; 4] = [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::ELOOP];
    match std::fs::metadata(file) {
        Ok(found) => Ok(found.is_file() && found.permissions().mode() & 0o111 != 0),
        Err(error) if CANNOT_BE.map(Some).contains(&error.raw_os_error()) => Ok(false),
        Err(error) => Err(error)
            .call("stat")
            .with_context(|| file.display().to_string()),
    }
}

/// Runs `program` with `args`, the first of which is its name, and waits for its end.
///
/// # Errors
/// The program could not be executed, or a system call failed.
pub fn run(program: &Path, args: &[CString], environment: &StringArray) -> Sys<Ended> {
    let program = c_string(program);
    let args = StringArray::from(args);
    // Files, because a program can write any amount to them although no process reads.
    let [stdout, stderr, failed] = [memory()?, memory()?, memory()?];
    let pidfd = match process::clone3(0, None, false)? {
        Cloned::Child => {
            let fail = prepare([&stdout, &stderr])
                .err()
                .unwrap_or_else(|| exec::execve(&program, &args, environment));
            let _ = io::write_all(failed.as_fd(), &Reported::from(fail).encode());
            process::exit(127)
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    let status = process::wait(pidfd.as_fd())?.status();
    if let Some(told) = Reported::decode(&content(&failed)?) {
        return Err(Fail::new("execve", told.fail().errno));
    }
    Ok(Ended {
        status,
        stdout: content(&stdout)?,
        stderr: content(&stderr)?,
    })
}

fn memory() -> Sys<OwnedFd> {
    memfd_create(c"output", MFdFlags::MFD_CLOEXEC).map_err(|errno| Fail::new("memfd_create", errno))
}

fn prepare(streams: [&OwnedFd; 2]) -> Sys<()> {
    let null = path::open(c"/dev/null", libc::O_RDONLY)?;
    process::dup_over(null.as_fd(), 0)?;
    process::dup_over(streams[0].as_fd(), 1)?;
    process::dup_over(streams[1].as_fd(), 2)?;
    process::close_on_exec_from(3)?;
    inherited::give_back()
}

fn content(file: &OwnedFd) -> Sys<Vec<u8>> {
    nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekSet)
        .map_err(|errno| Fail::new("lseek", errno))?;
    file::read_open(file.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Ended {
        let shell = find("sh").unwrap().expect("a shell");
        let args = [c"sh".into(), c"-c".into(), c_string(script)];
        run(&shell, &args, &exec::environment()).unwrap()
    }

    #[test]
    fn both_streams_and_the_status_are_returned() {
        let ended = sh("echo out; echo err >&2; exit 3");
        assert_eq!(ended.status, 3);
        assert_eq!(
            (&ended.stdout[..], &ended.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let ended = sh("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done");
        assert_eq!(ended.stdout.len(), 220_000);
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error() {
        let args = [c"nothing".into()];
        let fail = run(Path::new("/nonexistent"), &args, &exec::environment()).unwrap_err();
        assert_eq!((fail.op, fail.errno), ("execve", nix::errno::Errno::ENOENT));
    }
}
