//! `check`: all that is wrong with a bundle, and what the host can do; nothing is made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::rootless::by_user;
use crate::call::Output;
use crate::{Bundle, Container, Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    a_good_bundle_has_no_findings[Need::NotAPeer],
    everything_is_found_at_once[Need::NotAPeer],
    each_error_is_one_of_create[Need::NotAPeer],
    indices_are_those_of_the_file[Need::NotAPeer],
    text_and_json_say_the_same[Need::NotAPeer],
    a_missing_rootfs_is_found[Need::NotAPeer],
    programs_and_interpreters_are_found[Need::NotAPeer],
    a_program_that_a_mount_may_provide_is_a_note[Need::NotAPeer],
    hooks_must_be_executable[Need::NotAPeer],
    a_limit_without_its_controller_is_an_error[Need::NotAPeer],
    a_used_cgroup_is_found[Need::NotAPeer],
    no_json_is_one_error[Need::NotAPeer],
    a_bundle_that_cannot_be_read_is_refused[Need::NotAPeer],
    nothing_is_made[Need::NotAPeer],
    the_host_has_what_containers_need[Need::NotAPeer],
    the_host_as_a_user_without_privileges[Need::NotAPeer, Need::Program("setpriv")],
    a_namespace_that_the_kernel_refuses_is_told[Need::NotAPeer, Need::Program("unshare")],
    a_call_that_is_filtered_is_unknown[Need::NotAPeer, Need::Program("strace")],
];

pub fn check(t: &Sandbox, container: &Container, flags: &[&str]) -> Output {
    let call = t.runtime().arg("check").args(flags);
    call.arg(&container.bundle).run()
}

/// The findings as `[severity, field, message, remedy]`.
pub fn findings(t: &Sandbox, container: &Container) -> Vec<[Option<String>; 4]> {
    let output = check(t, container, &["--json"]);
    let object = output.json();
    assert_eq!(object["schema"], 1);
    let fails = object["errors"] != 0;
    output.exits(i32::from(fails));
    let list = object["findings"].as_array().expect("findings").clone();
    let text = |finding: &Value, key: &str| finding[key].as_str().map(str::to_owned);
    list.iter()
        .map(|it| ["severity", "field", "message", "remedy"].map(|key| text(it, key)))
        .collect()
}

/// The message of the finding with this severity and field.
#[track_caller]
pub fn found(t: &Sandbox, container: &Container, severity: &str, field: &str) -> String {
    let all = findings(t, container);
    let is = |it: &&[Option<String>; 4]| {
        it[0].as_deref() == Some(severity) && it[1].as_deref() == Some(field)
    };
    let finding = all.iter().find(is);
    let finding = finding.unwrap_or_else(|| panic!("no {severity} about {field}: {all:#?}"));
    finding[2].clone().expect("a message")
}

fn a_good_bundle_has_no_findings(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    check(t, &container, &[])
        .ok()
        .prints("0 errors, 0 warnings, 0 notes");
    let flag = t
        .runtime()
        .args(["check", "--bundle"])
        .arg(&container.bundle);
    flag.run().ok().prints("0 errors, 0 warnings, 0 notes");
}

/// A bundle with an error in most sections.
fn broken(t: &Sandbox) -> Bundle<'_> {
    t.bundle()
        .args(&["nosuch"])
        .set("/process/cwd", json!("relative"))
        .set("/process/evn", json!(["A=1"]))
        .set("/annotations", json!({"run.oci.frob": "1", "run.oci.handler": "krun"}))
        .push("/mounts", json!({"type": "tmpfs", "source": "x"}))
        .push(
            "/mounts",
            json!({"destination": "/a", "source": "/nonexistent/x", "options": ["bind"]}),
        )
        .push("/linux/namespaces", json!({"type": "pid"}))
        .set(
            "/linux/devices",
            json!([{"path": "/dev/a", "type": "q"}, {"path": "b", "type": "c", "major": 1, "minor": 3}]),
        )
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["frobnicate", "mkdir"], "action": "SCMP_ACT_ERRNO"},
                {"names": ["mkdir"], "action": "SCMP_ACT_NOPE"}]}),
        )
        .set(
            "/hooks",
            json!({"prestart": [{"path": "/nonexistent/hook"}], "poststop": [{"path": "relative"}]}),
        )
}

