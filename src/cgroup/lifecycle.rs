//! The processes of a cgroup: freezer, kill, and removal.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::file::{self, is_gone};
use super::{Cgroup, threaded};
use crate::error::{Chain as _, Code, Context as _, Error};
use crate::sorted::sorted_set;
use crate::sys::{Fail, Note, Sys, path as syspath, poll, stat, tree};

/// The time limit for the kernel to freeze, thaw or release a cgroup. A process in uninterruptible
/// sleep can take any time, but a verb must end.
const PATIENCE: Duration = Duration::from_secs(10);

/// When [`Changes`] lets the files be read again, although no change was reported. The time is
/// doubled this many times, to one second and a half.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const DOUBLED: u32 = 6;

/// How often the processes are listed until one that is not shown is no longer one that just ended.
const LOOKS: u32 = 10;

impl Cgroup {
    /// Stops every process, and returns when all have stopped. If that fails, the cgroup is thawed.
    /// Returns false if another process has thawed it in the meantime.
    pub fn freeze(&self) -> Result<bool> {
        self.set_freezer("1")?;
        let error = match self.wait_frozen(Instant::now() + PATIENCE) {
            Ok(frozen) => return Ok(frozen),
            Err(error) => error,
        };
        match file::write(self.fd(), "cgroup.freeze", "0") {
            Ok(()) => Err(error.hint("the cgroup has been thawed")),
            Err(fail) if is_gone(fail) => Err(error),
            Err(fail) => Err(error.hint(format!("and the cgroup is still frozen: {fail}"))),
        }
    }

    /// Waits until this cgroup and each cgroup below it is frozen. If a cgroup has processes of its
    /// own, the kernel reports it as frozen when those are, regardless of the cgroups below it. A
    /// cgroup that is removed meanwhile has nothing left to freeze. Returns false if another process
    /// has thawed the cgroup.
    fn wait_frozen(&self, deadline: Instant) -> Result<bool> {
        let wait = |dir: BorrowedFd| {
            let thawed = || self.freezer_is("0");
            match wait_for(dir, "frozen", true, deadline, thawed)? {
                Waited::Reached => Ok(()),
                Waited::Overtaken => Err(NotFrozen::Overtaken),
                Waited::TooLong => Err(Fail::new("poll", Errno::ETIMEDOUT).note(Note::Freeze))?,
            }
        };
        let waited = wait(self.fd()).and_then(|()| tree::walk(self.fd(), wait, |_, _| Ok(())));
        match waited {
            Ok(()) => Ok(true),
            Err(NotFrozen::Overtaken) => Ok(false),
            Err(NotFrozen::Failed(fail)) => Err(fail).with_context(|| self.object("cgroup.events")),
        }
    }

    /// Lets the processes continue. Another process may have frozen them again when it returns.
    pub fn thaw(&self) -> Result<()> {
        self.set_freezer("0")?;
        let deadline = Instant::now() + PATIENCE;
        let frozen = || self.freezer_is("1");
        let waited = wait_for(self.fd(), "frozen", false, deadline, frozen);
        match waited.with_context(|| self.object("cgroup.events"))? {
            Waited::Reached | Waited::Overtaken => return Ok(()),
            Waited::TooLong => {}
        }
        let late = Fail::new("poll", Errno::ETIMEDOUT).note(Note::Thaw);
        let late = Error::failed(self.object("cgroup.events"), late);
        Err(late.hint("a parent of the cgroup is frozen").into())
    }

    /// The last request to the freezer, by any process.
    fn freezer_is(&self, value: &str) -> Sys<bool> {
        match file::read(self.fd(), "cgroup.freeze") {
            Err(fail) if is_gone(fail) => Ok(false),
            text => Ok(text?.trim_end() == value),
        }
    }

    fn set_freezer(&self, value: &str) -> Result<()> {
        file::write(self.fd(), "cgroup.freeze", value).with_context(|| self.object("cgroup.freeze"))
    }

