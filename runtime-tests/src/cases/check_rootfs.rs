//! `check`: what a container needs of its own files, and what only `create` shows. Each error is one
//! of `create` or `start`, in the same words.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use super::check::{check, findings, found};
use crate::{Bundle, Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_working_directory_must_be_one[Need::NotAPeer],
    a_working_directory_is_where_its_mount_is[Need::NotAPeer],
    a_working_directory_that_is_made_is_no_finding[Need::NotAPeer],
    hooks_are_looked_for_where_they_run[Need::NotAPeer],
    a_hook_that_a_mount_may_provide_is_a_note[Need::NotAPeer],
    memory_nodes_are_tried[Need::NotAPeer],
    what_is_not_looked_at_is_said[Need::NotAPeer],
];

/// `check` has one error, and `create` or `start` fails with its words.
#[track_caller]
fn fails(t: &Sandbox, container: &Container, field: &str, words: &str) {
    let message = found(t, container, "error", field);
    assert!(message.contains(words), "{message}");
    assert_eq!(findings(t, container).len(), 1);
    container.run().fails_with(words);
}

fn with_cwd<'t>(t: &'t Sandbox, cwd: &str) -> Bundle<'t> {
    t.bundle().args(&["true"]).set("/process/cwd", json!(cwd))
}

fn bind(source: &std::path::Path, destination: &str, option: &str) -> Value {
    json!({"source": source, "destination": destination, "options": ["bind", option]})
}

fn a_working_directory_must_be_one(t: &Sandbox) {
    for (cwd, words) in [
        ("/file", "chdir /file: not a directory"),
        ("/file/sub", "not a directory"),
        ("/loop", "chdir /loop: too many levels of symbolic links"),
    ] {
        let bundle = with_cwd(t, cwd).file("/file", "text");
        symlink("/loop", bundle.rootfs().join("loop")).expect("a link");
        fails(t, &bundle.container(), "process.cwd", words);
    }
}

fn a_working_directory_is_where_its_mount_is(t: &Sandbox) {
    let source = t.path("source");
    fs::create_dir_all(source.join("dir")).expect("a directory");
    fs::write(source.join("file"), "text").expect("a file");
    let with = |cwd, option| {
        let bundle = with_cwd(t, cwd).file("/work/dir", "hidden by the mount");
        bundle.mount(bind(&source, "/work", option)).container()
    };
    for cwd in ["/work", "/work/dir", "/work/made"] {
        let container = with(cwd, "rw");
        check(t, &container, &[])
            .ok()
            .prints("0 errors, 0 warnings, 0 notes");
        container.run().ok();
    }
    let words = "chdir /work/file: not a directory";
    fails(t, &with("/work/file", "rw"), "process.cwd", words);
    let words = "chdir /work/missing: no such file or directory";
    fails(t, &with("/work/missing", "ro"), "process.cwd", words);
}

fn a_working_directory_that_is_made_is_no_finding(t: &Sandbox) {
    let tmpfs = json!({"type": "tmpfs", "source": "tmpfs", "destination": "/scratch"});
    for cwd in ["/new/deep", "/dangling", "/scratch/new", "/proc"] {
        let bundle = with_cwd(t, cwd).mount(tmpfs.clone());
        symlink("/nowhere", bundle.rootfs().join("dangling")).expect("a link");
        let container = bundle.container();
        check(t, &container, &[])
            .ok()
            .prints("0 errors, 0 warnings, 0 notes");
        container.run().ok();
    }
}

fn hooks_are_looked_for_where_they_run(t: &Sandbox) {
    let script = t.path("hook");
    fs::write(&script, "#!/bin/sh\n").expect("a hook");
    for (moment, path, words) in [
        (
            "createContainer",
            script.as_path(),
            "execve: permission denied",
        ),
        (
            "createContainer",
            "/nosuch/hook".as_ref(),
            "execve: no such file or directory",
        ),
        (
            "startContainer",
            "/nosuch/hook".as_ref(),
            "execve: no such file or directory",
        ),
        (
            "startContainer",
            "/bin".as_ref(),
            "execve: permission denied",
        ),
        (
            "startContainer",
            "/plain".as_ref(),
            "execve: permission denied",
        ),
        (
            "startContainer",
            "/script".as_ref(),
            "execve: no such file or directory",
        ),
    ] {
        let bundle = t.bundle().args(&["true"]).file("/plain", "text");
        let bundle = bundle.file("/script", "#!/bin/nosuch\n");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bundle.rootfs().join("script"), executable).expect("the mode");
        let container = bundle
            .set("/hooks", json!({moment: [{"path": path}]}))
            .container();
        fails(t, &container, &format!("hooks.{moment}[0]"), words);
    }
    // The rootfs has it, and the host has not.
    let hooks = json!({"startContainer": [{"path": "/own"}]});
    let bundle = t.bundle().args(&["true"]).script("/own", "");
    let container = bundle.set("/hooks", hooks).container();
    check(t, &container, &[])
        .ok()
        .prints("0 errors, 0 warnings, 0 notes");
    container.run().ok();
}

fn a_hook_that_a_mount_may_provide_is_a_note(t: &Sandbox) {
    let hooks = json!({"startContainer": [{"path": "/opt/hook"}]});
    let mount = bind("/bin".as_ref(), "/opt", "ro");
    let bundle = t.bundle().args(&["true"]).mount(mount).set("/hooks", hooks);
    let message = found(t, &bundle.container(), "note", "hooks.startContainer[0]");
    assert!(message.contains("below the rootfs alone"), "{message}");
}

fn memory_nodes_are_tried(t: &Sandbox) {
    let with = |nodes| {
        let policy = json!({"mode": "MPOL_BIND", "nodes": nodes});
        let bundle = t.bundle().args(&["true"]);
        bundle.set("/linux/memoryPolicy", policy).container()
    };
    let words = "set_mempolicy MPOL_BIND nodes 1000: ";
    fails(t, &with("1000"), "linux.memoryPolicy", words);
    let has_node = with("0");
    let is_fine = check(t, &has_node, &[]).code() == 0;
    assert_eq!(is_fine, has_node.run().code() == 0);
}

fn what_is_not_looked_at_is_said(t: &Sandbox) {
    let bundle = with_cwd(t, "/proc/self").set(
        "/process/ioPriority",
        json!({
        "class": "IOPRIO_CLASS_BE", "priority": 7}),
    );
    let bundle = bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH"}));
    let container = bundle.container();
    for field in ["process.cwd", "process.ioPriority", "process.scheduler"] {
        let message = found(t, &container, "note", field);
        assert!(message.contains("not looked at"), "{message}");
    }
    check(t, &container, &[]).ok();
}
