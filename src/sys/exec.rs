//! execve(2), and the strings that it takes.

use std::ffi::{CStr, CString};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::errno::Errno;

use super::Fail;

/// A NULL-terminated array of pointers to strings: argv or envp.
pub struct StringArray<'a> {
    pointers: Pointers,
    strings: std::marker::PhantomData<&'a CStr>,
}

enum Pointers {
    Own(Vec<*const libc::c_char>),
    Given(*const *const libc::c_char),
}

impl<'a> StringArray<'a> {
    /// Borrows the strings.
    pub fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        let mut pointers: Vec<_> = strings.map(CStr::as_ptr).collect();
        pointers.push(ptr::null());
        Self {
            pointers: Pointers::Own(pointers),
            strings: std::marker::PhantomData,
        }
    }

    /// Borrows an existing array.
    ///
    /// # Safety
    /// The array ends with NULL, and neither it nor its strings change or are freed.
    pub unsafe fn given(array: *const *const libc::c_char) -> Self {
        Self {
            pointers: Pointers::Given(array),
            strings: std::marker::PhantomData,
        }
    }

    fn as_ptr(&self) -> *const *const libc::c_char {
        match &self.pointers {
            Pointers::Own(pointers) => pointers.as_ptr(),
            Pointers::Given(array) => *array,
        }
    }

    /// The strings.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> {
        // SAFETY: a pointer that is not NULL is a string that lives as long as the array.
        self.addresses()
            .map(|string| unsafe { CStr::from_ptr(string) })
    }

    fn addresses(&self) -> impl Iterator<Item = *const libc::c_char> {
        let array = self.as_ptr();
        (0..).map_while(move |at| {
            // SAFETY: the array ends with NULL, and map_while ends there.
            let string = unsafe { *array.add(at) };
            (!string.is_null()).then_some(string)
        })
    }
}

impl StringArray<'static> {
    /// The addresses of the strings, if execve(2) has put them there, one after another. None if the
    /// array is empty.
    #[must_use]
    pub fn extent(&self) -> Option<Range<u64>> {
        let start = self.addresses().next()?;
        // SAFETY: as in `iter`.
        let last = unsafe { CStr::from_ptr(self.addresses().last()?) };
        Some(start as u64..last.as_ptr() as u64 + length(last))
    }
}

/// The size of a string with its NUL.
pub fn length(string: &CStr) -> u64 {
    string.count_bytes() as u64 + 1
}

impl<'a> From<&'a [CString]> for StringArray<'a> {
    fn from(strings: &'a [CString]) -> Self {
        Self::new(strings.iter().map(CString::as_c_str))
    }
}

/// execve(2); returns only on failure.
pub fn execve(path: &CStr, args: &StringArray, env: &StringArray) -> Fail {
    // SAFETY: path is NUL-terminated, and both arrays are NULL-terminated and borrow live strings.
    unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Fail::new("execve", Errno::last())
}

/// execveat(2) of a descriptor; returns only on failure.
pub fn execve_fd(file: BorrowedFd, args: &StringArray, env: &StringArray) -> Fail {
    // SAFETY: the empty path with AT_EMPTY_PATH names the descriptor, and both arrays are
    // NULL-terminated and borrow live strings.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Fail::new("execveat", Errno::last())
}

/// The command line that the process was started with. NULL unless the program begins with
/// [`super::rt::entry::begin`].
static ARGUMENTS: AtomicPtr<*const libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Keeps the command line for [`arguments`].
///
/// # Safety
/// As for [`StringArray::given`].
pub unsafe fn keep_arguments(array: *const *const libc::c_char) -> StringArray<'static> {
    ARGUMENTS.store(array.cast_mut(), Ordering::Relaxed);
    // SAFETY: the caller promises it.
    unsafe { StringArray::given(array) }
}

/// The command line that the process was started with.
pub fn arguments() -> Option<StringArray<'static>> {
    let array = ARGUMENTS.load(Ordering::Relaxed);
    // SAFETY: `keep_arguments` was called with it.
    (!array.is_null()).then(|| unsafe { StringArray::given(array) })
}

/// The environment that the process was started with, for a hook that inherits it.
pub fn environment() -> StringArray<'static> {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: environ is NULL-terminated, and this program never changes its environment.
    unsafe { StringArray::given(environ) }
}
