//! Finds out why the kernel refuses the options of a file system.
//!
//! mount(2) only returns EINVAL. A file system context keeps the message that the kernel would
//! otherwise write to its log. So the options are tried again on a context that never becomes a
//! mount. Source: Documentation/filesystems/mount_api.rst, fsopen(2).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use crate::plan::Filesystem;
use crate::sys::{io, mount};

/// Returns the kernel's message about the first option that it refuses; `None` if it accepts each
/// option on its own, or has no message.
pub(super) fn of_refused_options(fs: &Filesystem) -> Option<String> {
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

/// Returns the last error among the messages. Each read(2) returns one message; the prefix `e`
/// marks an error.
fn message(context: BorrowedFd) -> Option<String> {
    let mut buffer = [0; 1024];
    let mut last = None;
    while let Ok(length @ 1..) = io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some(error) = text.strip_prefix("e ") {
            last = Some(error.trim_end().to_owned());
        }
    }
    last
}
