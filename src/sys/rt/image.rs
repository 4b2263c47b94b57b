//! The program's own image in memory: the segments that execve(2) has mapped.

use std::ffi::{c_int, c_void};
use std::ops::Range;

/// The program headers, and the address to which they are relative.
pub struct Image {
    base: u64,
    headers: &'static [libc::Elf64_Phdr],
}

impl Image {
    /// The image of this program.
    #[must_use]
    pub fn own() -> Self {
        let mut image = Self {
            base: 0,
            headers: &[],
        };
        // SAFETY: the callback has the required type, and its data is an image.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut image).cast()) };
        image
    }

    /// The headers of this type: PT_LOAD, PT_GNU_RELRO.
    pub fn headers(&self, kind: u32) -> impl Iterator<Item = &'static libc::Elf64_Phdr> {
        let headers = self.headers.iter();
        headers.filter(move |header| header.p_type == kind)
    }

    /// The addresses of the first `size` bytes of a header's segment.
    #[must_use]
    pub fn addresses(&self, header: &libc::Elf64_Phdr, size: u64) -> Range<u64> {
        let start = self.base + header.p_vaddr;
        start..start + size
    }
}

/// dl_iterate_phdr(3) calls this with the program itself first. The iteration ends there.
unsafe extern "C" fn first(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    image: *mut c_void,
) -> c_int {
    // SAFETY: dl_iterate_phdr passes the program's headers, which never change, and the image of
    // `own`.
    unsafe {
        let info = &*info;
        let count = usize::from(info.dlpi_phnum);
        *image.cast() = Image {
            base: info.dlpi_addr,
            headers: std::slice::from_raw_parts(info.dlpi_phdr, count),
        };
    }
    1
}

/// getauxval(3), AT_PAGESZ.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: takes no pointers.
    unsafe { libc::getauxval(libc::AT_PAGESZ) }
}
