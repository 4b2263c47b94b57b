//! The attacker: exchanges directories of a root filesystem for decoys.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, chown};

/// The directory of the decoys. It is below the root filesystem, because rename(2) cannot cross
/// file systems.
pub const STORE: &str = ".store";

/// The kind of a decoy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoy {
    /// A link to `/`.
    Root,
    /// A link to a directory of the host, by its absolute path.
    Absolute,
    /// The same, by enough `..` to reach the host's root from anywhere.
    Upwards,
    /// The same, through the root of another process.
    Magic,
    /// A link to what may be a descriptor of the caller.
    Descriptor,
    /// A link to another directory of the root filesystem.
    Inside,
    /// A link to the container's procfs.
    Proc,
    /// Another directory with the same content.
    Directory,
    /// A file.
    File,
    /// A dangling link.
    Dangling,
}

impl Decoy {
    pub const ALL: &[Self] = &[
        Self::Root,
        Self::Absolute,
        Self::Upwards,
        Self::Magic,
        Self::Descriptor,
        Self::Inside,
        Self::Proc,
        Self::Directory,
        Self::File,
        Self::Dangling,
    ];

    /// Creates the decoy at `path`. `canary` is the directory of the host.
    fn make(self, path: &Path, target: &str, canary: &Path) {
        let below = canary.strip_prefix("/").expect("absolute");
        let link = match self {
            Self::Root => PathBuf::from("/"),
            Self::Absolute => canary.to_owned(),
            Self::Upwards => Path::new(&"../".repeat(16)).join(below),
            Self::Magic => Path::new("/proc/1/root").join(below),
            Self::Descriptor => "/proc/self/fd/7".into(),
            Self::Inside => "/other".into(),
            Self::Proc => "/proc/sys".into(),
            Self::Dangling => "/nothing/here".into(),
            Self::Directory => {
                fs::create_dir(path).expect("a directory");
                return fill(path, target);
            }
            Self::File => return fs::write(path, "a file").expect("a file"),
        };
        symlink(link, path).expect("a link");
    }
}

/// Fills a directory of the root filesystem, or its decoy.
pub fn fill(directory: &Path, target: &str) {
    let (directories, files): (&[&str], &[&str]) = match target {
        "proc" => (
            &["sys/kernel", "bus", "fs", "irq", "self/attr", "self/fd"],
            &[
                "kcore",
                "keys",
                "timer_list",
                "self/mountinfo",
                "sys/kernel/hostname",
            ],
        ),
        "sys" => (&["firmware", "kernel", "fs/cgroup"], &[]),
        "dev" => (&["pts", "shm", "mqueue"], &[]),
        "etc" => (&[], &["file", "secret"]),
        "mnt" => (&["a/b"], &[]),
        "mnt/a" => (&["b"], &[]),
        "hidden" => (&[], &["secret"]),
        _ => (&[], &[]),
    };
    for path in directories {
        fs::create_dir_all(directory.join(path)).expect("a directory");
    }
    for path in files {
        fs::write(directory.join(path), "of the image").expect("a file");
    }
}

/// A directory of the root filesystem and its decoy, as names in two directories that are held
/// open.
pub struct Pair {
    /// Below the root filesystem, without a leading slash.
    pub target: &'static str,
    pub decoy: Decoy,
    parent: File,
    name: CString,
    store: File,
    stored: CString,
    exchanged: bool,
}

impl Pair {
    /// Creates the decoy.
    pub fn new(
        rootfs: &Path,
        canary: &Path,
        target: &'static str,
        decoy: Decoy,
        owner: Option<u32>,
    ) -> Self {
        let path = rootfs.join(target);
        let (parent, name) = (path.parent().expect("a parent"), path.file_name());
        let stored = target.replace('/', "-");
        let store = rootfs.join(STORE);
        fs::create_dir_all(&store).expect("the store");
        decoy.make(&store.join(&stored), target, canary);
        if let (Some(owner), Decoy::Directory) = (owner, decoy) {
            own(&store.join(&stored), owner);
        }
        Self {
            target,
            decoy,
            parent: directory(parent),
            name: CString::new(name.expect("a name").as_bytes()).expect("a name"),
            store: directory(&store),
            stored: CString::new(stored).expect("a name"),
            exchanged: false,
        }
    }

    /// renameat2(2) with RENAME_EXCHANGE.
    pub fn exchange(&mut self) {
        // SAFETY: the names are NUL-terminated and the descriptors are open.
        let done = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                self.parent.as_raw_fd(),
                self.name.as_ptr(),
                self.store.as_raw_fd(),
                self.stored.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        self.exchanged ^= done == 0;
    }

    /// Restores the directory.
    pub fn straighten(&mut self) {
        if self.exchanged {
            self.exchange();
        }
        assert!(!self.exchanged, "{} cannot be brought back", self.target);
    }
}

fn directory(path: &Path) -> File {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
        .expect("a directory")
}

/// Changes the owner of a tree.
pub fn own(path: &Path, owner: u32) {
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    let _ = chown(path, Some(uid), Some(gid));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            own(&entry.path(), owner);
        } else {
            let file = entry.path();
            let at = nix::fcntl::AT_FDCWD;
            let _ = nix::unistd::fchownat(at, &file, Some(uid), Some(gid), flags);
        }
    }
}

/// The moment of the exchanges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// Repeatedly.
    Always,
    /// Once, this long after the start of the call.
    Once(Duration),
}

/// Exchanges the pairs while `work` runs, and restores them afterwards.
pub fn during<T>(pairs: &mut [Pair], moment: Moment, work: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    let (result, count) = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| attack(pairs, moment, &over));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let count = attacker.join().expect("the attacker does not panic");
        match result {
            Ok(result) => (result, count),
            // If the work panics, the other thread must end first.
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    (result, count)
}

fn attack(pairs: &mut [Pair], moment: Moment, over: &AtomicBool) -> u64 {
    let mut count = 0;
    let begun = Instant::now();
    while !over.load(Ordering::Relaxed) {
        if let Moment::Once(after) = moment
            && (begun.elapsed() < after || count > 0)
        {
            std::thread::yield_now();
            continue;
        }
        for pair in pairs.iter_mut() {
            pair.exchange();
            count += 1;
        }
    }
    for pair in pairs.iter_mut() {
        pair.straighten();
    }
    count
}

/// Exchanges two names once, for a hook: `chaos exchange ONE OTHER`.
pub fn exchange_paths(one: &str, other: &str) -> std::process::ExitCode {
    let path = |text: &str| CString::new(text).expect("a path");
    let (one, other) = (path(one), path(other));
    // SAFETY: the paths are NUL-terminated.
    let done = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    std::process::ExitCode::from(u8::from(done != 0))
}

/// The path of a target's decoy.
pub fn stored(rootfs: &Path, target: &str) -> PathBuf {
    rootfs.join(STORE).join(target.replace('/', "-"))
}
