//! Builds the plan of a container: the order of all steps.

use std::path::PathBuf;

use super::{
    InitStep, Plan, RootSwitch, annotations, cgroup, hooks, intel_rdt, labels, mounts, namespaces,
    network, process, rootfs,
};
use crate::config::{Config, Namespace};
use crate::error::Result;
use crate::host::Host;

/// The settings of the command line that a plan needs in addition to the config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--cgroup-manager disabled`: the container stays in its caller's cgroup.
    pub no_cgroup: bool,
    /// `--systemd-cgroup`: systemd creates the cgroup.
    pub systemd: bool,
    /// The directory of the host that the container sees as `/run/notify`, if NOTIFY_SOCKET is set.
    pub notify: Option<PathBuf>,
    /// The settings of the process.
    pub process: ProcessOptions,
    /// `--seccomp-record`, an absolute path.
    pub record: Option<PathBuf>,
}

/// The settings of the command line for a process of `create` or of `exec`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessOptions {
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`, including the descriptors of `LISTEN_FDS`.
    pub preserved_fds: u32,
    /// `LISTEN_FDS` of the runtime's environment.
    pub listen_fds: u32,
    /// Whether the container that `exec` enters has been started.
    pub program: Program,
}

/// What init has done with the container's program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// Init waits for `start`. It holds descriptors of the host and is not dumpable.
    Awaited,
    /// Init has executed the program.
    #[default]
    Executed,
}

/// Turns a config into the ordered lists of steps.
///
/// # Errors
/// A property asks for something that this host does not offer.
pub fn build(config: &Config, host: &Host, options: &Options) -> Result<Plan> {
    namespaces::refuse_powerless(&config.linux.namespaces, host)?;
    annotations::check(config)?;
    let mut plan = Plan {
        warnings: config.warnings.clone(),
        ..Plan::default()
    };
    plan.warnings.extend(annotations::warnings(config));
    plan.init.reserve(expected(config));
    let resources = &config.linux.resources;
    if options.no_cgroup {
        plan.warnings.extend(cgroup::without_cgroup(resources));
    } else {
        plan.warnings.extend(cgroup::warnings(resources));
        cgroup::steps(&mut plan, config, options, host)?;
    }
    plan.mount_label = labels::mount(&mut plan, config, host);
    namespaces::steps(&mut plan, config, host, options);
    network::devices(&mut plan, config);
    intel_rdt::steps(&mut plan, config, options)?;
    rootfs::before_mounts(&mut plan, config, host);
    mounts::steps(&mut plan, config, host);
    mounts::notify(&mut plan, config, host, options);
    rootfs::devices(&mut plan, config, host);
    process::make_cwd(&mut plan, config);
    hooks::create(&mut plan, config);
    if let Some(process) = &config.process {
        process::streams(&mut plan, process, true);
    }
    rootfs::protect(&mut plan, config);
    mounts::mark_changed(&mut plan);
    let shared = mounts::root_is_shared(config);
    let kind = root_switch(config, options);
    plan.init
        .add("root.path", InitStep::SwitchRoot { kind, shared });
    rootfs::after_switch(&mut plan, config);
    process::settings(&mut plan, config);
    process::create(&mut plan, config, host, options)?;
    hooks::later(&mut plan, config);
    network::enter(&mut plan);
    Ok(plan)
}

/// An estimate of the number of init's steps, so that the list is not copied while it grows.
fn expected(config: &Config) -> usize {
    let linux = &config.linux;
    let paths = linux.masked_paths.len() + linux.readonly_paths.len();
    40 + config.mounts.len() + linux.devices.len() + linux.sysctl.len() + paths
}

fn root_switch(config: &Config, options: &Options) -> RootSwitch {
    match (&config.linux.namespaces.mount, options.no_pivot) {
        (Namespace::Inherit, _) => RootSwitch::Chroot,
        (_, true) => RootSwitch::Move,
        (_, false) => RootSwitch::Pivot,
    }
}