    /// Whether no process is left in this cgroup and in all cgroups below it, in any pid namespace.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(!self.event("populated")?)
    }

    /// Whether all processes are stopped, by the freezer of this cgroup or of a parent.
    pub fn is_frozen(&self) -> Result<bool> {
        self.event("frozen")
    }

    /// The processes of this cgroup and of all cgroups below it, sorted.
    ///
    /// # Errors
    /// The files cannot be read; or the caller's pid namespace does not show a process, which the
    /// kernel then lists as 0.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let all = || match processes_of(self.fd())? {
            None => threaded::processes(self.fd()),
            Some(mut pids) => {
                let collect = |dir: BorrowedFd| {
                    pids.extend(processes_of(dir)?.unwrap_or_default());
                    Ok(())
                };
                tree::walk(self.fd(), collect, |_, _| Ok(()))?;
                Ok(pids)
            }
        };
        for _ in 0..LOOKS {
            match all() {
                Err(fail) if fail.note == Some(Note::OtherPidNamespace) => {}
                pids => {
                    return Ok(sorted_set(
                        pids.with_context(|| self.object("cgroup.procs"))?,
                    ));
                }
            }
        }
        bail!(self.hidden())
    }

    fn hidden(&self) -> Error {
        let message = format!(
            "{}: the caller's pid namespace does not show all processes of the cgroup",
            self.object("cgroup.procs").display()
        );
        Error::new(message)
            .code_is(Code::ContainerUnseen)
            .hint("run the command in the pid namespace where the container was created")
    }

    /// Sends SIGKILL to every process of this cgroup and of all cgroups below it, including frozen
    /// processes and children that are being forked. Linux 5.14.
    pub fn kill(&self) -> Result<()> {
        match file::write(self.fd(), "cgroup.kill", "1") {
            // The cgroup was removed, so there is no process left to kill.
            Ok(())
            | Err(Fail {
                errno: Errno::ENODEV | Errno::ENOENT,
                ..
            }) => Ok(()),
            Err(fail) if fail.errno == Errno::EOPNOTSUPP => self.kill_listed(),
            Err(fail) => Err(fail).with_context(|| self.object("cgroup.kill")),
        }
    }

    /// Waits until no process is left. `false` if some are left after `timeout`.
    pub fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let never = || Ok(false);
        let waited = wait_for(self.fd(), "populated", false, deadline, never);
        let waited = waited.with_context(|| self.object("cgroup.events"))?;
        Ok(matches!(waited, Waited::Reached))
    }

    /// Removes the cgroup and all cgroups below it. Its processes must be dead or dying; the error
    /// lists those that are not. A missing cgroup is not an error.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.remove_now() {
                Ok(()) => return Ok(()),
                Err(fail) if fail.errno == Errno::EBUSY && Instant::now() < deadline => {}
                Err(fail) => return Err(self.not_removed(fail).into()),
            }
            // Waits for dying processes. If there are none, the kernel is about to release the
            // cgroup.
            if self.event("populated")? {
                self.wait_empty(deadline.saturating_duration_since(Instant::now()))?;
                continue;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Removes the cgroup and all cgroups below it if they contain no process. Returns whether it
    /// did.
    ///
    /// # Errors
    /// The removal failed for another reason than remaining processes.
    pub fn remove_unused(&self) -> Result<bool> {
        match self.remove_now() {
            Ok(()) => Ok(true),
            Err(fail) if fail.errno == Errno::EBUSY => Ok(false),
            Err(fail) => Err(self.not_removed(fail).into()),
        }
    }

    /// EBUSY means that processes are left or are still exiting. The inode is compared because the
    /// name may belong to another cgroup by now.
    fn remove_now(&self) -> Sys<()> {
        let name = syspath::c_string(self.path.file_name().unwrap_or_default())?;
        let parent = syspath::open_at(Some(self.fd()), c"..", libc::O_PATH, 0)?;
        match stat::stat_at(parent.as_fd(), &name)? {
            Some(found) if found.inode() == stat::stat(self.fd())?.inode() => {}
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
        let error = Error::failed(self.object(""), fail);
        match self.processes() {
            Ok(pids) if !pids.is_empty() => error.hint(format!("processes are left: {pids:?}")),
            _ => error,
        }
    }

    /// A flag of `cgroup.events`. `false` if the cgroup does not exist.
    pub(super) fn event(&self, key: &str) -> Result<bool> {
        flag_unless_gone(file::read(self.fd(), "cgroup.events"), key)
            .with_context(|| self.object("cgroup.events"))
    }
}

/// Why [`Cgroup::wait_frozen`] does not look at the remaining cgroups.
enum NotFrozen {
    /// Another process has thawed the cgroup.
    Overtaken,
    Failed(Fail),
}

impl From<Fail> for NotFrozen {
    fn from(fail: Fail) -> Self {
        Self::Failed(fail)
    }
}

/// How a wait has ended.
enum Waited {
    /// The flag has the wanted value, or the cgroup is removed.
    Reached,
    /// Another process wants the opposite.
    Overtaken,
    TooLong,
}

/// Waits until the flag `key` of the `cgroup.events` of `dir` is `wanted`, or the cgroup is
/// removed, or `overtaken` says that the flag will not become `wanted`.
fn wait_for(
    dir: BorrowedFd,
    key: &str,
    wanted: bool,
    deadline: Instant,
    overtaken: impl Fn() -> Sys<bool>,
) -> Sys<Waited> {
    let events = match file::open(dir, "cgroup.events", libc::O_RDONLY) {
        Err(fail) if is_gone(fail) => return Ok(Waited::Reached),
        events => File::from(events?),
    };
    let mut changes = Changes::default();
    loop {
        match read_again(&events) {
            Err(fail) if is_gone(fail) => return Ok(Waited::Reached),
            Err(fail) => return Err(fail),
            Ok(text) if flag(&text, key) == wanted => return Ok(Waited::Reached),
            Ok(_) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Waited::TooLong);
        }
        if changes.have_been_awaited() && overtaken()? {
            return Ok(Waited::Overtaken);
        }
        changes.wait([&events], left)?;
    }
}

