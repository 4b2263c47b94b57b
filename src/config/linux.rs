//! `linux.*`, except resources and seccomp.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;

use super::resources::Resources;
use super::seccomp::Seccomp;
use super::{check, namespaces, sysctl};
use crate::error::{Error, Result};

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

/// The kernel's widths of device numbers. Source: MINORBITS in linux/kdev_t.h.
const MAX_MAJOR: i64 = 0xfff;
const MAX_MINOR: i64 = 0xf_ffff;

impl Linux {
    /// Checks `linux`.
    ///
    /// # Errors
    /// The first wrong or unserved property.
    pub(super) fn new(linux: Option<&oci::Linux>, warnings: &mut Vec<String>) -> Result<Self> {
        let Some(linux) = linux else {
            return Ok(Self::default());
        };
        let net_devices = linux
            .net_devices()
            .as_ref()
            .is_some_and(|map| !map.is_empty());
        check::unsupported("linux.netDevices", net_devices)?;
        check::unsupported("linux.memoryPolicy", linux.memory_policy().is_some())?;
        check::unsupported("linux.intelRdt", linux.intel_rdt().is_some())?;
        let namespaces = Namespaces::new(check::list(linux.namespaces()))?;
        let (uid_mappings, gid_mappings) = namespaces::id_mappings(linux, &namespaces.user)?;
        let resources = linux.resources().as_ref();
        let resources = resources.map(|it| Resources::new(it, warnings));
        let seccomp = linux.seccomp().as_ref();
        let cgroups_path = linux.cgroups_path().as_ref();
        let cgroups_path = cgroups_path.map(|path| path.to_string_lossy().into_owned());
        Ok(Self {
            uid_mappings,
            gid_mappings,
            time_offsets: namespaces::time_offsets(linux.time_offsets(), &namespaces.time)?,
            devices: devices(check::list(linux.devices()))?,
            cgroups_path: check::text("linux.cgroupsPath", cgroups_path.as_ref())?,
            resources: resources.transpose()?.unwrap_or_default(),
            rootfs_propagation: rootfs_propagation(linux.rootfs_propagation().as_deref())?,
            sysctl: sysctl::new(linux.sysctl(), &namespaces)?,
            seccomp: seccomp.map(|it| Seccomp::new(it, warnings)).transpose()?,
            masked_paths: paths("linux.maskedPaths", linux.masked_paths(), &namespaces)?,
            readonly_paths: paths("linux.readonlyPaths", linux.readonly_paths(), &namespaces)?,
            mount_label: check::text("linux.mountLabel", linux.mount_label().as_ref())?,
            personality: personality(linux.personality().as_ref())?,
            namespaces,
        })
    }
}

fn rootfs_propagation(word: Option<&str>) -> Result<Option<RootPropagation>> {
    let word = word.unwrap_or_default();
    Ok(Some(match word {
        "" => return Ok(None),
        "shared" | "rshared" => RootPropagation::Shared,
        "slave" | "rslave" => RootPropagation::Slave,
        "private" | "rprivate" => RootPropagation::Private,
        "unbindable" | "runbindable" => RootPropagation::Unbindable,
        _ => {
            let message =
                format!("unknown value {word:?}, expected shared, slave, private or unbindable");
            return Err(Error::config("linux.rootfsPropagation", message));
        }
    }))
}

fn paths(field: &str, list: &Option<Vec<String>>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    let list = check::list(list);
    let mut out = Vec::with_capacity(list.len());
    for (index, path) in list.iter().enumerate() {
        let path = check::absolute(format_args!("{field}[{index}]"), Path::new(path))?;
        if path == Path::new("/") {
            let message = "/ is the container's root, on which nothing may be mounted";
            return Err(Error::config(format_args!("{field}[{index}]"), message)
                .hint("root.readonly makes it read-only"));
        }
        // Clean paths are equal if their bytes are; `Path` would compare part by part.
        let known = |other: &PathBuf| other.as_os_str() == path.as_os_str();
        if !out.iter().any(known) {
            out.push(path);
        }
    }
    if !out.is_empty() {
        namespaces.require(field, NamespaceKind::Mount)?;
    }
    Ok(out)
}

fn personality(personality: Option<&oci::LinuxPersonality>) -> Result<Option<Personality>> {
    let Some(personality) = personality else {
        return Ok(None);
    };
    let flags = check::list(personality.flags());
    check::unsupported("linux.personality.flags", !flags.is_empty())?;
    Ok(Some(match personality.domain() {
        oci::LinuxPersonalityDomain::PerLinux => Personality::Linux,
        oci::LinuxPersonalityDomain::PerLinux32 => Personality::Linux32,
    }))
}

fn devices(devices: &[oci::LinuxDevice]) -> Result<Vec<Device>> {
    let mut out: Vec<Device> = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate() {
        let device = Device::new(format!("linux.devices[{index}]"), device)?;
        match out.iter().find(|other| other.path == device.path) {
            None => out.push(device),
            Some(other) if other.same_node(&device) => {}
            Some(other) => {
                let message = format!("{} differs from {}", device.path.display(), other.field);
                return Err(Error::config(
                    format_args!("{}.path", device.field),
                    message,
                ));
            }
        }
    }
    Ok(out)
}

impl Device {
    fn new(field: String, device: &oci::LinuxDevice) -> Result<Self> {
        let path = check::absolute(format_args!("{field}.path"), device.path())?;
        if path == Path::new("/") {
            return Err(Error::config(
                format_args!("{field}.path"),
                "/ cannot be a device",
            ));
        }
        let kind = match device.typ() {
            oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
            oci::LinuxDeviceType::B => DeviceKind::Block,
            oci::LinuxDeviceType::P => DeviceKind::Fifo,
            oci::LinuxDeviceType::A => {
                let message = "\"a\" is no node, expected b, c, p or u";
                return Err(Error::config(format_args!("{field}.type"), message));
            }
        };
        let (major, minor) = match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (
                major(format_args!("{field}.major"), device.major())?,
                minor(format_args!("{field}.minor"), device.minor())?,
            ),
        };
        let mode = device.file_mode().unwrap_or(0o666);
        check::within(format_args!("{field}.fileMode"), mode, 0..=0o177_777)?;
        Ok(Self {
            path,
            kind,
            major,
            minor,
            // Engines copy st_mode, with the file's type.
            mode: mode & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            field,
        })
    }

    fn same_node(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.kind, it.major, it.minor, it.mode, it.uid, it.gid);
        key(self) == key(other)
    }
}

fn number(field: impl Display, value: i64, max: i64) -> Result<u32> {
    check::within(&field, value, 0..=max)?;
    u32::try_from(value).map_err(|_| Error::config(field, format!("{value} is too large")))
}

/// A major number.
pub(super) fn major(field: impl Display, value: i64) -> Result<u32> {
    number(field, value, MAX_MAJOR)
}

/// A minor number.
pub(super) fn minor(field: impl Display, value: i64) -> Result<u32> {
    number(field, value, MAX_MINOR)
}
