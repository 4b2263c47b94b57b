//! The data of mount steps.

use std::ffi::CString;

use crate::config::{Attrs, Propagation, SourceLink, TargetLink};

/// The attributes with which a mount can only be used to read data. mount_setattr(2).
pub const INERT: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;

/// The source of a bind mount, and the process that copies it: open_tree(2). All paths except the
/// last are paths of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindSource {
    /// Copied by init in its turn. mountinfo lists mounts in the order of their creation (since
    /// Linux 6.8), and its readers expect the mounts of the config in the order of the config.
    CopiedByInit {
        /// The source.
        path: CString,
        /// Whether the runtime, which has the same privileges, first checks that it exists.
        looked_up: bool,
    },
    /// Copied and changed by the runtime before any process exists.
    CopiedByRuntime {
        /// The source.
        path: CString,
        /// Whether init copies it if the runtime cannot: a mount that cannot be bound in the
        /// runtime's namespace (unbindable, or in another namespace) may be bindable in init's own.
        or_by_init: bool,
    },
    /// Opened by the runtime in init's mount namespace, and copied by init, in its turn. Root of the
    /// container's user namespace may be unable to reach the path. A tree copied in the runtime's
    /// own namespace would lack the locks that keep the container from clearing the flags of its
    /// mounts or uncovering what they hide. mount_namespaces(7).
    OpenedByRuntime(CString),
    /// The same for a mount that is added to an existing container. A process with no other task
    /// copies it in place of init, in a copy of the host's mounts that the container's user
    /// namespace owns.
    CopiedInUserNamespace(CString),
    /// Opened by init in its turn. It is below the rootfs, where an earlier mount may change the
    /// meaning of the path.
    Rootfs(CString),
}

impl BindSource {
    /// The path of the source.
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

impl Bind {
    /// The flags with which the source is opened.
    pub fn source_flags(&self) -> i32 {
        match self.source_link {
            SourceLink::Followed => 0,
            SourceLink::Mounted | SourceLink::Copied => libc::O_NOFOLLOW,
        }
    }

    /// The flags with which the target is opened.
    pub const fn target_flags(&self) -> i32 {
        match self.target_link {
            TargetLink::Followed => 0,
            TargetLink::Covered => libc::O_NOFOLLOW,
        }
    }
}

/// One bind mount: open_tree(2), mount_setattr(2), move_mount(2).
#[derive(Clone, Debug)]
pub struct Bind {
    /// The tree that is bound.
    pub source: BindSource,
    /// Absolute path in the container.
    pub target: CString,
    /// What to do about a symbolic link at the end of the source.
    pub source_link: SourceLink,
    /// What to do about a symbolic link at the end of the target.
    pub target_link: TargetLink,
    /// `rbind`.
    pub recursive: bool,
    /// The attributes that the copy gets.
    pub attrs: MountAttrs,
    /// Applied in this order.
    pub propagation: Vec<Propagation>,
    /// The map of an id-mapped mount.
    pub id_map: Option<BindIdMap>,
    /// Whether the target may be in the container's procfs: it is one of the files that describe
    /// the machine, or the source is a procfs itself.
    pub on_proc: bool,
    /// Whether a later step changes the mount.
    pub changed_later: bool,
}

/// MOUNT_ATTR_IDMAP of mount_setattr(2). The runtime sets it on a tree that init has copied in
/// init's mount namespace, because it needs privileges over the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindIdMap {
    /// Whether the mounts below are mapped too.
    pub recursive: bool,
    /// The texts of a uid_map and a gid_map. `None` means the container's user namespace.
    pub maps: Option<(String, String)>,
}

/// Changes of the attributes of a mount. mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttrs {
    /// Of the mount itself.
    pub top: Attrs,
    /// Of the whole tree, afterwards.
    pub tree: Attrs,
    /// The bits that options of the config clear by name, or `None` if nothing is locked. In a user
    /// namespace the attributes of a bind's source are locked: those that no option names do not
    /// change, and clearing one of these is an error.
    pub locked: Option<u64>,
}

/// A new file system: mount(2).
#[derive(Clone, Debug)]
pub struct Filesystem {
    /// `type`.
    pub fstype: CString,
    /// `source`: a device, or any text.
    pub source: CString,
    /// Absolute path in the container.
    pub target: CString,
    /// `MS_*`.
    pub flags: u64,
    /// The options that the file system itself reads.
    pub data: CString,
    /// What to do when the kernel refuses the mount with EPERM or EBUSY.
    pub if_denied: IfDenied,
    /// If set, the file system is made before init exists, with these `MOUNT_ATTR_*` and the
    /// privileges of the runtime. A procfs shows the pid namespace of its creator, and a mqueue its
    /// ipc namespace, but a new user namespace has no privileges over a joined namespace. The
    /// process that makes the file system must be in that namespace by then. For `create`, it has
    /// joined all of them. For `mounts add`, it has joined the pid namespace at most, so it does
    /// not make a mqueue.
    pub made_early: Option<u64>,
    /// If set, the runtime makes the file system early, in its own namespaces: the kernel maps the
    /// ids of a file system only if it belongs to the initial user namespace. Init attaches it.
    pub id_map: Option<BindIdMap>,
    /// Whether the target must be a real directory, never a symbolic link. Later steps and the
    /// container's masks rely on the places /proc and /sys.
    pub real_directory: bool,
    /// Whether the new root gets the mode of the directory that it covers. A directory that the
    /// runtime creates has none to give.
    pub inherit_mode: bool,
    /// Whether the content of the directory is copied into the new file system.
    pub copy_up: bool,
    /// The SELinux context for the root of a file system that does not support `context=`.
    pub label: Option<CString>,
    /// Attributes applied after the mount, on the whole tree.
    pub tree_attrs: Attrs,
    /// Applied in this order.
    pub propagation: Vec<Propagation>,
    /// Whether a later step changes the mount.
    pub changed_later: bool,
}

/// The fallback of a [`Filesystem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfDenied {
    /// Report the error.
    Fail,
    /// Bind-mount this directory of the host instead (`/sys`, or the container's own cgroup).
    Bind(CString),
    /// Bind-mount it if it exists, otherwise show an empty read-only directory. The container's own
    /// cgroup exists unless an unprivileged runtime could not create it.
    BindOrMask(CString),
}

/// A change of an existing mount: mount(2) with MS_REMOUNT.
#[derive(Clone, Debug)]
pub struct Remount {
    /// Absolute path in the container.
    pub target: CString,
    /// Whether `bind` is given too: the attributes of this mount change, not those of its file
    /// system.
    pub bind: bool,
    /// The attributes to set and to clear.
    pub attrs: MountAttrs,
    /// `MS_*` of the file system.
    pub flags: u64,
    /// The options that the file system itself reads.
    pub data: CString,
    /// Applied in this order.
    pub propagation: Vec<Propagation>,
}
