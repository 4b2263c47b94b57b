//! Input that cannot work: the error names the property or the flag, and nothing is created: no
//! directory of the container, no cgroup, no mount, no process.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::bundle::{Bundle, write_config};
use crate::container::Container;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    text_that_is_not_a_config_is_refused[Need::NotAPeer],
    wrong_types_are_named[Need::NotAPeer],
    wrong_values_are_named[Need::NotAPeer],
    paths_that_do_not_exist_are_named[Need::NotAPeer],
    mounts_that_the_kernel_refuses_are_named[Need::NotAPeer],
    namespaces_that_cannot_be_joined_are_named[Need::NotAPeer],
    unwritable_pid_file_undoes_the_container,
    dead_console_socket_is_refused[Need::NotAPeer],
    terminal_and_console_socket_belong_together,
    existing_id_keeps_its_container,
    cgroup_with_processes_is_refused_and_kept[Need::NotAPeer],
    missing_hooks_are_named[Need::NotAPeer],
    failing_hooks_are_named[Need::NotAPeer],
    descriptors_that_are_not_open_are_refused[Need::NotAPeer],
];

/// `create` with these flags must fail with all of these texts and leave no trace.
#[track_caller]
fn refused(t: &Sandbox, container: &Container, flags: &[&str], words: &[&str]) {
    let output = container.create_with(flags).exits(1);
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is not in\n{output}");
    }
    no_trace(t, &container.id);
}

#[track_caller]
fn no_trace(t: &Sandbox, id: &str) {
    let left: Vec<_> = fs::read_dir(&t.root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "in the root directory: {left:?}");
    if let Some(mount) = crate::host::cgroup2_mount() {
        let own = fs::read_to_string("/proc/self/cgroup").expect("the own cgroup");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let cgroup = mount.join(own.expect("a v2 line")).join(id);
        assert!(!cgroup.exists(), "{} is there", cgroup.display());
    }
}

#[track_caller]
fn bundle_refused(t: &Sandbox, bundle: Bundle, words: &[&str]) {
    refused(t, &bundle.container(), &[], words);
}

fn text_that_is_not_a_config_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    for (text, word) in [
        ("", "line 1"),
        ("{", "line 1"),
        ("{\n \"root\": }", "line 2"),
        ("[]", "object"),
        ("null", "object"),
        ("{}", "ociVersion"),
        ("{\"ociVersion\": \"1.0.0\"} x", "line 1"),
    ] {
        fs::write(container.bundle.join("config.json"), text).expect("config.json");
        refused(t, &container, &[], &["config.json", word]);
    }
}

fn wrong_types_are_named(t: &Sandbox) {
    for (pointer, value, field) in [
        ("/process/args", json!("ls"), "process.args"),
        ("/process/user/uid", json!("root"), "process.user.uid"),
        ("/process/user/uid", json!(-1), "process.user.uid"),
        ("/process/terminal", json!("no"), "process.terminal"),
        ("/root", json!("rootfs"), "root"),
        ("/mounts", json!({"a": 1}), "mounts"),
        ("/mounts/1/options", json!("ro"), "mounts[1].options"),
        ("/linux/namespaces", json!("pid"), "linux.namespaces"),
        ("/linux/maskedPaths/0", json!(7), "linux.maskedPaths[0]"),
        ("/linux/resources", json!([]), "linux.resources"),
        (
            "/hooks",
            json!({"prestart": [{"path": 3}]}),
            "hooks.prestart[0].path",
        ),
        ("/annotations", json!({"a": 1}), "annotations.a"),
    ] {
        bundle_refused(t, t.bundle().set(pointer, value), &[&format!("{field}: ")]);
    }
}

