//! A new network namespace. The kernel takes as long for it as for all others together, so the
//! runtime makes it while init mounts, and init enters it as late as it can.

use std::ffi::CStr;

use super::namespaces::{FIELD, cannot_come_back};
use super::{Phase, Plan, Planned, Step};
use crate::config::{Namespace, NamespaceKind, Namespaces};
use crate::host::Host;

/// File systems that are the same in each network namespace. proc(5) shows that of whoever reads.
const NETWORKLESS: [&CStr; 6] = [
    c"proc", c"tmpfs", c"devpts", c"mqueue", c"cgroup2", c"overlay",
];

/// Takes the namespace off clone3(2) where the runtime can make it and come back: one that is to
/// belong to another user namespace than the runtime's is made in there.
pub(super) fn make(plan: &mut Plan, namespaces: &Namespaces, host: &Host) {
    let is_new = namespaces.network == Namespace::New;
    if is_new && namespaces.user == Namespace::Inherit && !cannot_come_back(host) {
        plan.clone_flags &= !(NamespaceKind::Network.flag() as u64);
        plan.push(Phase::Parent, FIELD, Step::MakeNetwork);
    }
}

/// Puts init's entrance before the first step that may look at the network, or that asks the
/// runtime for something while that is busy.
pub(super) fn enter(plan: &mut Plan) {
    let heeds = |planned: &Planned| planned.phase == Phase::Init && heeds_network(&planned.step);
    if !plan.makes_network() {
        return;
    }
    let end = plan.steps.len();
    let position = plan.steps.iter().position(heeds).unwrap_or(end);
    let planned = Planned {
        phase: Phase::Init,
        field: FIELD.to_owned(),
        step: Step::EnterNetwork,
    };
    plan.steps.insert(position, planned);
}

/// Of the file systems that show a network namespace, as sysfs(5) does, each shows that of whoever
/// mounts it.
fn heeds_network(step: &Step) -> bool {
    match step {
        Step::UnshareCgroup
        | Step::SessionKeyring { .. }
        | Step::RootPropagation { .. }
        | Step::BindRootfs { .. } => false,
        Step::Filesystem(fs) => !NETWORKLESS.contains(&fs.fstype.as_c_str()),
        _ => true,
    }
}
