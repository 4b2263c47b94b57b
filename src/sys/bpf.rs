//! bpf(2): the commands that a cgroup's device program needs.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Fail, Sys, check};

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_DETACH: u32 = 9;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_PROG_QUERY: u32 = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// A program that the kernel refused, with the verifier's log.
#[derive(Debug)]
pub struct Refused {
    /// The failed bpf(2).
    pub fail: Fail,
    /// Empty if the load failed before the verifier ran.
    pub log: String,
}

/// The members of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The members for BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The members for BPF_PROG_QUERY, including the last one: since Linux 6.17 some kernels write
/// `revision` without checking the size.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The members for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// # Safety
/// `T` must be the members of `union bpf_attr` for `command`, and each address in it must be valid
/// for what the command reads or writes there.
unsafe fn bpf<T>(command: u32, op: &'static str, attributes: &mut T) -> Sys<libc::c_long> {
    // SAFETY: the size given is that of the structure; the caller guarantees the rest.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    check(op, returned)
}

/// BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program. Needs CAP_BPF and CAP_NET_ADMIN, or
/// CAP_SYS_ADMIN, in the initial user namespace. Linux 4.15.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Refused> {
    load(instructions, None).or_else(|fail| {
        // The log costs time, so it is requested only after a failure.
        let mut log = vec![0u8; 1 << 16];
        load(instructions, Some(&mut log)).map_err(|_| {
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            Refused {
                fail,
                log: String::from_utf8_lossy(&log[..end]).trim().to_owned(),
            }
        })
    })
}

fn load(instructions: &[u64], log: Option<&mut [u8]>) -> Sys<OwnedFd> {
    // The program calls no helper, so its licence makes no difference.
    let license = CString::from(c"Apache-2.0");
    let mut attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *b"sampan_devices\0\0",
        expected_attach_type: BPF_CGROUP_DEVICE,
        ..Load::default()
    };
    if let Some(log) = log {
        attributes.log_level = 1;
        attributes.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attributes.log_buf = log.as_mut_ptr() as u64;
    }
    // SAFETY: Load has the layout of the members for this command, and the program, the licence and
    // the log live until the call returns; their lengths are given.
    let fd = unsafe { bpf(BPF_PROG_LOAD, "bpf(BPF_PROG_LOAD)", &mut attributes)? };
    Ok(own(fd))
}

/// Attaches a device program to a cgroup beside those of its ancestors; an access needs the
/// permission of all of them. The kernel detaches `replaced` in the same step. Linux 4.15;
/// replacing 5.6.
pub fn attach_device_program(
    cgroup: BorrowedFd,
    program: BorrowedFd,
    replaced: Option<BorrowedFd>,
) -> Sys<()> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    if let Some(replaced) = replaced {
        attributes.attach_flags |= BPF_F_REPLACE;
        attributes.replace_bpf_fd = number(replaced);
    }
    // SAFETY: Attach has the layout of the members for this command and holds no address.
    unsafe { bpf(BPF_PROG_ATTACH, "bpf(BPF_PROG_ATTACH)", &mut attributes)? };
    Ok(())
}

/// Detaches a device program from a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd, program: BorrowedFd) -> Sys<()> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: Attach has the layout of the members for this command and holds no address.
    unsafe { bpf(BPF_PROG_DETACH, "bpf(BPF_PROG_DETACH)", &mut attributes)? };
    Ok(())
}

/// The device programs attached to this cgroup itself. Linux 4.15.
pub fn device_programs(cgroup: BorrowedFd) -> Sys<Vec<OwnedFd>> {
    // The kernel's limit for one cgroup and one type (BPF_CGROUP_MAX_PROGS).
    let mut ids = [0u32; 64];
    let mut attributes = Query {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: 64,
        ..Query::default()
    };
    // SAFETY: Query has the layout of the members for this command, and prog_ids has room for
    // prog_cnt numbers and lives until the call returns.
    unsafe { bpf(BPF_PROG_QUERY, "bpf(BPF_PROG_QUERY)", &mut attributes)? };
    ids.iter()
        .take(attributes.prog_cnt as usize)
        .map(|id| program_by_id(*id))
        .collect()
}

fn program_by_id(id: u32) -> Sys<OwnedFd> {
    let mut attributes = ById {
        prog_id: id,
        ..ById::default()
    };
    // SAFETY: ById has the layout of the members for this command and holds no address.
    let fd = unsafe {
        bpf(
            BPF_PROG_GET_FD_BY_ID,
            "bpf(BPF_PROG_GET_FD_BY_ID)",
            &mut attributes,
        )?
    };
    Ok(own(fd))
}

fn own(fd: libc::c_long) -> OwnedFd {
    let fd = i32::try_from(fd).expect("the kernel returns descriptors as int");
    // SAFETY: the kernel has just returned this descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: BorrowedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
