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
//! the only descriptor is closed before anything else happens, and the kernel dissolves the
//! anonymous namespace. No process in a namespace of a container ever runs on a mount that can be
//! changed. A container in the host's pid namespace can see the runtime before that, but the kernel
//! opens /proc/PID/exe only for a process with all of its capabilities or CAP_SYS_PTRACE. The close
//! costs an RCU grace period; `docs/decisions/own-binary.md` has what was tried to hide it.
//!
//! The program considers itself safe only after a check: mount_setattr(2) must refuse the program's
//! own request as well.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::exec::{self, StringArray};
use super::mount::{self, Change};
use super::rt::remap;
use super::{Fail, Sys, path, stat, tag};

const EXE: &CStr = c"/proc/self/exe";
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Makes the program run from a place where it cannot be written, unless it runs from there already.
/// It may execute the program again.
///
/// # Errors
/// No kind of copy can be made or executed.
pub fn protect(args: &StringArray<'static>, env: &StringArray<'static>) -> Sys<()> {
    let exe = path::open(EXE, libc::O_PATH)?;
    if is_detached()? {
        if is_unchangeable(exe.as_fd())? {
            return Ok(());
        }
    } else if let Ok(copy) = readonly_mount(exe.as_fd()) {
        match run_from(&copy, args, env) {
            Ok(file) => {
                drop(copy);
                if is_unchangeable(file.as_fd())? {
                    return Ok(());
                }
            }
            Err(_) => drop(exec::execve_fd(copy.as_fd(), args, env)),
        }
    }
    let file = path::open(EXE, libc::O_RDONLY)?;
    if is_sealed(&file)? {
        return Ok(());
    }
    Err(exec::execve_fd(sealed_copy(file)?.as_fd(), args, env))
}

/// Makes the program run from the file that is the root of `mount`.
fn run_from(
    mount: &OwnedFd,
    args: &StringArray<'static>,
    env: &StringArray<'static>,
) -> Sys<OwnedFd> {
    let file = path::reopen(mount.as_fd(), libc::O_RDONLY)?;
    remap::run_from(file.as_fd(), args, env)?;
    Ok(file)
}

/// Whether the file is the root of a mount without a parent. A mount of the host or of another
/// mount namespace does not count even if it is read-only: it may become writable while a container
/// has the file open, for example for an update of the system.
///
/// # Errors
/// `readlink` failed. If that counted as "no", each start would copy the program.
fn is_detached() -> Sys<bool> {
    let name = tag("readlink", nix::fcntl::readlink(EXE))?;
    Ok(name == "/")
}

/// Whether the detached mount stays read-only, which it does when it is in no namespace. If the
/// runtime's caller has executed the binary from such a mount and still holds the mount open, the
/// mount is in an anonymous namespace.
fn is_unchangeable(exe: BorrowedFd) -> Sys<bool> {
    let readonly = stat::mount_flags(exe)? & libc::ST_RDONLY != 0;
    Ok(readonly && set_readonly(exe).is_err_and(|fail| fail.errno == Errno::EINVAL))
}

/// A read-only, detached copy of the file's mount. open_tree(2).
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
    let mut target = File::from(memory);
    std::io::copy(&mut File::from(file), &mut target).map_err(|error| {
        Fail::new(
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
