//! Walks directory trees by descriptor. Depth and path length are not limited, and each name is
//! resolved only in the directory that it was read from.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{Fail, Sys, path, stat};

const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;

/// A name in a directory.
pub struct Entry {
    /// Without slashes.
    pub name: CString,
    /// Whether it is a directory, not a link to one.
    pub is_dir: bool,
}

/// The entries of a directory without `.` and `..`; empty if the directory was removed. `dir` may
/// be O_PATH.
///
/// # Errors
/// `readdir`: open(2), getdents64(2) or fstatat(2) failed.
pub fn entries(dir: BorrowedFd) -> Sys<Vec<Entry>> {
    let failed = |errno| Fail::new("readdir", errno);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut opened = match Dir::openat(dir, c".", flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
        opened => opened.map_err(failed)?,
    };
    let mut entries = Vec::new();
    for entry in opened.iter() {
        let entry = match entry {
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(Vec::new()),
            entry => entry.map_err(failed)?,
        };
        let name = entry.file_name().to_owned();
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            // Not every file system reports the type.
            None => is_dir(dir, &name)?,
        };
        entries.push(Entry { name, is_dir });
    }
    Ok(entries)
}

fn is_dir(parent: BorrowedFd, name: &CStr) -> Sys<bool> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    match path::open_at(Some(parent), name, flags, 0) {
        Err(fail) if fail.errno == Errno::ENOENT => Ok(false),
        opened => Ok(stat::stat(opened?.as_fd())?.is(libc::S_IFDIR)),
    }
}

fn directories(dir: BorrowedFd) -> Sys<Vec<CString>> {
    let below = entries(dir)?.into_iter().filter(|entry| entry.is_dir);
    Ok(below.map(|entry| entry.name).collect())
}

/// A directory that the walk has entered.
struct Level {
    name: CString,
    /// The inode of the directory above, to which the walk returns.
    parent: (u64, u64),
    /// The directories next to this one that are left to enter.
    rest: Vec<CString>,
}

/// Walks the directories below `top`. `enter` is called with each directory before those below it,
/// and `leave` with its parent and its name after them. At most three descriptors are open at a
/// time. A directory that is removed meanwhile is skipped.
///
/// # Errors
/// Those of `enter` and `leave`; open(2) or readdir(3) failed; ESTALE if a directory was moved.
pub fn walk<E: From<Fail>>(
    top: BorrowedFd,
    mut enter: impl FnMut(BorrowedFd) -> Result<(), E>,
    mut leave: impl FnMut(BorrowedFd, &CStr) -> Result<(), E>,
) -> Result<(), E> {
    let mut levels: Vec<Level> = Vec::new();
    let mut rest = directories(top)?;
    // The current directory, unless it is `top`.
    let mut here: Option<OwnedFd> = None;
    loop {
        if let Some(name) = rest.pop() {
            let parent = here.as_ref().map_or(top, AsFd::as_fd);
            let child = match path::open_at(Some(parent), &name, DIRECTORY, 0) {
                Err(fail) if [Errno::ENOENT, Errno::ENODEV].contains(&fail.errno) => continue,
                child => child?,
            };
            enter(child.as_fd())?;
            let below = directories(child.as_fd())?;
            levels.push(Level {
                name,
                parent: stat::stat(parent)?.inode(),
                rest: std::mem::replace(&mut rest, below),
            });
            here = Some(child);
        } else if let (Some(level), Some(child)) = (levels.pop(), here.take()) {
            if !levels.is_empty() {
                here = Some(parent_of(child.as_fd(), level.parent)?);
            }
            leave(here.as_ref().map_or(top, AsFd::as_fd), &level.name)?;
            rest = level.rest;
        } else {
            return Ok(());
        }
    }
}

/// Removes everything in `top`. Nothing of another mount is removed.
///
/// # Errors
/// Those of [`walk`], unlink(2) or rmdir(2); EBUSY if `top` or a directory in it is a mount point.
pub fn clear(top: BorrowedFd) -> Sys<()> {
    let unlink_files = |dir: BorrowedFd| {
        if stat::is_mount_root(dir)? {
            return Err(Fail::new("rmdir", Errno::EBUSY));
        }
        for file in entries(dir)?.into_iter().filter(|entry| !entry.is_dir) {
            match path::unlink_at(Some(dir), &file.name) {
                Err(fail) if fail.errno != Errno::ENOENT => return Err(fail),
                _ => {}
            }
        }
        Ok(())
    };
    unlink_files(top)?;
    walk(top, unlink_files, path::remove_dir_at)
}

/// Goes up again, to the directory with `inode`.
fn parent_of(child: BorrowedFd, inode: (u64, u64)) -> Sys<OwnedFd> {
    let parent = path::open_at(Some(child), c"..", DIRECTORY, 0)?;
    if stat::stat(parent.as_fd())?.inode() == inode {
        Ok(parent)
    } else {
        Err(Fail::new("open", Errno::ESTALE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_directory(name: &str, test: impl FnOnce(&std::path::Path, BorrowedFd)) {
        let dir = std::env::temp_dir().join(format!("sampan-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let top: OwnedFd = std::fs::File::open(&dir).unwrap().into();
        test(&dir, top.as_fd());
        walk(top.as_fd(), |_| Ok(()), path::remove_dir_at).unwrap();
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn each_directory_is_entered_before_and_left_after_what_is_below() {
        in_directory("walk", |dir, top| {
            for path in ["a/b", "a/c", "d"] {
                std::fs::create_dir_all(dir.join(path)).unwrap();
            }
            std::os::unix::fs::symlink("/", dir.join("a/link")).unwrap();
            let (mut entered, mut left) = (0, Vec::new());
            let enter = |_: BorrowedFd<'_>| {
                entered += 1;
                Ok(())
            };
            let leave = |_: BorrowedFd<'_>, name: &CStr| {
                left.push(name.to_str().unwrap().to_owned());
                Ok(())
            };
            walk::<Fail>(top, enter, leave).unwrap();
            let place = |name| left.iter().position(|other| other == name).unwrap();
            assert!(
                place("a") > place("b") && place("a") > place("c"),
                "{left:?}"
            );
            assert_eq!((entered, left.len()), (4, 4));
            std::fs::remove_file(dir.join("a/link")).unwrap();
        });
    }

    /// The path of the deepest directory is longer than PATH_MAX.
    #[test]
    fn no_depth_is_too_deep() {
        const LEVELS: usize = 500;
        in_directory("deep", |_, top| {
            let mut at = top.try_clone_to_owned().unwrap();
            for _ in 0..LEVELS {
                path::mkdir_at(at.as_fd(), c"directory", 0o700).unwrap();
                at = path::open_at(Some(at.as_fd()), c"directory", DIRECTORY, 0).unwrap();
            }
            let mut count = 0;
            let enter = |_: BorrowedFd<'_>| {
                count += 1;
                Ok(())
            };
            walk::<Fail>(top, enter, |_, _| Ok(())).unwrap();
            assert_eq!(count, LEVELS);
        });
    }

    #[test]
    fn what_is_removed_meanwhile_is_passed_over() {
        in_directory("vanish", |dir, top| {
            for path in ["a/b", "c/d"] {
                std::fs::create_dir_all(dir.join(path)).unwrap();
            }
            let mut count = 0;
            let enter = |_: BorrowedFd<'_>| {
                count += 1;
                for path in ["a/b", "c/d"] {
                    let _ = std::fs::remove_dir(dir.join(path));
                }
                Ok(())
            };
            walk::<Fail>(top, enter, |_, _| Ok(())).unwrap();
            assert_eq!(count, 2);
        });
    }
}
