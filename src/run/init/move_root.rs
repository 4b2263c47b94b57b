//! `--no-pivot`: moves the rootfs over the root of the mount namespace.
//!
//! The host's mounts stay in the namespace, hidden below the container's root. For a procfs or
//! sysfs that is not enough: the kernel lets a process that creates a user namespace mount a new
//! procfs without any mask if its mount namespace contains an unmasked one anywhere
//! (mount_too_revealing() in fs/namespace.c). So init unmounts each of them, or covers it if the
//! kernel has locked it, and reads the mount table again until it shows none. If one cannot be
//! reached, `create` fails.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use super::root::change_propagation;
use crate::sys::mount::Change;
use crate::sys::{Fail, Note, Sys, io, mount, path, process, stat};

const PAGE: usize = 4096;

/// How often the mount table is read: the largest number of mounts on top of each other.
const STACK: usize = 100;

impl Init<'_> {
    pub(super) fn move_root(&mut self, shared: bool) -> Sys<()> {
        let below = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        if shared {
            change_propagation(below.as_fd(), libc::MS_SLAVE)?;
        }
        path::fchdir(self.root()?)?;
        mount::mount(c".", c"/", c"", libc::MS_MOVE, c"")?;
        let container = stat::mountinfo_id(self.root()?)?;
        self.hide_host_views(below.as_fd(), container, shared)?;
        path::fchdir(self.root()?)?;
        path::chroot(c".")
    }

    fn hide_host_views(&mut self, below: BorrowedFd, container: u64, shared: bool) -> Sys<()> {
        let mut left = None;
        for _ in 0..STACK {
            let table = Table::read(self.own_proc()?)?;
            let mut views = table.views(container).peekable();
            left = views.peek().map(|view| view.point.clone());
            if left.is_none() {
                return Ok(());
            }
            for view in views {
                // A mount that cannot be opened may be on a directory that another mount covers.
                // It can be opened after that mount has been removed.
                if let Ok(top) = view.open(below) {
                    if shared {
                        cut_off(top.as_fd())?;
                    }
                    hide(top.as_fd())?;
                }
            }
        }
        self.shown = left.unwrap_or_default();
        Err(Fail::new("umount2", Errno::EBUSY).note(Note::HostView))
    }
}

/// Stops propagation to the host. The mounts of this namespace are peers of the host's, and
/// umount2(2) propagates through the parent mount, so it would unmount the host's too.
fn cut_off(top: BorrowedFd) -> Sys<()> {
    let slave = Change {
        propagation: libc::MS_SLAVE,
        ..Change::default()
    };
    mount::set_attr(top, slave, true)?;
    let parent = path::open_at(Some(top), c"..", libc::O_PATH, 0)?;
    change_propagation(parent.as_fd(), libc::MS_SLAVE)
}

/// Unmounts the mount whose root is `top`. A mount that belongs to another user namespace is
/// locked, so it is covered instead.
fn hide(top: BorrowedFd) -> Sys<()> {
    path::fchdir(top)?;
    match mount::detach_cwd() {
        Err(Fail {
            errno: Errno::EINVAL | Errno::EPERM,
            ..
        }) => mount::mount(c"tmpfs", c".", c"tmpfs", libc::MS_RDONLY, c"size=0k"),
        other => other,
    }
}

/// The mounts of this mount namespace. proc_pid_mountinfo(5).
struct Table(Vec<Mounted>);

struct Mounted {
    id: u64,
    parent: u64,
    point: Vec<u8>,
    /// Whether it is a procfs or sysfs mounted from its root. The kernel counts only these.
    is_view: bool,
}

impl Table {
    fn read(proc: BorrowedFd) -> Sys<Self> {
        let name = path::c_string(format!("{}/mountinfo", process::own_pid()))?;
        let file = path::openat2(proc, &name, libc::O_RDONLY, 0, path::BENEATH)?;
        let mut text = Vec::with_capacity(PAGE);
        while io::read_more(file.as_fd(), &mut text)? > 0 {
            text.reserve(PAGE);
        }
        let lines = text.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        lines
            .map(Mounted::parse)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or(Fail::new("read", Errno::EPROTO).note(Note::MountInfo))
    }

    /// The procfs and sysfs mounts outside of the container's tree that are not covered.
    fn views(&self, container: u64) -> impl Iterator<Item = &Mounted> {
        self.0.iter().filter(move |mounted| {
            mounted.is_view && !self.is_below(mounted, container) && !self.is_covered(mounted)
        })
    }

    fn is_below(&self, mounted: &Mounted, container: u64) -> bool {
        let mut at = Some(mounted);
        // The length of the table limits the loop, because no chain of parents is longer.
        for _ in 0..self.0.len() {
            match at {
                Some(one) if one.id == container => return true,
                Some(one) => at = self.0.iter().find(|other| other.id == one.parent),
                None => return false,
            }
        }
        false
    }

    /// Whether another mount is on its root. A new user namespace cannot unmount that.
    fn is_covered(&self, mounted: &Mounted) -> bool {
        let covers = |other: &Mounted| other.parent == mounted.id && other.point == mounted.point;
        self.0.iter().any(covers)
    }
}

impl Mounted {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        let id = number(words.next()?)?;
        let parent = number(words.next()?)?;
        let root = words.nth(1)?;
        let point = unescaped(words.next()?);
        let fstype = words.skip_while(|word| *word != b"-").nth(1)?;
        let is_view = root == b"/" && [b"proc".as_slice(), b"sysfs"].contains(&fstype);
        Some(Self {
            id,
            parent,
            point,
            is_view,
        })
    }

    /// Opens the top mount at its mount point. Symbolic links are refused, because they would lead
    /// to another place.
    fn open(&self, root: BorrowedFd) -> Sys<OwnedFd> {
        let name =
            CString::new(self.point.as_slice()).map_err(|_| Fail::new("openat2", Errno::EINVAL))?;
        let resolve =
            libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
        path::openat2(root, &name, libc::O_PATH | libc::O_DIRECTORY, 0, resolve)
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Decodes a field of mountinfo, in which blanks, line ends and backslashes are written as `\\ooo`.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [byte, after @ ..] = rest {
        let digits = after.get(..3).filter(|_| *byte == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                text.push(escaped);
                rest = &after[3..];
            }
            None => {
                text.push(*byte);
                rest = after;
            }
        }
    }
    text
}
