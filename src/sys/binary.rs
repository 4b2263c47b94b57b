//! The program's own file, kept out of reach of processes that get hold of it through
//! /proc/PID/exe.
//!
//! Init is a copy of the runtime's process until it executes the container's program. A container
//! that makes init execute /proc/self/exe, or opens /proc/PID/exe at the right moment, would hold
//! the host's binary and could write to it later (CVE-2019-5736). So the runtime runs from a
//! read-only copy of the mount that is in no mount namespace: it maps its file again through that
//! mount ([`remap`]), or executes itself again from it where the kernel refuses the former. Where
//! such a mount is denied, it executes a sealed copy of the file in memory.
//!
//! This relies on a rule of the kernel: the attributes of a mount can be changed only by a process
//! of the mount's namespace. The copy that open_tree(2) makes is in an anonymous namespace as long
//! as a descriptor of it is open. Meanwhile every process that owns any mount namespace may change
//! the copy's attributes, and a process in a container may create such a namespace for itself. So
//! the copy is taken out of its namespace before a container's process can see a process of the
//! runtime ([`OwnMount`]). No process that a container sees ever runs on a mount that can be
//! changed. A container in the host's pid namespace can see the runtime before that, but the kernel
//! opens /proc/PID/exe only for a process with all of its capabilities or CAP_SYS_PTRACE.
//!
//! The program considers itself safe only after a check: mount_setattr(2) must refuse the program's
//! own request as well.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;

use super::exec::{self, StringArray};
use super::mount;
use super::rt::remap;
use super::{Fail, Sys, path, stat, tag};

/// The object of an error about the binary.
pub const OBJECT: &str = "own binary";

/// The most bytes that the kernel copies in one call. sendfile(2).
const COPIED_AT_ONCE: usize = 0x7fff_f000;

const EXE: &CStr = c"/proc/self/exe";
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// The read-only mount that the program runs from, which is still in an anonymous namespace. Its
/// root is a directory: mount_setattr(2) refuses every other file of a mount.
#[derive(Debug)]
pub struct OwnMount {
    root: OwnedFd,
}

impl OwnMount {
    /// Takes the mount out of its namespace: the kernel dissolves the namespace when its only
    /// descriptor is closed. That costs an RCU grace period.
    ///
    /// # Errors
    /// Another process has the mount open.
    pub fn dissolve(self) -> Sys<()> {
        let directory = path::open_at(Some(self.root.as_fd()), c".", libc::O_PATH, 0)?;
        drop(self.root);
        if is_unchangeable(directory.as_fd())? {
            Ok(())
        } else {
            Err(Fail::new("mount_setattr", Errno::EBUSY))
        }
    }

    /// Makes the mount go with the mount that contains the directory `at`: once that is detached,
    /// the mount is in no namespace either, which costs no grace period of its own. Returns the
    /// root of the mount, for [`is_unchangeable`], or `None` if the mount could not be attached
    /// and has been dissolved.
    ///
    /// # Errors
    /// Those of [`OwnMount::dissolve`].
    pub fn attach(self, at: BorrowedFd) -> Sys<Option<OwnedFd>> {
        match mount::attach(self.root.as_fd(), at) {
            Ok(()) => Ok(Some(self.root)),
            Err(_) => self.dissolve().map(|()| None),
        }
    }

    /// The descriptor to keep for a process that is to call [`OwnMount::attach`].
    pub fn descriptor(&self) -> &OwnedFd {
        &self.root
    }
}

/// Makes the program run from a place where it cannot be written, unless it runs from there already.
/// It may execute the program again. The place is safe once the returned mount, if there is one,
/// has been dissolved.
///
/// # Errors
/// No kind of copy can be made or executed.
pub fn protect(args: &StringArray<'static>, env: &StringArray<'static>) -> Sys<Option<OwnMount>> {
    let exe = path::open(EXE, libc::O_PATH)?;
    // If a failed readlink(2) counted as "no such mount", each start would copy the program.
    let name = tag("readlink", nix::fcntl::readlink(EXE))?;
    // The file is the root of a mount without a parent. A mount of the host or of another mount
    // namespace does not count even if it is read-only: it may become writable while a container
    // has the file open, for example for an update of the system.
    if name == "/" {
        if is_unchangeable(exe.as_fd())? {
            return Ok(None);
        }
    } else if let Ok(own) = run_from_copy(exe.as_fd(), Path::new(&name), args, env) {
        return Ok(Some(own));
    } else if let Ok(copy) = mount::readonly_copy(Some(exe.as_fd()), c"") {
        let _ = exec::execve_fd(copy.as_fd(), args, env);
    }
    let file = path::open(EXE, libc::O_RDONLY)?;
    if is_sealed(&file)? {
        return Ok(None);
    }
    Err(exec::execve_fd(sealed_copy(file)?.as_fd(), args, env))
}

/// Makes the program, whose file is at `path`, run from a copy of the mount. The root of the copy
/// is the directory of the file, because the mount of a file cannot be attached to a root.
fn run_from_copy(
    exe: BorrowedFd,
    path: &Path,
    args: &StringArray<'static>,
    env: &StringArray<'static>,
) -> Sys<OwnMount> {
    let absent = Fail::new("open", Errno::ENOENT);
    let directory = path::c_string(path.parent().ok_or(absent)?)?;
    let name = path::c_string(path.file_name().ok_or(absent)?)?;
    // Private: umount2(2) would otherwise detach from the host what the host mounts below it.
    let root = mount::readonly_copy(None, &directory)?;
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = path::open_at(Some(root.as_fd()), &name, flags, 0)?;
    // Another file has this path if the binary has been replaced, or is mounted on it.
    if stat::stat(file.as_fd())?.inode() != stat::stat(exe)?.inode() {
        return Err(Fail::new("open", Errno::ESTALE));
    }
    remap::run_from(file.as_fd(), args, env)?;
    Ok(OwnMount { root })
}

/// Whether the detached mount stays read-only, which it does when it is in no namespace. If the
/// runtime's caller has executed the binary from such a mount and still holds the mount open, the
/// mount is in an anonymous namespace. `root` is the root of the mount.
///
/// # Errors
/// fstatfs(2) failed.
pub fn is_unchangeable(root: BorrowedFd) -> Sys<bool> {
    Ok(stat::mount_flags(root)? & libc::ST_RDONLY != 0 && mount::is_detached(root))
}

/// # Errors
/// `fcntl` failed. If that counted as "no", the program would execute itself forever. A file that
/// does not support seals (EINVAL) has none.
fn is_sealed(file: &OwnedFd) -> Sys<bool> {
    match fcntl(file, FcntlArg::F_GET_SEALS) {
        Err(Errno::EINVAL) => Ok(false),
        seals => tag("fcntl(F_GET_SEALS)", seals)
            .map(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS)),
    }
}

/// A sealed copy in memory, which no process can change. memfd_create(2).
// Rarely called. Inlined, its buffer would be part of a stack frame that every start touches.
#[inline(never)]
fn sealed_copy(file: OwnedFd) -> Sys<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not have the flag that requests an executable file.
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let memory =
        memfd_create(c"sampan", flags | executable).or_else(|_| memfd_create(c"sampan", flags));
    let memory = tag("memfd_create", memory)?;
    while tag("sendfile", sendfile(&memory, &file, None, COPIED_AT_ONCE))? != 0 {}
    tag(
        "fcntl(F_ADD_SEALS)",
        fcntl(&memory, FcntlArg::F_ADD_SEALS(SEALS)),
    )?;
    Ok(memory)
}
