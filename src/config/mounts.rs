//! `mounts` and the table of mount option words.

use std::path::PathBuf;

/// Mount attributes as mount_setattr(2) takes them: `MOUNT_ATTR_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear. Changing the atime mode clears `MOUNT_ATTR__ATIME` and sets the new one.
    pub clear: u64,
}

/// Propagation words, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub flag: u64,
    /// The `r…` form: the whole tree.
    pub recursive: bool,
}

/// One element of `mounts`.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it stands in the config, as in `mounts[3]`.
    pub field: String,
    /// Absolute, lexically clean.
    pub destination: PathBuf,
    /// As written; for a bind absolute (a relative one is below the bundle).
    pub source: Option<String>,
    /// File system type; meaningless for a bind.
    pub fstype: String,
    /// `Some(recursive)` for a bind mount.
    pub bind: Option<bool>,
    /// Attributes of this mount alone.
    pub attrs: Attrs,
    /// Attributes of the whole tree (`rro` and its kin).
    pub recursive_attrs: Attrs,
    /// `MS_*` flags of the superblock: RDONLY, SYNCHRONOUS, DIRSYNC, MANDLOCK, LAZYTIME, I_VERSION, SILENT.
    pub super_flags: u64,
    /// Superblock flags that a word cleared (`rw`, `async`, …); a remount needs them.
    pub super_clear: u64,
    /// Propagation changes, in order.
    pub propagation: Vec<Propagation>,
    /// File-system-specific options, comma-joined, as mount(2)'s data.
    pub data: String,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub tmpcopyup: bool,
    /// The option words as written, for messages.
    pub options: Vec<String>,
}
