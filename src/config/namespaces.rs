//! `linux.namespaces`, the id mappings and the time offsets.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::check;
use crate::error::{Code, Error, Result};

/// The eight namespace types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the variants are named as in namespaces(7)")]
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

/// The setting of `linux.namespaces` for one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// Not listed: the container shares the runtime's namespace.
    #[default]
    Inherit,
    /// Listed without a path.
    New,
    /// Listed with a path.
    Join {
        /// Its path in the config, such as `linux.namespaces[2].path`.
        field: String,
        /// The path itself, absolute.
        path: PathBuf,
    },
}

/// One entry per namespace type.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "the fields are named as in namespaces(7)")]
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
    /// `containerID`: the first id inside the namespace.
    pub container_id: u32,
    /// `hostID`: the first id in the namespace's parent.
    pub host_id: u32,
    /// The number of ids.
    pub size: u32,
}

/// The id outside of the namespace, if `id` is mapped.
pub fn host_id(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id)?;
        (offset < map.size).then(|| map.host_id.checked_add(offset))?
    })
}

/// One entry of `linux.timeOffsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    pub secs: i64,
    pub nanosecs: u32,
}

/// The largest number of lines that the kernel accepts in a uid_map. Source: user_namespaces(7).
const MAX_MAPPINGS: usize = 340;

impl NamespaceKind {
    /// All kinds, in the order in which they are joined. The user namespace comes first because it
    /// gives the privileges to join the others. The mount namespace comes last because it changes
    /// what paths mean.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Pid,
        Self::Network,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
        Self::Time,
        Self::Mount,
    ];

    /// The `CLONE_NEW*` flag. clone(2), namespaces(7).
    #[must_use]
    pub const fn flag(self) -> i32 {
        match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Network => libc::CLONE_NEWNET,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Time => 0x80,
            Self::Mount => libc::CLONE_NEWNS,
        }
    }

    /// The same flag as clone3(2) reads it.
    #[must_use]
    pub const fn clone_flag(self) -> u64 {
        self.flag() as u64
    }

    /// The value of `linux.namespaces[].type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
            Self::Mount => "mount",
        }
    }
}

impl From<oci::LinuxNamespaceType> for NamespaceKind {
    fn from(kind: oci::LinuxNamespaceType) -> Self {
        match kind {
            oci::LinuxNamespaceType::User => Self::User,
            oci::LinuxNamespaceType::Pid => Self::Pid,
            oci::LinuxNamespaceType::Network => Self::Network,
            oci::LinuxNamespaceType::Ipc => Self::Ipc,
            oci::LinuxNamespaceType::Uts => Self::Uts,
            oci::LinuxNamespaceType::Cgroup => Self::Cgroup,
            oci::LinuxNamespaceType::Time => Self::Time,
            oci::LinuxNamespaceType::Mount => Self::Mount,
        }
    }
}

impl Namespaces {
    /// Checks `linux.namespaces`.
    ///
    /// # Errors
    /// A type is listed twice, or a path is not absolute.
    pub(super) fn new(list: &[oci::LinuxNamespace]) -> Result<Self> {
        let mut this = Self::default();
        for (index, namespace) in list.iter().enumerate() {
            let field = format!("linux.namespaces[{index}]");
            let kind = NamespaceKind::from(namespace.typ());
            let slot = this.get_mut(kind);
            if *slot != Namespace::Inherit {
                let message = format!("{:?} is listed twice", kind.name());
                return Err(Error::config(format_args!("{field}.type"), message));
            }
            let path = namespace
                .path()
                .as_ref()
                .filter(|path| !path.as_os_str().is_empty());
            *slot = match path {
                None => Namespace::New,
                Some(path) => {
                    let field = format!("{field}.path");
                    check::absolute(&field, path)?;
                    Namespace::Join {
                        field,
                        path: path.clone(),
                    }
                }
            };
        }
        Ok(this)
    }

    /// The setting for `kind`.
    pub fn get(&self, kind: NamespaceKind) -> &Namespace {
        match kind {
            NamespaceKind::User => &self.user,
            NamespaceKind::Pid => &self.pid,
            NamespaceKind::Network => &self.network,
            NamespaceKind::Ipc => &self.ipc,
            NamespaceKind::Uts => &self.uts,
            NamespaceKind::Cgroup => &self.cgroup,
            NamespaceKind::Time => &self.time,
            NamespaceKind::Mount => &self.mount,
        }
    }

    fn get_mut(&mut self, kind: NamespaceKind) -> &mut Namespace {
        match kind {
            NamespaceKind::User => &mut self.user,
            NamespaceKind::Pid => &mut self.pid,
            NamespaceKind::Network => &mut self.network,
            NamespaceKind::Ipc => &mut self.ipc,
            NamespaceKind::Uts => &mut self.uts,
            NamespaceKind::Cgroup => &mut self.cgroup,
            NamespaceKind::Time => &mut self.time,
            NamespaceKind::Mount => &mut self.mount,
        }
    }

    /// Whether the config lists a namespace of `kind`, new or joined.
    pub(super) fn has(&self, kind: NamespaceKind) -> bool {
        *self.get(kind) != Namespace::Inherit
    }

