//! `hooks`.

use std::path::PathBuf;
use std::time::Duration;

/// The six hook moments. Source: runtime-spec 1.3, config.md, POSIX-platform hooks.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Runtime namespaces, after the mounts and before pivot_root (deprecated).
    pub prestart: Vec<Hook>,
    /// Runtime namespaces, after `prestart`.
    pub create_runtime: Vec<Hook>,
    /// Container namespaces, host paths, before pivot_root.
    pub create_container: Vec<Hook>,
    /// Container namespaces and paths, just before the user process.
    pub start_container: Vec<Hook>,
    /// Runtime namespaces, after the user process has executed.
    pub poststart: Vec<Hook>,
    /// Runtime namespaces, after the container is gone.
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where it stands in the config, as in `hooks.poststop[0]`.
    pub field: String,
    /// Absolute path of the program.
    pub path: PathBuf,
    /// argv, the program's name included.
    pub args: Vec<String>,
    /// Its environment; `None` inherits the caller's.
    pub env: Option<Vec<String>>,
    /// The time after which it is killed and counts as failed.
    pub timeout: Option<Duration>,
}
