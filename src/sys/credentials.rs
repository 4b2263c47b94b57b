//! The credentials of this process: ids, capabilities, and whether others may inspect it.
//!
//! They are set by raw system calls: libc's wrappers signal every thread of the process, and init
//! has exactly one.

use nix::errno::Errno;

use super::process::prctl;
use super::{Note, Sys, check};

/// The highest capability that the kernel knows. PR_CAPBSET_READ of prctl(2).
///
/// # Errors
/// `prctl` failed with another error than EINVAL, which means an unknown capability. If any error
/// meant "unknown", the capability would stay in the bounding set.
pub fn last_capability() -> Sys<u8> {
    let is_known = |number: u8| {
        let arguments = [u64::from(number), 0, 0, 0];
        match prctl("prctl(PR_CAPBSET_READ)", libc::PR_CAPBSET_READ, arguments) {
            Err(fail) if fail.errno == Errno::EINVAL => Ok(false),
            known => known.map(|_| true),
        }
    };
    // CAP_CHECKPOINT_RESTORE has been the last capability since Linux 5.9.
    let mut last = 40;
    while last < 63 && is_known(last + 1)? {
        last += 1;
    }
    while last > 0 && !is_known(last)? {
        last -= 1;
    }
    Ok(last)
}

/// PR_SET_DUMPABLE: whether other processes of the same user may inspect this one.
pub fn set_dumpable(dumpable: bool) -> Sys<()> {
    let value = u64::from(dumpable);
    prctl(
        "prctl(PR_SET_DUMPABLE)",
        libc::PR_SET_DUMPABLE,
        [value, 0, 0, 0],
    )
    .map(drop)
}

/// setresgid(2) and setresuid(2), each with all three ids, for a process that others must not
/// inspect.
///
/// With fs.suid_dumpable=1, which proc_sys_fs(5) describes, the kernel makes a process inspectable
/// that changes its ids, although it still has its capabilities. Root of a container could then
/// trace it. What follows drops capabilities at most, which leaves the process as it is here.
pub fn set_ids(uid: u32, gid: u32) -> Sys<()> {
    // SAFETY: takes no pointers.
    let done = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check("setresgid", done)?;
    // SAFETY: takes no pointers.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check("setresuid", done)?;
    set_dumpable(false)
}

/// setgroups(2).
pub fn set_groups(groups: &[u32]) -> Sys<()> {
    // SAFETY: the pointer and the length describe the slice.
    let done = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check("setgroups", done)
        .map(drop)
        .map_err(|fail| fail.note(Note::Groups))
}

/// Whether this process has supplementary groups. getgroups(2).
pub fn has_groups() -> Sys<bool> {
    // SAFETY: with the length 0 nothing is written.
    let count = unsafe { libc::syscall(libc::SYS_getgroups, 0, std::ptr::null_mut::<u32>()) };
    check("getgroups", count).map(|count| count > 0)
}

/// capset(2) of the calling thread. In the masks, bit n is capability n.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Sys<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let low = [effective as u32, permitted as u32, inheritable as u32];
    let high = [
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    let data = [low, high];
    // SAFETY: header and data have the layout of version 3.
    check("capset", unsafe {
        libc::syscall(libc::SYS_capset, &header, &data)
    })
    .map(drop)
}

/// capget(2) of the calling thread: effective, permitted, inheritable.
pub fn capget() -> Sys<(u64, u64, u64)> {
    let header: [u32; 2] = [0x2008_0522, 0];
    let mut data = [[0u32; 3]; 2];
    // SAFETY: header and data have the layout of version 3.
    check("capget", unsafe {
        libc::syscall(libc::SYS_capget, &header, &mut data)
    })?;
    let join = |at: usize| u64::from(data[0][at]) | u64::from(data[1][at]) << 32;
    Ok((join(0), join(1), join(2)))
}

/// PR_CAPBSET_DROP.
pub fn drop_bounding(capability: u8) -> Sys<()> {
    let arguments = [u64::from(capability), 0, 0, 0];
    prctl("prctl(PR_CAPBSET_DROP)", libc::PR_CAPBSET_DROP, arguments).map(drop)
}

/// PR_CAP_AMBIENT_RAISE.
pub fn raise_ambient(capability: u8) -> Sys<()> {
    let arguments = [
        libc::PR_CAP_AMBIENT_RAISE as u64,
        u64::from(capability),
        0,
        0,
    ];
    prctl(
        "prctl(PR_CAP_AMBIENT_RAISE)",
        libc::PR_CAP_AMBIENT,
        arguments,
    )
    .map(drop)
}

/// PR_SET_KEEPCAPS: whether permitted capabilities survive a change of the user.
pub fn keep_capabilities(keep: bool) -> Sys<()> {
    let arguments = [u64::from(keep), 0, 0, 0];
    prctl("prctl(PR_SET_KEEPCAPS)", libc::PR_SET_KEEPCAPS, arguments).map(drop)
}

/// PR_SET_NO_NEW_PRIVS.
pub fn no_new_privileges() -> Sys<()> {
    prctl(
        "prctl(PR_SET_NO_NEW_PRIVS)",
        libc::PR_SET_NO_NEW_PRIVS,
        [1, 0, 0, 0],
    )
    .map(drop)
}
