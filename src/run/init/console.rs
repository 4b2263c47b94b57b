//! The standard streams: a pseudo-terminal, or the streams of the caller.

use std::io::IsTerminal as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::files::host_null;
use super::{Init, Report};
use crate::plan::ConsoleSize;
use crate::sys::stat::Stat;
use crate::sys::{Fail, Note, Sys, mount, path, process, stat, terminal};

const DEVPTS_MAGIC: i64 = 0x1cd1;
const KEEP: u32 = u32::MAX;

impl Init<'_> {
    /// Opens a pseudo-terminal in the container's devpts, sends the master to the runtime and makes
    /// the slave the standard streams. Both are checked and used by descriptor, because the image
    /// controls the names in /dev (CVE-2025-52565).
    pub(super) fn console(&mut self, size: Option<ConsoleSize>, uid: u32, bind: bool) -> Sys<()> {
        let root = self.root()?;
        let ptmx = open_ptmx(root)?;
        terminal::unlock(ptmx.as_fd())?;
        let peer = terminal::peer(ptmx.as_fd())?;
        if let Some(size) = size {
            terminal::set_size(peer.as_fd(), size.height, size.width)?;
        }
        own(peer.as_fd(), uid)?;
        if bind {
            let tree = mount::clone_tree(Some(peer.as_fd()), c"", false)?;
            let target = console_target(root)?;
            mount::attach(tree.as_fd(), target.as_fd())?;
        }
        Report::Console.send(self.connection().as_fd(), Some(ptmx.as_fd()))?;
        terminal::make_controlling(peer.as_fd())?;
        for stream in 0..3 {
            process::dup_over(peer.as_fd(), stream)?;
        }
        Ok(())
    }

    /// Gives those of the caller's streams to the container's user that [`is_for_the_program`]. A
    /// stream that is /dev/null is replaced by a newly opened one: through a descriptor of the
    /// host's node the container could change the mode and owner of a file that the whole host uses.
    pub(super) fn stdio(&self, uid: u32) -> Sys<()> {
        let mut null = None;
        for stream in 0..3 {
            let fd = process::standard_stream(stream);
            let stat = stat::stat(fd)?;
            if !stat.is_char(1, 3) {
                if stat.uid != uid && is_for_the_program(fd, &stat)? {
                    own(fd, uid)?;
                }
                continue;
            }
            if null.is_none() {
                null = self.open_null()?;
            }
            // If init lacks the privilege to open another one, the caller's stays.
            if let Some(null) = &null {
                process::dup_over(null.as_fd(), stream)?;
            }
        }
        Ok(())
    }

    /// Opens the container's /dev/null. A container without one gets the host's, through a
    /// read-only mount that protects the node. The result is `None` if init lacks the privilege to
    /// copy a mount; then the container lacks the privilege to change the host's node too.
    fn open_null(&self) -> Sys<Option<OwnedFd>> {
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        if let Some(null) = containers_null(self.root()?, flags)? {
            return Ok(Some(null));
        }
        match host_null().and_then(|null| path::reopen(null.as_fd(), flags)) {
            Ok(null) if is_null(&null)? => Ok(Some(null)),
            Ok(_) => Err(Fail::new("open", Errno::ENODEV).note(Note::DevNull)),
            Err(fail) if fail.errno == Errno::EPERM => Ok(None),
            Err(fail) => Err(fail),
        }
    }
}