fn wrong_values_are_named(t: &Sandbox) {
    let device = |value: Value| json!([value]);
    for (pointer, value, field) in [
        ("/process/cwd", json!("srv"), "process.cwd"),
        ("/process/cwd", json!(""), "process.cwd"),
        ("/process/args", json!([]), "process.args"),
        ("/process/env", json!(["A=1\u{0}"]), "process.env[0]"),
        ("/process/oomScoreAdj", json!(-1001), "process.oomScoreAdj"),
        (
            "/linux/namespaces/1/type",
            json!("disk"),
            "linux.namespaces[1].type",
        ),
        (
            "/linux/namespaces/1/type",
            json!("pid"),
            "linux.namespaces[1].type",
        ),
        (
            "/linux/devices",
            device(json!({"path": "dev/x", "type": "c", "major": 1, "minor": 3})),
            "linux.devices[0].path",
        ),
        (
            "/linux/devices",
            device(json!({"path": "/dev/x", "type": "x"})),
            "linux.devices[0].type",
        ),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1}}),
            "linux.timeOffsets",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings",
        ),
        (
            "/linux/sysctl",
            json!({"vm.swappiness": "1"}),
            "linux.sysctl[\"vm.swappiness\"]",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_X"}),
            "linux.seccomp.defaultAction",
        ),
        ("/root/path", json!(""), "root.path"),
    ] {
        let text = format!("{field}: ").replace('"', "\\\"");
        bundle_refused(t, t.bundle().set(pointer, value), &[&text]);
    }
}

fn paths_that_do_not_exist_are_named(t: &Sandbox) {
    let bundle = t.bundle().set("/root/path", json!("none"));
    bundle_refused(
        t,
        bundle,
        &["root.path: ", "/none", "no such file or directory"],
    );
    let bundle = t
        .bundle()
        .file("file", "")
        .set("/root/path", json!("rootfs/file"));
    bundle_refused(t, bundle, &["root.path: ", "not a directory"]);
    let bind = json!({"destination": "/mnt", "source": "/no/such", "options": ["bind"]});
    let words = ["mounts[6]", "/no/such", "no such file or directory"];
    bundle_refused(t, t.bundle().mount(bind), &words);
    let container = t.bundle().container();
    fs::remove_file(container.bundle.join("config.json")).expect("unlink");
    refused(
        t,
        &container,
        &[],
        &["config.json", "no such file or directory"],
    );
    let nowhere = t.container(&t.path("nowhere"));
    refused(t, &nowhere, &[], &["--bundle", "no such file or directory"]);
}

fn mounts_that_the_kernel_refuses_are_named(t: &Sandbox) {
    let mount = |fstype: &str, options: &[&str]| {
        let mount =
            json!({"destination": "/mnt", "type": fstype, "source": "x", "options": options});
        t.bundle().mount(mount)
    };
    bundle_refused(
        t,
        mount("nosuchfs", &[]),
        &["mounts[6]", "nosuchfs", "no such device"],
    );
    bundle_refused(
        t,
        mount("tmpfs", &["nonsense=1"]),
        &["mounts[6]", "nonsense=1", "invalid argument"],
    );
    bundle_refused(
        t,
        mount("tmpfs", &["size=x"]),
        &["mounts[6]", "size=x", "invalid argument"],
    );
    let over_file = json!({"destination": "/bin/busybox", "type": "tmpfs", "source": "tmpfs"});
    bundle_refused(
        t,
        t.bundle().mount(over_file),
        &["mounts[6]", "/bin/busybox", "not a directory"],
    );
    let file_on_directory =
        json!({"destination": "/tmp", "source": "/etc/passwd", "options": ["bind"]});
    bundle_refused(
        t,
        t.bundle().mount(file_on_directory),
        &["mounts[6]", "/tmp", "directory"],
    );
}

fn namespaces_that_cannot_be_joined_are_named(t: &Sandbox) {
    for (path, words) in [
        ("/no/such/ns", "no such file or directory"),
        (
            "/proc/self/ns/pid",
            "a pid namespace, where one of type network is expected",
        ),
        ("/etc/passwd", "not a namespace file"),
        ("/proc", "not a namespace file"),
        ("relative", "not an absolute path"),
    ] {
        let bundle = t.bundle().set("/linux/namespaces/1/path", json!(path));
        bundle_refused(t, bundle, &["linux.namespaces[1].path", words]);
    }
}