/// Waits for changes of control files, and from time to time returns without one.
///
/// The kernel reports at most one change of `cgroup.events` in 10 ms, the next one at the end of
/// that time. If another process removes the cgroup before, the kernel drops the report, and does
/// not report the removal either: poll(2) would wait until its timeout for processes that have
/// ended long ago. cgroup_file_notify() and cgroup_rm_file() in kernel/cgroup/cgroup.c.
#[derive(Debug, Default)]
pub(super) struct Changes {
    waits: u32,
}

impl Changes {
    /// Whether there was a change since the files were read first.
    fn have_been_awaited(&self) -> bool {
        self.waits > 0
    }

    /// Returns when one of the files has changed since it was read, after `left`, or when the files
    /// should be read again: at first soon, because the report of a removal is lost only soon after
    /// another one.
    pub(super) fn wait<'f>(
        &mut self,
        files: impl IntoIterator<Item = &'f File>,
        left: Duration,
    ) -> Sys<()> {
        let files = files.into_iter();
        let mut files: Vec<_> = files
            .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI))
            .collect();
        let again = FIRST_LOOK * 2u32.pow(self.waits.min(DOUBLED));
        self.waits += 1;
        poll::wait(&mut files, Some(left.min(again))).map(drop)
    }
}

/// Reads from the beginning, after which poll(2) reports only later changes.
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

/// A flag in the text of `cgroup.events`, which has one `key 0` or `key 1` per line.
pub(super) fn flag(text: &str, key: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(key) == Some(" 1"))
}

/// [`flag`] of the text that was read. `false` if the cgroup is gone.
fn flag_unless_gone(read: Sys<String>, key: &str) -> Sys<bool> {
    match read {
        Err(fail) if is_gone(fail) => Ok(false),
        read => Ok(flag(&read?, key)),
    }
}

/// The processes of one cgroup, empty if it is gone. `None` if it is threaded: the domain cgroup
/// above lists its processes.
fn processes_of(dir: BorrowedFd) -> Sys<Option<Vec<i32>>> {
    let text = match file::read(dir, "cgroup.procs") {
        Err(fail) if fail.errno == Errno::EOPNOTSUPP => return Ok(None),
        Err(fail) if is_gone(fail) => return Ok(Some(Vec::new())),
        text => text?,
    };
    file::numbers(&text).map(Some)
}
