//! Where the program begins and what it leaves out of Rust's runtime.
//!
//! Rust's own start reopens standard streams, which [`super::process::fill_standard_streams`] does
//! too, and installs handlers that name a stack overflow: a dozen system calls before `main`.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

/// The command line as C's `main` gets it.
///
/// A closed pipe is an error of write(2) from here on, not a signal.
///
/// # Safety
/// `argv` is an array of `argc` strings, as the C library passes it.
#[must_use]
pub unsafe fn begin(argc: i32, argv: *const *const c_char) -> Vec<OsString> {
    // SAFETY: no handler is installed, and no other thread runs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: the caller gives so many strings.
        .map(|at| unsafe { CStr::from_ptr(*argv.add(at)) })
        .map(|arg| OsStr::from_bytes(arg.to_bytes()).to_owned())
        .collect()
}

/// Makes the function the program: it gets the command line and returns the exit status.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[global_allocator]
        static HEAP: $crate::sys::heap::Heap = $crate::sys::heap::Heap::new();

        // SAFETY: the C library calls the one function of this name.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            argc: std::ffi::c_int,
            argv: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: these are the arguments of C's `main`.
            $main(unsafe { $crate::sys::entry::begin(argc, argv) }).into()
        }
    };
}
