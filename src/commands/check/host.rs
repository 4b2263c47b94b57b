//! What works on this host for this caller, one line a feature.

use nix::unistd::{AccessFlags, eaccess};
use serde_json::Value;

use super::kernel::{self, Answer};
use crate::config::seccomp::Arch;
use crate::config::{Labels, NamespaceKind};
use crate::error::{Error, printable};
use crate::host::{self, CgroupHost, Host};
use crate::json::object;
use crate::plan::cgroup::no_controller;
use crate::plan::syscalls::Syscall;
use crate::run::{self, program};
use crate::sys::{Fail, probe};

/// Something that a container may need.
pub(super) struct Feature {
    name: String,
    answer: Answer,
    /// Whether no container can be made without it.
    required: bool,
}

/// System calls that are newer than what containers usually need: what they are for, and their names.
const CALLS: &str = "\
clone3: clone3
openat2: openat2
pidfd: pidfd_open pidfd_send_signal pidfd_getfd
close_range: close_range
new mount API: open_tree move_mount fsopen fsmount
mount_setattr, id-mapped mounts: mount_setattr";

/// The controllers that limits use. cgroups(7).
const CONTROLLERS: &str = "cpu cpuset hugetlb io memory pids rdma";

/// All features.
pub(super) fn features() -> Vec<Feature> {
    let mut all = Vec::new();
    let mut add = |name: &str, required, answer| {
        let name = name.to_owned();
        all.push(Feature {
            name,
            answer,
            required,
        });
    };
    add("kernel", true, kernel_version());
    for (feature, names) in CALLS.lines().filter_map(|line| line.split_once(": ")) {
        let each = names.split(' ').map(call);
        let answer = each.fold(Answer::works(), |all, one| all.and(|| one));
        add(feature, true, answer);
    }
    let euid = nix::unistd::geteuid().as_raw();
    for kind in NamespaceKind::ALL {
        let required = kind == NamespaceKind::Mount;
        add(
            &format!("namespace {}", kind.name()),
            required,
            kernel::namespace(kind, euid),
        );
    }
    let known = Host::probe(Labels {
        apparmor: true,
        selinux: true,
    });
    match known {
        Ok(host) => of_host(&host, &mut add),
        Err(error) => {
            let answer = Answer::unseen(Error::of_chain(error));
            add("cgroup v2", true, answer);
        }
    }
    add("seccomp", false, seccomp(libc::SECCOMP_RET_KILL_PROCESS));
    add(
        "seccomp notify",
        false,
        seccomp(libc::SECCOMP_RET_USER_NOTIF),
    );
    add("overlay", false, overlay());
    for name in ["newuidmap", "newgidmap"] {
        let remedy = "install uidmap: without it users who are not root map one id";
        add(&format!("rootless: {name}"), false, in_path(name, remedy));
    }
    if euid != 0 {
        for file in ["/etc/subuid", "/etc/subgid"] {
            add(&format!("rootless: {file}"), false, granted(file));
        }
    }
    add(
        "systemd",
        false,
        Answer::of(
            kernel::exists("/run/systemd/system"),
            "/run/systemd/system",
            "systemd does not run here",
            "only --cgroup-manager systemd needs it",
        ),
    );
    add(
        "criu",
        false,
        in_path("criu", "only checkpoint and restore need it"),
    );
    all
}

fn of_host(host: &Host, add: &mut impl FnMut(&str, bool, Answer)) {
    let Some(cgroup) = &host.cgroup else {
        let error = crate::plan::cgroup::hierarchy(host).err();
        let hint = error
            .as_ref()
            .and_then(|error| error.hint.as_deref())
            .unwrap_or_default();
        let why = error
            .as_ref()
            .and_then(|error| error.text.as_deref())
            .unwrap_or_default();
        return add("cgroup v2", true, Answer::missing(why, hint));
    };
    add(
        "cgroup v2",
        true,
        Answer::Works(format!("at {}", cgroup.mount.display())),
    );
    for name in CONTROLLERS.split(' ') {
        let answer = if cgroup.controllers.iter().any(|have| have == name) {
            Answer::works()
        } else {
            let why = format!("the hierarchy at {} has no {name}", cgroup.mount.display());
            Answer::missing(why, no_controller(name, cgroup))
        };
        add(&format!("cgroup {name}"), false, answer);
    }
    add("cgroup delegation", false, delegation(cgroup));
    add("device program", false, device_program(host));
    for (name, enabled) in [("AppArmor", host.apparmor), ("SELinux", host.selinux)] {
        let answer = if enabled {
            Answer::works()
        } else {
            Answer::missing(
                "not enabled: its labels are ignored",
                "see lsm= in kernel-parameters",
            )
        };
        add(name, false, answer);
    }
    let told = if host.kernel >= (6, 15) {
        Answer::works()
    } else {
        Answer::missing("the kernel forgets it", "Linux 6.15 or newer")
    };
    add("wait: status of a reaped process", false, told);
}

