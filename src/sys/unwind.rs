//! Takes the place of the library that unwinds the stack, in the release binary:
//! `docs/decisions/no-unwinder.md`.
//!
//! A panic there aborts, so nothing unwinds; std only asks for a backtrace, which would name nothing
//! because there are no symbols. Without the walk of the stack, std's reader of debug information is
//! dead code: a tenth of a megabyte with the library. The linker takes these in place of the
//! library's functions, all of them or none.

use std::ffi::{c_int, c_void};

const END_OF_STACK: c_int = 5;

/// The walk of the stack that a backtrace is made of: it has no frames.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// What std names in its landing pads, which nothing reaches without an unwinder.
macro_rules! unreached {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

unreached! {
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
