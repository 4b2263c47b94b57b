//! The values that the control files of a cgroup get.

/// One value for one control file of the container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Such as `memory.max`. Never has a slash.
    pub file: String,
    /// Written by one write(2).
    pub value: String,
    /// The property that asks for it, such as `linux.resources.memory.limit`.
    pub field: String,
    /// What to do when the kernel refuses it.
    pub fallback: Fallback,
    /// A file of the same cgroup whose number the value must exceed. With `checkBeforeUpdate` this
    /// is an error; without it, the kernel would kill processes.
    pub above: Option<&'static str>,
}

/// What to do about a [`Write`] that the kernel refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Report an error.
    Fail,
    /// Skip the write if the file is absent. The kernel then behaves as if it had the value, or
    /// another write covers it.
    SkipIfAbsent,
    /// Write this value to this file instead if the file is absent.
    IfAbsent {
        /// A file of the same cgroup.
        file: String,
        /// In the format of that file.
        value: String,
    },
    /// Ignore EINVAL. A later element writes the same value, after the one that changes what it
    /// depends on.
    RetriedLater,
}

impl Write {
    /// The controller that owns the file; `None` for a file of the cgroup core.
    pub fn controller(&self) -> Option<&str> {
        let (controller, rest) = self.file.split_once('.')?;
        (controller != "cgroup" && rest != "pressure").then_some(controller)
    }

    /// Whether the value asks for what a cgroup without the controller has anyway.
    pub(super) fn is_unlimited(&self) -> bool {
        self.value == "max" || self.value.starts_with("max ")
    }
}
