//! Threaded cgroups: what the kernel allows below a cgroup that has processes of its own, as in a
//! container that has no cgroup namespace of its own. They have no `cgroup.kill`, and their
//! `cgroup.procs` can only be written. cgroup-v2.rst, "Threads".

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Cgroup;
use super::file::{self, is_gone};
use crate::sys::{self, Sys, path as syspath, tree};

const TYPE: &str = "cgroup.type";

/// Makes the cgroup threaded, and before it each cgroup above it that is invalid, if it is invalid
/// because a cgroup above is threaded or has processes and controllers. Returns whether it did.
///
/// # Errors
/// The kernel refuses it, because a domain controller is enabled.
pub(super) fn make(dir: BorrowedFd) -> Sys<bool> {
    let mut invalid: Vec<OwnedFd> = Vec::new();
    let mut here = syspath::open_at(Some(dir), c".", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    // The root of the hierarchy has no type.
    while file::read(here.as_fd(), TYPE).is_ok_and(|kind| kind.trim_end() == "domain invalid") {
        let above = syspath::open_at(Some(here.as_fd()), c"..", libc::O_PATH, 0)?;
        invalid.push(std::mem::replace(&mut here, above));
    }
    for one in invalid.iter().rev() {
        file::write(one.as_fd(), TYPE, "threaded")?;
    }
    Ok(!invalid.is_empty())
}

/// The processes whose threads are in `top` and in the cgroups below it. Unsorted, with repetitions.
pub(super) fn processes(top: BorrowedFd) -> Sys<Vec<i32>> {
    let mut pids = Vec::new();
    let mut collect = |dir: BorrowedFd| {
        let threads = match file::read(dir, "cgroup.threads") {
            Err(fail) if is_gone(fail) => return Ok(()),
            threads => threads?,
        };
        for thread in file::numbers(&threads)? {
            pids.extend(process_of(thread)?);
        }
        Ok(())
    };
    collect(top)?;
    tree::walk(top, collect, |_, _| Ok(()))?;
    Ok(pids)
}

/// The process of a thread. `None` if the thread has ended.
fn process_of(thread: i32) -> Sys<Option<i32>> {
    match sys::file::read_text(format!("/proc/{thread}/status").as_ref()) {
        Err(fail) if [Errno::ENOENT, Errno::ESRCH].contains(&fail.errno) => Ok(None),
        text => {
            let text = text?;
            let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
            Ok(line.and_then(|pid| pid.trim().parse().ok()))
        }
    }
}

impl Cgroup {
    /// clone3(2) into the cgroup failed with EOPNOTSUPP: makes the cgroup threaded if that helps.
    /// Returns whether it did. The cgroups of an existing container are left as they are.
    pub fn make_threaded(&self) -> Sys<bool> {
        if self.for_new_container {
            make(self.fd())
        } else {
            Ok(false)
        }
    }
}
