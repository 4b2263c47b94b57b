//! `check`: what this host and this user cannot give. Each finding is what `create` fails on, and
//! without a finding `create` works.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use super::check::{check, feature, findings, found};
use super::cve_process::in_user_namespace;
use super::rootless::{SETPRIV, SUBORDINATE_IDS, USER, bundle, by_user, own, subordinate};
use super::rootless_cgroups::Delegated;
use crate::host::cgroup2_mount;
use crate::{Bundle, Call, Container, Need, Sandbox, Test, tests};

const HELPER: Need = Need::Program("newuidmap");

pub const TESTS: &[Test] = tests![
    limits_that_controllers_back [Need::Controller("memory"), Need::Controller("pids"), Need::NotAPeer],
    controllers_are_enabled_on_the_way [Need::Controller("memory"), Need::NotAPeer],
    a_limit_that_no_controller_backs [NO_CPUSET, Need::NotAPeer],
    an_ordinary_user_has_no_cgroup [SETPRIV, Need::NotAPeer],
    a_delegated_cgroup_is_enough [SETPRIV, Need::NotAPeer],
    a_delegated_cgroup_without_the_controller [SETPRIV, Need::Controller("memory"), Need::NotAPeer],
    the_users_systemd_delegates [SETPRIV, Need::Systemd, Need::Path("/run/user/1000/bus"), Need::NotAPeer],
    without_systemd_its_cgroups_are_an_error [NO_SYSTEMD, Need::NotAPeer],
    ids_that_are_granted [SETPRIV, HELPER, SUBORDINATE_IDS, Need::NotAPeer],
    ids_that_are_not_granted [SETPRIV, HELPER, Need::NotAPeer],
    ids_without_newuidmap [SETPRIV, Need::NotAPeer],
    what_a_create_is_refused_is_found[Need::NotAPeer, Need::Program("setpriv")],
];

const NO_CPUSET: Need = Need::Custom("a hierarchy without cpuset", || {
    match Need::Controller("cpuset").check("sampan".as_ref()) {
        Ok(()) => Err("cgroup v2 has the controller cpuset".to_owned()),
        Err(_) => Ok(()),
    }
});

const NO_SYSTEMD: Need = Need::Custom("another init than systemd", || {
    match Need::Systemd.check("sampan".as_ref()) {
        Ok(()) => Err("systemd is init".to_owned()),
        Err(_) => Ok(()),
    }
});

/// A container with these limits.
fn limited<'t>(t: &'t Sandbox, resources: &Value) -> Container<'t> {
    let bundle = t.bundle().args(&["true"]);
    bundle
        .set("/linux/resources", resources.clone())
        .container()
}

fn limits_that_controllers_back(t: &Sandbox) {
    let container = limited(
        t,
        &json!({"memory": {"limit": 33_554_432}, "pids": {"limit": 20}}),
    );
    check(t, &container, &[]).ok();
    container.create().ok();
}

/// `create` enables the controllers in the cgroups that it makes, and in those that have no
/// processes.
fn controllers_are_enabled_on_the_way(t: &Sandbox) {
    let outer = cgroup2_mount().expect("cgroup v2").join(&t.id);
    fs::create_dir(&outer).expect("a cgroup");
    let inner = outer.join("inner");
    fs::create_dir(&inner).expect("a cgroup");
    let have = fs::read_to_string(inner.join("cgroup.controllers")).expect("controllers");
    assert!(!have.contains("memory"), "nothing is enabled yet: {have}");
    let bundle = t.bundle().args(&["true"]).set(
        "/linux/cgroupsPath",
        json!(format!("/{}/inner/container", t.id)),
    );
    let limits = json!({"memory": {"limit": 33_554_432}});
    let container = bundle.set("/linux/resources", limits).container();
    let checked = check(t, &container, &[]);
    let created = container.create();
    container.delete_force();
    fs::remove_dir(&inner).expect("no cgroup is left");
    fs::remove_dir(&outer).expect("no cgroup is left");
    assert_eq!(
        checked.code() == 0,
        created.code() == 0,
        "{checked}\n{created}"
    );
    created.ok();
}

