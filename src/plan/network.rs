//! Where init enters a new network namespace, which the runtime has made in the meantime.

use std::ffi::CStr;

use super::namespaces::FIELD;
use super::{DeviceNetwork, InitStep, MoveDevice, Plan, Planned, RuntimeStep};
use crate::config::{Config, Namespace};

/// File systems that are the same in every network namespace. proc(5) shows that of the reader.
fn is_networkless(fstype: &CStr) -> bool {
    matches!(
        fstype.to_bytes(),
        b"proc" | b"tmpfs" | b"devpts" | b"mqueue" | b"cgroup2" | b"overlay"
    )
}

/// The devices of the host move while init waits for the runtime, or for the namespace.
pub(super) fn devices(plan: &mut Plan, config: &Config) {
    let mut made = plan.meanwhile.iter();
    let made = made.any(|planned| matches!(planned.step, RuntimeStep::MakeNetwork));
    let joined = matches!(config.linux.namespaces.network, Namespace::Join { .. });
    let into = if made || joined {
        DeviceNetwork::Held
    } else {
        DeviceNetwork::OfProcess
    };
    for device in &config.linux.net_devices {
        let step = RuntimeStep::MoveDevice(Box::new(MoveDevice {
            host: device.host.clone(),
            name: device.name.clone(),
            into,
        }));
        let list = if made {
            &mut plan.meanwhile
        } else {
            plan.for_init()
        };
        list.add(&device.field, step);
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
        InitStep::Unshare(_)
        | InitStep::Inherited(_)
        | InitStep::RootPropagation { .. }
        | InitStep::BindRootfs { .. } => false,
        InitStep::Filesystem(fs) => !is_networkless(&fs.fstype),
        _ => true,
    }
}
