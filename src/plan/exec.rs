//! One more process in a running container.

use super::{Entry, EntryStep, InitStep, Plan, ProcessOptions, namespaces, process};
use crate::config::{Config, Namespace, NamespaceKind, Process};
use crate::error::Result;
use crate::host::Host;

const FIELD: &str = "linux.namespaces";

/// The steps from the runtime's namespaces to the execve(2) of `process` in the container that
/// `config` describes. The filter and the personality are those of the container.
///
/// # Errors
/// A property of `process` asks for something that this host does not offer.
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

/// A process that joins namespaces is not dumpable, so its files in /proc belong to root. A runtime
/// that is not root cannot write the score there. It sets its own score, which the process
/// inherits.
fn inherit_oom_score(plan: &mut Plan, host: &Host) {
    if host.euid == 0 {
        return;
    }
    plan.prepare = std::mem::take(plan.for_init());
}

/// One setns(2) with a pidfd enters all namespaces. Only children enter a pid namespace, so it is
/// joined before clone3(2). An unprivileged caller gets its privileges only inside the container's
/// user namespace, so an intermediate process enters all namespaces. A caller in a user namespace
/// does the same if it could not return from the pid namespace.
pub(super) fn enter(plan: &mut Plan, config: &Config, host: &Host) {
    let all: Vec<_> = NamespaceKind::ALL
        .into_iter()
        .filter(|&kind| *config.linux.namespaces.get(kind) != Namespace::Inherit)
        .collect();
    let user = all.contains(&NamespaceKind::User);
    let leaves = all.contains(&NamespaceKind::Pid) && namespaces::cannot_come_back(host);
    if leaves || (user && (host.euid != 0 || host.in_user_namespace)) {
        plan.entry = Entry::ThroughUserNamespace;
        enter_all(all, |step| plan.between.add(FIELD, step));
    } else {
        let (pid, others) = all
            .into_iter()
            .partition(|&kind| kind == NamespaceKind::Pid);
        enter_all(pid, |step| plan.leave.add(FIELD, step));
        enter_all(others, |step| plan.init.add(FIELD, InitStep::Enter(step)));
    }
    plan.init.add("root.path", InitStep::ContainerRoot);
}

fn enter_all(kinds: Vec<NamespaceKind>, mut add: impl FnMut(EntryStep)) {
    let enters_user = kinds.contains(&NamespaceKind::User);
    if !kinds.is_empty() {
        let not_own = None;
        add(EntryStep::EnterContainer { kinds, not_own });
    }
    if enters_user {
        add(EntryStep::BecomeRoot);
    }
}
