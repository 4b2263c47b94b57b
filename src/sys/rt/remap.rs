//! Makes the running program run from another file with the same contents.
//!
//! The kernel tells through /proc/PID/exe and /proc/PID/map_files which file a process runs. Both
//! change if every mapping of the old file is replaced, and the kernel is then told the new file
//! (prctl(2), PR_SET_MM_MAP). It refuses that as long as a mapping of the old file is left.
//! `docs/decisions/own-binary.md` compares this with another execve(2).

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

use super::image::{Image, page_size};
use crate::sys::exec::StringArray;
use crate::sys::{Sys, tag};

/// `struct prctl_mm_map` of `linux/prctl.h`.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *const u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Replaces the mappings of the program's file by mappings of `file`, and makes that the executable
/// of the process. `file` must have the same contents and stay as it is. After an error, the program
/// runs on, from either file. The relocated data is writable afterwards, see [`super::relro`].
///
/// # Errors
/// mmap(2), mremap(2) or prctl(2) failed: EPERM without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, and
/// EINVAL if the kernel is built without CONFIG_CHECKPOINT_RESTORE, or is older than Linux 5.15 and
/// demands that the heap is above the program, which it is not if the program has no fixed address.
pub fn run_from(
    file: BorrowedFd,
    args: &StringArray<'static>,
    env: &StringArray<'static>,
) -> Sys<()> {
    let image = Image::own();
    let whole = !(page_size() - 1);
    let (mut code, mut data) = (0..0, 0..0);
    for header in image.headers(libc::PT_LOAD) {
        let contents = image.addresses(header, header.p_filesz);
        let start = (contents.start & whole) as *mut c_void;
        let length = (((contents.end + !whole) & whole) - start as u64) as usize;
        if header.p_flags & libc::PF_W != 0 {
            replace_by_copy(start, length)?;
            data = contents;
            continue;
        }
        let mut protection = libc::PROT_READ;
        if header.p_flags & libc::PF_X != 0 {
            protection |= libc::PROT_EXEC;
            code = contents;
        }
        let offset = (header.p_offset & whole).cast_signed();
        // SAFETY: the new mapping has the same contents as the old one, even for the instructions
        // that run now.
        let replaced = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_FIXED;
            libc::mmap(start, length, protection, flags, file.as_raw_fd(), offset)
        };
        mapped("mmap", replaced)?;
    }
    let args = args.extent().unwrap_or_default();
    // The kernel refuses 0 as an address. execve(2) puts an empty environment behind the arguments.
    let env = env.extent().unwrap_or(args.end..args.end);
    // SAFETY: brk(2) with an address that it cannot set changes nothing.
    let brk = unsafe { libc::syscall(libc::SYS_brk, 0) }.cast_unsigned();
    let map = MmMap {
        start_code: code.start,
        end_code: code.end,
        start_data: data.start,
        end_data: data.end,
        start_brk: brk,
        brk,
        start_stack: (&raw const brk) as u64,
        arg_start: args.start,
        arg_end: args.end,
        env_start: env.start,
        env_end: env.end,
        // A size of 0 leaves the auxiliary vector.
        auxv: ptr::null(),
        auxv_size: 0,
        exe_fd: file.as_raw_fd().cast_unsigned(),
    };
    // SAFETY: the kernel reads the structure. Apart from the file, it only shows what is in it.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP,
            &raw const map,
            size_of::<MmMap>(),
            0,
        )
    };
    tag("prctl(PR_SET_MM)", Errno::result(done)).map(drop)
}

/// Replaces the program's variables by a copy that no file is behind.
fn replace_by_copy(start: *mut c_void, length: usize) -> Sys<()> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: the kernel chooses a free address.
    let copy = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    mapped("mmap", copy)?;
    // SAFETY: both ranges have this length. No other thread runs, so nothing changes the variables
    // between the copy and the exchange.
    let moved = unsafe {
        ptr::copy_nonoverlapping(start.cast::<u8>(), copy.cast::<u8>(), length);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        libc::mremap(copy, length, length, flags, start)
    };
    mapped("mremap", moved)
}

/// The error of a call that returns an address.
fn mapped(call: &'static str, address: *mut c_void) -> Sys<()> {
    let failed = address == libc::MAP_FAILED;
    tag(call, if failed { Err(Errno::last()) } else { Ok(()) })
}
