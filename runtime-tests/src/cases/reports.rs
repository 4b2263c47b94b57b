//! What the runtime says about a request that it cannot carry out, or carries out in part, and what it
//! leaves behind then.

use std::fs;

use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::mount_info::leave_host;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    what_needs_a_cgroup_is_named_without_one[Need::NotAPeer],
    without_cgroup_and_pid_namespace_only_init_is_reached[Need::NotAPeer],
    too_few_descriptors_are_reported_as_any_failure[Need::NotAPeer],
    without_procfs_nothing_is_hidden[Need::NotAPeer],
    descriptors_of_a_service_manager_are_named[Need::NotAPeer],
    unknown_property_of_an_update_is_named[Need::NotAPeer],
    a_file_is_opened_and_a_directory_is_read[Need::NotAPeer],
    a_long_state_needs_no_privilege[Need::Program("setpriv"), Need::NotAPeer],
    a_readonly_root_directory_has_a_remedy[Need::NotAPeer],
    a_spec_that_does_not_fit_leaves_nothing[Need::NotAPeer],
    a_checkpoint_without_criu_leaves_nothing[Need::NotAPeer],
    a_removed_directory_is_not_a_delete[Need::NotAPeer],
];

fn what_needs_a_cgroup_is_named_without_one(t: &Sandbox) {
    let rules = json!([{"allow": false, "access": "rwm"}]);
    let limits = json!({"pids": {"limit": 5}, "devices": rules});
    let bundle = t.bundle().set("/linux/resources", limits);
    let container = bundle.args(&["true"]).container();
    let runtime = || t.runtime().args(["--cgroup-manager", "disabled"]);
    let check = runtime().arg("check").arg(&container.bundle).run();
    let run = container.launch(runtime().arg("run")).finish().ok();
    for text in [&check.stdout, &run.stderr] {
        for property in ["pids.limit", "devices"] {
            let line = format!("linux.resources.{property}: --cgroup-manager is disabled");
            assert!(text.contains(&line), "{text}");
        }
    }
}

fn without_cgroup_and_pid_namespace_only_init_is_reached(t: &Sandbox) {
    let bundle = t
        .bundle()
        .without_namespace("pid")
        .set("/linux/resources", json!({}));
    let container = bundle.args(&["sleep", "1000"]).container();
    let create = t.runtime().args(["--cgroup-manager", "disabled", "create"]);
    container.launch(create).finish().ok();
    container.start().ok();
    let words = "only its init process is reached";
    let kill = t.runtime().args(["kill", "--all", &container.id, "URG"]);
    let said = [kill.run().ok(), container.delete_force().ok()];
    assert!(
        said.iter().all(|it| it.stderr.contains(words)),
        "{}",
        said[0]
    );
}

fn too_few_descriptors_are_reported_as_any_failure(t: &Sandbox) {
    let log = t.path("log");
    let call = t
        .runtime()
        .prefix(["sh", "-c", "ulimit -n 4; exec \"$@\"", "sh"]);
    let call = call.args(["--log-format", "json", "--log"]).arg(&log);
    let output = call.args(["exec", "web", "true"]).run().exits(255);
    assert!(output.stderr.contains("ulimit -n"), "{output}");
    assert!(
        !output.stderr.contains("the file must be readable"),
        "{output}"
    );
    let line = fs::read_to_string(&log).expect("the log");
    assert!(
        line.starts_with('{') && line.contains("\"level\":\"error\""),
        "{line}"
    );
}

fn without_procfs_nothing_is_hidden(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let call = t.runtime().args(["state", &container.id]);
    let hide = [
        "unshare",
        "-m",
        "sh",
        "-c",
        "umount -l /proc; exec \"$@\"",
        "sh",
    ];
    let output = call.prefix(hide).run().fails();
    assert!(
        output.stderr.contains("no such file or directory"),
        "{output}"
    );
    assert!(!output.stderr.contains("hidepid"), "{output}");
}

fn descriptors_of_a_service_manager_are_named(t: &Sandbox) {
    let container = t.bundle().container();
    for (flag, blamed) in [
        (None, "LISTEN_FDS"),
        (Some("--preserve-fds=1"), "LISTEN_FDS and --preserve-fds"),
    ] {
        let script = "LISTEN_PID=$$ LISTEN_FDS=7 exec \"$@\"";
        let call = t.runtime().arg("run").args(flag);
        let output = container
            .launch(call.prefix(["sh", "-c", script, "sh"]))
            .finish()
            .fails();
        let words = format!("{blamed}: descriptor 3 is not open");
        assert!(output.stderr.contains(&words), "{output}");
    }
}