    /// Refuses `field` when the config does not list a namespace of `kind`.
    pub(super) fn require(&self, field: &str, kind: NamespaceKind) -> Result<()> {
        if self.has(kind) {
            return Ok(());
        }
        let name = kind.name();
        let error = Error::config(field, format!("needs a {name} namespace"))
            .code_is(Code::ConfigNamespaceMissing);
        Err(error.hint(format!("add {{\"type\": \"{name}\"}} to linux.namespaces")))
    }
}

/// Checks `linux.uidMappings` and `linux.gidMappings` against the user namespace.
///
/// Mappings are allowed beside a joined user namespace, because some engines send both. The runtime
/// compares them with those of the namespace when it joins the namespace and can read them.
///
/// # Errors
/// There are mappings but no user namespace, a new user namespace has no mapping for its root, or
/// the kernel would refuse a range.
pub(super) fn id_mappings(
    linux: &oci::Linux,
    user: &Namespace,
) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let one = |field, mappings| -> Result<Vec<IdMapping>> {
        let mappings = one_map(field, check::list(mappings))?;
        match user {
            Namespace::Inherit if !mappings.is_empty() => {
                let error = Error::config(field, "needs a user namespace")
                    .code_is(Code::ConfigNamespaceMissing);
                Err(error.hint("add {\"type\": \"user\"} to linux.namespaces"))
            }
            Namespace::New if mappings.is_empty() => Err(Error::config(
                field,
                "missing; a new user namespace needs a mapping",
            )),
            Namespace::New if !maps_root(&mappings) => {
                let error = Error::config(field, "no mapping for container ID 0");
                Err(error.hint("init sets up the container as root of its user namespace"))
            }
            _ => Ok(mappings),
        }
    };
    let uids = one("linux.uidMappings", linux.uid_mappings())?;
    let gids = one("linux.gidMappings", linux.gid_mappings())?;
    Ok((uids, gids))
}

fn maps_root(mappings: &[IdMapping]) -> bool {
    mappings.iter().any(|mapping| mapping.container_id == 0)
}

/// Checks the lines of one map: each must be within the kernel's bounds, and none may overlap
/// another.
///
/// # Errors
/// The kernel would refuse a range.
pub(super) fn one_map(field: &str, mappings: &[oci::LinuxIdMapping]) -> Result<Vec<IdMapping>> {
    if mappings.len() > MAX_MAPPINGS {
        let message = format!(
            "{} entries; the kernel accepts {MAX_MAPPINGS}",
            mappings.len()
        );
        return Err(Error::config(field, message));
    }
    let mut out: Vec<IdMapping> = Vec::with_capacity(mappings.len());
    for (index, mapping) in mappings.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let mapping = IdMapping {
            container_id: mapping.container_id(),
            host_id: mapping.host_id(),
            size: mapping.size(),
        };
        if mapping.size == 0 {
            return Err(Error::config(
                format_args!("{field}.size"),
                "0 maps nothing",
            ));
        }
        for (name, first) in [
            ("containerID", mapping.container_id),
            ("hostID", mapping.host_id),
        ] {
            // The largest id is not valid: the kernel reads it as "unset".
            if first.checked_add(mapping.size).is_none() {
                let message = format!(
                    "the range {first}+{} goes past the largest id",
                    mapping.size
                );
                return Err(Error::config(format_args!("{field}.{name}"), message));
            }
        }
        for (name, id) in [
            (
                "containerID",
                (|map: &IdMapping| map.container_id) as fn(&IdMapping) -> u32,
            ),
            ("hostID", |map| map.host_id),
        ] {
            if let Some(other) = out.iter().position(|other| overlap(id, &mapping, other)) {
                let message = format!("the range overlaps that of entry {other}");
                return Err(Error::config(format_args!("{field}.{name}"), message));
            }
        }
        out.push(mapping);
    }
    Ok(out)
}

fn overlap(id: fn(&IdMapping) -> u32, one: &IdMapping, other: &IdMapping) -> bool {
    // Neither sum overflows: the caller has checked both ranges.
    id(one) < id(other) + other.size && id(other) < id(one) + one.size
}

/// Checks `linux.timeOffsets`; the result is sorted by clock.
///
/// # Errors
/// A clock is unknown, the time namespace is not new, or nanoseconds amount to a second or more.
pub(super) fn time_offsets(
    offsets: &Option<HashMap<String, oci::LinuxTimeOffset>>,
    time: &Namespace,
) -> Result<Vec<TimeOffset>> {
    let mut out = Vec::new();
    for (clock, offset) in check::by_name(offsets.as_ref()) {
        let field = format!("linux.timeOffsets.{clock}");
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::config(
                field,
                "unknown clock, expected monotonic or boottime",
            ));
        }
        let nanosecs = offset.nanosecs().unwrap_or(0);
        check::within(format_args!("{field}.nanosecs"), nanosecs, 0..=999_999_999)?;
        let secs = offset.secs().unwrap_or(0);
        out.push(TimeOffset {
            clock: clock.clone(),
            secs,
            nanosecs,
        });
    }
    match time {
        Namespace::Inherit if !out.is_empty() => {
            let error = Error::config("linux.timeOffsets", "needs a time namespace")
                .code_is(Code::ConfigNamespaceMissing);
            Err(error.hint("add {\"type\": \"time\"} to linux.namespaces"))
        }
        Namespace::Join { field, .. } if !out.is_empty() => {
            let message = format!("cannot be set in the existing namespace of {field}");
            Err(Error::config("linux.timeOffsets", message))
        }
        _ => Ok(out),
    }
}
