//! The steps of the runtime for a container that CRIU restores. CRIU makes the processes, their
//! namespaces, mounts and attributes; the runtime makes their cgroup and their groups.

use super::{Plan, RuntimeStep, Steps};

/// The steps, by the time at which they are carried out.
#[derive(Clone, Debug, Default)]
pub struct RestoreSteps {
    /// Before CRIU begins.
    pub before: Steps<RuntimeStep>,
    /// On CRIU's process, which waits: systemd makes no cgroup without a process.
    pub on_criu: Steps<RuntimeStep>,
    /// On the restored init.
    pub on_init: Steps<RuntimeStep>,
}

impl Plan {
    /// The steps for a container that CRIU restores.
    pub fn restore_steps(&self) -> RestoreSteps {
        let mut steps = RestoreSteps::default();
        let prepare = self.prepare.iter().map(|planned| (planned, true));
        let beside = self.beside().map(|planned| (planned, false));
        for (planned, early) in prepare.chain(beside) {
            let list = match &planned.step {
                RuntimeStep::CreateCgroup(_)
                | RuntimeStep::SystemdUnit(_)
                | RuntimeStep::CgroupWrite(_)
                | RuntimeStep::DeviceProgram(_)
                | RuntimeStep::DelegateCgroup { .. }
                | RuntimeStep::Resctrl(_) => {
                    if early {
                        &mut steps.before
                    } else {
                        &mut steps.on_criu
                    }
                }
                RuntimeStep::ResctrlTasks(_) => &mut steps.on_init,
                // In the images.
                RuntimeStep::EnterSubCgroup { .. }
                | RuntimeStep::IdMap { .. }
                | RuntimeStep::OomScoreAdj(_)
                | RuntimeStep::Cpus(_)
                | RuntimeStep::MakeNetwork
                | RuntimeStep::MoveDevice(_) => continue,
            };
            list.push(planned.clone());
        }
        steps
    }
}
