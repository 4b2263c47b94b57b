//! File handles: open_by_handle_at(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Fail, Sys, descriptor};

/// `struct file_handle` for a file of kernfs, which is known by its number alone: FILEID_KERNFS of
/// linux/exportfs.h.
#[repr(C)]
struct Kernfs {
    bytes: u32,
    kind: i32,
    number: [u8; 8],
}

const FILEID_KERNFS: i32 = 0xfe;

/// Opens the cgroup with the inode number `number`, wherever it is in the hierarchy of `mount`.
/// O_PATH, close-on-exec. `None` if no cgroup has the number: the kernel does not reuse one before
/// it is booted again.
///
/// # Errors
/// EPERM without CAP_DAC_READ_SEARCH in the initial user namespace.
pub fn open_cgroup(mount: BorrowedFd, number: u64) -> Sys<Option<OwnedFd>> {
    const OP: &str = "open_by_handle_at";
    let mut handle = Kernfs {
        bytes: 8,
        kind: FILEID_KERNFS,
        number: number.to_ne_bytes(),
    };
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the handle has the layout of struct file_handle with eight bytes, and lives across the
    // call.
    let opened = descriptor(OP, unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            flags,
        )
    });
    match opened {
        Err(Fail {
            errno: Errno::ESTALE | Errno::ENOTDIR,
            ..
        }) => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_cgroup_is_found_by_its_number() {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let mount = mounts
            .iter()
            .map(std::path::Path::new)
            .find(|mount| mount.join("cgroup.controllers").exists());
        let Some(mount) = mount else { return };
        let open = std::fs::File::open(mount).unwrap();
        let below = mount.join(format!("sampan-handle-{}", std::process::id()));
        if std::fs::create_dir(&below).is_err() {
            return;
        }
        let number = std::fs::metadata(&below).unwrap().ino();
        let found = open_cgroup(open.as_fd(), number);
        std::fs::remove_dir(&below).unwrap();
        match found {
            // This test runs without the capability.
            Err(fail) if fail.errno == Errno::EPERM => return,
            found => assert!(found.unwrap().is_some()),
        }
        assert!(open_cgroup(open.as_fd(), number).unwrap().is_none());
        let file = std::fs::metadata(mount.join("cgroup.controllers")).unwrap();
        assert!(open_cgroup(open.as_fd(), file.ino()).unwrap().is_none());
    }
}
