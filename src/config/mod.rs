//! The validated view of `config.json`: plain data, every MUST of the runtime
//! specification checked, each failure with the path of its property.
//!
//! Pure: no file system, environment, clock, process or system call.
//! `Config::new` is the only way in, so whoever holds a `Config` may trust it.

pub mod hooks;
pub mod linux;
pub mod mounts;
pub mod process;
pub mod resources;
pub mod seccomp;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use hooks::{Hook, Hooks};
pub use linux::{
    Device, DeviceKind, IdMapping, Linux, Namespace, NamespaceKind, Namespaces, Personality,
    RootPropagation, TimeOffset,
};
pub use mounts::{Attrs, Mount, Propagation};
pub use process::{Capabilities, ConsoleSize, Process, Rlimit, User};
pub use resources::Resources;

/// A container as `config.json` describes it.
/// Source: runtime-spec 1.3, config.md and config-linux.md.
#[derive(Clone, Debug)]
pub struct Config {
    /// `ociVersion`.
    pub oci_version: String,
    /// `root`.
    pub root: Root,
    /// `mounts`, in their order.
    pub mounts: Vec<Mount>,
    /// `process`; absent is legal at create.
    pub process: Option<Process>,
    /// `hostname`; needs a UTS namespace.
    pub hostname: Option<String>,
    /// `domainname`; needs a UTS namespace.
    pub domainname: Option<String>,
    /// `hooks`.
    pub hooks: Hooks,
    /// `annotations`, sorted.
    pub annotations: BTreeMap<String, String>,
    /// `linux`.
    pub linux: Linux,
    /// What the user should know though it is no error (unknown capability names and the like).
    pub warnings: Vec<String>,
}

/// `root`.
#[derive(Clone, Debug)]
pub struct Root {
    /// Absolute: a relative `root.path` is taken below the bundle.
    pub path: PathBuf,
    /// `root.readonly`.
    pub readonly: bool,
}
