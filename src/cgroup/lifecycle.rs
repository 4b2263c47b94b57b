//! What happens to the processes of a cgroup: freezer, kill, removal.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cgroup, file, tree};
use crate::error::{Error, Result};
use crate::sys::{self, Fail, Sys};

/// How long the kernel may take to freeze, thaw or let go of a cgroup. A process in
/// uninterruptible sleep can take any time, and a verb must end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops every process, and returns when all have stopped. On failure the cgroup is thawed.
    pub fn freeze(&self) -> Result<()> {
        self.set_freezer("1")?;
        if self.wait_frozen(Instant::now() + PATIENCE)? {
            return Ok(());
        }
        self.set_freezer("0")?;
        Err(Error::sys(
            format!("{}: cgroup.events", self.path.display()),
            "freeze",
            Errno::ETIMEDOUT,
        )
        .hint("a process is in uninterruptible sleep; the cgroup is thawed again"))
    }

    /// Waits for this cgroup and for each below it: where a cgroup has processes of its own, the
    /// kernel calls it frozen when those are, whatever those below it do.
    fn wait_frozen(&self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.wait_for("frozen", true, left)? {
            // A cgroup that somebody removes has nothing left to freeze.
            return Ok(!self.path.exists());
        }
        let children = tree::children(&self.path)
            .map_err(|errno| self.failed("", Fail::new("readdir", errno)))?;
        for child in children {
            if let Some(child) = Self::open(&child)?
                && !child.wait_frozen(deadline)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets the processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_freezer("0")?;
        if self.wait_for("frozen", false, PATIENCE)? {
            return Ok(());
        }
        Err(Error::sys(
            format!("{}: cgroup.events", self.path.display()),
            "thaw",
            Errno::ETIMEDOUT,
        )
        .hint("a parent of the cgroup is frozen"))
    }

    fn set_freezer(&self, value: &str) -> Result<()> {
        file::write(self.fd(), "cgroup.freeze", value)
            .map_err(|fail| self.failed("cgroup.freeze", fail))
    }

    /// All processes are stopped, by this cgroup's freezer or by that of a parent.
    pub fn is_frozen(&self) -> Result<bool> {
        self.event("frozen")
    }

    /// [`Cgroup::is_frozen`] of the cgroup at `path`; one that is gone is not.
    pub fn is_frozen_at(path: &Path) -> Result<bool> {
        let events = path.join("cgroup.events");
        flag_unless_gone(sys::file::read_record(&events), "frozen")
            .map_err(|fail| Error::sys(events.display().to_string(), fail.op, fail.errno))
    }

    /// The processes of this cgroup and of all below it, sorted. A process of another pid namespace
    /// that the caller cannot see is 0 and left out.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        collect(self.fd(), &self.path, &mut pids)
            .map_err(|fail| self.failed("cgroup.procs", fail))?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// SIGKILL to every process of this cgroup and of all below it, frozen or not, and to those
    /// that they are forking. Linux 5.14.
    pub fn kill(&self) -> Result<()> {
        match file::write(self.fd(), "cgroup.kill", "1") {
            // Removed by now: nobody is left to kill.
            Ok(())
            | Err(Fail {
                errno: Errno::ENODEV | Errno::ENOENT,
                ..
            }) => Ok(()),
            Err(fail) => Err(self.failed("cgroup.kill", fail)),
        }
    }

    /// Waits until no process is left; `false` if some are after `timeout`.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        self.wait_for("populated", false, timeout)
    }

    /// Removes the cgroup at `path`, unless somebody uses it: whether it is gone.
    pub fn remove_unused(path: &Path) -> bool {
        tree::rmdir(path).is_ok()
    }

    /// Removes the cgroup and all below it. Its processes must be dead or dying; an error names
    /// those that are not.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            match tree::remove(&self.path) {
                Ok(()) => return Ok(()),
                Err(Errno::EBUSY) if Instant::now() < deadline => {}
                Err(errno) => return Err(self.not_removed(errno)),
            }
            // Dying processes are waited for. Without any, the kernel is about to be done.
            if self.event("populated")? {
                self.wait_empty(deadline.saturating_duration_since(Instant::now()))?;
                continue;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn not_removed(&self, errno: Errno) -> Error {
        let error = self.failed("", Fail::new("rmdir", errno));
        match self.processes() {
            Ok(pids) if !pids.is_empty() => error.hint(format!("processes are left: {pids:?}")),
            _ => error,
        }
    }

    /// A flag of `cgroup.events`; `false` for a cgroup that is gone.
    pub(super) fn event(&self, key: &str) -> Result<bool> {
        flag_unless_gone(file::read(self.fd(), "cgroup.events"), key)
            .map_err(|fail| self.failed("cgroup.events", fail))
    }

    /// Waits until `key` of `cgroup.events` is `wanted`; `false` if it is not after `timeout`. A
    /// cgroup that is gone has every flag down.
    fn wait_for(&self, key: &str, wanted: bool, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let failed = |errno, op| self.failed("cgroup.events", Fail::new(op, errno));
        let events = match file::open(self.fd(), "cgroup.events", libc::O_RDONLY) {
            Ok(fd) => File::from(fd),
            Err(Fail {
                errno: Errno::ENODEV | Errno::ENOENT,
                ..
            }) => return Ok(!wanted),
            Err(fail) => return Err(self.failed("cgroup.events", fail)),
        };
        let mut text = [0; 256];
        loop {
            let count = match events.read_at(&mut text, 0) {
                Ok(count) => count,
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::ENODEV | Errno::ENOENT) => return Ok(!wanted),
                    other => return Err(failed(other.unwrap_or(Errno::EIO), "read")),
                },
            };
            if flag(&String::from_utf8_lossy(&text[..count]), key) == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // Rounded up, so that the last millisecond does not spin.
            let left =
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno, "poll")),
            }
        }
    }
}

/// A flag of the text of `cgroup.events`, which has one `key 0` or `key 1` a line.
pub(super) fn flag(text: &str, key: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(key) == Some(" 1"))
}

/// [`flag`] of what was read; a cgroup that is gone has every flag down.
fn flag_unless_gone(read: Sys<String>, key: &str) -> Sys<bool> {
    match read {
        Ok(text) => Ok(flag(&text, key)),
        Err(Fail {
            errno: Errno::ENODEV | Errno::ENOENT,
            ..
        }) => Ok(false),
        Err(fail) => Err(fail),
    }
}

fn collect(dir: BorrowedFd, path: &Path, pids: &mut Vec<i32>) -> Sys<()> {
    match file::read(dir, "cgroup.procs") {
        Ok(text) => {
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse().ok())
                    .filter(|pid: &i32| *pid != 0),
            );
        }
        // The processes of a threaded cgroup are listed by the domain above it.
        Err(Fail {
            errno: Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT,
            ..
        }) => {}
        Err(fail) => return Err(fail),
    }
    for child in tree::children(path).map_err(|errno| Fail::new("readdir", errno))? {
        match file::open_dir(&child) {
            Ok(dir) => collect(dir.as_fd(), &child, pids)?,
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => {}
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}
