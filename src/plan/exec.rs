//! One more process in a running container.

use std::path::{Component, Path};

use super::{
    Cpus, Entry, EntryStep, InitStep, Place, Plan, ProcessOptions, Program, RuntimeStep,
    annotations, namespaces, process,
};
use crate::config::scheduling::ExecAffinity;
use crate::config::{Config, Namespace, NamespaceKind, Process};
use crate::error::{Error, Result};
use crate::host::Host;

const FIELD: &str = "linux.namespaces";

/// The steps from the runtime's namespaces to the execve(2) of `process` in the container that
/// `config` describes. The filter and the personality are those of the container. `cgroup` is the
/// value of `--cgroup`.
///
/// # Errors
/// A property of `process` asks for something that this host does not offer; `cgroup` is not below
/// the container's.
pub fn exec(
    config: &Config,
    process: &Process,
    host: &Host,
    options: &ProcessOptions,
    cgroup: Option<&Path>,
) -> Result<Plan> {
    let mut plan = Plan {
        place: begins_in(config, cgroup)?,
        ..Plan::default()
    };
    enter(&mut plan, config, host, options.program);
    namespaces::session_keyring(&mut plan, Some(process), host, options);
    process::of_every_process(&mut plan, config);
    process::streams(&mut plan, process, false);
    let filter = config.linux.seccomp.as_ref();
    let exec = process::become_user(&mut plan, (config, filter), process, host, options);
    inherit_oom_score(&mut plan, host);
    cpus(&mut plan, process);
    process::confine(&mut plan, (config, filter), process, host, options)?;
    process::execute(&mut plan, exec);
    Ok(plan)
}

/// The process inherits the first CPUs from the runtime and so has them when it enters the cgroup.
/// The runtime sets the others when the process is in the cgroup, because entering it changes the
/// CPUs. If there are only first ones, the kernel decides which of them remain.
fn cpus(plan: &mut Plan, process: &Process) {
    const FIELD: &str = "process.execCPUAffinity";
    let Some(ExecAffinity { initial, last }) = &process.exec_affinity else {
        return;
    };
    if let Some(cpus) = initial {
        let step = RuntimeStep::Cpus(Box::new(cpus.clone()));
        plan.prepare.add(format!("{FIELD}.initial"), step);
        plan.cpus = Cpus::Planned;
    }
    if let Some(cpus) = last {
        let step = RuntimeStep::Cpus(Box::new(cpus.clone()));
        plan.meanwhile.add(format!("{FIELD}.final"), step);
        plan.cpus = Cpus::Planned;
    }
}

/// `--cgroup`, otherwise the cgroup in which init began.
pub(super) fn begins_in(config: &Config, cgroup: Option<&Path>) -> Result<Place> {
    match (cgroup, annotations::delegated_cgroup(config)?) {
        (Some(cgroup), _) => place(cgroup),
        (None, Some(name)) => Ok(Place::Below(name.into())),
        (None, None) => Ok(Place::Container),
    }
}

/// The limits of the container apply only below its cgroup.
fn place(cgroup: &Path) -> Result<Place> {
    let plain = |part: Component| matches!(part, Component::Normal(_) | Component::RootDir);
    if !cgroup.components().all(plain) {
        let path = cgroup.display();
        let message = format!("--cgroup: {path} is not a path below the container's cgroup");
        return Err(Error::usage(message));
    }
    let below = cgroup.strip_prefix("/").unwrap_or(cgroup);
    Ok(Place::Below(below.to_owned()))
}

/// A process that joins namespaces is not dumpable, so its files in /proc belong to root. A runtime
/// that is not root cannot write the score there. It sets its own score, which the process
/// inherits.
fn inherit_oom_score(plan: &mut Plan, host: &Host) {
    if host.euid == 0 {
        return;
    }
    plan.prepare = std::mem::take(plan.for_init());
}

