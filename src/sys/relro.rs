//! Makes read-only what the program's start has relocated: tables of functions, pointers to texts.
//!
//! A dynamic loader does this for the programs that it loads, and glibc for static ones. musl's
//! start of a static program does not (`crt/rcrt1.c`, as of 1.2.5), so the linker's wish in
//! PT_GNU_RELRO would remain one. `docs/decisions/hardening.md` has what it costs.

use std::ffi::{c_int, c_void};

use nix::errno::Errno;

use super::{Fail, Sys};

/// Carries out the PT_GNU_RELRO of the program. mprotect(2).
///
/// # Errors
/// Those of mprotect(2), as ENOMEM where the process may have no more mappings.
pub fn protect() -> Sys<()> {
    // SAFETY: the callback has the type that is wanted, and needs no data.
    match unsafe { libc::dl_iterate_phdr(Some(protect_one), std::ptr::null_mut()) } {
        ..0 => Err(Fail::new("mprotect", Errno::last())),
        _ => Ok(()),
    }
}

/// Is called with the program itself first, and ends the iteration there. dl_iterate_phdr(3).
unsafe extern "C" fn protect_one(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    const DONE: c_int = 1;
    // SAFETY: the caller passes the program's headers, which nothing changes.
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
    // The linker lets the segment end where a page does. What shares its first page is not
    // written either.
    let page = page_size();
    let start = (base + header.p_vaddr) & !(page - 1);
    let end = (base + header.p_vaddr + header.p_memsz) & !(page - 1);
    let length = (end - start) as usize;
    // SAFETY: the pages have what the linker found to be constant once it is relocated.
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
