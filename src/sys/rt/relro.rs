//! Makes the data that the program's start has relocated read-only: function tables and pointers to
//! strings.
//!
//! A dynamic loader does this for the programs that it loads, and glibc does it for static
//! programs. musl's start of a static program does not (`crt/rcrt1.c`, as of 1.2.5), so without
//! this module PT_GNU_RELRO would have no effect. `docs/decisions/hardening.md` gives the cost.

use std::ffi::{c_int, c_void};

use nix::errno::Errno;

use crate::sys::{Fail, Sys};

/// Applies the PT_GNU_RELRO of the program. mprotect(2).
///
/// # Errors
/// Those of mprotect(2), for example ENOMEM if the process has reached its limit of mappings.
pub fn protect() -> Sys<()> {
    // SAFETY: the callback has the required type and uses no data.
    match unsafe { libc::dl_iterate_phdr(Some(protect_one), std::ptr::null_mut()) } {
        ..0 => Err(Fail::new("mprotect", Errno::last())),
        _ => Ok(()),
    }
}

/// dl_iterate_phdr(3) calls this with the program itself first. The iteration ends there.
unsafe extern "C" fn protect_one(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    const DONE: c_int = 1;
    // SAFETY: dl_iterate_phdr passes the program's headers, which never change.
    let (base, headers) = unsafe {
        let info = &*info;
        let count = usize::from(info.dlpi_phnum);
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, count);
        (info.dlpi_addr, headers)
    };
    let relro = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_GNU_RELRO;
    let Some(header) = headers.iter().find(relro) else {
        return DONE;
    };
    // The linker ends the segment at a page boundary. Data before it on its first page is not
    // written after the start either.
    let page = page_size();
    let start = (base + header.p_vaddr) & !(page - 1);
    let end = (base + header.p_vaddr + header.p_memsz) & !(page - 1);
    let length = (end - start) as usize;
    // SAFETY: the linker put only data on these pages that is constant after relocation.
    match unsafe { libc::mprotect(start as *mut c_void, length, libc::PROT_READ) } {
        0 => DONE,
        _ => -1,
    }
}

/// getauxval(3), AT_PAGESZ.
fn page_size() -> u64 {
    // SAFETY: takes no pointers.
    unsafe { libc::getauxval(libc::AT_PAGESZ) }
}
