//! Writes labels for the security modules, through files that can only refer to this process.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use super::kernel_views::PROC_MAGIC;
use crate::plan::{ExecLabel, Module};
use crate::sys::{Fail, Sys, io, mount, path, process, stat};

impl Init<'_> {
    /// Mounts a procfs without attaching it, so that no other process can change it. The /proc of
    /// the image could redirect a write to another file (CVE-2019-16884, CVE-2025-52881).
    pub(super) fn own_proc(&mut self) -> Sys<BorrowedFd<'_>> {
        if self.proc.is_none() {
            let context = mount::fs_open(c"proc")?;
            self.proc = Some(mount::fs_mount(context.as_fd(), 0)?);
        }
        let proc = self.proc.as_ref().map(AsFd::as_fd);
        proc.ok_or(Fail::new("fsmount", Errno::EBADF))
    }

    /// Opens the procfs directory of this process's descriptors.
    pub(super) fn own_descriptors(&mut self) -> Sys<OwnedFd> {
        self.open_of_self(c"self/fd", libc::O_PATH | libc::O_DIRECTORY)
    }

    /// Whether the user namespace denies setgroups(2). user_namespaces(7).
    pub(super) fn groups_are_denied(&mut self) -> Sys<bool> {
        let file = self.open_of_self(c"self/setgroups", libc::O_RDONLY)?;
        let mut text = [0; 4];
        io::read(file.as_fd(), &mut text)?;
        Ok(&text == b"deny")
    }

    /// Opens a file of this process in a procfs.
    ///
    /// In a user namespace whose view of procfs is masked, init cannot mount a procfs of its own.
    /// It then uses the one mounted at /proc, after checking that it is a procfs. Nothing can be
    /// mounted in between, and the kernel says what `self` is. A file reopened through it is compared
    /// with the original.
    fn open_of_self(&mut self, file: &CStr, flags: i32) -> Sys<OwnedFd> {
        let mounted;
        let proc = match self.own_proc() {
            Ok(proc) => proc,
            Err(fail) if fail.errno == Errno::EPERM => {
                mounted = path::open(c"/proc", libc::O_PATH | libc::O_DIRECTORY)?;
                match stat::magic(mounted.as_fd())? {
                    PROC_MAGIC => mounted.as_fd(),
                    _ => return Err(fail),
                }
            }
            Err(fail) => return Err(fail),
        };
        // `self` is a symbolic link made by procfs, so symbolic links are allowed here.
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;
        path::openat2(proc, file, flags, 0, resolve)
    }

    /// Sets the label that the process gets at its execve(2). apparmor(7), setexeccon(3).
    pub(super) fn exec_label(&mut self, exec: &ExecLabel) -> Sys<()> {
        match exec.module {
            Module::AppArmor => {
                let value = [b"exec ".as_slice(), exec.label.to_bytes()].concat();
                write_attribute(self.own_proc()?, "apparmor/exec", &value)
            }
            Module::Selinux => write_attribute(self.own_proc()?, "exec", exec.label.to_bytes()),
        }
    }
}

/// Writes to a file of this process in /proc/PID/attr.
pub(super) fn write_attribute(proc: BorrowedFd, file: &str, value: &[u8]) -> Sys<()> {
    let name = path::c_string(format!("{}/attr/{file}", process::own_pid()))?;
    let attribute = path::openat2(proc, &name, libc::O_WRONLY, 0, path::BENEATH)?;
    io::write_all(attribute.as_fd(), value)
}
