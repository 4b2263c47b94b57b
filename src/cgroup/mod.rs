//! Creates a container's cgroup, sets its limits, freezes, kills and removes it.
//!
//! [`crate::plan::cgroup`] decides which values to write to which files; this module does the file
//! system work. Placement, freezer, kill and the device program are part of the core of cgroup v2
//! and need no controller. Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.

mod controllers;
mod dbus;
mod entry;
mod file;
mod lifecycle;
mod memory;
mod place;
mod signal;
mod stats;
pub mod systemd;
#[cfg(test)]
mod tests;
mod threaded;
mod transaction;
mod tree;
mod watch;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;

use crate::error::{Chain as _, Code, Context as _, Error};
use crate::host::CgroupHost;
use crate::plan::cgroup::{Fallback, Write};
use crate::plan::devices::Insn;
use crate::sys::{Fail, bpf, path as syspath, stat};

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use dbus::fuzzing;
pub use memory::{Memory, MemoryWatch, Scope, Shortage};
pub use place::{Place, own_namespace};
pub use stats::uncounted;
pub use tree::{enable, foresee};
pub use watch::Event;

/// The cgroup of a process, from the cgroup2 line of /proc/PID/cgroup. `None` if the process does
/// not exist. cgroups(7).
///
/// # Errors
/// The file cannot be read, for example with ENAMETOOLONG if the path is longer than PATH_MAX.
pub fn of_process(pid: i32) -> Result<Option<String>> {
    let file = format!("/proc/{pid}/cgroup");
    match crate::sys::file::read_text(file.as_ref()) {
        Err(fail) if [Errno::ENOENT, Errno::ESRCH].contains(&fail.errno) => Ok(None),
        Err(fail) => Err(fail).context(file),
        Ok(text) => {
            let mut lines = text.lines();
            let path = lines.find_map(|line| line.strip_prefix("0::"));
            Ok(path.map(str::to_owned))
        }
    }
}

/// An open cgroup directory.
#[derive(Debug)]
pub struct Cgroup {
    dir: OwnedFd,
    /// Absolute, including the mount point of the hierarchy.
    path: PathBuf,
    /// What [`Cgroup::create`] has created and enabled, outermost first.
    made: Vec<tree::Level>,
    /// Whether it has created this cgroup.
    is_new: bool,
    /// Whether the cgroup is for a container that does not exist yet.
    for_new_container: bool,
}

impl Cgroup {
    /// Creates the cgroup `path` below the hierarchy's `mount`, and enables `controllers` for it in
    /// each of its parents. `optional` controllers are enabled if the kernel allows it.
    ///
    /// An existing cgroup must be empty and must not be frozen. After an error, nothing that this
    /// call has created is left.
    pub fn create(
        mount: &Path,
        path: &Path,
        controllers: &[String],
        optional: &[String],
    ) -> Result<Self> {
        let tree::Cgroups { dir, made, is_new } = tree::make(mount, path, controllers, optional)?;
        let cgroup = Self {
            dir,
            path: mount.join(path),
            made,
            is_new,
            for_new_container: true,
        };
        if !is_new && let Err(error) = cgroup.refuse_used() {
            tree::undo(&cgroup.made, false);
            return Err(error);
        }
        Ok(cgroup)
    }