fn unwritable_pid_file_undoes_the_container(t: &Sandbox) {
    let container = t.bundle().container();
    for path in ["/no/such/dir/pid", "/proc/pid", "/"] {
        refused(t, &container, &["--pid-file", path], &[path]);
    }
}

fn dead_console_socket_is_refused(t: &Sandbox) {
    let container = t.bundle().set("/process/terminal", json!(true)).container();
    let dead = t.path("dead.sock");
    drop(UnixListener::bind(&dead).expect("a socket"));
    let file = t.path("file");
    fs::write(&file, "").expect("a file");
    for path in [dead, file, t.path("none")] {
        let path = path.to_str().expect("UTF-8");
        let words = ["--console-socket", path, "connect"];
        refused(t, &container, &["--console-socket", path], &words);
    }
}

fn terminal_and_console_socket_belong_together(t: &Sandbox) {
    let container = t.bundle().set("/process/terminal", json!(true)).container();
    refused(t, &container, &[], &["console"]);
    let path = t.path("console.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let flags = ["--console-socket", path.to_str().expect("UTF-8")];
    refused(t, &t.bundle().container(), &flags, &["console"]);
}

fn existing_id_keeps_its_container(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let pid = container.pid();
    let again = || {
        t.runtime()
            .arg("create")
            .arg("--bundle")
            .arg(&container.bundle)
            .arg(&container.id)
    };
    again()
        .run()
        .exits(1)
        .fails_with("container with given ID already exists");
    // Also if the second container has an error of its own, which is found later.
    let mut config: Value = serde_json::from_slice(
        &fs::read(container.bundle.join("config.json")).expect("config.json"),
    )
    .expect("JSON");
    config["process"]["args"] = json!(["no-such-tool"]);
    write_config(&container.bundle, &config);
    again().run().exits(1);
    assert_eq!(
        (container.pid(), container.status()),
        (pid, "created".to_owned())
    );
    container.start().ok();
    container.stop();
    container.delete().ok();
}

fn cgroup_with_processes_is_refused_and_kept(t: &Sandbox) {
    let first = t.bundle().args(&["sleep", "1000"]).container();
    first.launch_ok();
    let path = first.cgroup();
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let below = path.strip_prefix(mount).expect("below the mount");
    let second = t
        .bundle()
        .set("/linux/cgroupsPath", json!(format!("/{}", below.display())))
        .container();
    let output = second.create().exits(1);
    assert!(output.stderr.contains("cgroup is not empty"), "{output}");
    second.verb("state").fails_with("does not exist");
    // The attempt and its cleanup must not touch the other container's processes.
    second.delete_force().ok();
    assert_eq!(first.status(), "running");
    assert!(path.exists());
}

const MOMENTS: [&str; 5] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
];

fn missing_hooks_are_named(t: &Sandbox) {
    for moment in &MOMENTS[..3] {
        let hooks = json!([{"path": "/no/such/hook"}]);
        let bundle = t.bundle().set(&format!("/hooks/{moment}"), hooks);
        let field = format!("hooks.{moment}[0]");
        bundle_refused(
            t,
            bundle,
            &[&field, "/no/such/hook", "no such file or directory"],
        );
    }
    let bundle = t.bundle().set("/hooks/prestart", json!([{"path": "hook"}]));
    bundle_refused(t, bundle, &["hooks.prestart[0].path: "]);
}

fn failing_hooks_are_named(t: &Sandbox) {
    for (script, words) in [("exit 7", "exit status 7"), ("kill -9 $$", "signal 9")] {
        for moment in &MOMENTS[..3] {
            let hooks = json!([
                {"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", script]}
            ]);
            let bundle = t.bundle().set(&format!("/hooks/{moment}"), hooks);
            let field = format!("hooks.{moment}[1]");
            bundle_refused(t, bundle, &[&field, "/bin/sh", words]);
        }
    }
}

fn descriptors_that_are_not_open_are_refused(t: &Sandbox) {
    let container = t.bundle().container();
    refused(
        t,
        &container,
        &["--preserve-fds", "40"],
        &["--preserve-fds", "is not open"],
    );
}
