//! Why the kernel refuses the options of a file system.
//!
//! mount(2) says no more than EINVAL. A file system context keeps the sentence that the kernel
//! would else write to its log, so the options are tried once more on one that never becomes a
//! mount. Source: Documentation/filesystems/mount_api.rst, fsopen(2).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use crate::plan::Filesystem;
use crate::sys::{mount, path};

/// The kernel's words for the first option that it does not take; `None` if each of them alone is
/// fine, or the kernel has no words.
pub fn of_refused_options(fs: &Filesystem) -> Option<String> {
    let context = mount::fs_open(&fs.fstype).ok()?;
    let data = fs.data.to_str().ok()?;
    data.split(',')
        .filter(|option| !option.is_empty())
        .find_map(|option| {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(CString::new(value).ok()?)),
                None => (option, None),
            };
            let key = CString::new(key).ok()?;
            match mount::fs_set(context.as_fd(), &key, value.as_deref()) {
                Ok(()) => None,
                Err(_) => message(context.as_fd()),
            }
        })
}

/// The last error among the messages: each read(2) takes one, `e` in front marks errors.
fn message(context: BorrowedFd) -> Option<String> {
    let mut buffer = [0; 1024];
    let mut last = None;
    while let Ok(length @ 1..) = path::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some(error) = text.strip_prefix("e ") {
            last = Some(error.trim_end().to_owned());
        }
    }
    last
}