fn unknown_property_of_an_update_is_named(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let update = |request: &str| {
        let call = t
            .runtime()
            .args(["update", "--resources", "-", &container.id]);
        call.stdin(request).run().ok().stderr
    };
    let said = update(r#"{"memory": {"limitt": 5}}"#);
    assert!(said.contains("linux.resources.memory.limitt"), "{said}");
    assert!(said.contains("limit"), "{said}");
    let said = update(r#"{"ociVersion": "1.0.2", "linux": {"resources": {}}}"#);
    assert!(said.contains("linux.resources.linux"), "{said}");
    assert_eq!(update(r#"{"devices": [], "network": {}}"#), "");
}

fn a_file_is_opened_and_a_directory_is_read(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let update = |file: &str| {
        t.runtime()
            .args(["update", "-r", file, &container.id])
            .run()
    };
    update("/nonexistent").fails_with("/nonexistent: open: no such file or directory");
    update("/").fails_with("/: read: is a directory");
    let exec = t.runtime().args(["exec", "--process", "/", &container.id]);
    exec.run().fails_with("/: read: is a directory");
}

/// A pipe of more than the limit for users needs CAP_SYS_RESOURCE.
fn a_long_state_needs_no_privilege(t: &Sandbox) {
    let hook = format!("tail -c 3 >{}", t.path("read").display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]);
    let bundle = t
        .bundle()
        .set("/annotations", json!({"long": "x".repeat(2 << 20)}));
    let bundle = bundle.set("/hooks/createRuntime", hook.clone());
    let container = bundle.args(&["true"]).container();
    let call = t
        .runtime()
        .arg("run")
        .prefix(["setpriv", "--bounding-set=-sys_resource"]);
    container.launch(call).finish().ok();
    assert!(
        fs::read_to_string(t.path("read"))
            .expect("what it read")
            .contains('}')
    );
}

fn a_readonly_root_directory_has_a_remedy(t: &Sandbox) {
    leave_host();
    let root = t.path("readonly");
    fs::create_dir(&root).expect("mkdir");
    mount(
        Some("tmpfs"),
        &root,
        Some("tmpfs"),
        MsFlags::MS_RDONLY,
        None::<&str>,
    )
    .expect("mount");
    let container = t.bundle().container();
    for below in ["", "new"] {
        let call = t.bare_runtime().arg("--root").arg(root.join(below));
        let output = container.launch(call.arg("create")).finish();
        output.fails_with("choose another directory with --root");
    }
}

/// A file system without room for a file of any length.
fn full(t: &Sandbox) -> std::path::PathBuf {
    leave_host();
    let directory = t.path("full");
    fs::create_dir(&directory).expect("mkdir");
    let size = Some("size=4k");
    mount(
        Some("tmpfs"),
        &directory,
        Some("tmpfs"),
        MsFlags::empty(),
        size,
    )
    .expect("mount");
    fs::write(directory.join("other"), [0; 4096]).expect("fill it");
    directory
}

fn a_spec_that_does_not_fit_leaves_nothing(t: &Sandbox) {
    let directory = full(t);
    let spec = || t.runtime().arg("spec").cwd(&directory).run();
    spec().fails_with("config.json: write: no space left on device");
    assert!(!directory.join("config.json").exists());
    fs::remove_file(directory.join("other")).expect("make room");
    spec().ok();
}

fn a_checkpoint_without_criu_leaves_nothing(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let images = t.path("images");
    let call = t
        .runtime()
        .args(["checkpoint", "--image-path"])
        .arg(&images);
    let call = call.arg(&container.id).env("PATH", "/nonexistent");
    call.run().fails_with("no program criu");
    assert!(!images.exists());
}

fn a_removed_directory_is_not_a_delete(t: &Sandbox) {
    let bundle = t.bundle().without_namespace("pid");
    let script = "sleep 1000 & echo ready; read line";
    let container = bundle.shell(script).container();
    let bundle = &container.bundle;
    let fifo = bundle.join("input");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    let script = "exec \"$@\" <>input";
    let call = t
        .runtime()
        .arg("run")
        .prefix(["sh", "-c", script, "sh"])
        .cwd(bundle);
    let running = container.launch(call);
    container.wait_stdout("ready");
    let cgroup = container.cgroup();
    fs::remove_dir_all(t.root.join(&container.id)).expect("remove it");
    fs::write(&fifo, "\n").expect("let it end");
    let output = running.finish().ok();
    assert!(
        output.stderr.contains("its directory was removed"),
        "{output}"
    );
    assert!(
        output.stderr.contains(cgroup.to_str().expect("UTF-8")),
        "{output}"
    );
    assert!(!cgroup.exists(), "nothing else could end the process in it");
}
