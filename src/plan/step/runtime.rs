//! The steps of the runtime, and their text.

use std::ffi::CString;
use std::fmt::{self, Display};
use std::path::PathBuf;

use super::super::text::parts::{detail, id_map, map_file, write_cgroup, write_unit};
use super::super::text::words::lossy;
use super::super::{cgroup, devices, systemd};
use crate::config::numbers::NumberList;

/// A step that the runtime executes: before it creates a process, or on the first process, or on
/// init.
#[derive(Clone, Debug)]
pub enum RuntimeStep {
    /// mkdir(2) below the cgroup2 mount. Enables the controllers in the `cgroup.subtree_control` of
    /// each parent.
    CreateCgroup(NewCgroup),
    /// A transient unit for the process, which also creates its cgroup: StartTransientUnit.
    SystemdUnit(Box<systemd::Unit>),
    /// One control file of the container's cgroup.
    CgroupWrite(Box<cgroup::Write>),
    /// BPF_PROG_ATTACH of a BPF_CGROUP_DEVICE program.
    DeviceProgram(devices::Program),
    /// chown of the delegated files to the container's root.
    DelegateCgroup {
        /// The host id of the new owner.
        uid: u32,
    },
    /// mkdir(2) in the container's cgroup, and a write to `cgroup.procs` there.
    EnterSubCgroup {
        /// The name of the new cgroup.
        name: String,
        /// The host id of its owner, unless that is the runtime's user.
        uid: Option<u32>,
    },
    /// /proc/PID/uid_map or gid_map, one mapping per line.
    IdMap {
        /// Whether it is gid_map.
        group: bool,
        /// One mapping per line.
        map: String,
        /// What to do about EPERM.
        if_denied: IfMapDenied,
    },
    /// /proc/PID/oom_score_adj.
    OomScoreAdj(i32),
    /// sched_setaffinity(2).
    Cpus(Box<NumberList>),
    /// unshare(CLONE_NEWNET) by the runtime, which brings up the new loopback interface and returns
    /// to its own namespace. Init waits for it in [`InitStep::EnterNetwork`](super::InitStep::EnterNetwork).
    MakeNetwork,
    /// RTM_NEWLINK with IFLA_NET_NS_FD, then the addresses and the routes that the device had.
    MoveDevice(Box<MoveDevice>),
    /// mkdir(2) of a group in the resctrl file system, and its schemata.
    Resctrl(Box<ResctrlGroup>),
    /// Writes the pid to the file `tasks` of these groups.
    ResctrlTasks(Vec<PathBuf>),
}

/// A group of the resctrl file system.
#[derive(Clone, Debug)]
pub struct ResctrlGroup {
    /// Relative to the mount; empty for the root group.
    pub path: PathBuf,
    /// What to do about a group that exists already.
    pub if_exists: IfGroupExists,
    /// The lines of its file `schemata`.
    pub schemata: Vec<String>,
}

/// What an existing group means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfGroupExists {
    /// The group must belong to the container alone, which removes it in the end.
    Fail,
    /// Others use the group too, so it must have the same schemata.
    Compare,
    /// The group must exist.
    Needed,
}

/// A network device that moves from the runtime's network namespace to the container's.
#[derive(Clone, Debug)]
pub struct MoveDevice {
    /// Its name on the host.
    pub host: CString,
    /// Its name in the container.
    pub name: CString,
    /// The network namespace that it moves to.
    pub into: DeviceNetwork,
}

/// Where the runtime finds the container's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceNetwork {
    /// The runtime has made it, or opened its path.
    Held,
    /// The process that waits is in it.
    OfProcess,
}

/// A cgroup that the runtime creates.
#[derive(Clone, Debug)]
pub struct NewCgroup {
    /// Relative to the mount of the hierarchy.
    pub path: PathBuf,
    /// The controllers that limits need.
    pub controllers: Vec<String>,
    /// Controllers for statistics. They are left out if the hierarchy refuses them.
    pub optional: Vec<String>,
    /// If false, a caller that is not permitted to create the cgroup continues without it.
    pub required: bool,
}

/// What to do when the kernel refuses an id map with EPERM. user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMapDenied {
    /// Report the error.
    Fail,
    /// Deny setgroups(2) in the namespace and try again: the map only has the runtime's own group.
    DenySetgroups,
    /// Let newuidmap(1) or newgidmap(1) write the map, if /etc/subuid or /etc/subgid grants it.
    Helper,
}

impl RuntimeStep {
    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateCgroup(_) => "create-cgroup",
            Self::SystemdUnit(_) => "systemd-unit",
            Self::CgroupWrite(_) => "cgroup-write",
            Self::DeviceProgram(_) => "device-program",
            Self::DelegateCgroup { .. } => "delegate-cgroup",
            Self::EnterSubCgroup { .. } => "enter-sub-cgroup",
            Self::IdMap { .. } => "id-map",
            Self::OomScoreAdj(_) => "oom-score-adj",
            Self::Cpus(_) => "cpus",
            Self::MakeNetwork => "make-network",
            Self::MoveDevice(_) => "move-device",
            Self::Resctrl(_) => "resctrl",
            Self::ResctrlTasks(_) => "resctrl-tasks",
        }
    }
}

impl Display for RuntimeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateCgroup(new) => write_cgroup(f, new),
            Self::SystemdUnit(unit) => write_unit(f, unit),
            Self::CgroupWrite(write) => write!(f, "write {} to {}", write.value, write.file),
            Self::DeviceProgram(program) => {
                f.write_str("attach a device program")?;
                detail(f, format_args!(", first match wins: {}", program.summary()))
            }
            Self::DelegateCgroup { uid } => write!(f, "give the cgroup to host user {uid}"),
            Self::EnterSubCgroup { name, uid } => {
                write!(f, "make cgroup {name} below the container's")?;
                uid.map_or(Ok(()), |uid| write!(f, " for host user {uid}"))?;
                f.write_str(" and move the process there")
            }
            Self::IdMap { group, map, .. } => {
                write!(f, "write {} to {}", id_map(map), map_file(*group))
            }
            Self::OomScoreAdj(score) => write!(f, "write {score} to oom_score_adj"),
            Self::Cpus(cpus) => write!(f, "run on CPUs {cpus}"),
            Self::MakeNetwork => {
                f.write_str("make a network namespace with its loopback interface up")?;
                detail(f, format_args!(", while init continues"))
            }
            Self::Resctrl(group) => {
                let path = group.path.display();
                match group.if_exists {
                    IfGroupExists::Needed => return write!(f, "look for resctrl group /{path}"),
                    IfGroupExists::Fail => write!(f, "make resctrl group /{path}")?,
                    IfGroupExists::Compare => {
                        write!(f, "make resctrl group /{path} or compare it")?;
                    }
                }
                f.write_str(if group.schemata.is_empty() { "" } else { ": " })?;
                f.write_str(&group.schemata.join(", "))
            }
            Self::ResctrlTasks(groups) => {
                let groups: Vec<_> = groups
                    .iter()
                    .map(|it| format!("/{}", it.display()))
                    .collect();
                write!(
                    f,
                    "put the process into resctrl group {}",
                    groups.join(" and ")
                )
            }
            Self::MoveDevice(device) => {
                let (host, name) = (lossy(&device.host), lossy(&device.name));
                write!(f, "move network device {host} into the container as {name}")?;
                detail(f, format_args!(", with its addresses and routes"))
            }
        }
    }
}
