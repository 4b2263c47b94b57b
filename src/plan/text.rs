//! The plan in words: for `explain`, and for the sentence that names a failed step.

mod parts;
mod step;
mod words;

use std::fmt::Write;

use super::{Phase, Plan, Planned, Step};
use crate::config::NamespaceKind;
use crate::error::printable;

impl Phase {
    /// The phase in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Clone => "clone",
            Self::Parent => "parent",
            Self::Init => "init",
            Self::Hooks => "hooks",
            Self::Ready => "ready",
            Self::Start => "start",
            Self::Started => "started",
            Self::Deleted => "deleted",
        }
    }
}

impl Plan {
    /// One line a step, in the order in which they happen: phase, what is done and what it falls
    /// back to, and the property that it comes from.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            let _ = writeln!(text, "warning  {}", printable(warning));
        }
        let (before, after): (Vec<_>, _) = self
            .in_order()
            .into_iter()
            .partition(|planned| self.precedes_clone(planned));
        for planned in before {
            write_step(&mut text, planned);
        }
        let _ = writeln!(text, "{}", self.clone_line());
        for planned in after {
            write_step(&mut text, planned);
        }
        text
    }

    /// The same as a JSON object: `warnings`, `clone` and `steps`.
    pub fn json(&self) -> serde_json::Value {
        let steps: Vec<_> = self
            .in_order()
            .into_iter()
            .map(|planned| {
                serde_json::json!({
                    "phase": planned.phase.name(),
                    "step": planned.step.name(),
                    "what": what(planned),
                    "config": planned.field,
                })
            })
            .collect();
        serde_json::json!({
            "warnings": self.warnings,
            "clone": { "namespaces": self.new_namespaces(), "intermediate": self.intermediate },
            "steps": steps,
        })
    }

    /// The steps as they follow each other in time; the plan has them by phase.
    fn in_order(&self) -> Vec<&Planned> {
        let moment = |planned: &Planned| match (planned.phase, &planned.step) {
            (Phase::Prepare, _) => 0,
            // The intermediate process waits for its id maps.
            (Phase::Parent, Step::IdMap { .. }) if !self.enters_before_user => 1,
            // And so does the first process, for a cgroup that is made around it.
            (Phase::Parent, step) if step.is_cgroup() && self.first_waits() => 1,
            (Phase::Clone, _) => 2,
            // Init waits for it.
            (Phase::Parent, Step::MakeNetwork) => 3,
            (Phase::Parent, _) => 4,
            (Phase::Init, Step::WaitForStart) => 7,
            (Phase::Init | Phase::Hooks, _) => 5,
            (Phase::Ready, _) => 6,
            (Phase::Start, _) => 8,
            (Phase::Started, _) => 9,
            (Phase::Deleted, _) => 10,
        };
        let at = |wanted| self.steps.iter().filter(move |step| moment(step) == wanted);
        (0..11).flat_map(at).collect()
    }

    /// Without an intermediate process the runtime itself takes the steps around clone3(2) first.
    fn precedes_clone(&self, planned: &Planned) -> bool {
        match planned.phase {
            Phase::Prepare => true,
            Phase::Clone => !self.intermediate,
            _ => false,
        }
    }

    /// The namespaces that clone3(2) makes, by their names in the specification.
    fn new_namespaces(&self) -> Vec<&'static str> {
        NamespaceKind::ALL
            .into_iter()
            .filter(|kind| self.clone_flags & kind.flag() as u64 != 0)
            .map(NamespaceKind::name)
            .collect()
    }

    fn clone_line(&self) -> String {
        let new = self.new_namespaces();
        let what = if new.is_empty() {
            "none".to_owned()
        } else {
            new.join(" ")
        };
        let via = if self.intermediate {
            ", in an intermediate process that enters the others and makes init"
        } else {
            ""
        };
        format!("clone    clone3: new namespaces: {what}{via}  <- linux.namespaces")
    }
}

fn write_step(text: &mut String, planned: &Planned) {
    let (phase, field) = (planned.phase.name(), printable(&planned.field));
    let _ = writeln!(text, "{phase:<8} {}  <- {field}", what(planned));
}

