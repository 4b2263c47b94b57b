//! File handles, by which a privileged process opens files outside of the mounts that it sees.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;

use nix::errno::Errno;

/// A name of a file that is valid in each mount of its file system: the structure `file_handle` of
/// name_to_handle_at(2).
pub struct FileHandle(Vec<u8>);

impl FileHandle {
    /// The longest handle, MAX_HANDLE_SZ.
    const LONGEST: u32 = 128;

    /// `None` if the file system has no handles.
    pub fn of(path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).expect("a path");
        let mut handle = vec![0; 8 + Self::LONGEST as usize];
        handle[..4].copy_from_slice(&Self::LONGEST.to_ne_bytes());
        let mut mount = 0;
        // SAFETY: the path is NUL-terminated, the buffer has the announced length, and the kernel
        // writes the number of the mount.
        let done = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                handle.as_mut_ptr(),
                &raw mut mount,
                0,
            )
        };
        (done == 0).then_some(Self(handle))
    }

    /// For an argument of a probe.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The reverse of [`FileHandle::to_hex`].
    pub fn from_hex(text: &str) -> Self {
        let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"));
        Self(bytes.collect())
    }

    /// Opens the file in the mount of another one, with O_PATH. The caller needs
    /// CAP_DAC_READ_SEARCH. open_by_handle_at(2).
    pub fn open_in_mount_of(&self, other: &File) -> nix::Result<File> {
        // SAFETY: the buffer contains a handle of the announced length.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                other.as_raw_fd(),
                self.0.as_ptr(),
                libc::O_PATH | libc::O_CLOEXEC,
            )
        };
        let fd = Errno::result(fd)? as i32;
        // SAFETY: the kernel has just returned this descriptor.
        Ok(unsafe { File::from_raw_fd(fd) })
    }
}
