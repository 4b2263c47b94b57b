//! What happens to the processes of a cgroup: freezer, kill, removal.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cgroup, file};
use crate::error::{Error, Result};
use crate::sys::{self, Fail, Sys, path as syspath, tree};

/// How long the kernel may take to freeze, thaw or let go of a cgroup. A process in
/// uninterruptible sleep can take any time, and a verb must end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops every process, and returns when all have stopped. On failure the cgroup is thawed.
    pub fn freeze(&self) -> Result<()> {
        let frozen = self
            .set_freezer("1")
            .and_then(|()| self.wait_frozen(Instant::now() + PATIENCE));
        let Err(error) = frozen else { return Ok(()) };
        match self.set_freezer("0") {
            Ok(()) => Err(error.hint("the cgroup is thawed again")),
            Err(left) => Err(error.hint(format!("and the cgroup stays frozen: {left}"))),
        }
    }

    /// Waits for this cgroup and for each below it: where a cgroup has processes of its own, the
    /// kernel calls it frozen when those are, whatever those below it do. One that is removed
    /// meanwhile has nothing left to freeze.
    fn wait_frozen(&self, deadline: Instant) -> Result<()> {
        let wait = |dir: BorrowedFd| match wait_for(dir, "frozen", true, deadline)? {
            true => Ok(()),
            false => Err(Fail::new("freeze", Errno::ETIMEDOUT)),
        };
        wait(self.fd())
            .and_then(|()| tree::walk(self.fd(), wait, |_, _| Ok(())))
            .map_err(|fail| self.failed("cgroup.events", fail))
    }

    /// Lets the processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_freezer("0")?;
        if self.wait("frozen", false, PATIENCE)? {
            return Ok(());
        }
        let late = Fail::new("thaw", Errno::ETIMEDOUT);
        Err(self
            .failed("cgroup.events", late)
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
        let mut collect = |dir: BorrowedFd| {
            pids.extend(processes_of(dir)?);
            Ok(())
        };
        collect(self.fd())
            .and_then(|()| tree::walk(self.fd(), collect, |_, _| Ok(())))
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
        self.wait("populated", false, timeout)
    }

    /// Removes the cgroup and all below it. Its processes must be dead or dying; an error names
    /// those that are not. One that is removed already is no error.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.remove_now() {
                Ok(()) => return Ok(()),
                Err(fail) if fail.errno == Errno::EBUSY && Instant::now() < deadline => {}
                Err(fail) => return Err(self.not_removed(fail)),
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

    /// Removes the cgroup and all below it if no process is in them: whether that worked.
    ///
    /// # Errors
    /// It failed for another reason than processes.
    pub fn remove_unused(&self) -> Result<bool> {
        match self.remove_now() {
            Ok(()) => Ok(true),
            Err(fail) if fail.errno == Errno::EBUSY => Ok(false),
            Err(fail) => Err(self.not_removed(fail)),
        }
    }

    /// EBUSY means that processes are left or are still leaving. Another cgroup may have the name
    /// by now.
    fn remove_now(&self) -> Sys<()> {
        let name = syspath::c_string(Path::new(self.path.file_name().unwrap_or_default()))?;
        let parent = syspath::open_at(Some(self.fd()), c"..", libc::O_PATH, 0)?;
        match syspath::stat_at(parent.as_fd(), &name)? {
            Some(found) if found.inode() == syspath::stat(self.fd())?.inode() => {}
            _ => return Ok(()),
        }
        match syspath::remove_dir_at(parent.as_fd(), &name) {
            Err(fail) if fail.errno == Errno::EBUSY => {
                tree::walk(self.fd(), |_| Ok(()), syspath::remove_dir_at)?;
                syspath::remove_dir_at(parent.as_fd(), &name)
            }
            removed => removed,
        }
    }

    fn not_removed(&self, fail: Fail) -> Error {
        let error = self.failed("", fail);
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

    fn wait(&self, key: &str, wanted: bool, timeout: Duration) -> Result<bool> {
        wait_for(self.fd(), key, wanted, Instant::now() + timeout)
            .map_err(|fail| self.failed("cgroup.events", fail))
    }
}

/// Waits until `key` of the `cgroup.events` of `dir` is `wanted`, or the cgroup is gone; `false` if
/// neither is so at the `deadline`.
fn wait_for(dir: BorrowedFd, key: &str, wanted: bool, deadline: Instant) -> Sys<bool> {
    let events = match file::open(dir, "cgroup.events", libc::O_RDONLY) {
        Err(fail) if is_gone(fail) => return Ok(true),
        events => File::from(events?),
    };
    loop {
        match read_again(&events) {
            Err(fail) if is_gone(fail) => return Ok(true),
            Err(fail) => return Err(fail),
            Ok(text) if flag(&text, key) == wanted => return Ok(true),
            Ok(_) => {}
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
            Err(errno) => return Err(Fail::new("poll", errno)),
        }
    }
}

/// From the beginning, which also tells the kernel that the content is known.
pub(super) fn read_again(file: &File) -> Sys<String> {
    let mut text = [0; 512];
    match file.read_at(&mut text, 0) {
        Ok(count) => Ok(String::from_utf8_lossy(&text[..count]).into_owned()),
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            Err(Fail::new("read", errno))
        }
    }
}

/// The cgroup was removed, or has no such file.
pub(super) fn is_gone(fail: Fail) -> bool {
    matches!(fail.errno, Errno::ENOENT | Errno::ENODEV)
}

/// A flag of the text of `cgroup.events`, which has one `key 0` or `key 1` a line.
pub(super) fn flag(text: &str, key: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(key) == Some(" 1"))
}

/// [`flag`] of what was read; a cgroup that is gone has every flag down.
fn flag_unless_gone(read: Sys<String>, key: &str) -> Sys<bool> {
    match read {
        Err(fail) if is_gone(fail) => Ok(false),
        read => Ok(flag(&read?, key)),
    }
}

/// The processes of one cgroup; none if it is gone.
fn processes_of(dir: BorrowedFd) -> Sys<Vec<i32>> {
    let text = match file::read(dir, "cgroup.procs") {
        // The processes of a threaded cgroup are listed by the domain above it.
        Err(fail) if fail.errno == Errno::EOPNOTSUPP || is_gone(fail) => return Ok(Vec::new()),
        text => text?,
    };
    let pids = text.lines().filter_map(|line| line.parse().ok());
    Ok(pids.filter(|pid: &i32| *pid != 0).collect())
}
