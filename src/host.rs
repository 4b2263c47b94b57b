//! What the running kernel and the caller offer, probed once and then plain data.

use std::path::PathBuf;

use crate::config::seccomp::Arch;

/// Facts about the host that decide how a plan is made.
#[derive(Clone, Debug)]
pub struct Host {
    /// Kernel version as (major, minor).
    pub kernel: (u32, u32),
    /// Effective user id of the runtime.
    pub euid: u32,
    /// Effective group id of the runtime.
    pub egid: u32,
    /// The runtime is in a user namespace other than the initial one.
    pub in_user_namespace: bool,
    /// The highest capability that the kernel knows.
    pub last_capability: u8,
    /// The cgroup2 hierarchy, if one is mounted.
    pub cgroup: Option<CgroupHost>,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// The architecture that the runtime was built for.
    pub arch: Arch,
}

/// The cgroup2 hierarchy. Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
#[derive(Clone, Debug)]
pub struct CgroupHost {
    /// Where it is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid host.
    pub mount: PathBuf,
    /// Controllers at its root; the others are absent or held by cgroup v1.
    pub controllers: Vec<String>,
    /// The runtime's own cgroup, as in /proc/self/cgroup after `0::`.
    pub own: String,
}
