//! The order of everything.

use std::path::PathBuf;

use super::{
    InitStep, Plan, RootSwitch, cgroup, hooks, labels, mounts, namespaces, network, process, rootfs,
};
use crate::config::{Config, Namespace};
use crate::error::Result;
use crate::host::Host;

/// What the command line adds to the config.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--cgroup-manager disabled`: the container stays in its caller's cgroup.
    pub no_cgroup: bool,
    /// `--systemd-cgroup`: systemd makes the cgroup.
    pub systemd: bool,
    /// NOTIFY_SOCKET is set: the host's directory that the container sees as `/run/notify`.
    pub notify: Option<PathBuf>,
    pub process: ProcessOptions,
}

/// What the command line adds to a process, be it of `create` or of `exec`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessOptions {
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
    /// `--preserve-fds`, with the descriptors of `LISTEN_FDS` counted in.
    pub preserved_fds: u32,
    /// `LISTEN_FDS` of the runtime's environment.
    pub listen_fds: u32,
}

/// Turns a config into the ordered list of what will be done.
///
/// # Errors
/// A property asks for something that this host cannot give.
pub fn build(config: &Config, host: &Host, options: &Options) -> Result<Plan> {
    namespaces::refuse_powerless(&config.linux.namespaces, host)?;
    let mut plan = Plan {
        warnings: config.warnings.clone(),
        ..Plan::default()
    };
    plan.init.reserve(expected(config));
    if !options.no_cgroup {
        plan.warnings
            .extend(cgroup::warnings(&config.linux.resources));
        cgroup::steps(&mut plan, config, options, host)?;
    }
    plan.mount_label = labels::mount(&mut plan, config, host);
    namespaces::steps(&mut plan, config, host, options);
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
    let shared = rootfs::root_is_shared(config);
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

/// About as many steps as init will have, so that its list is not copied while it grows.
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
