//! `--no-pivot`: the rootfs is moved over the root of the mount namespace.
//!
//! The host's mounts stay in the namespace, below the container's root. Out of sight is not enough
//! for a procfs or sysfs: the kernel grants a process that makes a user namespace a new procfs
//! without any mask if its mount namespace has a whole one anywhere (mount_too_revealing() in
//! fs/namespace.c). So each of them is taken off, or covered where the kernel keeps it, and the
//! mount table is read again until it shows none. A create that cannot reach one fails.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::Init;
use super::root::change_propagation;
use crate::sys::mount::Change;
use crate::sys::{Fail, Note, Sys, mount, path, process};

const PAGE: usize = 4096;

/// How many may be mounted on top of each other.
const STACK: usize = 100;

impl Init<'_> {
    pub(super) fn move_root(&mut self, shared: bool) -> Sys<()> {
        let below = path::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
        if shared {
            change_propagation(below.as_fd(), libc::MS_SLAVE)?;
        }
        path::fchdir(self.root()?)?;
        mount::mount(c".", c"/", c"", libc::MS_MOVE, c"")?;
        let container = path::mountinfo_id(self.root()?)?;
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
                // What cannot be opened may be mounted on something that another one covers.
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

/// Keeps the host's mounts where they are when those of this namespace, their peers, are taken off:
/// umount2(2) follows the propagation of the parent.
fn cut_off(top: BorrowedFd) -> Sys<()> {
    let slave = Change {
        propagation: libc::MS_SLAVE,
        ..Change::default()
    };
    mount::set_attr(top, slave, true)?;
    let parent = path::open_at(Some(top), c"..", libc::O_PATH, 0)?;
    change_propagation(parent.as_fd(), libc::MS_SLAVE)
}

/// Takes off the mount whose root `top` is. One that belongs to another user namespace is locked,
/// and is covered.
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
    /// A procfs or sysfs from its root on, which is what the kernel counts.
    is_view: bool,
}

impl Table {
    fn read(proc: BorrowedFd) -> Sys<Self> {
        let name = CString::new(format!("{}/mountinfo", process::own_pid()))
            .map_err(|_| Fail::new("open", Errno::EINVAL))?;
        let file = path::openat2(proc, &name, libc::O_RDONLY, 0, path::BENEATH)?;
        let mut text = Vec::with_capacity(PAGE);
        while path::read_more(file.as_fd(), &mut text)? > 0 {
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

    /// What could be seen beside the tree of the container.
    fn views(&self, container: u64) -> impl Iterator<Item = &Mounted> {
        self.0.iter().filter(move |mounted| {
            mounted.is_view && !self.is_below(mounted, container) && !self.is_covered(mounted)
        })
    }

    fn is_below(&self, mounted: &Mounted, container: u64) -> bool {
        let mut at = Some(mounted);
        // No chain is longer than the table.
        for _ in 0..self.0.len() {
            match at {
                Some(one) if one.id == container => return true,
                Some(one) => at = self.0.iter().find(|other| other.id == one.parent),
                None => return false,
            }
        }
        false
    }

    /// Whether something is mounted on its root. A new user namespace cannot take that off.
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

    /// Opens what is on top at its mount point. A link there would lead elsewhere.
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

/// Blanks, line ends and backslashes are written as `\\ooo`.
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