fn a_limit_that_no_controller_backs(t: &Sandbox) {
    let container = limited(t, &json!({"cpu": {"cpus": "0"}}));
    let message = found(t, &container, "error", "linux.resources.cpu.cpus");
    assert!(message.contains("no cpuset controller"), "{message}");
    let remedies = findings(t, &container);
    assert!(remedies[0][3].is_some(), "{remedies:?}");
    container.create().fails_with("no cpuset controller");
    let host = t.runtime().args(["check", "--json"]).run().ok();
    let cpuset = feature(&host, "cgroup cpuset");
    assert_eq!(cpuset["works"], false, "{cpuset}");
    assert!(cpuset["remedy"].is_string(), "{cpuset}");
}

/// The user's call of a verb, from the cgroup that has been delegated to the user.
fn from(cgroup: Option<&Delegated>, t: &Sandbox, words: &[&str]) -> Call {
    let call = by_user(t.runtime()).args(words);
    let Some(cgroup) = cgroup else { return call };
    let enter = format!(
        "echo $$ >{}/caller/cgroup.procs && exec \"$@\"",
        cgroup.0.display()
    );
    call.prefix(["sh", "-c", &enter, "sh"])
}

/// The errors of `check` and the text of the `create` that fails on them, or nothing and a `create`
/// that works.
fn errors(t: &Sandbox, cgroup: Option<&Delegated>, bundle: Bundle) -> (String, String) {
    let container = own(t, bundle);
    let call = from(cgroup, t, &["check"]).arg(&container.bundle).run();
    let errors = call.stdout.lines().filter(|it| it.starts_with("error: "));
    let errors: Vec<_> = errors.collect();
    let create = container.launch(from(cgroup, t, &["create"])).finish();
    assert_eq!(errors.is_empty(), create.code() == 0, "{call}\n{create}");
    from(cgroup, t, &["delete", "--force", &container.id])
        .run()
        .ok();
    (errors.join("\n"), create.stderr)
}

fn with_limit<'t>(t: &'t Sandbox) -> Bundle<'t> {
    bundle(t).set("/linux/resources/unified", json!({"cgroup.max.depth": "5"}))
}

fn an_ordinary_user_has_no_cgroup(t: &Sandbox) {
    let (errors_of_check, create) = errors(t, None, with_limit(t));
    let words = "the cgroup is not delegated to the caller";
    assert!(errors_of_check.contains(words), "{errors_of_check}");
    assert!(
        create.contains("permission denied (a limit needs"),
        "{create}"
    );
    // Without a limit there is no need for a cgroup.
    assert_eq!(errors(t, None, bundle(t)).0, "");
    let host = from(None, t, &["check", "--json"]).run();
    let delegation = feature(&host, "cgroup delegation");
    assert_eq!(delegation["works"], false, "{delegation}");
    assert!(delegation["remedy"].is_string(), "{delegation}");
}

fn a_delegated_cgroup_is_enough(t: &Sandbox) {
    let cgroup = Delegated::new(t);
    assert_eq!(errors(t, Some(&cgroup), with_limit(t)).0, "");
    let host = from(Some(&cgroup), t, &["check", "--json"]).run();
    assert_eq!(feature(&host, "cgroup delegation")["works"], true, "{host}");
}

/// The user cannot enable what the cgroups above do not give.
fn a_delegated_cgroup_without_the_controller(t: &Sandbox) {
    let cgroup = Delegated::within(t, "outer");
    let limits = json!({"memory": {"limit": 33_554_432}});
    let bundle = bundle(t).set("/linux/resources", limits);
    let (errors_of_check, create) = errors(t, Some(&cgroup), bundle);
    assert!(errors_of_check.contains("memory"), "{errors_of_check}");
    assert!(create.contains("memory"), "{create}");
}

fn the_users_systemd_delegates(t: &Sandbox) {
    let path = format!("user.slice:sampantest:{}", t.id);
    let bundle = bundle(t)
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources", json!({"pids": {"limit": 20}}));
    let container = own(t, bundle);
    let call = |words: &[&str]| {
        let call = by_user(t.runtime()).env("XDG_RUNTIME_DIR", "/run/user/1000");
        call.arg("--systemd-cgroup").args(words)
    };
    call(&["check"]).arg(&container.bundle).run().ok();
    container.launch(call(&["create"])).finish().ok();
    call(&["delete", "--force", &container.id]).run().ok();
}

