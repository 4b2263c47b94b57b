//! A container that CRIU restores. CRIU makes the processes, their namespaces, mounts and attributes;
//! the runtime makes their cgroup and their groups, sets what is not in the images, and compares what
//! the images give to the processes with the config.

use super::{Cpus, Credentials, InheritedStep, InitStep, Plan, RuntimeStep, Steps};

/// The steps, by the time at which they are carried out.
#[derive(Clone, Debug, Default)]
pub struct RestoreSteps {
    /// On the process that executes CRIU, before that: each restored process inherits it.
    pub inherited: Steps<InheritedStep>,
    /// The CPUs of that process.
    pub cpus: Cpus,
    /// Before CRIU begins.
    pub before: Steps<RuntimeStep>,
    /// On CRIU's process, which waits: systemd makes no cgroup without a process.
    pub on_criu: Steps<RuntimeStep>,
    /// On the restored init.
    pub on_init: Steps<RuntimeStep>,
    /// What each restored process must have, before it continues.
    pub confinement: Confinement,
}

/// What the config takes away from each process. The images are made of what the processes tell CRIU
/// about themselves (CVE-2026-18107), so they may give it back.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// The ids and the capabilities with which the program of the config begins.
    pub credentials: Option<Credentials>,
    /// Whether no_new_privs is set.
    pub no_new_privileges: bool,
    /// Whether there is a seccomp filter.
    pub filter: bool,
    /// The maps of the new user namespace.
    pub id_maps: Vec<IdMap>,
}

/// A map of a user namespace.
#[derive(Clone, Debug)]
pub struct IdMap {
    /// The property of the config.
    pub field: String,
    /// Whether it is gid_map.
    pub group: bool,
    /// One mapping per line.
    pub map: String,
}

impl Plan {
    /// The steps for a container that CRIU restores.
    pub fn restore_steps(&self) -> RestoreSteps {
        let mut steps = RestoreSteps {
            cpus: self.cpus,
            ..RestoreSteps::default()
        };
        self.add_runtime_steps(&mut steps);
        for planned in self.init.iter().chain(self.start.iter()) {
            steps.add_init_step(&planned.field, &planned.step);
        }
        steps
    }

    fn add_runtime_steps(&self, steps: &mut RestoreSteps) {
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
                // The images have only scores other than 0. The processes inherit this one.
                RuntimeStep::OomScoreAdj(_) => &mut steps.on_criu,
                RuntimeStep::ResctrlTasks(_) => &mut steps.on_init,
                RuntimeStep::IdMap { group, map, .. } => {
                    steps.confinement.id_maps.push(IdMap {
                        field: planned.field.clone(),
                        group: *group,
                        map: map.clone(),
                    });
                    continue;
                }
                // In the images.
                RuntimeStep::EnterSubCgroup { .. }
                | RuntimeStep::MakeNetwork
                | RuntimeStep::MoveDevice(_) => continue,
                // Of `exec` alone.
                RuntimeStep::Cpus(_) => continue,
            };
            list.push(planned.clone());
        }
    }
}

impl RestoreSteps {
    /// Says of each step of init what becomes of it. There is no `_`, so that a new step is not
    /// forgotten: what neither CRIU nor the runtime does is lost.
    fn add_init_step(&mut self, field: &str, step: &InitStep) {
        match step {
            InitStep::Inherited(step) => self.inherited.add(field, step.clone()),
            // In the images, and compared with the config.
            InitStep::Credentials(credentials) => {
                self.confinement.credentials = Some((**credentials).clone());
            }
            InitStep::NoNewPrivileges => self.confinement.no_new_privileges = true,
            InitStep::Seccomp { .. } => self.confinement.filter = true,
            // In the images: namespaces, mounts and files.
            InitStep::Enter(_)
            | InitStep::Unshare(_)
            | InitStep::LoopbackUp
            | InitStep::EnterNetwork
            | InitStep::RootPropagation { .. }
            | InitStep::BindRootfs { .. }
            | InitStep::Filesystem(_)
            | InitStep::Bind(_)
            | InitStep::Remount(_)
            | InitStep::Unmount { .. }
            | InitStep::Node(_)
            | InitStep::Symlink(_)
            | InitStep::MaskPath { .. }
            | InitStep::ReadonlyPath { .. }
            | InitStep::SwitchRoot { .. }
            | InitStep::Propagate { .. }
            | InitStep::MountReadonly { .. }
            | InitStep::Hostname(_)
            | InitStep::Domainname(_)
            | InitStep::Sysctl { .. } => {}
            // In the images: attributes of the process.
            InitStep::ExecLabel(_)
            | InitStep::Console { .. }
            | InitStep::Stdio { .. }
            | InitStep::Rlimit(_)
            | InitStep::Cwd { .. }
            | InitStep::Scheduler(_) => {}
            // The way to a program that has executed by now.
            InitStep::ContainerRoot
            | InitStep::MakeCwd { .. }
            | InitStep::Hook(_)
            | InitStep::RuntimeHooks
            | InitStep::CheckCwd { .. }
            | InitStep::DropSysAdmin
            | InitStep::FindHome { .. }
            | InitStep::FindExecutable { .. }
            | InitStep::WaitForStart
            | InitStep::CloseRange { .. }
            | InitStep::Exec(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Capabilities;
    use crate::plan::Rlimit;

    fn credentials() -> InitStep {
        InitStep::Credentials(Box::new(Credentials {
            uid: 7,
            gid: 7,
            groups: None,
            umask: 0,
            capabilities: Capabilities::default(),
            last_capability: 40,
            keep_sys_admin: false,
        }))
    }

    #[test]
    fn what_the_images_lack_is_set_and_what_they_have_is_compared() {
        let mut plan = Plan::default();
        let keyring = InheritedStep::SessionKeyring { label: None };
        plan.init.add("keyring", InitStep::Inherited(keyring));
        let persona = InheritedStep::Personality(8);
        plan.init.add("personality", InitStep::Inherited(persona));
        plan.init.add("hostname", InitStep::Hostname(c"h".into()));
        plan.init.add("user", credentials());
        plan.init.add("privileges", InitStep::NoNewPrivileges);
        plan.start.add(
            "limit",
            InitStep::Rlimit(Rlimit {
                resource: 0,
                name: String::new(),
                soft: 0,
                hard: 0,
            }),
        );
        let filter = InitStep::Seccomp {
            program: Vec::new(),
            flags: 0,
            listener: None,
        };
        plan.start.add("filter", filter);
        plan.meanwhile.add("score", RuntimeStep::OomScoreAdj(0));
        let steps = plan.restore_steps();
        let fields: Vec<_> = steps.inherited.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["keyring", "personality"]);
        let fields: Vec<_> = steps.on_criu.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["score"]);
        assert_eq!(steps.cpus, Cpus::All);
        let confinement = steps.confinement;
        assert!(confinement.no_new_privileges && confinement.filter);
        assert_eq!(confinement.credentials.map(|it| it.uid), Some(7));
        assert!(
            Plan::default()
                .restore_steps()
                .confinement
                .credentials
                .is_none()
        );
    }
}
