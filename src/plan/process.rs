//! `process`: the steps from the container's root to execve(2).

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{
    Credentials, Exec, InheritedStep, InitStep, Options, Plan, ProcessOptions, Rlimit, RuntimeStep,
    annotations, c_string, hooks, labels,
};
use crate::config::process::capability_names;
use crate::config::seccomp::Seccomp;
use crate::config::{Capabilities, Config, Linux, Namespace, Personality, Process};
use crate::error::{Code, Error, Result};
use crate::host::Host;

/// The search path for executables when the environment has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CAP_SYS_ADMIN: u64 = 1 << 21;
/// The variable that names the socket in [`Options::notify`] to the container of a service manager.
const NOTIFY_SOCKET: &CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";
/// personality(2): report a 32-bit machine.
const PER_LINUX32: u64 = 8;

pub(super) fn make_cwd(plan: &mut Plan, config: &Config) {
    if let Some(process) = &config.process
        && process.cwd != Path::new("/")
    {
        let path = c_string(&process.cwd);
        plan.init.add("process.cwd", InitStep::MakeCwd { path });
    }
}

/// The standard streams. With `bind`, the terminal also becomes the container's /dev/console.
pub(super) fn streams(plan: &mut Plan, process: &Process, bind: bool) {
    let uid = process.user.uid;
    if process.terminal {
        let size = process.console_size;
        let step = InitStep::Console { size, uid, bind };
        plan.init.add("process.terminal", step);
    } else {
        plan.init.add("process.user", InitStep::Stdio { uid });
    }
}

/// Names and kernel settings of the new namespaces.
pub(super) fn settings(plan: &mut Plan, config: &Config) {
    // Without `..`, so that the compiler asks for the steps of a new property.
    let Linux {
        sysctl,
        // In `of_every_process`.
        personality: _,
        memory_policy: _,
        // In `namespaces`.
        namespaces: _,
        uid_mappings: _,
        gid_mappings: _,
        time_offsets: _,
        // In `network`.
        net_devices: _,
        // In `intel_rdt`.
        intel_rdt: _,
        // In `cgroup`.
        cgroups_path: _,
        resources: _,
        // In `rootfs`.
        devices: _,
        rootfs_propagation: _,
        masked_paths: _,
        readonly_paths: _,
        // In `labels`.
        mount_label: _,
        // In `seccomp`.
        seccomp: _,
    } = &config.linux;
    if let Some(name) = &config.hostname {
        let name = c_string(name.as_str());
        plan.init.add("hostname", InitStep::Hostname(name));
    }
    if let Some(name) = &config.domainname {
        let name = c_string(name.as_str());
        plan.init.add("domainname", InitStep::Domainname(name));
    }
    for sysctl in sysctl {
        let path = c_string(sysctl.path.as_str());
        let value = c_string(sysctl.value.as_str());
        plan.init
            .add(&sysctl.field, InitStep::Sysctl { path, value });
    }
    of_every_process(plan, config);
}

/// Settings of the container that each of its processes inherits, so those of `exec` get them too.
pub(super) fn of_every_process(plan: &mut Plan, config: &Config) {
    if let Some(personality) = config.linux.personality {
        let persona = match personality {
            Personality::Linux => 0,
            Personality::Linux32 => PER_LINUX32,
        };
        let step = InheritedStep::Personality(persona);
        plan.init
            .add("linux.personality", InitStep::Inherited(step));
    }
    if let Some(policy) = &config.linux.memory_policy {
        let step = InheritedStep::MemoryPolicy(Box::new(policy.clone()));
        plan.init
            .add("linux.memoryPolicy", InitStep::Inherited(step));
    }
}

/// The steps of a new container's process, from the host's root to its execve(2).
pub(super) fn create(
    plan: &mut Plan,
    config: &Config,
    host: &Host,
    options: &Options,
) -> Result<()> {
    let Some(process) = &config.process else {
        plan.init.add("process", InitStep::WaitForStart);
        return Ok(());
    };
    let recording = annotations::recording(config, options)?;
    let filter = recording.as_ref().or(config.linux.seccomp.as_ref());
    let mut exec = become_user(plan, (config, filter), process, host, &options.process);
    if options.notify.is_some() {
        exec.env.push(NOTIFY_SOCKET.into());
    }
    confine(plan, (config, filter), process, host, &options.process)?;
    hooks::start(plan, config);
    execute(plan, exec);
    Ok(())
}

