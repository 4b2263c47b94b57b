//! A new network namespace. The kernel needs as much time to create it as to create all others
//! together. So the runtime creates it while init mounts, and init enters it as late as it can.

use std::ffi::CStr;

use super::namespaces::{FIELD, cannot_come_back};
use super::{InitStep, Plan, Planned, RuntimeStep};
use crate::config::{Namespace, NamespaceKind, Namespaces};
use crate::host::Host;

/// File systems that are the same in every network namespace. proc(5) shows that of the reader.
const NETWORKLESS: [&CStr; 6] = [
    c"proc", c"tmpfs", c"devpts", c"mqueue", c"cgroup2", c"overlay",
];

/// Removes the namespace from the flags of clone3(2) if the runtime can create it and return to its
/// own. If the namespace must belong to a user namespace other than the runtime's, it is created in
/// that one.
pub(super) fn make(plan: &mut Plan, namespaces: &Namespaces, host: &Host) {
    let is_new = namespaces.network == Namespace::New;
    if is_new && namespaces.user == Namespace::Inherit && !cannot_come_back(host) {
        plan.clone_flags &= !(NamespaceKind::Network.flag() as u64);
        let field = FIELD.to_owned();
        let step = RuntimeStep::MakeNetwork;
        // Init will wait for it.
        plan.meanwhile.insert(0, Planned { field, step });
    }
}

/// Inserts the step in which init enters the namespace. It goes before the first step that may
/// depend on the network, or for which init asks the busy runtime for something.
pub(super) fn enter(plan: &mut Plan) {
    let mut made = plan.meanwhile.iter();
    if !made.any(|planned| matches!(planned.step, RuntimeStep::MakeNetwork)) {
        return;
    }
    let depends = |planned: &Planned<InitStep>| depends_on_network(&planned.step);
    let end = plan.init.len();
    let position = plan.init.iter().position(depends).unwrap_or(end);
    let field = FIELD.to_owned();
    let step = InitStep::EnterNetwork;
    plan.init.insert(position, Planned { field, step });
}

/// A file system that shows a network namespace, such as sysfs(5), shows that of the process that
/// mounts it.
fn depends_on_network(step: &InitStep) -> bool {
    match step {
        InitStep::UnshareCgroup
        | InitStep::SessionKeyring { .. }
        | InitStep::RootPropagation { .. }
        | InitStep::BindRootfs { .. } => false,
        InitStep::Filesystem(fs) => !NETWORKLESS.contains(&fs.fstype.as_c_str()),
        _ => true,
    }
}
