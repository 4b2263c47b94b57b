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
use super::mm_map::MmMap;
use crate::sys::exec::StringArray;
use crate::sys::{Sys, tag};

/// Replaces the mappings of the program's file by mappings of `file`, and makes that the executable
/// of the process. `file` must have the same contents and stay as it is. After an error, the program
/// runs on, from either file. The relocated data is writable afterwards, see [`super::relro`].
///
/// # Errors
/// mmap(2) or mremap(2) failed, or those of [`MmMap::tell`].
pub fn run_from(
    file: BorrowedFd,
    args: &StringArray<'static>,
    env: &StringArray<'static>,
) -> Sys<()> {
    let image = Image::own();
    let whole = !(page_size() - 1);
    for header in image.headers(libc::PT_LOAD) {
        let contents = image.addresses(header, header.p_filesz);
        let start = (contents.start & whole) as *mut c_void;
        let length = (((contents.end + !whole) & whole) - start as u64) as usize;
        if header.p_flags & libc::PF_W != 0 {
            replace_by_copy(start, length)?;
            continue;
        }
        let mut protection = libc::PROT_READ;
        if header.p_flags & libc::PF_X != 0 {
            protection |= libc::PROT_EXEC;
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
    MmMap::own(args, env).of_file(file).tell()
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
