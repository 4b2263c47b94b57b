//! What planning cannot know of a container: the files of the host that it needs, and what the
//! kernel and the caller's rights allow. Nothing is made or started.

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use super::finding::{Finding, Severity};
use super::gate::Accepted;
use super::kernel::{self, Answer};
use super::rootfs;
use crate::cgroup::{self, Cgroup};
use crate::commands::create::check_rootfs;
use crate::config::{Config, Namespace, NamespaceKind};
use crate::error::Error;
use crate::host::{CgroupHost, Host};
use crate::plan::{NewCgroup, Plan, RuntimeStep};
use crate::run;
use crate::sys::Fail;

/// Everything that a `create` would fail on.
pub(super) fn look(accepted: &Accepted, host: Option<&Host>, all: &mut Vec<Finding>) {
    let mut findings = Vec::new();
    look_at_all(accepted, host, &mut findings);
    all.extend(findings.into_iter().map(|finding| {
        Finding {
            field: finding
                .field
                .as_deref()
                .map(|field| accepted.written(field)),
            ..finding
        }
    }));
}

fn look_at_all(accepted: &Accepted, host: Option<&Host>, findings: &mut Vec<Finding>) {
    let config = &accepted.config;
    let checked = check_rootfs(&config.root.path);
    let has_rootfs = checked.is_ok();
    if let Err(error) = checked {
        let error = Error::of_chain(error);
        findings.push(Finding::error(error.about("root.path")));
    }
    filesystems(config, findings);
    sysctls(config, findings);
    let (Some(host), Some(plan)) = (host, &accepted.plan) else {
        return;
    };
    namespaces(config, host, findings);
    findings.extend(run::foresee(plan).into_iter().map(Finding::error));
    if has_rootfs {
        rootfs::look(accepted, plan, findings);
    }
    untried(config, findings);
    if let Some(hierarchy) = &host.cgroup {
        look_at_cgroup(plan, hierarchy, findings);
    }
    apparmor(config, host, findings);
}

/// File systems that the kernel does not have, or has as a module that it has not loaded yet.
fn filesystems(config: &Config, findings: &mut Vec<Finding>) {
    const LIST: &str = "/proc/filesystems";
    let list = match kernel::read(LIST) {
        Ok(list) => list.unwrap_or_default(),
        Err(fail) => return findings.push(Finding::unseen(&Error::failed(LIST, fail))),
    };
    for mount in &config.mounts {
        let kind = match mount.fstype.as_str() {
            "cgroup" => "cgroup2",
            kind => kind,
        };
        let is_known = list
            .lines()
            .any(|line| line.split_whitespace().next_back() == Some(kind));
        if mount.bind.is_none() && !mount.remount && !kind.is_empty() && !is_known {
            let message = format!("{kind} is not in {LIST}");
            let finding = Finding::new(Severity::Warning, message).about(&mount.field);
            findings.push(finding.remedy("the kernel may load a module for it: modprobe"));
        }
    }
}

/// Settings of the kernel that the host does not have. Those of the network may belong to a device
/// that only the container has.
fn sysctls(config: &Config, findings: &mut Vec<Finding>) {
    for setting in &config.linux.sysctl {
        let path = format!("/proc/sys/{}", setting.path);
        let finding = match kernel::exists(&path) {
            Ok(true) => continue,
            Ok(false) => Finding::new(Severity::Warning, format!("{path} is not on this host")),
            Err(fail) => Finding::unseen(&Error::failed(path, fail)),
        };
        findings.push(finding.about(&setting.field));
    }
}

/// Namespaces that the kernel refuses to make.
fn namespaces(config: &Config, host: &Host, findings: &mut Vec<Finding>) {
    for kind in NamespaceKind::ALL {
        if *config.linux.namespaces.get(kind) != Namespace::New {
            continue;
        }
        let finding = match kernel::namespace(kind, host.euid) {
            Answer::Works(_) => continue,
            Answer::Missing { why, remedy } => Finding::new(Severity::Error, why).remedy(remedy),
            Answer::Unseen(why) => Finding::new(Severity::Note, why),
        };
        findings.push(finding.about("linux.namespaces"));
    }
}