/// Opens /dev/null in the container's root. Returns `None` if there is no such device.
///
/// The image may have any file at this name. Opening a terminal waits for its other end, and
/// opening a watchdog starts it. So the file is checked before it is opened, and again afterwards,
/// because it may have been exchanged in between.
fn containers_null(root: BorrowedFd, flags: i32) -> Sys<Option<OwnedFd>> {
    let Ok(handle) = path::open_in_root(root, c"/dev/null", libc::O_PATH) else {
        return Ok(None);
    };
    if !is_null(&handle)? {
        return Ok(None);
    }
    let Ok(opened) = path::open_in_root(root, c"/dev/null", flags | libc::O_NONBLOCK) else {
        return Ok(None);
    };
    if !is_null(&opened)? {
        return Ok(None);
    }
    match fcntl(&opened, FcntlArg::F_SETFL(OFlag::empty())) {
        Ok(_) => Ok(Some(opened)),
        Err(errno) => Err(Fail::new("fcntl(F_SETFL)", errno)),
    }
}

fn is_null(file: &OwnedFd) -> Sys<bool> {
    stat::stat(file.as_fd()).map(|stat| stat.is_char(1, 3))
}

/// Opens ptmx in the container's /dev/pts. The directory must be a devpts itself, in which only the
/// kernel creates files, and nothing may be mounted on its ptmx. /proc is not used, because in a
/// running container it cannot be trusted either.
fn open_ptmx(root: BorrowedFd) -> Sys<OwnedFd> {
    let directory = path::open_in_root(root, c"/dev/pts", libc::O_PATH | libc::O_DIRECTORY)?;
    let foreign = Fail::new("open", Errno::ENODEV).note(Note::Ptmx);
    if stat::magic(directory.as_fd())? != DEVPTS_MAGIC {
        return Err(foreign);
    }
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let ptmx = path::openat2(directory.as_fd(), c"ptmx", flags, 0, path::BENEATH)?;
    if stat::stat(ptmx.as_fd())?.is_char(5, 2) {
        Ok(ptmx)
    } else {
        Err(foreign)
    }
}

/// Opens the file to bind-mount the terminal on, and creates it if it is missing. A symbolic link
/// in the image is not followed.
fn console_target(root: BorrowedFd) -> Sys<OwnedFd> {
    let (dir, name) = path::open_parent(root, c"/dev/console")?;
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
    match path::open_at(Some(dir.as_fd()), &name, flags, 0o620) {
        Ok(_)
        | Err(Fail {
            errno: Errno::EEXIST | Errno::EROFS,
            ..
        }) => {}
        Err(fail) => return Err(fail),
    }
    let target = path::open_at(Some(dir.as_fd()), &name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    if stat::stat(target.as_fd())?.is(libc::S_IFLNK) {
        return Err(Fail::new("open", Errno::ELOOP).note(Note::DevConsole));
    }
    Ok(target)
}

/// Whether a stream is for the program to open again, as /dev/stdout for example, which needs its
/// user's permissions. The owner of a file can also write to it, so a file that the caller has
/// opened only for reading is not: it could be a script of the caller's. Nor is a device: it belongs
/// to the host, as do the nodes of major number 5 (/dev/tty, /dev/console), which show the terminal
/// of whoever opens them.
fn is_for_the_program(fd: BorrowedFd, stat: &Stat) -> Sys<bool> {
    match stat.mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => Ok(true),
        libc::S_IFREG => is_open_for_writing(fd),
        libc::S_IFCHR => Ok(stat.rdev.0 != 5 && fd.is_terminal()),
        _ => Ok(false),
    }
}

fn is_open_for_writing(fd: BorrowedFd) -> Sys<bool> {
    match fcntl(fd, FcntlArg::F_GETFL) {
        Ok(flags) => Ok(flags & libc::O_ACCMODE != libc::O_RDONLY),
        Err(errno) => Err(Fail::new("fcntl(F_GETFL)", errno)),
    }
}

/// Makes the user the owner of a stream. If chown(2) is not possible (a read-only file system, a
/// user namespace that does not map the owner), the stream stays as it is.
fn own(fd: BorrowedFd, uid: u32) -> Sys<()> {
    match path::chown(fd, uid, KEEP) {
        Err(Fail {
            errno: Errno::EPERM | Errno::EROFS | Errno::EINVAL,
            ..
        }) => Ok(()),
        other => other,
    }
}