/// The step in whole. Some of its values are the config's own words.
fn what(planned: &Planned) -> String {
    printable(&format!("{:#}", planned.step))
}

impl Step {
    /// It makes or changes the container's cgroup.
    pub const fn is_cgroup(&self) -> bool {
        matches!(
            self,
            Self::CreateCgroup { .. }
                | Self::SystemdUnit(_)
                | Self::CgroupWrite(_)
                | Self::DeviceProgram(_)
                | Self::DelegateCgroup { .. }
        )
    }

    /// The step in one word, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::CreateCgroup { .. } => "create-cgroup",
            Self::SystemdUnit(_) => "systemd-unit",
            Self::CgroupWrite(_) => "cgroup-write",
            Self::DeviceProgram(_) => "device-program",
            Self::DelegateCgroup { .. } => "delegate-cgroup",
            Self::IdMap { .. } => "id-map",
            Self::CheckIdMap { .. } => "check-id-map",
            Self::OomScoreAdj(_) => "oom-score-adj",
            Self::Rlimit { .. } => "rlimit",
            Self::Hook(_) => "hook",
            Self::JoinNamespace { .. } => "join-namespace",
            Self::EnterContainer { .. } => "enter-container",
            Self::ContainerRoot => "container-root",
            Self::TimeOffsets { .. } => "time-offsets",
            Self::BecomeRoot { .. } => "become-root",
            Self::UnshareCgroup => "unshare-cgroup",
            Self::SessionKeyring { .. } => "session-keyring",
            Self::ExecLabel(_) => "exec-label",
            Self::LoopbackUp => "loopback-up",
            Self::MakeNetwork => "make-network",
            Self::EnterNetwork => "enter-network",
            Self::RootPropagation { .. } => "root-propagation",
            Self::BindRootfs { .. } => "bind-rootfs",
            Self::Filesystem(_) => "mount",
            Self::Bind(_) => "bind",
            Self::Remount(_) => "remount",
            Self::Unmount { .. } => "unmount",
            Self::Node(_) => "node",
            Self::Symlink(_) => "symlink",
            Self::MaskPath { .. } => "mask-path",
            Self::ReadonlyPath { .. } => "readonly-path",
            Self::SwitchRoot { .. } => "switch-root",
            Self::Propagate { .. } => "propagate",
            Self::MountReadonly { .. } => "mount-readonly",
            Self::MakeCwd { .. } => "make-cwd",
            Self::RuntimeHooks => "runtime-hooks",
            Self::Console { .. } => "console",
            Self::Stdio { .. } => "stdio",
            Self::Hostname(_) => "hostname",
            Self::Domainname(_) => "domainname",
            Self::Sysctl { .. } => "sysctl",
            Self::Personality(_) => "personality",
            Self::Cwd { .. } => "cwd",
            Self::CheckCwd { .. } => "check-cwd",
            Self::Credentials(_) => "credentials",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::DropSysAdmin => "drop-sys-admin",
            Self::Seccomp { .. } => "seccomp",
            Self::FindExecutable { .. } => "find-executable",
            Self::FindHome { .. } => "find-home",
            Self::WaitForStart => "wait-for-start",
            Self::CloseRange { .. } => "close-range",
            Self::Exec(_) => "exec",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_config_writes_to_no_terminal() {
        let mut plan = Plan::default();
        let step = Step::CreateCgroup {
            path: "a\u{7f}\u{9b}2J\n".into(),
            controllers: Vec::new(),
            optional: Vec::new(),
            required: true,
        };
        plan.push(Phase::Prepare, "linux.cgroupsPath", step);
        let line = "prepare  create cgroup a\\u{7f}\\u{9b}2J\\n  <- linux.cgroupsPath\n";
        assert!(plan.text().starts_with(line), "{}", plan.text());
        let what = plan.json()["steps"][0]["what"].clone();
        assert_eq!(what, "create cgroup a\\u{7f}\\u{9b}2J\\n");
    }
}
