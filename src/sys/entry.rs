//! Where the program begins and what it leaves out of Rust's runtime:
//! `docs/decisions/own-entry.md`.
//!
//! Rust's own start reopens standard streams, which [`super::inherited::begin`] does too, and
//! installs handlers that name a stack overflow: a dozen system calls before `main`.

use std::ffi::c_char;

use super::process::StringArray;

/// The command line as C's `main` gets it.
///
/// A closed pipe is an error of write(2) from here on, not a signal.
///
/// # Safety
/// `argv` is the array that the C library passes.
#[must_use]
pub unsafe fn begin(argv: *const *const c_char) -> StringArray<'static> {
    // SAFETY: no handler is installed, and no other thread runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // SAFETY: the caller's array ends with NULL, and this program never changes it.
    unsafe { StringArray::given(argv) }
}

/// Makes the function the program: it gets the command line and returns the exit status. What C does
/// at the end of a program is left out: nothing here waits for it.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[global_allocator]
        static HEAP: $crate::sys::heap::Heap = $crate::sys::heap::Heap::new();

        // SAFETY: the C library calls the one function of this name.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            _argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments of C's `main`.
            let status: u8 = $main(unsafe { $crate::sys::entry::begin(argv) });
            $crate::sys::process::exit(status.into())
        }
    };
}