    /// [`Cgroup::create`] for a container that does not need a cgroup: `None` if the caller has no
    /// permission.
    pub fn create_if_permitted(
        mount: &Path,
        path: &Path,
        controllers: &[String],
        optional: &[String],
    ) -> Result<Option<Self>> {
        match Self::create(mount, path, controllers, optional) {
            Err(error)
                if matches!(
                    error.errno(),
                    Some(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT)
                ) =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The `cgroup.procs` file that prevents a process from moving from the cgroup `from` to the
    /// cgroup `to`: that of the closest common ancestor, which the caller must be able to write.
    /// `None` if the caller is. cgroup-v2.rst, "Delegation Containment".
    pub fn denied_move(mount: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
        let common: PathBuf = from
            .iter()
            .zip(to.iter())
            .take_while(|(one, other)| one == other)
            .map(|(name, _)| name)
            .collect();
        let file = mount.join(common).join("cgroup.procs");
        let denied = nix::unistd::eaccess(&file, nix::unistd::AccessFlags::W_OK);
        (denied == Err(Errno::EACCES)).then_some(file)
    }

    /// A cgroup that this process did not create.
    fn found(dir: OwnedFd, path: PathBuf) -> Self {
        Self {
            dir,
            path,
            made: Vec::new(),
            is_new: false,
            for_new_container: false,
        }
    }

    /// Opens the cgroup that systemd has created for the unit `name` around the process `pid`.
    ///
    /// # Errors
    /// The process does not exist, or is in another cgroup.
    pub fn open_unit(hierarchy: &CgroupHost, name: &str, pid: i32) -> Result<Self> {
        let what = format!("linux.cgroupsPath: systemd unit {name}");
        let found = of_process(pid)
            .with_context(|| what.clone())?
            .unwrap_or_default();
        // systemd prefixes a name with an underscore if the kernel could mistake it for a control
        // file.
        let last = found.rsplit('/').next().unwrap_or_default();
        if last.trim_start_matches('_') != name.trim_start_matches('_') {
            let message = format!("{what}: process {pid} is in {found:?} instead");
            bail!(
                Error::new(message)
                    .hint("the process may have been killed; systemd must see the same processes")
            );
        }
        let gone = || Error::new(format!("{what}: its cgroup is gone"));
        Ok(Self::open(hierarchy, found.as_ref())?.ok_or_else(gone)?)
    }

    /// Creates the cgroup `name` in this one, moves the only process `pid` there, and enables all
    /// controllers for it, which is impossible in a cgroup that contains processes. The new cgroup
    /// is removed with this one.
    ///
    /// # Errors
    /// mkdir(2) failed, or the move is denied.
    pub fn descend(self, name: &str, pid: i32) -> Result<Self> {
        let path = self.path.join(name);
        let dir = tree::make_child(self.fd(), &path)?;
        let child = Self::found(dir, path);
        child.add(pid)?;
        let controllers = file::read(self.fd(), "cgroup.controllers")
            .with_context(|| self.object("cgroup.controllers"))?;
        let controllers: Vec<_> = controllers.split_whitespace().map(str::to_owned).collect();
        controllers::enable(self.fd(), &self.path, &[], &controllers)?;
        Ok(child)
    }

    /// Creates the cgroup `name` in this one, gives it to `uid`, and moves process `pid` there. The
    /// new cgroup has no limits of its own, and is removed with this one.
    ///
    /// # Errors
    /// mkdir(2) or chown(2) failed, or the move is denied.
    pub fn move_below(&self, name: &str, pid: i32, uid: Option<u32>) -> Result<()> {
        let path = self.path.join(name);
        let dir = tree::make_child(self.fd(), &path)?;
        let child = Self::found(dir, path);
        uid.map_or(Ok(()), |uid| child.delegate(uid))?;
        child.add(pid)
    }

    /// The inode number, by which the kernel knows the cgroup until it is booted again.
    pub fn number(&self) -> Result<u64> {
        let found = stat::stat(self.fd()).with_context(|| self.object(""))?;
        Ok(found.ino)
    }

    /// The absolute path, as recorded in the container's state.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, for CLONE_INTO_CGROUP.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Undoes [`Cgroup::create`]: kills the processes in the cgroup and removes it, and then its
    /// parents that are not in use by now. A cgroup that existed before stays.
    pub fn undo(self) -> Result<()> {
        if self.is_new {
            self.kill()?;
            self.remove()?;
        }
        tree::undo(&self.made, self.is_new);
        Ok(())
    }

    /// Whether [`Cgroup::create`] has created it.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Refuses a cgroup with processes, which belong to another container, and a frozen cgroup, in
    /// which init would never run.
    ///
    /// # Errors
    /// The cgroup is in use, or cannot be read.
    pub fn refuse_used(&self) -> Result<()> {
        let refuse = |message: String| {
            Error::config(
                "linux.cgroupsPath",
                format!("{}: {message}", self.path.display()),
            )
            .code_is(Code::CgroupInUse)
        };
        if self.event("populated")? {
            // Those of another pid namespace cannot be counted.
            let count = match self.processes() {
                Ok(pids) => format!("{} process(es) found", pids.len()),
                Err(error) => format!("{error:#}"),
            };
            bail!(
                refuse(format!("container's cgroup is not empty: {count}"))
                    .hint("another container may use it: choose another linux.cgroupsPath")
            );
        }
        if self.event("frozen")? {
            bail!(
                refuse("container's cgroup unexpectedly frozen".into())
                    .hint("write 0 to its cgroup.freeze and to that of its parents")
            );
        }
        Ok(())
    }

    /// Writes one control file, or takes the write's fallback.
    pub fn write(&self, write: &Write) -> Result<()> {
        if let Some(usage) = write.above {
            self.check_above(write, usage)?;
        }
        let fail = match file::write(self.fd(), &write.file, &write.value) {
            Ok(()) => return Ok(()),
            Err(fail) => fail,
        };
        match (&write.fallback, fail.errno) {
            (Fallback::SkipIfAbsent, Errno::ENOENT) | (Fallback::RetriedLater, Errno::EINVAL) => {
                Ok(())
            }
            (Fallback::IfAbsent { file, value }, Errno::ENOENT) => {
                file::write(self.fd(), file, value)
                    .map_err(|fail| self.refused(&write.field, file, value, fail).into())
            }
            _ => bail!(self.refused(&write.field, &write.file, &write.value, fail)),
        }
    }

    fn refused(&self, field: &str, name: &str, value: &str, fail: Fail) -> Error {
        let file = self.path.join(name);
        let what = format!("{}: {:?}", file.display(), value.trim_end());
        let error = Error::failed(what, fail).about(field);
        match fail.errno {
            Errno::ENOENT => error.hint("this kernel has no such file for the cgroup"),
            Errno::ENODEV => error.hint("there is no such device"),
            Errno::EACCES | Errno::EPERM => error.hint("the cgroup is not delegated to the caller"),
            _ => error,
        }
    }

    /// Refuses a limit that is not above the current usage, the content of the file `usage`.
    fn check_above(&self, write: &Write, usage: &str) -> Result<()> {
        let text = match file::read(self.fd(), usage) {
            Ok(text) => text,
            Err(Fail {
                errno: Errno::ENOENT,
                ..
            }) => return Ok(()),
            Err(fail) => return Err(fail).with_context(|| self.object(usage)),
        };
        match (write.value.parse::<u64>(), text.trim().parse::<u64>()) {
            (Ok(limit), Ok(used)) if limit <= used => {
                let usage = self.object(usage);
                let message = format!("{limit} is not more than the {used} in {}", usage.display());
                bail!(
                    Error::config(&write.field, message)
                        .hint("linux.resources.memory.checkBeforeUpdate asks for this check")
                )
            }
            _ => Ok(()),
        }
    }

    /// Loads a device program and attaches it. In a cgroup that existed before, it replaces the
    /// attached programs, and at every moment at least one applies.
    pub fn attach_device_program(&self, program: &[Insn]) -> Result<()> {
        let code: Vec<u64> = program.iter().map(|insn| insn.encode()).collect();
        let error = |fail: Fail| {
            Error::failed(self.path.display(), fail)
                .about("linux.resources.devices")
                .hint("device rules need CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN")
        };
        let program = bpf::load_device_program(&code).map_err(|refused| {
            let error = error(refused.fail);
            if refused.log.is_empty() {
                error
            } else {
                error.hint(refused.log)
            }
        })?;
        let old = if self.is_new {
            Vec::new()
        } else {
            bpf::device_programs(self.fd()).map_err(error)?
        };
        if let [one] = old.as_slice() {
            bpf::attach_device_program(self.fd(), program.as_fd(), Some(one.as_fd()))
                .map_err(error)?;
            return Ok(());
        }
        bpf::attach_device_program(self.fd(), program.as_fd(), None).map_err(error)?;
        for one in &old {
            bpf::detach_device_program(self.fd(), one.as_fd()).map_err(error)?;
        }
        Ok(())
    }

    /// Gives the directory and the files that the kernel lists as safe to `uid`, which can then
    /// manage cgroups below this one but not this one's limits. Source: cgroup-v2.rst,
    /// "Delegation".
    pub fn delegate(&self, uid: u32) -> Result<()> {
        const LIST: &str = "/sys/kernel/cgroup/delegate";
        let listed = match crate::sys::file::read_text(LIST.as_ref()) {
            // The list exists since Linux 4.15.
            Err(fail) if fail.errno == Errno::ENOENT => {
                "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned()
            }
            listed => listed.context(LIST)?,
        };
        let chown = |fd: BorrowedFd| syspath::chown(fd, uid, u32::MAX);
        chown(self.fd()).with_context(|| self.object(""))?;
        for name in listed.lines().filter(|name| !name.contains('/')) {
            match file::open(self.fd(), name, libc::O_PATH).and_then(|fd| chown(fd.as_fd())) {
                // The file belongs to a controller that is not enabled here.
                Ok(())
                | Err(Fail {
                    errno: Errno::ENOENT,
                    ..
                }) => {}
                Err(fail) => return Err(fail).with_context(|| self.object(name)),
            }
        }
        Ok(())
    }

    /// Moves a process into the cgroup, for a caller that cannot use CLONE_INTO_CGROUP. The kernel
    /// waits for a grace period.
    pub fn add(&self, pid: i32) -> Result<()> {
        let file = || self.object("cgroup.procs");
        match file::write(self.fd(), "cgroup.procs", &pid.to_string()) {
            Err(fail) if fail.errno == Errno::ENOENT && fail.op == "write" => {
                let error = Error::failed(file().display(), fail);
                Err(error
                    .hint(entry::OUTSIDE)
                    .code_is(Code::CgroupFailed)
                    .into())
            }
            written => written.with_context(file),
        }
        .with_context(|| format!("process {pid}"))
    }

    /// A file of the cgroup, or without a name the cgroup, for errors.
    fn object(&self, name: &str) -> PathBuf {
        match name {
            "" => self.path.clone(),
            name => self.path.join(name),
        }
    }
}