fn everything_is_found_at_once(t: &Sandbox) {
    let bundle = broken(t);
    let last = |list: &Value| list.as_array().expect("a list").len() - 1;
    let mount = last(&bundle.config["mounts"]);
    let namespace = last(&bundle.config["linux"]["namespaces"]);
    let container = bundle.container();
    let all = findings(t, &container);
    let mut told: Vec<_> = all
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it[0].as_deref().unwrap_or("?"),
                it[1].as_deref().unwrap_or("?")
            )
        })
        .collect();
    told.sort();
    let mut expected = vec![
        "error annotations[\"run.oci.handler\"]".to_owned(),
        "error hooks.poststop[0].path".to_owned(),
        "error hooks.prestart[0]".to_owned(),
        "error linux.devices[0].type".to_owned(),
        "error linux.devices[1].path".to_owned(),
        format!("error linux.namespaces[{namespace}].type"),
        "error linux.seccomp.syscalls[1].action".to_owned(),
        format!("error mounts[{mount}]"),
        format!("error mounts[{}].destination", mount - 1),
        "error process.cwd".to_owned(),
        "note linux.seccomp".to_owned(),
        // A mount may provide the program.
        "note process.args".to_owned(),
        "warning annotations[\"run.oci.frob\"]".to_owned(),
        "warning process.evn".to_owned(),
    ];
    expected.sort();
    assert_eq!(told, expected, "{all:#?}");
    let text = format!("{all:?}");
    for part in [
        "frobnicate",
        "the nearest known is process.env",
        "krun",
        "SCMP_ACT_NOPE",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A config with one error, and the property that is to blame.
fn each_error_is_one_of_create(t: &Sandbox) {
    for (pointer, value, field) in [
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/args", json!([]), "process.args"),
        ("/root/path", json!("nosuch"), "root.path"),
        ("/ociVersion", json!("frob"), "ociVersion"),
        ("/hostname", json!("x".repeat(70)), "hostname"),
        (
            "/linux/namespaces/0/path",
            json!("/nonexistent"),
            "linux.namespaces[0].path",
        ),
        ("/linux/cgroupsPath", json!("a\nb"), "linux.cgroupsPath"),
        (
            "/linux/rootfsPropagation",
            json!("odd"),
            "linux.rootfsPropagation",
        ),
    ] {
        let container = t.bundle().args(&["true"]).set(pointer, value).container();
        let message = found(t, &container, "error", field);
        let create = container.create().fails();
        assert!(create.stderr.contains(field), "{create}");
        // The message may have quotation marks, which the log escapes.
        let start = message.split(['"', '\n']).next().expect("a start");
        assert!(create.stderr.contains(start), "{message}\n{create}");
    }
}

fn indices_are_those_of_the_file(t: &Sandbox) {
    let devices = json!([
        {"path": "/dev/a", "type": "c", "major": 1, "minor": 3},
        {"path": "b", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/c", "type": "c", "major": 1, "minor": 3},
        {"path": "d", "type": "c", "major": 1, "minor": 3},
    ]);
    let bundle = t.bundle().args(&["true"]).set("/linux/devices", devices);
    let container = bundle.container();
    for field in ["linux.devices[1].path", "linux.devices[3].path"] {
        found(t, &container, "error", field);
    }
    assert_eq!(findings(t, &container).len(), 2);
}

fn text_and_json_say_the_same(t: &Sandbox) {
    let container = broken(t).container();
    let text = check(t, &container, &[]).exits(1).stdout;
    let all = findings(t, &container);
    for [severity, field, message, remedy] in &all {
        let mut line = severity.clone().expect("a severity");
        for part in [field, message].into_iter().flatten() {
            line += &format!(": {part}");
        }
        if let Some(remedy) = remedy {
            line += &format!(" ({remedy})");
        }
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert_eq!(text.lines().count(), all.len() + 1, "{text}");
    let last = text.lines().last().expect("a line");
    assert_eq!(last, "10 errors, 2 warnings, 2 notes");
}

fn a_missing_rootfs_is_found(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    fs::remove_dir_all(container.bundle.join("rootfs")).expect("the rootfs");
    let message = found(t, &container, "error", "root.path");
    assert!(message.ends_with("no such file or directory"), "{message}");
    assert_eq!(findings(t, &container).len(), 1);
}

fn programs_and_interpreters_are_found(t: &Sandbox) {
    for (content, mode, part) in [
        (
            "#!/bin/nosuch\n",
            0o755,
            "\"/bin/nosuch\", the script interpreter of /app, is missing",
        ),
        ("#!/bin/sh\n", 0o644, "permission denied"),
    ] {
        let container = t.bundle().file("/app", content).args(&["/app"]).container();
        let app = container.bundle.join("rootfs/app");
        fs::set_permissions(app, fs::Permissions::from_mode(mode)).expect("the mode");
        let message = found(t, &container, "error", "process.args");
        assert!(message.contains(part), "{message}");
        let create = container.create().fails();
        assert!(
            create.stderr.contains(&part.replace('"', "\\\"")),
            "{create}"
        );
    }
}

fn a_program_that_a_mount_may_provide_is_a_note(t: &Sandbox) {
    let mount = json!({"destination": "/opt", "source": "/bin", "options": ["rbind", "ro"]});
    let bundle = t.bundle().mount(mount).args(&["/opt/nosuch"]);
    let message = found(t, &bundle.container(), "note", "process.args");
    assert!(message.contains("below the rootfs alone"), "{message}");
}

fn hooks_must_be_executable(t: &Sandbox) {
    let hook = t.path("hook");
    fs::write(&hook, "#!/bin/sh\n").expect("a hook");
    let hooks = json!({"createRuntime": [{"path": hook}]});
    let container = t.bundle().args(&["true"]).set("/hooks", hooks).container();
    let message = found(t, &container, "error", "hooks.createRuntime[0]");
    assert!(message.ends_with("execve: permission denied"), "{message}");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("the mode");
    check(t, &container, &[]).ok();
}

fn a_limit_without_its_controller_is_an_error(t: &Sandbox) {
    let bundle = t.bundle().args(&["true"]);
    let container = bundle
        .set("/linux/resources/unified", json!({"frob.max": "1"}))
        .container();
    let all = findings(t, &container);
    let text = format!("{all:?}");
    assert_eq!(all.len(), 1, "{text}");
    assert!(text.contains("no frob controller for frob.max"), "{text}");
}

fn a_used_cgroup_is_found(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let cgroup = container.cgroup();
    let path = cgroup.strip_prefix(mount).expect("below the mount");
    let path = format!("/{}", path.display());
    let bundle = t
        .bundle()
        .args(&["true"])
        .set("/linux/cgroupsPath", json!(path));
    let message = found(t, &bundle.container(), "error", "linux.cgroupsPath");
    assert!(
        message.contains("container's cgroup is not empty"),
        "{message}"
    );
}

fn no_json_is_one_error(t: &Sandbox) {
    let container = t.bundle().container();
    fs::write(container.bundle.join("config.json"), "{\"root\": ").expect("a config");
    let all = findings(t, &container);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(format!("{all:?}").contains("line 1, column"), "{all:?}");
    assert!(
        format!("{all:?}").contains("the rest of the config was not checked"),
        "{all:?}"
    );
}

fn a_bundle_that_cannot_be_read_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    let file = container.bundle.join("config.json");
    fs::remove_file(&file).expect("the config");
    check(t, &container, &[]).fails_with("a bundle needs a config.json");
    let call = t.runtime().args(["check", "/nonexistent"]);
    call.run().fails_with("--bundle: /nonexistent");
}

fn nothing_is_made(t: &Sandbox) {
    // The harness looks for what a call leaves. `check` does not even make its root directory.
    let container = broken(t).container();
    let root = t.path("absent");
    let call = t.bare_runtime().arg("--root").arg(&root).arg("check");
    call.arg(&container.bundle).run().exits(1);
    let call = t.bare_runtime().arg("--root").arg(&root).arg("check");
    call.run().ok();
    assert!(!root.exists());
}

/// A feature of the host, from the JSON.
#[track_caller]
pub fn feature(output: &Output, name: &str) -> Value {
    let object = output.json();
    let list = object["features"].as_array().expect("features");
    let feature = list.iter().find(|it| it["feature"] == name);
    feature
        .unwrap_or_else(|| panic!("no {name}\n{output}"))
        .clone()
}

fn the_host_has_what_containers_need(t: &Sandbox) {
    let output = t.runtime().args(["check", "--json"]).run().ok();
    assert_eq!(output.json()["schema"], 1);
    for name in [
        "kernel",
        "openat2",
        "clone3",
        "pidfd",
        "new mount API",
        "cgroup v2",
        "seccomp notify",
    ] {
        assert_eq!(feature(&output, name)["works"], true, "{name}\n{output}");
    }
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let have = fs::read_to_string(mount.join("cgroup.controllers")).expect("controllers");
    for name in ["cpu", "memory", "pids"] {
        let works = have.split_whitespace().any(|have| have == name);
        let feature = feature(&output, &format!("cgroup {name}"));
        assert_eq!(feature["works"], works, "{feature}");
        assert_eq!(feature["remedy"].is_string(), !works, "{feature}");
    }
    let text = t.runtime().arg("check").run().ok().stdout;
    let features = output.json()["features"].as_array().map_or(0, Vec::len);
    assert_eq!(text.lines().count(), features, "{text}");
}

fn the_host_as_a_user_without_privileges(t: &Sandbox) {
    let runtime = t.path("runtime");
    fs::copy(&t.runtime, &runtime).expect("a copy that the user can execute");
    let call = by_user(t.call(&runtime)).env("XDG_RUNTIME_DIR", &t.root);
    let output = call.args(["check", "--json"]).run().ok();
    let works = |name: &str| feature(&output, name)["works"].clone();
    assert_eq!(works("device program"), false, "{output}");
    // The call needs a privilege that only a user namespace would give.
    assert_eq!(works("new mount API"), Value::Null, "{output}");
    assert!(works("rootless: /etc/subuid").is_boolean(), "{output}");
}

fn a_namespace_that_the_kernel_refuses_is_told(t: &Sandbox) {
    // The limits of a user namespace belong to it.
    let script = "echo 0 >/proc/sys/user/max_time_namespaces && exec \"$@\"";
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let call = t.runtime().prefix(words).args(["check", "--json"]);
    let feature = feature(&call.run(), "namespace time");
    assert_eq!(feature["works"], false, "{feature}");
    assert_eq!(feature["message"], "user.max_time_namespaces is 0");
    let bundle = t.bundle().args(&["true"]);
    let container = bundle
        .push("/linux/namespaces", json!({"type": "time"}))
        .container();
    let call = t
        .runtime()
        .prefix(words)
        .arg("check")
        .arg(&container.bundle);
    let output = call.run().exits(1);
    let text = "error: linux.namespaces: user.max_time_namespaces is 0";
    assert!(output.stdout.contains(text), "{output}");
}

fn a_call_that_is_filtered_is_unknown(t: &Sandbox) {
    let with = |error: &str| {
        let inject = format!("inject=clone3:error={error}");
        let strace = strace(&["-e", "trace=all", "-e", &inject]);
        t.runtime().prefix(strace).args(["check", "--json"]).run()
    };
    let feature_of = |output: &Output| feature(output, "clone3")["works"].clone();
    assert_eq!(feature_of(&with("EPERM").ok()), Value::Null);
    assert_eq!(feature_of(&with("ENOSYS").exits(1)), false);
}
