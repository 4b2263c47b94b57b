//! `linux.*`, except resources and seccomp.

use std::fmt::Arguments;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;

use super::check;
use super::devices::{self, Device};
use super::intel_rdt::IntelRdt;
use super::memory_policy::MemoryPolicy;
use super::namespaces::{
    self, IdMapping, Namespace, NamespaceKind, Namespaces, TimeOffset, host_id,
};
use super::net_devices::{self, NetDevice};
use super::process::User;
use super::resources::Resources;
use super::seccomp::Seccomp;
use super::sysctl::{self, Sysctl};
use crate::error::{Code, Error, Result, Warning};

/// `linux`, checked.
#[derive(Clone, Debug, Default)]
pub struct Linux {
    /// `linux.namespaces`.
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
    /// `linux.sysctl`, sorted. Each key has become the path below /proc/sys.
    pub sysctl: Vec<Sysctl>,
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
    /// `linux.intelRdt`.
    pub intel_rdt: Option<IntelRdt>,
    /// `linux.netDevices`, sorted by the name on the host.
    pub net_devices: Vec<NetDevice>,
    /// `linux.memoryPolicy`.
    pub memory_policy: Option<MemoryPolicy>,
}

/// `linux.rootfsPropagation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are named as the values of the property"
)]
pub enum RootPropagation {
    Shared,
    Slave,
    Private,
    Unbindable,
}

/// `linux.personality.domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the variants are named as the values of the property"
)]
pub enum Personality {
    Linux,
    Linux32,
}

impl RootPropagation {
    /// The `MS_*` flag of mount(2).
    #[must_use]
    pub const fn flag(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

impl Linux {
    /// Checks that the ids of a process are mapped in a new user namespace.
    pub(super) fn check_mapped(&self, user: &User) -> Result<()> {
        if self.namespaces.user != Namespace::New {
            return Ok(());
        }
        let groups = user.additional_gids.iter();
        let groups = groups.map(|&gid| ("process.user.additionalGids", &self.gid_mappings, gid));
        let ids = [
            ("process.user.uid", &self.uid_mappings, user.uid),
            ("process.user.gid", &self.gid_mappings, user.gid),
        ];
        let mut ids = ids.into_iter().chain(groups);
        match ids.find(|(_, map, id)| !map.is_empty() && host_id(map, *id).is_none()) {
            None => Ok(()),
            Some((field, _, id)) => Err(Error::config(
                field,
                format!("{id} is not mapped in the user namespace"),
            )
            .code_is(Code::ProcessUser)
            .hint("linux.uidMappings and linux.gidMappings have the ids that exist there")),
        }
    }

    /// Checks `linux`.
    ///
    /// # Errors
    /// Names the first invalid or unsupported property.
    pub(super) fn new(linux: Option<&oci::Linux>, warnings: &mut Vec<Warning>) -> Result<Self> {
        let Some(linux) = linux else {
            return Ok(Self::default());
        };
        let namespaces = Namespaces::new(check::list(linux.namespaces()))?;
        let (uid_mappings, gid_mappings) = namespaces::id_mappings(linux, &namespaces.user)?;
        let resources = linux.resources().as_ref();
        let resources = resources.map(|it| Resources::new(it, warnings));
        let seccomp = linux.seccomp().as_ref();
        Ok(Self {
            uid_mappings,
            gid_mappings,
            time_offsets: namespaces::time_offsets(linux.time_offsets(), &namespaces.time)?,
            devices: devices::new(check::list(linux.devices()))?,
            cgroups_path: cgroups_path(linux.cgroups_path().as_deref())?,
            resources: resources.transpose()?.unwrap_or_default(),
            rootfs_propagation: rootfs_propagation(linux.rootfs_propagation().as_deref())?,
            sysctl: sysctl::new(linux.sysctl(), &namespaces)?,
            seccomp: seccomp.map(|it| Seccomp::new(it, warnings)).transpose()?,
            masked_paths: masked_paths(linux.masked_paths(), &namespaces)?,
            readonly_paths: readonly_paths(linux.readonly_paths(), &namespaces)?,
            mount_label: check::text("linux.mountLabel", linux.mount_label().as_ref())?,
            intel_rdt: linux.intel_rdt().as_ref().map(IntelRdt::new).transpose()?,
            net_devices: net_devices::new(linux.net_devices().as_ref(), &namespaces)?,
            memory_policy: linux
                .memory_policy()
                .as_ref()
                .map(MemoryPolicy::new)
                .transpose()?,
            personality: personality(linux.personality().as_ref())?,
            namespaces,
        })
    }
}

/// Refuses a path with a newline: /proc/PID/cgroup holds one path per line, so the runtime could
/// not read the path back.
fn cgroups_path(path: Option<&Path>) -> Result<Option<String>> {
    const FIELD: &str = "linux.cgroupsPath";
    let path = path.map(|path| path.to_string_lossy().into_owned());
    let path = check::text(FIELD, path.as_ref())?;
    match &path {
        Some(path) if path.contains('\n') => {
            let message = format!("{path:?} is not a path: control character");
            Err(Error::config(FIELD, message))
        }
        _ => Ok(path),
    }
}

fn rootfs_propagation(value: Option<&str>) -> Result<Option<RootPropagation>> {
    let value = value.unwrap_or_default();
    Ok(Some(match value {
        "" => return Ok(None),
        "shared" | "rshared" => RootPropagation::Shared,
        "slave" | "rslave" => RootPropagation::Slave,
        "private" | "rprivate" => RootPropagation::Private,
        "unbindable" | "runbindable" => RootPropagation::Unbindable,
        _ => {
            let message =
                format!("unknown value {value:?}, expected shared, slave, private or unbindable");
            return Err(Error::config("linux.rootfsPropagation", message));
        }
    }))
}

fn masked_paths(list: &Option<Vec<String>>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    paths("linux.maskedPaths", list, namespaces, |field, path| {
        if path == Path::new("/") {
            let message = "/ is the container's root and cannot be mounted over";
            return Err(Error::config(field, message));
        }
        Ok(())
    })
}

fn readonly_paths(list: &Option<Vec<String>>, namespaces: &Namespaces) -> Result<Vec<PathBuf>> {
    paths("linux.readonlyPaths", list, namespaces, |_, _| Ok(()))
}

/// Cleans a list of paths for mounts, which `accept` may refuse.
fn paths(
    field: &str,
    list: &Option<Vec<String>>,
    namespaces: &Namespaces,
    accept: impl Fn(Arguments, &Path) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    let list = check::list(list);
    let mut out = Vec::with_capacity(list.len());
    for (index, path) in list.iter().enumerate() {
        let path = check::absolute(format_args!("{field}[{index}]"), Path::new(path))?;
        accept(format_args!("{field}[{index}]"), &path)?;
        // Comparing bytes is enough for clean paths. `Path` would compare component by component.
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