/// The steps in which the process gives up all privileges of the runtime, and then waits.
pub(super) fn become_user(
    plan: &mut Plan,
    (config, filter): (&Config, Option<&Seccomp>),
    process: &Process,
    host: &Host,
    options: &ProcessOptions,
) -> Exec {
    // Without `..`, so that the compiler asks for the steps of a new property.
    let Process {
        cwd,
        // In `credentials`, and for `wait_with_program`.
        user: _,
        capabilities,
        no_new_privileges,
        oom_score_adj,
        scheduler,
        io_priority,
        // In `streams`.
        terminal: _,
        console_size: _,
        // In `exec::cpus`.
        exec_affinity: _,
        // In `exec`.
        env: _,
        args: _,
        // In `confine`.
        rlimits: _,
        // In `labels::exec`.
        apparmor_profile: _,
        selinux_label: _,
    } = process;
    if let Some(score) = *oom_score_adj {
        let step = RuntimeStep::OomScoreAdj(score);
        plan.for_init().add("process.oomScoreAdj", step);
    }
    let cwd = c_string(cwd);
    plan.init
        .add("process.cwd", InitStep::Cwd { path: cwd.clone() });
    labels::exec(plan, process, host);
    if let Some(scheduler) = scheduler {
        let step = InitStep::Scheduler(Box::new(scheduler.clone()));
        plan.init.add("process.scheduler", step);
    }
    if let Some(priority) = io_priority {
        let step = InheritedStep::IoPriority(*priority);
        plan.init
            .add("process.ioPriority", InitStep::Inherited(step));
    }
    if config.linux.namespaces.user == Namespace::Inherit {
        warn_of_ungrantable(plan, *capabilities, host);
    }
    credentials(plan, (config, filter), process, host);
    if *no_new_privileges {
        let step = InitStep::NoNewPrivileges;
        plan.init.add("process.noNewPrivileges", step);
    }
    plan.init
        .add("process.cwd", InitStep::CheckCwd { path: cwd });
    wait_with_program(plan, process, options)
}

fn credentials(
    plan: &mut Plan,
    (config, filter): (&Config, Option<&Seccomp>),
    process: &Process,
    host: &Host,
) {
    let user = &process.user;
    let keeps_groups = annotations::has(config, annotations::KEEP_GROUPS);
    let credentials = InitStep::Credentials(Box::new(Credentials {
        uid: user.uid,
        gid: user.gid,
        groups: (!keeps_groups).then(|| user.additional_gids.clone()),
        umask: user.umask,
        capabilities: process.capabilities,
        last_capability: host.last_capability,
        keep_sys_admin: filter_needs_admin(filter, process),
    }));
    plan.init.add("process.user", credentials);
}

/// What the process looks up before it waits, because a `create` must fail without it.
fn wait_with_program(plan: &mut Plan, process: &Process, options: &ProcessOptions) -> Exec {
    let exec = exec(process, options);
    let candidates = exec.candidates.clone();
    let step = InitStep::FindExecutable { candidates };
    plan.init.add("process.args[0]", step);
    if variable(process, b"HOME=").is_none() {
        let uid = process.user.uid;
        plan.init.add("process.env", InitStep::FindHome { uid });
    }
    plan.init.add("process", InitStep::WaitForStart);
    exec
}

/// A new user namespace gives every capability. Otherwise the process can have only those of the
/// runtime. Source: runtime-spec 1.3, config.md, "capabilities": a warning, and no error.
fn warn_of_ungrantable(plan: &mut Plan, sets: Capabilities, host: &Host) {
    let asked = sets.bounding | sets.permitted | sets.inheritable;
    let missing = capability_names(asked & !host.capabilities);
    if !missing.is_empty() {
        let names = missing.join(", ");
        let (verb, them) = if missing.len() == 1 {
            ("is", "it")
        } else {
            ("are", "them")
        };
        let message = format!("{names} {verb} not granted: the runtime does not have {them}");
        let warning = Error::config("process.capabilities", message);
        plan.warnings
            .push(warning.code_is(Code::WarningCapabilityNotGranted));
    }
}

