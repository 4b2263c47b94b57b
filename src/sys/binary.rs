//! The program's own file, out of reach of whoever gets hold of it through /proc/PID/exe.
//!
//! Init is a copy of the runtime's process until it executes the container's program. A container
//! that makes it execute /proc/self/exe, or opens /proc/PID/exe at the right moment, would hold
//! the host's binary, and could write to it later (CVE-2019-5736). So the runtime executes itself
//! anew from a read-only copy of the mount, which nothing can make writable because it is attached
//! nowhere; where such a copy is denied, from a sealed copy of the file in memory.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mount::{self, Change};
use super::process::{self, StringArray};
use super::{Sys, path, tag};

const EXE: &CStr = c"/proc/self/exe";
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Executes the program anew from where it cannot be written, unless it runs from there already.
///
/// # Errors
/// Neither kind of copy can be made or executed.
pub fn protect(args: &StringArray, env: &StringArray) -> Sys<()> {
    let exe = path::open(EXE, libc::O_PATH)?;
    let readonly = path::mount_flags(exe.as_fd())? & libc::ST_RDONLY != 0;
    if readonly && !is_attached(exe.as_fd()) {
        *held() = executed_from(exe.as_fd());
        return Ok(());
    }
    if let Ok(copy) = readonly_mount(exe.as_fd())
        && close_on_exec(copy.as_fd(), false).is_ok()
    {
        let _ = process::execve_fd(copy.as_fd(), args, env);
    }
    let file = path::open(EXE, libc::O_RDONLY)?;
    // Who may not copy a mount may not make one writable either.
    if readonly || is_sealed(&file) {
        return Ok(());
    }
    Err(process::execve_fd(sealed_copy(file)?.as_fd(), args, env))
}

/// The mount that the program was executed from, as [`protect`] left it open.
static HELD: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<OwnedFd>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptor of the mount that the program runs from. When its last copy is closed the kernel
/// waits for an RCU grace period: whoever closes it should have nothing better to do.
pub fn take_mount() -> Option<OwnedFd> {
    held().take()
}

/// The descriptor that execveat(2) was given: the kernel names it in the auxiliary vector, as
/// `/dev/fd/N`. getauxval(3), AT_EXECFN.
fn executed_from(exe: BorrowedFd) -> Option<OwnedFd> {
    let name = process::executed_name()?;
    let number = name.to_str().ok()?.strip_prefix("/dev/fd/")?.parse().ok()?;
    let mount = process::adopt(number)?;
    if path::mount_id(mount.as_fd()).ok()? != path::mount_id(exe).ok()? {
        // Not ours, but the caller's for somebody else.
        std::mem::forget(mount);
        return None;
    }
    close_on_exec(mount.as_fd(), true).ok()?;
    Some(mount)
}

fn close_on_exec(fd: BorrowedFd, close: bool) -> Sys<()> {
    let flag = match close {
        true => FdFlag::FD_CLOEXEC,
        false => FdFlag::empty(),
    };
    tag("fcntl(F_SETFD)", fcntl(fd, FcntlArg::F_SETFD(flag))).map(drop)
}

/// Whether the file is reached through a mount of the host. A read-only one may become writable
/// again, as for an update of the system, while a container still has the file open.
fn is_attached(exe: BorrowedFd) -> bool {
    // The path of a mount that is attached nowhere and whose root is the file.
    if std::fs::read_link("/proc/self/exe").is_ok_and(|name| name == Path::new("/")) {
        return false;
    }
    let text = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
    let about = text(&format!("/proc/self/fdinfo/{}", exe.as_raw_fd()));
    let Some(id) = about.lines().find_map(|line| line.strip_prefix("mnt_id:")) else {
        return false;
    };
    text("/proc/self/mountinfo")
        .lines()
        .any(|line| line.split(' ').next() == Some(id.trim()))
}

/// A copy of the file's mount that is attached nowhere. open_tree(2).
fn readonly_mount(exe: BorrowedFd) -> Sys<OwnedFd> {
    let copy = mount::clone_tree(Some(exe), c"", false)?;
    let readonly = Change {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Change::default()
    };
    mount::set_attr(copy.as_fd(), readonly, false)?;
    Ok(copy)
}

fn is_sealed(file: &OwnedFd) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS))
}

/// A copy in memory that nobody can change. memfd_create(2).
// Rare, and its buffer would be touched by every start if it were a part of its caller.
#[inline(never)]
fn sealed_copy(file: OwnedFd) -> Sys<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag that asks for an executable file.
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    let memory =
        memfd_create(c"sampan", flags | executable).or_else(|_| memfd_create(c"sampan", flags));
    let memory = tag("memfd_create", memory)?;
    let mut target = File::from(memory);
    std::io::copy(&mut File::from(file), &mut target).map_err(|error| {
        super::Fail::new(
            "sendfile",
            nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        )
    })?;
    tag(
        "fcntl(F_ADD_SEALS)",
        fcntl(&target, FcntlArg::F_ADD_SEALS(SEALS)),
    )?;
    Ok(target.into())
}
