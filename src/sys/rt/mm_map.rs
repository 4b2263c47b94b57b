//! What the kernel knows about the memory of this process and shows in /proc: prctl(2),
//! PR_SET_MM_MAP.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;

use super::image::Image;
use crate::sys::exec::StringArray;
use crate::sys::{Sys, tag};

/// The descriptor that leaves the executable of the process as it is.
const SAME_FILE: u32 = u32::MAX;

/// `struct prctl_mm_map` of `linux/prctl.h`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: *const u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MmMap {
    /// The program as it is, with this command line and environment.
    #[must_use]
    pub fn own(args: &StringArray<'static>, env: &StringArray<'static>) -> Self {
        let (mut code, mut data) = (0..0, 0..0);
        let image = Image::own();
        for header in image.headers(libc::PT_LOAD) {
            let contents = image.addresses(header, header.p_filesz);
            if header.p_flags & libc::PF_W != 0 {
                data = contents;
            } else if header.p_flags & libc::PF_X != 0 {
                code = contents;
            }
        }
        let args = args.extent().unwrap_or_default();
        // The kernel refuses 0 as an address. execve(2) puts an empty environment behind the
        // arguments.
        let env = env.extent().unwrap_or(args.end..args.end);
        // SAFETY: brk(2) with an address that it cannot set changes nothing.
        let brk = unsafe { libc::syscall(libc::SYS_brk, 0) }.cast_unsigned();
        Self {
            start_code: code.start,
            end_code: code.end,
            start_data: data.start,
            end_data: data.end,
            start_brk: brk,
            brk,
            start_stack: (&raw const brk) as u64,
            arg_start: args.start,
            arg_end: args.end,
            env_start: env.start,
            env_end: env.end,
            // A size of 0 leaves the auxiliary vector.
            auxv: ptr::null(),
            auxv_size: 0,
            exe_fd: SAME_FILE,
        }
    }

    /// The same, with another executable, which [`MmMap::tell`] needs as long as it is used.
    #[must_use]
    pub fn of_file(self, file: BorrowedFd) -> Self {
        let exe_fd = file.as_raw_fd().cast_unsigned();
        Self { exe_fd, ..self }
    }

    /// The same, with `length` bytes of the command line and no environment.
    #[must_use]
    pub fn cut(self, length: u64) -> Self {
        let arg_end = self.arg_start + length;
        Self {
            arg_end,
            env_start: arg_end,
            env_end: arg_end,
            ..self
        }
    }

    /// Tells the kernel.
    ///
    /// # Errors
    /// prctl(2) failed: EPERM for another executable without CAP_SYS_ADMIN or
    /// CAP_CHECKPOINT_RESTORE, and EINVAL if the kernel is built without CONFIG_CHECKPOINT_RESTORE,
    /// or is older than Linux 5.15 and demands that the heap is above the program, which it is not
    /// if the program has no fixed address.
    pub fn tell(&self) -> Sys<()> {
        // SAFETY: the kernel reads the structure. Apart from the file, it only shows what is in it.
        let done = unsafe {
            libc::prctl(
                libc::PR_SET_MM,
                libc::PR_SET_MM_MAP,
                ptr::from_ref(self),
                size_of::<Self>(),
                0,
            )
        };
        tag("prctl(PR_SET_MM)", Errno::result(done)).map(drop)
    }
}
