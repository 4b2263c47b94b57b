//! Facts about the running kernel and the caller, probed once and then plain data.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, FsType, Statfs, statfs};
use nix::sys::statvfs::FsFlags;
use nix::sys::utsname::uname;

use crate::config::Labels;
use crate::config::seccomp::Arch;
use crate::error::{Call as _, Chain as _, Code, Context as _, Error};
use crate::sys::{credentials, file, process};

/// The facts about the host on which a plan depends.
#[derive(Clone, Debug)]
pub struct Host {
    /// Kernel version as (major, minor).
    pub kernel: (u32, u32),
    /// Effective user id of the runtime.
    pub euid: u32,
    /// Effective group id of the runtime.
    pub egid: u32,
    /// Whether the runtime is in a user namespace other than the initial one.
    pub in_user_namespace: bool,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
    /// The permitted capabilities of the runtime.
    pub capabilities: u64,
    /// The cgroup2 hierarchy, if one is mounted.
    pub cgroup: Option<CgroupHost>,
    /// Whether AppArmor is enabled. False if the probe did not ask.
    pub apparmor: bool,
    /// Whether SELinux is enabled. False if the probe did not ask.
    pub selinux: bool,
    /// The architecture that the runtime was built for.
    pub arch: Arch,
}

/// The cgroup2 hierarchy. Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
#[derive(Clone, Debug)]
pub struct CgroupHost {
    /// Its mount point: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid host.
    pub mount: PathBuf,
    /// The controllers at its root. The others are absent or used by cgroup v1.
    pub controllers: Vec<String>,
    /// The runtime's own cgroup: the text after `0::` in /proc/self/cgroup.
    pub own: String,
}

/// The oldest supported kernel: the runtime has no fallback for cgroup.kill, mount_setattr(2) and
/// other features of this version.
const OLDEST_KERNEL: (u32, u32) = (5, 14);

const SELINUXFS: FsType = FsType(0xf97c_ff8c);

impl Host {
    /// Whether the caller is not root, or root of a user namespace only.
    pub fn is_ordinary(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }

    /// Probes the host; security modules only if there are labels for them. A kernel that is too
    /// old is an error. A missing cgroup2 mount is not an error yet.
    pub fn probe(labels: Labels) -> Result<Self> {
        let host = Self::probe_without_cgroups(labels)?;
        Ok(Self {
            cgroup: cgroup()?,
            ..host
        })
    }

    /// As [`Host::probe`], for a process that joins the cgroup of its container.
    ///
    /// # Errors
    /// As [`Host::probe`].
    pub fn probe_without_cgroups(labels: Labels) -> Result<Self> {
        Ok(Self {
            kernel: kernel()?,
            euid: nix::unistd::geteuid().as_raw(),
            egid: nix::unistd::getegid().as_raw(),
            in_user_namespace: in_user_namespace()?,
            last_capability: credentials::last_capability().context("capabilities")?,
            capabilities: credentials::capget().context("capabilities")?.1,
            cgroup: None,
            apparmor: labels.apparmor && apparmor()?,
            selinux: labels.selinux && selinux()?,
            arch: arch()?,
        })
    }
}

fn read(path: &str) -> Result<String> {
    file::read_text(Path::new(path)).with_context(|| path.to_owned())
}

/// The version of the kernel as (major, minor).
///
/// # Errors
/// It is too old, or uname(2) failed.
pub fn kernel() -> Result<(u32, u32)> {
    let name = uname().call("uname").context("kernel version")?;
    supported(&name.release().to_string_lossy())
}

/// The version of a kernel of this release.
fn supported(release: &str) -> Result<(u32, u32)> {
    let version = parse_release(release)
        .ok_or_else(|| anyhow!("kernel version {release:?} is not MAJOR.MINOR"))?;
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        let message = format!("Linux {major}.{minor} or newer is needed, this is {release}");
        bail!(Error::new(message).code_is(Code::HostUnsupported));
    }
    Ok(version)
}

/// Parses `6.1.0-28-amd64` and `6.1-rc3`, for example: both are 6.1.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..end].parse().ok()?))
}

