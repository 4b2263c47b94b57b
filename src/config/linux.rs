//! `linux.*`, except resources and seccomp.

use std::path::PathBuf;

use super::resources::Resources;
use super::seccomp::Seccomp;

/// `linux`, checked.
#[derive(Clone, Debug, Default)]
pub struct Linux {
    pub namespaces: Namespaces,
    /// `linux.uidMappings`.
    pub uid_mappings: Vec<IdMapping>,
    /// `linux.gidMappings`.
    pub gid_mappings: Vec<IdMapping>,
    /// `linux.timeOffsets`, sorted by clock.
    pub time_offsets: Vec<TimeOffset>,
    /// `linux.devices`.
    pub devices: Vec<Device>,
    /// `linux.cgroupsPath`, as written.
    pub cgroups_path: Option<String>,
    /// `linux.resources`.
    pub resources: Resources,
    /// `linux.rootfsPropagation`.
    pub rootfs_propagation: Option<RootPropagation>,
    /// `linux.sysctl`, sorted, keys with dots turned to the path below /proc/sys.
    pub sysctl: Vec<(String, String)>,
    /// `linux.seccomp`.
    pub seccomp: Option<Seccomp>,
    /// `linux.maskedPaths`, without duplicates.
    pub masked_paths: Vec<PathBuf>,
    /// `linux.readonlyPaths`, without duplicates.
    pub readonly_paths: Vec<PathBuf>,
    /// `linux.mountLabel`.
    pub mount_label: Option<String>,
    /// `linux.personality`.
    pub personality: Option<Personality>,
}

/// The eight namespace types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceKind {
    User,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
    Time,
    Mount,
}

/// What `linux.namespaces` says of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// Not listed: the runtime's own.
    #[default]
    Inherit,
    /// Listed without a path.
    New,
    /// Listed with a path.
    Join {
        /// As in `linux.namespaces[2].path`.
        field: String,
        path: PathBuf,
    },
}

/// One entry per namespace type.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    pub user: Namespace,
    pub pid: Namespace,
    pub network: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
    pub time: Namespace,
    pub mount: Namespace,
}

/// One line of a uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    pub container_id: u32,
    pub host_id: u32,
    pub size: u32,
}

/// One entry of `linux.timeOffsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    pub secs: i64,
    pub nanosecs: u32,
}

/// `linux.rootfsPropagation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootPropagation {
    Shared,
    Slave,
    Private,
    Unbindable,
}

/// `linux.personality.domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    Linux,
    Linux32,
}

/// The node types of mknod(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// One element of `linux.devices`.
#[derive(Clone, Debug)]
pub struct Device {
    /// Where it stands in the config, as in `linux.devices[0]`.
    pub field: String,
    /// Absolute, lexically clean.
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits; 0o666 when absent.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}
