//! Executes a plan, on both sides of one clone3(2).

mod attend;
mod clone;
mod create;
mod exec;
mod executable;
mod hints;
pub mod hooks;
mod host_mount;
mod id_map;
pub mod init;
pub mod interrupt;
mod live_mounts;
mod locked;
mod network;
mod notify;
mod pid_file;
mod place;
mod prepare;
mod reach;
mod reason;
pub mod relay;
mod runtime;
mod runtime_hooks;
pub mod sd_notify;
mod start;
pub mod sync;
pub mod teardown;
mod unexecuted;
mod words;

use std::ffi::CString;
use std::path::Path;

use crate::error::{On, Result};
use crate::sys;

/// Converts a path from the state file or the command line for a system call.
fn c_path(name: &str, path: &Path) -> Result<CString> {
    sys::path::c_string(path).on(|| name)
}

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use super::attend::{attend, await_execve, receive};
    pub use super::executable::{check_found, explain};
}

pub use create::planned_cgroup;
pub use create::{Created, Request, create};
pub use exec::{ExecRequest, Executed, exec};
pub use live_mounts::change_mounts;
pub use runtime_hooks::{run_hooks, run_poststop_hooks};
pub use start::{check_startable, start, start_created};
