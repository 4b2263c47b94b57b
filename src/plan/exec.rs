//! One more process in a container that runs.

use super::{Phase, Plan, ProcessOptions, Step, namespaces, process};
use crate::config::{Config, Namespace, NamespaceKind, Process};
use crate::error::Result;
use crate::host::Host;

const FIELD: &str = "linux.namespaces";

/// The steps from the runtime's namespaces to the execve(2) of `process` in the container that
/// `config` describes. Filter and personality are the container's.
///
/// # Errors
/// A property of `process` asks for something that this host cannot give.
pub fn exec(
    config: &Config,
    process: &Process,
    host: &Host,
    options: &ProcessOptions,
) -> Result<Plan> {
    let mut plan = Plan::default();
    enter(&mut plan, config, host);
    namespaces::session_keyring(&mut plan, Some(process), host, options);
    process::personality(&mut plan, config);
    process::streams(&mut plan, process, false);
    let exec = process::become_user(&mut plan, config, process, host, options);
    inherit_oom_score(&mut plan, host);
    process::confine(&mut plan, config, process, host, options)?;
    process::execute(&mut plan, exec);
    Ok(plan)
}

/// A process that joins is not dumpable, so its /proc files are root's. Without root's rights it
/// inherits the score of the runtime, which sets its own.
fn inherit_oom_score(plan: &mut Plan, host: &Host) {
    if host.euid == 0 {
        return;
    }
    for planned in &mut plan.steps {
        if matches!(planned.step, Step::OomScoreAdj(_)) {
            planned.phase = Phase::Prepare;
        }
    }
}

/// One setns(2) with a pidfd for all. A pid namespace is entered by children only, so it comes
/// before clone3(2); a caller that has its rights from the user namespace only enters everything
/// there, in a process in between; so does one that could not come back.
pub(super) fn enter(plan: &mut Plan, config: &Config, host: &Host) {
    let all: Vec<_> = NamespaceKind::ALL
        .into_iter()
        .filter(|&kind| *config.linux.namespaces.get(kind) != Namespace::Inherit)
        .collect();
    let user = all.contains(&NamespaceKind::User);
    let leaves = all.contains(&NamespaceKind::Pid) && namespaces::cannot_come_back(host);
    plan.intermediate = leaves || (user && (host.euid != 0 || host.in_user_namespace));
    let (first, second): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|&kind| plan.intermediate || kind == NamespaceKind::Pid);
    for (phase, kinds) in [(Phase::Clone, first), (Phase::Init, second)] {
        let enters_user = kinds.contains(&NamespaceKind::User);
        if !kinds.is_empty() {
            plan.push(
                phase,
                FIELD,
                Step::EnterContainer {
                    kinds,
                    not_own: None,
                },
            );
        }
        if enters_user {
            plan.push(phase, FIELD, Step::BecomeRoot { setgroups: true });
        }
    }
    plan.push(Phase::Init, "root.path", Step::ContainerRoot);
}
