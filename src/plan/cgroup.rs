//! `linux.resources` as cgroup v2 control files.

/// One value for one control file of the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// As in `memory.max`.
    pub file: String,
    pub value: String,
}
