//! The steps that the runtime itself executes, one match arm each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::Result;

use super::{Timings, cgroup, clone, id_map, net_devices, network, resctrl};
use crate::cgroup::{Cgroup, systemd};
use crate::host::Host;
use crate::plan::systemd::Unit;
use crate::plan::{
    DeviceNetwork, IfGroupExists, MoveDevice, NewCgroup, Plan, Planned, RuntimeStep, Steps,
};
use crate::run::failure;
use crate::state;
use crate::sys::{Sys, file, path, schedule};

/// The parts of the container's cgroup that have been made so far.
#[derive(Default)]
pub struct Made {
    pub cgroup: Option<Cgroup>,
    /// The systemd unit of the cgroup.
    pub unit: Option<state::Unit>,
    /// The network namespace that the runtime has made or opened.
    pub network: Option<OwnedFd>,
    pub devices: Vec<net_devices::Moved>,
    /// Groups of resctrl that belong to the container alone.
    pub resctrl: Vec<PathBuf>,
}

/// Executes the runtime's steps.
pub(super) struct Runtime<'a> {
    pub plan: &'a Plan,
    pub host: &'a Host,
    /// The connection to the process that waits for the network namespace.
    pub connection: BorrowedFd<'a>,
    pub made: &'a mut Made,
    pub timings: &'a Timings<'a>,
}

impl Runtime<'_> {
    /// Carries out steps in order, for the process `pid`.
    ///
    /// # Errors
    /// The step that failed.
    pub(super) fn run(&mut self, steps: &Steps<RuntimeStep>, pid: i32) -> Result<()> {
        let (phase, timings) = (self.phase(steps), self.timings);
        steps.iter().try_for_each(|planned| {
            timings
                .step(phase, planned.found(), || self.step(planned, pid))
                .map_err(|error| failure::in_step(planned.found(), phase, error))
        })
    }

    /// The phase of these steps, as in `explain`.
    fn phase(&self, steps: &Steps<RuntimeStep>) -> &'static str {
        if std::ptr::eq(steps, &raw const self.plan.prepare) {
            "prepare"
        } else {
            "parent"
        }
    }

    fn step(&mut self, planned: &Planned<RuntimeStep>, pid: i32) -> Result<()> {
        match &planned.step {
            RuntimeStep::CreateCgroup(new) => self.create_cgroup(&planned.field, new),
            RuntimeStep::SystemdUnit(unit) => self.start_unit(unit, pid),
            RuntimeStep::CgroupWrite(write) => self.in_cgroup(|cgroup| cgroup.write(write)),
            RuntimeStep::DeviceProgram(program) => {
                self.in_cgroup(|cgroup| cgroup.attach_device_program(&program.insns))
            }
            RuntimeStep::DelegateCgroup { uid } => self.in_cgroup(|cgroup| cgroup.delegate(*uid)),
            RuntimeStep::EnterSubCgroup { name, uid } => {
                self.in_cgroup(|cgroup| cgroup.move_below(name, pid, *uid))
            }
            RuntimeStep::IdMap {
                group,
                map,
                if_denied,
            } => id_map::write(planned, pid, *group, map, *if_denied),
            RuntimeStep::OomScoreAdj(score) => {
                Ok(file::write_proc(pid, "oom_score_adj", &score.to_string())
                    .map_err(|fail| failure::step_failed(planned, fail))?)
            }
            RuntimeStep::Cpus(cpus) => Ok(schedule::set_cpus(pid, &cpus.mask)
                .map_err(|fail| failure::step_failed(planned, fail))?),
            RuntimeStep::MakeNetwork => {
                let made = network::make(self.connection).map_err(clone::error)?;
                self.made.network = Some(made);
                Ok(())
            }
            RuntimeStep::Resctrl(group) => {
                resctrl::make(&planned.field, group)?;
                if group.if_exists == IfGroupExists::Fail {
                    self.made.resctrl.insert(0, group.path.clone());
                }
                Ok(())
            }
            RuntimeStep::ResctrlTasks(groups) => resctrl::add_process(&planned.field, groups, pid),
            RuntimeStep::MoveDevice(device) => Ok(self
                .move_device(device, pid)
                .map_err(|fail| failure::step_failed(planned, fail))?),
        }
    }

    fn move_device(&mut self, device: &MoveDevice, pid: i32) -> Sys<()> {
        let moved = match (device.into, &self.made.network) {
            (DeviceNetwork::Held, Some(held)) => net_devices::move_in(device, held.as_fd()),
            _ => {
                let path = path::c_string(format!("/proc/{pid}/ns/net"))?;
                let namespace = path::open(&path, libc::O_RDONLY)?;
                net_devices::move_in(device, namespace.as_fd())
            }
        }?;
        self.made.devices.push(moved);
        Ok(())
    }

    fn create_cgroup(&mut self, field: &str, new: &NewCgroup) -> Result<()> {
        if let Some(hierarchy) = &self.host.cgroup {
            self.made.cgroup = cgroup::make(self.plan, field, new, self.host, hierarchy)?;
        }
        Ok(())
    }

    fn start_unit(&mut self, unit: &Unit, pid: i32) -> Result<()> {
        let Some(hierarchy) = &self.host.cgroup else {
            return Ok(());
        };
        systemd::start(unit, pid)?;
        self.made.unit = Some(unit.into());
        let whole = Cgroup::open_unit(hierarchy, &unit.name, pid)?;
        self.made.cgroup = Some(match &unit.subgroup {
            Some(name) => whole.descend(name, pid)?,
            None => whole,
        });
        Ok(())
    }

    /// Calls `act` with the container's cgroup. Without a cgroup, because the caller may not make
    /// one, it does nothing.
    fn in_cgroup(&self, act: impl FnOnce(&Cgroup) -> Result<()>) -> Result<()> {
        self.made.cgroup.as_ref().map_or(Ok(()), act)
    }
}
