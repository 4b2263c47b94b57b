//! The cases, one file per area.

use crate::Test;

mod annotations;
mod asked_to_end;
mod attacks;
mod bad_input;
mod binds;
mod budget;
mod bytes;
mod callers;
mod cgroups;
mod check;
mod check_host;
mod check_rootfs;
mod codes;
mod command_line;
mod containerd;
mod criu;
mod criu_flags;
mod criu_memory;
mod criu_mounts;
mod criu_namespaces;
mod criu_network;
mod criu_privileges;
mod cve_devices;
mod cve_mounts;
mod cve_paths;
mod cve_process;
mod cve_users;
mod damaged;
mod descriptors;
mod devices;
mod engine_words;
mod entering;
mod events;
mod exchanged;
mod exec;
mod exec_flags;
mod executables;
mod explain;
mod foreground;
mod hardening;
mod held;
mod hook_moments;
mod hook_streams;
mod hooks;
mod id_mapped_mounts;
mod identity;
mod intel_rdt;
mod interrupted;
mod keyring;
mod kill_delete;
mod labels;
mod lifecycle;
mod limits;
mod manual;
mod memory_policy;
mod messages;
mod mount_links;
mod mount_words;
mod mounts;
mod mounts_verb;
mod namespaces;
mod nested_cgroups;
mod net_devices;
mod notify;
mod overtaken;
mod own_binary;
mod own_mount;
mod own_namespaces;
mod owners;
mod pause;
mod pid_files;
mod podman;
mod populated_cgroups;
mod privileges;
mod process;
mod program;
mod propagation;
mod protect;
mod ps;
mod refusals;
mod reports;
mod root_switch;
mod rootfs;
mod rootless;
mod rootless_cgroups;
mod scheduling;
mod sd_notify;
mod seccomp;
mod seccomp_record;
mod selftest;
mod sockets;
mod start;
mod state_list;
mod sysctl;
mod systemd;
mod terminal;
mod time_namespaces;
mod timings;
mod tmpfs;
mod unasked;
mod unseen;
mod update;
mod userns_binds;
mod userns_fs;
mod wait;
mod warnings;

const FILES: &[&[Test]] = &[
    annotations::TESTS,
    asked_to_end::TESTS,
    attacks::TESTS,
    bad_input::TESTS,
    engine_words::TESTS,
    events::TESTS,
    binds::TESTS,
    budget::TESTS,
    bytes::TESTS,
    callers::TESTS,
    devices::TESTS,
    cgroups::TESTS,
    check::TESTS,
    check_host::TESTS,
    check_rootfs::TESTS,
    damaged::TESTS,
    descriptors::TESTS,
    id_mapped_mounts::TESTS,
    identity::TESTS,
    program::TESTS,
    codes::TESTS,
    command_line::TESTS,
    warnings::TESTS,
    containerd::TESTS,
    criu::TESTS,
    criu_flags::TESTS,
    criu_memory::TESTS,
    criu_mounts::TESTS,
    criu_namespaces::TESTS,
    criu_network::TESTS,
    criu_privileges::TESTS,
    cve_devices::TESTS,
    cve_mounts::TESTS,
    cve_paths::TESTS,
    cve_process::TESTS,
    cve_users::TESTS,
    overtaken::TESTS,
    own_binary::TESTS,
    own_mount::TESTS,
    owners::TESTS,
    exchanged::TESTS,
    exec::TESTS,
    exec_flags::TESTS,
    executables::TESTS,
    explain::TESTS,
    foreground::TESTS,
    hardening::TESTS,
    held::TESTS,
    hook_moments::TESTS,
    hook_streams::TESTS,
    hooks::TESTS,
    intel_rdt::TESTS,
    interrupted::TESTS,
    keyring::TESTS,
    kill_delete::TESTS,
    labels::TESTS,
    lifecycle::TESTS,
    limits::TESTS,
    manual::TESTS,
    memory_policy::TESTS,
    messages::TESTS,
    mount_links::TESTS,
    mount_words::TESTS,
    mounts::TESTS,
    mounts_verb::TESTS,
    namespaces::TESTS,
    entering::TESTS,
    time_namespaces::TESTS,
    nested_cgroups::TESTS,
    net_devices::TESTS,
    notify::TESTS,
    own_namespaces::TESTS,
    pause::TESTS,
    pid_files::TESTS,
    podman::TESTS,
    populated_cgroups::TESTS,
    privileges::TESTS,
    process::TESTS,
    ps::TESTS,
    propagation::TESTS,
    protect::TESTS,
    refusals::TESTS,
    reports::TESTS,
    root_switch::TESTS,
    rootfs::TESTS,
    rootless::TESTS,
    rootless_cgroups::TESTS,
    scheduling::TESTS,
    sd_notify::TESTS,
    seccomp::TESTS,
    seccomp_record::TESTS,
    sockets::TESTS,
    start::TESTS,
    state_list::TESTS,
    update::TESTS,
    sysctl::TESTS,
    systemd::TESTS,
    terminal::TESTS,
    timings::TESTS,
    tmpfs::TESTS,
    unasked::TESTS,
    unseen::TESTS,
    userns_fs::TESTS,
    userns_binds::TESTS,
    wait::TESTS,
];

/// Every case; those that must fail are included only on request.
pub fn all() -> impl Iterator<Item = &'static Test> {
    let selftest = std::env::var_os("RUNTIME_TESTS_SELFTEST").is_some();
    let selftest: &[Test] = if selftest { selftest::TESTS } else { &[] };
    FILES.iter().copied().flatten().chain(selftest)
}
