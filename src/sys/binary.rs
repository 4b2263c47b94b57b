//! The program's own file, out of reach of every process that gets hold of it through
//! /proc/PID/exe.
//!
//! Init is a copy of the runtime's process until it executes the container's program. A container
//! that makes it execute /proc/self/exe, or opens /proc/PID/exe at the right moment, would hold
//! the host's binary, and could write to it later (CVE-2019-5736). So the runtime executes itself
//! again from a read-only copy of the mount that is in no mount namespace; where such a copy is
//! denied, from a sealed copy of the file in memory.
//!
//! What is relied on: the kernel changes the attributes of a mount only for a process of the
//! mount's namespace. The copy that open_tree(2) makes is in an anonymous namespace as long as a
//! descriptor of it is open, and its attributes may then be changed by every process that owns any
//! mount namespace, which a process in a container may make for itself. The descriptor is
//! therefore close-on-exec: execve(2) closes the only one, the kernel dissolves the namespace, and
//! all that happens before the first instruction of the program that is executed. No process that a
//! container can see ever runs on a mount that can be changed. The close costs an RCU grace period.
//! It could be waited for while init mounts, but then each path to a program of the container, and
//! each process in between, would have to close its copy in time.
//!
//! The program believes that it is safe only after it has asked: mount_setattr(2) must refuse it
//! too.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mount::{self, Change};
use super::process::{self, StringArray};
use super::{Sys, path, tag};

const EXE: &CStr = c"/proc/self/exe";
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Executes the program again from where it cannot be written, unless it runs from there already.
///
/// # Errors
/// Neither kind of copy can be made or executed.
pub fn protect(args: &StringArray, env: &StringArray) -> Sys<()> {
    let exe = path::open(EXE, libc::O_PATH)?;
    if is_detached()? {
        if is_unchangeable(exe.as_fd())? {
            return Ok(());
        }
    } else if let Ok(copy) = readonly_mount(exe.as_fd()) {
        let _ = process::execve_fd(copy.as_fd(), args, env);
    }
    let file = path::open(EXE, libc::O_RDONLY)?;
    if is_sealed(&file)? {
        return Ok(());
    }
    Err(process::execve_fd(sealed_copy(file)?.as_fd(), args, env))
}

/// Whether the file is the root of a mount that has no parent. A mount of the host, or of another
/// mount namespace, does not count, however read-only: it may become writable, as for an update of
/// the system, while a container has the file open.
///
/// # Errors
/// `readlink` failed. Taken for a no, it would have each start copy the program.
fn is_detached() -> Sys<bool> {
    let name = tag("readlink", nix::fcntl::readlink(EXE))?;
    Ok(name == "/")
}

/// Whether the detached mount is read-only for ever: in no namespace. It is in an anonymous one
/// while the runtime's caller, who may have executed it from such a mount, has that open.
fn is_unchangeable(exe: BorrowedFd) -> Sys<bool> {
    let readonly = path::mount_flags(exe)? & libc::ST_RDONLY != 0;
    Ok(readonly && set_readonly(exe).is_err_and(|fail| fail.errno == Errno::EINVAL))
}

/// A copy of the file's mount that is attached nowhere. open_tree(2).
fn readonly_mount(exe: BorrowedFd) -> Sys<OwnedFd> {
    let copy = mount::clone_tree(Some(exe), c"", false)?;
    set_readonly(copy.as_fd())?;
    Ok(copy)
}

fn set_readonly(mount: BorrowedFd) -> Sys<()> {
    let readonly = Change {
        set: libc::MOUNT_ATTR_RDONLY,
        ..Change::default()
    };
    mount::set_attr(mount, readonly, false)
}

/// # Errors
/// `fcntl` failed. Taken for a no, it would have the program execute itself again without end. A file
/// that knows no seals has none.
fn is_sealed(file: &OwnedFd) -> Sys<bool> {
    match fcntl(file, FcntlArg::F_GET_SEALS) {
        Err(Errno::EINVAL) => Ok(false),
        seals => tag("fcntl(F_GET_SEALS)", seals)
            .map(|seals| SealFlag::from_bits_truncate(seals).contains(SEALS)),
    }
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
            Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        )
    })?;
    tag(
        "fcntl(F_ADD_SEALS)",
        fcntl(&target, FcntlArg::F_ADD_SEALS(SEALS)),
    )?;
    Ok(target.into())
}
