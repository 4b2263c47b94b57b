//! Replaces the library that unwinds the stack, in the release binary:
//! `docs/decisions/no-unwinder.md`.
//!
//! A panic of the release binary aborts, so nothing unwinds. std calls the library only for a
//! backtrace, which would contain no names because the binary has no symbols. Without the stack
//! walk, std's reader of debug information is dead code; together with the library it is a tenth of
//! a megabyte. The linker takes these functions in place of the library's, all of them or none.

use std::ffi::{c_int, c_void};

const END_OF_STACK: c_int = 5;

/// Walks the stack for a backtrace. This one reports no frames.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions that std's landing pads reference. Without an unwinder nothing calls them.
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