/// The cgroup that the container would be in.
fn look_at_cgroup(plan: &Plan, hierarchy: &CgroupHost, findings: &mut Vec<Finding>) {
    const FIELD: &str = "linux.cgroupsPath";
    let planned = plan.prepare.iter().find_map(|planned| match &planned.step {
        RuntimeStep::CreateCgroup(new) => Some(new),
        _ => None,
    });
    let Some(new) = planned else {
        if plan.cgroup().is_some() && matches!(kernel::exists("/run/systemd/system"), Ok(false)) {
            let message = "systemd does not run on this host";
            let finding = Finding::new(Severity::Error, message).about(FIELD);
            findings.push(finding.remedy("use --cgroup-manager cgroupfs"));
        }
        return;
    };
    let path = hierarchy.mount.join(&new.path);
    let used = Cgroup::open(hierarchy, &new.path)
        .and_then(|found| found.map_or(Ok(()), |it| it.refuse_used()));
    if let Err(error) = used {
        findings.push(Finding::error(Error::of_chain(error)));
    }
    let mut parents = path.ancestors();
    let Some(parent) = parents.find(|at| at.exists()) else {
        return;
    };
    if let Err(errno) = eaccess(parent, AccessFlags::W_OK) {
        findings.push(
            not_writable(
                new,
                Error::failed(parent.display().to_string(), Fail::new("access", errno)),
            )
            .about(FIELD),
        );
    }
    if let Err(error) = cgroup::foresee(&hierarchy.mount, &new.path, &new.controllers) {
        findings.push(Finding::error(Error::of_chain(error)).about("linux.resources"));
    }
}

fn not_writable(new: &NewCgroup, error: Error) -> Finding {
    match error.errno {
        Some(Errno::EACCES | Errno::EROFS) if !new.required => {
            let message = format!("{error}: the container stays in the cgroup of its caller");
            Finding::new(Severity::Note, message)
        }
        _ => Finding::error(error.hint("the cgroup is not delegated to the caller")),
    }
}

/// Properties that the kernel takes or refuses for reasons that it does not show.
fn untried(config: &Config, findings: &mut Vec<Finding>) {
    let process = config.process.as_ref();
    let has_schemata = config
        .linux
        .intel_rdt
        .as_ref()
        .is_some_and(|it| !it.schemata.is_empty());
    let fields = [
        (
            "process.scheduler",
            process.is_some_and(|it| it.scheduler.is_some()),
        ),
        (
            "process.ioPriority",
            process.is_some_and(|it| it.io_priority.is_some()),
        ),
        (
            "process.selinuxLabel",
            process.is_some_and(|it| it.selinux_label.is_some()),
        ),
        ("linux.mountLabel", config.linux.mount_label.is_some()),
        ("linux.intelRdt", has_schemata),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        let message = "not looked at: only create shows whether the kernel takes it";
        findings.push(Finding::new(Severity::Note, message).about(field));
    }
}

/// Whether the kernel has loaded the profile.
fn apparmor(config: &Config, host: &Host, findings: &mut Vec<Finding>) {
    const LIST: &str = "/sys/kernel/security/apparmor/profiles";
    let process = config.process.as_ref();
    let Some(profile) = process.and_then(|it| it.apparmor_profile.as_ref()) else {
        return;
    };
    if !host.apparmor || profile == "unconfined" {
        return;
    }
    let finding = match kernel::read(LIST) {
        Ok(Some(list))
            if list.lines().any(|line| {
                line.rsplit_once(" (")
                    .is_some_and(|(name, _)| name == profile)
            }) =>
        {
            return;
        }
        Ok(Some(_)) => {
            let message = format!("the kernel has no AppArmor profile {profile:?}");
            Finding::new(Severity::Error, message).remedy("load it with apparmor_parser")
        }
        Ok(None) => Finding::new(
            Severity::Note,
            format!("could not look: {LIST} is not mounted"),
        ),
        Err(fail) => Finding::unseen(&Error::failed(LIST, fail)),
    };
    findings.push(finding.about("process.apparmorProfile"));
}