fn kernel_version() -> Answer {
    match host::kernel() {
        Ok((major, minor)) => Answer::Works(format!("Linux {major}.{minor}")),
        Err(error) => Answer::missing(Error::of_chain(error).to_string(), "boot a newer kernel"),
    }
}

fn call(name: &'static str) -> Answer {
    let why = format!("{name} is not there");
    let number = Syscall::named(name).and_then(|call| call.number(Arch::NATIVE));
    let has = number.map_or(Ok(false), |number| probe::has_call(name, number.into()));
    Answer::of(
        has,
        "",
        &why,
        "a newer kernel, or a seccomp profile around the runtime that allows it",
    )
}

fn seccomp(action: u32) -> Answer {
    let why = "the kernel has no such action";
    Answer::of(
        probe::has_seccomp_action(action),
        "",
        why,
        "CONFIG_SECCOMP_FILTER",
    )
}

fn overlay() -> Answer {
    const LIST: &str = "/proc/filesystems";
    let listed = kernel::read(LIST);
    let listed = listed.map(|text| text.is_some_and(|text| text.contains("\toverlay")));
    Answer::of(
        listed,
        LIST,
        "the kernel has not loaded it",
        "modprobe overlay",
    )
    .and(|| Answer::Works("in user namespaces too".to_owned()))
}

fn in_path(name: &str, remedy: &str) -> Answer {
    match program::find(name) {
        Ok(Some(path)) => Answer::Works(path.display().to_string()),
        Ok(None) => Answer::missing("not in PATH", remedy),
        Err(error) => Answer::unseen(Error::of_chain(error)),
    }
}

/// Whether the file grants more ids to the caller than its own.
fn granted(file: &str) -> Answer {
    let granted = run::granted_ids(file).map(|ranges| !ranges.is_empty());
    let why = "it grants no ids to the caller: a container has one id";
    Answer::of(
        granted,
        file,
        why,
        "usermod --add-subuids and --add-subgids",
    )
}

/// Whether the caller can make cgroups below its own.
fn delegation(cgroup: &CgroupHost) -> Answer {
    let own = match cgroup.own.trim_start_matches('/') {
        "" => cgroup.mount.clone(),
        below => cgroup.mount.join(below),
    };
    match eaccess(&own, AccessFlags::W_OK) {
        Ok(()) => Answer::Works(own.display().to_string()),
        Err(errno @ (nix::errno::Errno::EACCES | nix::errno::Errno::EROFS)) => {
            let fail = Fail::new("access", errno);
            Answer::missing(
                Error::failed(own.display().to_string(), fail).to_string(),
                "no limits without it: a systemd unit with Delegate=yes",
            )
        }
        Err(errno) => {
            let fail = Fail::new("access", errno);
            Answer::unseen(Error::failed(own.display().to_string(), fail))
        }
    }
}

fn device_program(host: &Host) -> Answer {
    if host.euid == 0 && !host.in_user_namespace {
        return call("bpf");
    }
    Answer::missing(
        "only the host's root can load it",
        "others do not need it: they cannot make device nodes",
    )
}

impl Feature {
    /// Whether no container can be made because of it.
    pub(super) fn is_error(&self) -> bool {
        self.required && matches!(self.answer, Answer::Missing { .. })
    }

    fn line(&self) -> String {
        let name = &self.name;
        let (word, text) = match &self.answer {
            Answer::Works(text) => ("yes", text.clone()),
            Answer::Missing { why, remedy } => ("no", format!("{why} ({remedy})")),
            Answer::Unseen(why) => ("unknown", why.clone()),
        };
        let line = format!("{word:<8} {name:<32} {}", printable(&text));
        line.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let (works, message, remedy) = match &self.answer {
            Answer::Works(text) => (Some(true), text, None),
            Answer::Missing { why, remedy } => (Some(false), why, Some(remedy)),
            Answer::Unseen(why) => (None, why, None),
        };
        object! {
            "feature": self.name.as_str(),
            "works": works,
            "required": self.required,
            "message": message.as_str(),
            "remedy": remedy.cloned(),
        }
    }
}

/// One line a feature.
pub(super) fn text(features: &[Feature]) -> String {
    features.iter().map(Feature::line).collect()
}

/// The member of the JSON object that tells the features.
pub(super) fn json(features: &[Feature]) -> Value {
    features.iter().map(Feature::json).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is not in the table would be reported as missing on every host.
    #[test]
    fn every_call_has_a_number() {
        let lines = CALLS
            .lines()
            .map(|line| line.split_once(": ").expect("names"));
        for name in lines.flat_map(|(_, names)| names.split(' ')).chain(["bpf"]) {
            let number = Syscall::named(name).and_then(|call| call.number(Arch::NATIVE));
            assert!(number.is_some(), "{name}");
        }
    }
}
