//! The runtime's side: makes processes, serves init, relays terminals and signals, and undoes what
//! has failed.

mod cgroup;
mod checkpoint;
mod clone;
mod confined;
mod create;
mod entrance;
mod exec;
mod foresee;
mod hooks;
mod host_mount;
mod id_map;
pub mod interrupt;
mod live_mounts;
mod net_devices;
mod network;
mod pid_file;
mod places;
pub mod relay;
mod resctrl;
mod restore;
pub mod sd_notify;
mod seccomp_listener;
mod seccomp_record;
mod serve_init;
mod sources;
mod staged;
mod start;
mod steps;
pub mod teardown;
mod timings;

pub use checkpoint::{Checkpoint, checkpoint};
pub use create::planned_cgroup;
pub use create::{Created, Request, create};
pub use exec::{ExecRequest, exec};
pub use foresee::{
    Foreseen, foresee, foresee_cwd, foresee_executable, foresee_start_hooks, granted_ids,
};
pub use hooks::{run_hooks, run_poststop_hooks};
pub use host_mount::unseen_mounts;
pub use live_mounts::change_mounts;
pub use resctrl::change_schemata;
pub use restore::{Restore, Restored, restore};
pub use seccomp_record::{finish as finish_recording, recorder};
pub use start::{check_startable, start, start_created};
pub use timings::Timings;

/// For fuzz/.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub(super) mod fuzzing {
    pub use super::serve_init::{await_execve, receive, serve};
}
