//! The program's entry point, and the parts of Rust's runtime that it leaves out:
//! `docs/decisions/own-entry.md`.
//!
//! Rust's own start reopens closed standard streams, which [`crate::sys::inherited::begin`] does too,
//! and installs handlers that report a stack overflow. That is a dozen system calls before `main`.

use std::ffi::c_char;

use crate::sys::exec::{self, StringArray};

/// The command line as C's `main` gets it.
///
/// From here on, write(2) to a closed pipe returns EPIPE instead of raising SIGPIPE.
///
/// # Safety
/// `argv` is the array that the C library passes.
#[must_use]
pub unsafe fn begin(argv: *const *const c_char) -> StringArray<'static> {
    // SAFETY: no handler is installed, and no other thread runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // SAFETY: the caller's array ends with NULL, and this program never changes it.
    unsafe { exec::keep_arguments(argv) }
}

/// Defines C's `main`, which calls the given function with the command line and exits with the
/// status that it returns. The exit handlers of the C library are skipped: nothing in this program
/// relies on them.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[global_allocator]
        static HEAP: $crate::sys::rt::heap::Heap = $crate::sys::rt::heap::Heap::new();

        // SAFETY: this is the only function of this name, and it has the signature that the C
        // library calls.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments of C's `main`.
            let status: u8 = $main(unsafe { $crate::sys::rt::entry::begin(argv) });
            $crate::sys::process::exit(status.into())
        }
    };
}
