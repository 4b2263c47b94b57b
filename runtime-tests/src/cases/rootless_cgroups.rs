//! Cgroups of ordinary users: delegated ones, and none.

use std::fs;
use std::os::unix::fs::chown;

use serde_json::json;

use super::rootless::{SETPRIV, USER, bundle, by_user, own, run, runtime, state};
use crate::host::cgroup2_mount;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    limit_without_delegation_is_refused [SETPRIV, Need::NotAPeer],
    delegated_cgroup_is_used [SETPRIV],
    exec_from_elsewhere_joins_the_unit [SETPRIV, Need::Systemd, Need::Path("/run/user/1000/bus"), Need::NotAPeer],
];

fn limit_without_delegation_is_refused(t: &Sandbox) {
    let bundle = bundle(t).set("/linux/resources/unified", json!({"cgroup.max.depth": "5"}));
    run(t, &own(t, bundle)).fails_with("cgroup.max.depth");
}

/// A cgroup that belongs to the user, as a session manager delegates it.
pub struct Delegated(pub std::path::PathBuf);

impl Delegated {
    pub fn new(t: &Sandbox) -> Self {
        Self::at(cgroup2_mount().expect("cgroup v2").join(&t.id))
    }

    /// Below a cgroup that is not the user's and gives it no controllers.
    pub fn within(t: &Sandbox, name: &str) -> Self {
        Self::at(cgroup2_mount().expect("cgroup v2").join(&t.id).join(name))
    }

    fn at(path: std::path::PathBuf) -> Self {
        fs::create_dir_all(path.join("caller")).expect("make a cgroup");
        for directory in [path.clone(), path.join("caller")] {
            for name in [
                "",
                "cgroup.procs",
                "cgroup.threads",
                "cgroup.subtree_control",
            ] {
                chown(directory.join(name), Some(USER), Some(USER)).expect("delegate");
            }
        }
        Self(path)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("caller"));
        let _ = fs::remove_dir(&self.0);
        // Not the hierarchy's root, nor one that is in use: rmdir(2) fails.
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

fn delegated_cgroup_is_used(t: &Sandbox) {
    let cgroup = Delegated::new(t);
    let bundle = bundle(t)
        .set("/linux/resources/unified", json!({"cgroup.max.depth": "5"}))
        .args(&["sleep", "1000"]);
    let container = own(t, bundle);
    let enter = format!(
        "echo $$ >{}/caller/cgroup.procs && exec \"$@\"",
        cgroup.0.display()
    );
    let call = |words: &[&str]| runtime(t).args(words).prefix(["sh", "-c", &enter, "sh"]);
    container.launch(call(&["run", "--detach"])).finish().ok();
    let own = cgroup.0.join(&container.id);
    let depth = fs::read_to_string(own.join("cgroup.max.depth")).expect("the container's cgroup");
    assert_eq!(depth.trim(), "5");
    let pid = state(t, &container)["pid"].to_string();
    let processes = fs::read_to_string(own.join("cgroup.procs")).expect("processes");
    assert_eq!(processes.trim(), pid);
    call(&["exec", &container.id, "true"]).run().ok();
    call(&["pause", &container.id]).run().ok();
    assert_eq!(state(t, &container)["status"], "paused");
    call(&["resume", &container.id]).run().ok();
    call(&["delete", "--force", &container.id]).run().ok();
    assert!(!own.exists(), "delete removes the cgroup");
}

/// The caller is outside the cgroups that systemd has delegated to the user, so only systemd can
/// move a process into the user's unit.
fn exec_from_elsewhere_joins_the_unit(t: &Sandbox) {
    let call = |words: &[&str]| {
        let call = runtime(t).env("XDG_RUNTIME_DIR", "/run/user/1000");
        call.args(words)
    };
    for (annotation, inside) in [("", ""), ("own", "/own")] {
        let bundle = bundle(t)
            .set(
                "/linux/cgroupsPath",
                json!(format!("user.slice:sampantest:{}", t.id)),
            )
            .set("/annotations/run.oci.systemd.subgroup", json!(annotation))
            .args(&["sleep", "1000"]);
        let container = own(t, bundle);
        let run = call(&["--systemd-cgroup", "run", "--detach"]);
        container.launch(run).finish().ok();
        let pid = state(t, &container)["pid"].to_string();
        let line = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
        let unit = format!("user@1000.service/user.slice/sampantest-{}.scope", t.id);
        assert!(line.trim().ends_with(&format!("{unit}{inside}")), "{line}");
        let procs = cgroup2_mount()
            .expect("a mount")
            .join(line.trim().trim_start_matches("0::/"))
            .join("cgroup.procs");
        let write = format!("echo $$ >{}", procs.display());
        let refused = by_user(t.call("sh")).args(["-c", &write]).run();
        assert!(!refused.status.success(), "the case is about a denied move");
        let exec = call(&["exec", &container.id, "cat", "/proc/self/cgroup"]);
        exec.run().ok().prints("0::/");
        call(&["delete", "--force", &container.id]).run().ok();
    }
}