/// Whether init must keep CAP_SYS_ADMIN for the filter: without no_new_privs the kernel requires
/// it. seccomp(2).
fn filter_needs_admin(filter: Option<&Seccomp>, process: &Process) -> bool {
    filter.is_some()
        && !process.no_new_privileges
        && process.capabilities.permitted & CAP_SYS_ADMIN == 0
}

/// The restrictions of the process, and of the hooks that run where it will run. After the filter
/// there are as few system calls as possible, because the profile must allow them. Hooks need some.
/// runc and crun also load the filter before these hooks, with and without no_new_privs.
pub(super) fn confine(
    plan: &mut Plan,
    (config, filter): (&Config, Option<&Seccomp>),
    process: &Process,
    host: &Host,
    options: &ProcessOptions,
) -> Result<()> {
    let first = 3 + options.preserved_fds;
    plan.start
        .add("open descriptors", InitStep::CloseRange { first });
    rlimits(plan, process);
    if let Some(profile) = filter {
        seccomp(plan, config, profile, host)?;
    }
    if filter_needs_admin(filter, process) {
        plan.start
            .add("process.capabilities", InitStep::DropSysAdmin);
    }
    Ok(())
}

/// The last step.
pub(super) fn execute(plan: &mut Plan, exec: Exec) {
    plan.start.add("process.args", InitStep::Exec(exec));
}

/// The runtime raises hard limits, which needs privileges. Init sets its own limits, which needs
/// none, and only when they can no longer hinder anything.
fn rlimits(plan: &mut Plan, process: &Process) {
    for rlimit in &process.rlimits {
        let limit = Rlimit {
            resource: rlimit.resource,
            name: rlimit.name.clone(),
            soft: rlimit.soft,
            hard: rlimit.hard,
        };
        plan.ready.add(&rlimit.field, limit.clone());
        plan.start.add(&rlimit.field, InitStep::Rlimit(limit));
    }
}

fn seccomp(plan: &mut Plan, config: &Config, profile: &Seccomp, host: &Host) -> Result<()> {
    let filter = super::seccomp::compile(profile, host.arch)?;
    if !filter.unknown.is_empty() {
        let names = filter.unknown.join(", ");
        let detail = format!("no architecture has these calls: {names}");
        if annotations::has(config, annotations::STRICT_SECCOMP) {
            return Err(Error::config("linux.seccomp.syscalls", detail));
        }
        let detail = Error::config("linux.seccomp", detail);
        plan.details.push(detail.code_is(Code::WarningUnknownCall));
    }
    let step = InitStep::Seccomp {
        program: filter.program,
        flags: filter.flags,
        listener: profile.listener.clone().filter(|_| filter.listener),
    };
    plan.start.add("linux.seccomp", step);
    Ok(())
}

fn exec(process: &Process, options: &ProcessOptions) -> Exec {
    let mut env: Vec<_> = process.env.iter().map(c_string).collect();
    if options.listen_fds > 0 {
        env.push(c_string(format!("LISTEN_FDS={}", options.listen_fds)));
        env.push(c"LISTEN_PID=1".into());
    }
    Exec {
        candidates: candidates(process),
        args: process.args.iter().map(c_string).collect(),
        env,
    }
}

/// The paths that execvp(3) would try.
fn candidates(process: &Process) -> Vec<CString> {
    let name = process.args.first().map_or(OsStr::new(""), AsRef::as_ref);
    if name.as_bytes().contains(&b'/') {
        return vec![c_string(name)];
    }
    let path = variable(process, b"PATH=").unwrap_or(DEFAULT_PATH.as_bytes());
    path.split(|&byte| byte == b':')
        // An empty element means the working directory, which must not be searched.
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| c_string(Path::new(OsStr::from_bytes(directory)).join(name)))
        .collect()
}

/// The value of the variable whose entry begins with `start`, such as `PATH=`.
fn variable<'a>(process: &'a Process, start: &[u8]) -> Option<&'a [u8]> {
    let mut entries = process.env.iter();
    entries.find_map(|entry| entry.as_bytes().strip_prefix(start))
}