/// One setns(2) with a pidfd enters all namespaces. The runtime enters them before clone3(2) and
/// leaves them again afterwards. So the process is never in the container's pid namespace while it is
/// in a mount or network namespace of the host: the container's processes may read what
/// /proc/PID/mountinfo and /proc/PID/net show, and with CAP_SYS_PTRACE follow /proc/PID/root.
///
/// The process itself enters two of them. The runtime could not return from the user namespace. And
/// in the cgroup namespace clone3(2) with a cgroup fails with ENOENT, because the runtime's own cgroup
/// is not in it, if cgroup2 is mounted with `nsdelegate` (cgroup-v2.rst, "Delegation Containment").
///
/// An unprivileged caller gets its privileges only inside the container's user namespace, so an
/// intermediate process enters all namespaces. A caller in a user namespace does the same, because
/// it could not return.
///
/// The kernel allows setns(2) with a pidfd to those who may inspect the process. That is only root as
/// long as init waits for `start`, so init itself hands its namespaces to other callers.
pub(super) fn enter(plan: &mut Plan, config: &Config, host: &Host, program: Program) {
    let all: Vec<_> = NamespaceKind::ALL
        .into_iter()
        .filter(|&kind| *config.linux.namespaces.get(kind) != Namespace::Inherit)
        .collect();
    let user = all.contains(&NamespaceKind::User);
    let keep_groups = annotations::has(config, annotations::KEEP_GROUPS);
    let leaves = !all.is_empty() && namespaces::cannot_come_back(host);
    if leaves || (user && host.euid != 0) {
        plan.entry = Entry::ThroughUserNamespace;
        let add = |step| plan.between.add(FIELD, step);
        match program {
            Program::Awaited => enter_each(all, keep_groups, add),
            Program::Executed => enter_all(all, keep_groups, add),
        }
    } else {
        let later = [NamespaceKind::Cgroup, NamespaceKind::User];
        let mut others = all.clone();
        others.retain(|kind| !later.contains(kind));
        enter_all(others, keep_groups, |step| plan.leave.add(FIELD, step));
        for kind in later.into_iter().filter(|kind| all.contains(kind)) {
            enter_all(vec![kind], keep_groups, |step| {
                plan.init.add(FIELD, InitStep::Enter(step));
            });
        }
    }
    plan.init.add("root.path", InitStep::ContainerRoot);
}

fn enter_all(kinds: Vec<NamespaceKind>, keep_groups: bool, mut add: impl FnMut(EntryStep)) {
    let enters_user = kinds.contains(&NamespaceKind::User);
    if !kinds.is_empty() {
        let not_own = None;
        add(EntryStep::EnterContainer { kinds, not_own });
    }
    if enters_user {
        add(EntryStep::BecomeRoot { keep_groups });
    }
}

fn enter_each(kinds: Vec<NamespaceKind>, keep_groups: bool, mut add: impl FnMut(EntryStep)) {
    for kind in kinds {
        let not_own = None;
        add(EntryStep::EnterNamespace { kind, not_own });
        // Without this no other namespace of the container could be entered.
        if kind == NamespaceKind::User {
            add(EntryStep::BecomeRoot { keep_groups });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_lies_below_the_containers() {
        for path in ["jobs/1", "/jobs/1"] {
            assert_eq!(place(path.as_ref()).unwrap(), Place::Below("jobs/1".into()));
        }
        for path in ["../jobs", "jobs/../../1", ".."] {
            let error = place(path.as_ref()).unwrap_err().to_string();
            assert!(error.starts_with("--cgroup: "), "{error}");
        }
    }

    #[test]
    fn the_plan_shows_the_cgroup() {
        let plan = Plan {
            place: Place::Below("jobs/1".into()),
            ..Plan::default()
        };
        let text = plan.text();
        assert!(
            text.contains(", in the container's cgroup jobs/1"),
            "{text}"
        );
        assert_eq!(plan.json()["clone"]["cgroup"], "jobs/1");
    }

    #[test]
    fn the_first_cpus_are_set_before_the_process_exists() {
        let json = br#"{"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"cwd": "/",
            "args": ["a"], "user": {}, "execCPUAffinity": {"initial": "0", "final": "1-2"}}}"#;
        let config = crate::spec::config(json, "/b".as_ref()).expect("a config");
        let mut plan = Plan::default();
        cpus(&mut plan, config.process.as_ref().expect("a process"));
        let text = plan.text();
        let lines: Vec<_> = text.lines().filter(|it| it.contains("CPUs")).collect();
        let expected = [
            "prepare  run on CPUs 0  <- process.execCPUAffinity.initial",
            "parent   run on CPUs 1-2  <- process.execCPUAffinity.final",
        ];
        assert_eq!(lines, expected);
        assert_eq!(plan.cpus, Cpus::Planned);
    }
}
