//! What the steps of mounting carry.

use std::ffi::CString;

use crate::config::Propagation;

/// What makes a mount good for reading its data and for nothing else. mount_setattr(2).
pub const INERT: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;

/// Where a bind mount's tree comes from, and which process copies it: open_tree(2). All paths but
/// the last are the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindSource {
    /// Copied by init when its turn comes: mountinfo lists mounts in the order of their making (since
    /// Linux 6.8), and its readers expect those of the config in the order of the config.
    CopiedByInit {
        path: CString,
        /// The runtime, which has the same rights, looks first whether it is there.
        looked_up: bool,
    },
    /// Copied and changed by the runtime before there is any process.
    CopiedByRuntime {
        path: CString,
        /// A mount that may not be bound there (unbindable, or in another namespace) may be bindable
        /// in init's own namespace.
        or_by_init: bool,
    },
    /// Opened by the runtime in init's mount namespace, and copied by init, when its turn comes: the
    /// root of the container's user namespace may lack the reach, and a tree copied in the runtime's
    /// own namespace would lack the locks that keep the container from clearing the flags of its
    /// mounts or uncovering what they hide. mount_namespaces(7).
    OpenedByRuntime(CString),
    /// The same for a mount that comes to a container later: a process that does nothing else takes
    /// init's part, in a copy of the host's mounts that the container's user namespace owns.
    CopiedInUserNamespace(CString),
    /// Opened by init when its turn comes: it lies below the rootfs, where an earlier mount may
    /// change what the path means.
    Rootfs(CString),
}

impl BindSource {
    /// What is bound.
    pub const fn path(&self) -> &CString {
        match self {
            Self::CopiedByInit { path, .. }
            | Self::CopiedByRuntime { path, .. }
            | Self::OpenedByRuntime(path)
            | Self::CopiedInUserNamespace(path)
            | Self::Rootfs(path) => path,
        }
    }
}

/// One bind mount: open_tree(2), mount_setattr(2), move_mount(2).
#[derive(Clone, Debug)]
pub struct Bind {
    pub source: BindSource,
    /// Absolute path in the container.
    pub target: CString,
    /// `rbind`.
    pub recursive: bool,
    pub attrs: BindAttrs,
    pub propagation: Vec<Propagation>,
    /// Files have other owners than in the file system.
    pub id_map: Option<BindIdMap>,
    /// The target may lie in the container's procfs: it is one of the files that tell about the
    /// machine, or the source is a procfs itself.
    pub on_proc: bool,
    /// A later step changes the mount.
    pub changed_later: bool,
}

/// MOUNT_ATTR_IDMAP of mount_setattr(2). The runtime sets it on a tree that init has copied in its
/// own mount namespace, because it takes rights over the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindIdMap {
    /// The mounts below too.
    pub recursive: bool,
    /// The texts of a uid_map and a gid_map; `None` is the container's user namespace.
    pub maps: Option<(String, String)>,
}

/// What becomes of the attributes that the source's mount has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindAttrs {
    /// `MOUNT_ATTR_*` for the mount itself.
    pub set: u64,
    /// Cleared on the mount itself.
    pub clear: u64,
    /// Set on the whole tree.
    pub recursive_set: u64,
    /// Cleared on the whole tree.
    pub recursive_clear: u64,
    /// Bits that the words of the config clear by name. In a user namespace the attributes of the
    /// source are locked: those that no word names stay as they are, those named here are an error.
    pub asked_clear: u64,
    /// The source's attributes are kept, because the container has a user namespace.
    pub keep_source: bool,
}

/// A new file system: mount(2).
#[derive(Clone, Debug)]
pub struct Filesystem {
    pub fstype: CString,
    pub source: CString,
    pub target: CString,
    /// `MS_*`.
    pub flags: u64,
    pub data: CString,
    /// What to do when the kernel says EPERM or EBUSY.
    pub if_denied: IfDenied,
    /// Made before init is there, with these `MOUNT_ATTR_*` and the rights of the runtime: a procfs
    /// shows the pid namespace of its maker and a mqueue the ipc namespace, and a new user namespace
    /// lacks the rights over one that was joined. The process that makes it must be in that
    /// namespace by then: for `create` it has joined all, for `mounts add` the pid namespace at most,
    /// and so makes no mqueue.
    pub made_early: Option<u64>,
    /// The target must be a real directory, never a symbolic link: /proc and /sys are places that
    /// later steps and the container's masks rely on.
    pub real_directory: bool,
    /// Give the new root the mode of the directory that it covers.
    pub inherit_mode: bool,
    /// Copy what the directory holds into the new file system.
    pub copy_up: bool,
    /// A SELinux context for the root of a file system that knows no `context=`.
    pub label: Option<CString>,
    /// Attributes applied after the mount, on the whole tree.
    pub recursive_set: u64,
    pub recursive_clear: u64,
    pub propagation: Vec<Propagation>,
    /// A later step changes the mount.
    pub changed_later: bool,
}

/// The fallback of a [`Filesystem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfDenied {
    Fail,
    /// Bind this host directory instead (`/sys`, or the container's own cgroup).
    Bind(CString),
    /// Bind it if it is there, as the container's own cgroup is unless an unprivileged runtime
    /// could not make it; else show an empty read-only directory.
    BindOrMask(CString),
}

/// A change of a mount that is there already: mount(2) with MS_REMOUNT.
#[derive(Clone, Debug)]
pub struct Remount {
    pub target: CString,
    /// `bind` too: the attributes of this mount, not those of its file system.
    pub bind: bool,
    pub attrs: BindAttrs,
    pub flags: u64,
    pub data: CString,
    pub propagation: Vec<Propagation>,
}