fn without_systemd_its_cgroups_are_an_error(t: &Sandbox) {
    let bundle = t.bundle().args(&["true"]);
    let path = format!("system.slice:sampantest:{}", t.id);
    let container = bundle.set("/linux/cgroupsPath", json!(path)).container();
    let call = |verb: &str| t.runtime().args(["--systemd-cgroup", verb]);
    let checked = call("check").arg(&container.bundle).run().exits(1);
    let words = "error: linux.cgroupsPath: systemd does not run on this host";
    assert!(checked.stdout.contains(words), "{checked}");
    container
        .launch(call("create"))
        .finish()
        .fails_with("systemd");
}

/// The user's own id, and a range from `first`.
fn with_range<'t>(t: &'t Sandbox, uid: u32, gid: u32) -> Bundle<'t> {
    let map = |first: u32| {
        json!([
            {"containerID": 0, "hostID": USER, "size": 1},
            {"containerID": 1, "hostID": first, "size": 1000},
        ])
    };
    bundle(t)
        .set("/linux/uidMappings", map(uid))
        .set("/linux/gidMappings", map(gid))
}

fn ids_that_are_granted(t: &Sandbox) {
    let first = |file| subordinate(file).expect("checked before");
    let bundle = with_range(t, first("/etc/subuid"), first("/etc/subgid"));
    assert_eq!(errors(t, None, bundle).0, "");
    let host = from(None, t, &["check", "--json"]).run();
    for name in ["rootless: newuidmap", "rootless: /etc/subuid"] {
        assert_eq!(feature(&host, name)["works"], true, "{name}: {host}");
    }
}

fn ids_that_are_not_granted(t: &Sandbox) {
    let (errors_of_check, create) = errors(t, None, with_range(t, 3_999_000_000, 3_999_000_000));
    for field in ["linux.uidMappings", "linux.gidMappings"] {
        let of_field = errors_of_check.lines().find(|line| line.contains(field));
        let of_field = of_field.unwrap_or_else(|| panic!("no {field}: {errors_of_check}"));
        let words = "does not grant the ids 3999000000 to 3999000999";
        assert!(of_field.contains(words), "{of_field}");
    }
    assert!(create.contains("must grant these ids"), "{create}");
}

fn ids_without_newuidmap(t: &Sandbox) {
    let container = own(t, with_range(t, 100_000, 100_000));
    let copy = t.path("runtime");
    fs::copy(&t.runtime, &copy).expect("a copy that the user can execute");
    // Only the runtime has this PATH, not the program that changes the user.
    let runtime = || t.call("env").arg("PATH=/nonexistent").arg(&copy);
    let call = |verb: &str| {
        let call = by_user(runtime()).arg("--root").arg(&t.root);
        call.arg(verb)
    };
    let checked = call("check").arg(&container.bundle).run().exits(1);
    for helper in ["newuidmap", "newgidmap"] {
        let is = |line: &&str| line.starts_with("error: ") && line.contains(helper);
        let line = checked.stdout.lines().find(is);
        let line = line.unwrap_or_else(|| panic!("no {helper}: {checked}"));
        assert!(
            line.contains("uidmap)") || line.contains("install"),
            "{line}"
        );
    }
    let created = container.launch(call("create")).finish().fails();
    assert!(created.stderr.contains("install uidmap"), "{created}");
}

/// Each finding is the failure of a create by the same caller.
fn what_a_create_is_refused_is_found(t: &Sandbox) {
    let agent = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": hard + 1}]);
    let devices = json!({"nosuch0": {}});
    let unmapped = in_user_namespace(t.bundle()).set("/process/user/uid", json!(70000));
    let bundles = [
        (
            t.bundle().set("/linux/seccomp", agent),
            "/nonexistent/agent: no such file",
        ),
        (
            t.bundle().set("/process/rlimits", limit),
            "needs CAP_SYS_RESOURCE",
        ),
        (
            t.bundle().set("/process/oomScoreAdj", json!(-999)),
            "needs CAP_SYS_RESOURCE",
        ),
        (
            t.bundle().set("/linux/netDevices", devices),
            "no such device",
        ),
        (unmapped, "70000 is not mapped"),
    ];
    for (bundle, words) in bundles {
        let container = bundle.args(&["true"]).container();
        let runtime = || {
            t.runtime()
                .prefix(["setpriv", "--bounding-set=-sys_resource"])
        };
        let output = runtime().arg("check").arg(&container.bundle).run().exits(1);
        assert!(output.stdout.contains(words), "{output}");
        container
            .launch(runtime().arg("create"))
            .finish()
            .fails_with(words);
    }
}
