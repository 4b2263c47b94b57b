//! Makes the data that the program's start has relocated read-only: function tables and pointers to
//! strings.
//!
//! A dynamic loader does this for the programs that it loads, and glibc does it for static
//! programs. musl's start of a static program does not (`crt/rcrt1.c`, as of 1.2.5), so without
//! this module PT_GNU_RELRO would have no effect. `docs/decisions/hardening.md` gives the cost.

use std::ffi::c_void;

use nix::errno::Errno;

use super::image::{Image, page_size};
use crate::sys::{Sys, tag};

/// Applies the PT_GNU_RELRO of the program. mprotect(2).
///
/// # Errors
/// Those of mprotect(2), for example ENOMEM if the process has reached its limit of mappings.
pub fn protect() -> Sys<()> {
    let image = Image::own();
    let Some(header) = image.headers(libc::PT_GNU_RELRO).next() else {
        return Ok(());
    };
    // The linker ends the segment at a page boundary. Data before it on its first page is not
    // written after the start either.
    let whole = !(page_size() - 1);
    let segment = image.addresses(header, header.p_memsz);
    let (start, end) = (segment.start & whole, segment.end & whole);
    let length = (end - start) as usize;
    // SAFETY: the linker put only data on these pages that is constant after relocation.
    let done = unsafe { libc::mprotect(start as *mut c_void, length, libc::PROT_READ) };
    tag("mprotect", Errno::result(done)).map(drop)
}
