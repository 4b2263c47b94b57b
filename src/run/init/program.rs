//! The container's program: which file it is, and execve(2).

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::Init;
use crate::plan::Exec;
use crate::sys::exec::{self, StringArray};
use crate::sys::{Fail, Sys, path, stat};

/// Whether the search in `PATH` continues after a file with this errno, as in execvp(3).
fn is_no_program(errno: Errno) -> bool {
    let cannot_be = [
        Errno::EACCES,
        Errno::EISDIR,
        Errno::ELOOP,
        Errno::ENAMETOOLONG,
    ];
    cannot_be.contains(&errno)
}

impl Init<'_> {
    /// The environment of the container's program.
    pub(super) fn environment<'a>(&'a self, exec: Option<&'a Exec>) -> StringArray<'a> {
        let strings = exec.into_iter().flat_map(|exec| &exec.env);
        StringArray::new(strings.chain(&self.home).map(CString::as_c_str))
    }

    pub(super) fn find_executable(&mut self, candidates: &[CString]) -> Sys<()> {
        self.forget_files();
        let mut worst = Fail::new("access", Errno::ENOENT);
        for (position, candidate) in (0..).zip(candidates) {
            match self.executable_file(candidate) {
                Ok(()) => {
                    self.executable = position;
                    return Ok(());
                }
                Err(fail) if [Errno::ENOENT, Errno::ENOTDIR].contains(&fail.errno) => {}
                // A file that cannot be executed is more useful in the report than a missing one.
                Err(fail) if is_no_program(fail.errno) => worst = fail,
                // This may be the right file. Continuing could execute a different program of the
                // same name.
                Err(fail) => return Err(fail),
            }
        }
        Err(worst)
    }

    fn executable_file(&self, candidate: &CStr) -> Sys<()> {
        path::may_execute(candidate)?;
        // access(2) also reports directories and devices as executable.
        let file = path::open(candidate, libc::O_PATH)?;
        match stat::stat(file.as_fd())? {
            stat if stat.is(libc::S_IFREG) => Ok(()),
            stat if stat.is(libc::S_IFDIR) => Err(Fail::new("execve", Errno::EISDIR)),
            _ => Err(Fail::new("execve", Errno::EACCES)),
        }
    }

    pub(super) fn exec(&mut self, exec: &Exec) -> Fail {
        self.leave_created();
        if let Err(fail) = self.tell_executing(false) {
            return fail;
        }
        let Some(file) = exec.candidates.get(self.executable as usize) else {
            return Fail::new("execve", Errno::ENOENT);
        };
        let args = StringArray::from(exec.args.as_slice());
        exec::execve(file, &args, &self.environment(Some(exec)))
    }
}
