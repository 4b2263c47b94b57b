//! Requirements that a case can have on the host, and how they are checked.

use std::fmt;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// A requirement. On a host that does not meet it, the case is skipped with the reason.
#[derive(Clone, Copy)]
pub enum Need {
    /// A controller at the root of the cgroup v2 hierarchy, such as `memory`.
    Controller(&'static str),
    /// `/sys/fs/cgroup` itself is cgroup v2.
    UnifiedCgroups,
    /// A security module in `/sys/kernel/security/lsm`, such as `apparmor`.
    Lsm(&'static str),
    /// systemd is init on the host.
    Systemd,
    /// An effective capability: name and number. See [`CAP_SYS_RESOURCE`].
    Capability(&'static str, u32),
    /// A kernel of at least this version.
    Kernel(u32, u32),
    /// A program on `PATH`.
    Program(&'static str),
    /// A file or directory that exists.
    Path(&'static str),
    /// The runtime is not another project's: the case is about a feature that only this one has.
    NotAPeer,
    /// The runtime is a release build: for x86_64, static and stripped.
    ReleaseBuild,
    /// Any other requirement: a description, and a check that returns what is missing.
    Custom(&'static str, fn() -> Result<(), String>),
}

/// `CAP_SYS_RESOURCE`, which is needed to raise a hard limit.
pub const CAP_SYS_RESOURCE: Need = Need::Capability("CAP_SYS_RESOURCE", 24);
/// `CAP_SYS_NICE`, which is needed for real-time policies.
pub const CAP_SYS_NICE: Need = Need::Capability("CAP_SYS_NICE", 23);

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(name) => write!(f, "cgroup v2 controller {name}"),
            Self::UnifiedCgroups => f.write_str("unified cgroup v2 at /sys/fs/cgroup"),
            Self::Lsm(name) => write!(f, "security module {name}"),
            Self::Systemd => f.write_str("systemd as init"),
            Self::Capability(name, _) => f.write_str(name),
            Self::Kernel(major, minor) => write!(f, "Linux {major}.{minor}"),
            Self::Program(name) => write!(f, "program {name}"),
            Self::Path(path) => f.write_str(path),
            Self::NotAPeer => f.write_str("no peer runtime"),
            Self::ReleaseBuild => f.write_str("a static, stripped build for x86_64"),
            Self::Custom(what, _) => f.write_str(what),
        }
    }
}

impl Need {
    /// `Err` contains the reason.
    pub fn check(&self, runtime: &Path) -> Result<(), String> {
        let lacks = |missing: bool| {
            if missing {
                Err(format!("the host lacks: {self}"))
            } else {
                Ok(())
            }
        };
        match self {
            Self::Controller(name) => {
                let file = cgroup2_mount().map(|mount| mount.join("cgroup.controllers"));
                let text = file
                    .and_then(|file| fs::read_to_string(file).ok())
                    .unwrap_or_default();
                lacks(!text.split_whitespace().any(|one| one == *name))
            }
            Self::UnifiedCgroups => {
                lacks(cgroup2_mount().as_deref() != Some(Path::new("/sys/fs/cgroup")))
            }
            Self::Lsm(name) => {
                let text = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
                lacks(!text.trim().split(',').any(|one| one == *name))
            }
            Self::Systemd => lacks(!Path::new("/run/systemd/system").exists()),
            Self::Capability(_, number) => {
                let held = proc_status_field("self", "CapEff:")
                    .and_then(|hex| u64::from_str_radix(&hex, 16).ok())
                    .unwrap_or(0);
                lacks(held >> number & 1 == 0)
            }
            Self::Kernel(major, minor) => lacks(kernel() < (*major, *minor)),
            Self::Program(name) => lacks(find_program(name).is_none()),
            Self::Path(path) => lacks(!Path::new(path).exists()),
            Self::NotAPeer => match peer_name(runtime) {
                Some(peer) => Err(format!("does not apply to {peer}")),
                None => Ok(()),
            },
            Self::ReleaseBuild if is_release_build(runtime) => Ok(()),
            Self::ReleaseBuild => Err(format!("the runtime is not {self}")),
            Self::Custom(_, check) => check(),
        }
    }
}

fn is_release_build(runtime: &Path) -> bool {
    const EM_X86_64: [u8; 2] = [62, 0];
    let elf = fs::read(runtime).unwrap_or_default();
    let holds = |text: &[u8]| elf.windows(text.len()).any(|window| window == text);
    elf.get(18..20) == Some(&EM_X86_64)
        && !holds(b"/lib64/ld-linux-x86-64.so.2\0")
        && !holds(b"\0.symtab\0")
}

/// The mount point of cgroup v2.
pub fn cgroup2_mount() -> Option<PathBuf> {
    cgroup_mounts()
        .into_iter()
        .find(|(fstype, _)| fstype == "cgroup2")
        .map(|(_, path)| path)
}

/// Every cgroup mount: its type, `cgroup` or `cgroup2`, and its mount point.
pub fn cgroup_mounts() -> Vec<(String, PathBuf)> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, fstype) = (fields.next()?, fields.next()?);
            fstype
                .starts_with("cgroup")
                .then(|| (fstype.to_owned(), PathBuf::from(path)))
        })
        .collect()
}

/// The kernel's version.
pub fn kernel() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A field of `/proc/PID/status`, such as `Umask:`; `process` is a pid or `self`.
pub fn proc_status_field(process: impl fmt::Display, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|rest| rest.trim().to_owned())
}

/// Searches for a program in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// `runc`, `crun` or `youki`, according to the `--version` of the runtime.
pub fn peer_name(runtime: &Path) -> Option<String> {
    let output = std::process::Command::new(runtime)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.split_whitespace().next()?;
    ["runc", "crun", "youki"]
        .contains(&first)
        .then(|| first.to_owned())
}

/// Whether a process sleeps in one of these system calls. proc_pid_syscall(5).
pub fn waits_in(pid: i32, calls: &[libc::c_long]) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = text.split(' ').next().and_then(|word| word.parse().ok());
    number.is_some_and(|number| calls.contains(&number))
}

/// Sets or clears the read-only attribute of the mount that contains an open file.
/// mount_setattr(2).
pub fn change_readonly(file: &fs::File, readonly: bool) -> nix::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let change: [u64; 4] = if readonly {
        [MOUNT_ATTR_RDONLY, 0, 0, 0]
    } else {
        [0, MOUNT_ATTR_RDONLY, 0, 0]
    };
    // SAFETY: the path is NUL-terminated, and change has the layout and the size of mount_attr.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            change.as_ptr(),
            size_of_val(&change),
        )
    };
    nix::errno::Errno::result(changed).map(drop)
}