/// Whether the runtime is in a user namespace other than the initial one.
///
/// # Errors
/// /proc is missing or cannot be read.
pub fn in_user_namespace() -> Result<bool> {
    process::in_user_namespace().context("/proc/self/ns/user")
}

/// The file system at `path`. `None` if the path does not exist.
fn file_system(path: &str) -> Result<Option<Statfs>> {
    match statfs(path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        found => Ok(Some(found.call("statfs").with_context(|| path.to_owned())?)),
    }
}

/// The cgroup2 mount, which may be the only hierarchy or be beside those of cgroup v1.
fn cgroup() -> Result<Option<CgroupHost>> {
    let mut mount = None;
    for path in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        let found = file_system(path)?;
        if found.is_some_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
            mount = Some(path);
            break;
        }
    }
    let Some(mount) = mount else {
        return Ok(None);
    };
    let controllers = read(&format!("{mount}/cgroup.controllers"))?;
    Ok(Some(CgroupHost {
        mount: PathBuf::from(mount),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        own: own_cgroup(&read("/proc/self/cgroup")?).to_owned(),
    }))
}

/// The path of the cgroup2 line, which has the hierarchy number 0 and names no controller.
fn own_cgroup(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/")
}

/// Whether AppArmor is enabled. A kernel without the module does not have the file. Any other
/// failure to read it is an error: it must not let the container run without its profile.
fn apparmor() -> Result<bool> {
    match read("/sys/module/apparmor/parameters/enabled") {
        Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(false),
        read => read.map(|text| text.starts_with('Y')),
    }
}

/// Whether SELinux is enabled. A read-only selinuxfs means that the runtime is in a container of
/// another engine, in which it cannot use SELinux.
fn selinux() -> Result<bool> {
    let found = file_system("/sys/fs/selinux")?;
    Ok(found.is_some_and(|found| {
        found.filesystem_type() == SELINUXFS && !found.flags().contains(FsFlags::ST_RDONLY)
    }))
}

fn arch() -> Result<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(Arch::X86_64),
        "x86" => Ok(Arch::X86),
        "aarch64" => Ok(Arch::Aarch64),
        "arm" => Ok(Arch::Arm),
        "riscv64" => Ok(Arch::Riscv64),
        other => {
            let message = format!("the architecture {other} is not supported");
            bail!(Error::new(message).code_is(Code::HostUnsupported))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_every_form() {
        for (release, version) in [
            ("6.18.5", Some((6, 18))),
            ("6.1.0-28-amd64", Some((6, 1))),
            ("6.12-rc3", Some((6, 12))),
            ("5.14", Some((5, 14))),
            ("5.4.0+", Some((5, 4))),
            ("linux", None),
            ("6.", None),
        ] {
            assert_eq!(parse_release(release), version, "{release}");
        }
    }

    #[test]
    fn an_old_kernel_has_a_code() {
        let old = supported("4.19.0-27-amd64").unwrap_err();
        crate::error::has_example(old, "host.unsupported");
    }

    #[test]
    fn own_cgroup_beside_those_of_v1() {
        assert_eq!(
            own_cgroup("5:devices:/x\n0::/user.slice/a:b\n"),
            "/user.slice/a:b"
        );
        assert_eq!(own_cgroup("1:name=systemd:/\n"), "/");
    }

    #[test]
    fn probe_agrees_with_proc() {
        let host = Host::probe(Labels::default()).expect("the tests run on a supported kernel");
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let uids = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .unwrap();
        assert_eq!(
            uids.split_whitespace().nth(1),
            Some(host.euid.to_string().as_str())
        );
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(host.last_capability.to_string(), last.trim());
        let set = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:\t"))
            .unwrap();
        let bounding = u64::from_str_radix(set, 16).unwrap();
        assert!(
            bounding < 1 << (host.last_capability + 1),
            "{set} {}",
            host.last_capability
        );
        if let Some(cgroup) = &host.cgroup {
            let own = cgroup.mount.join(cgroup.own.trim_start_matches('/'));
            assert!(own.join("cgroup.procs").exists(), "{}", own.display());
        }
    }
}
