//! A failed lookup does not mean absence: it is an error that names the system call. Otherwise a
//! restriction would be lost or another program executed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::cve_process::in_user_namespace;
use crate::call::{Call, Output};
use crate::container::Container;
use crate::{Bundle, Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    a_capability_whose_lookup_fails[Need::NotAPeer, Need::Program("strace")],
    a_signal_that_stays_ignored[Need::NotAPeer, Need::Program("strace")],
    a_home_whose_lookup_fails[Need::NotAPeer, Need::Program("strace")],
    a_program_whose_lookup_fails[Need::NotAPeer, Need::Program("strace")],
    a_message_that_init_does_not_receive[Need::NotAPeer, Need::Program("strace")],
    a_start_that_init_does_not_receive[Need::NotAPeer, Need::Program("strace")],
    a_hook_that_is_not_executed_names_the_call[Need::NotAPeer, Need::Program("strace")],
    an_own_binary_whose_lookup_fails[Need::NotAPeer, Need::Program("strace")],
    refused_memory_is_reported[Need::NotAPeer],
    a_pid_file_has_no_temporary_name[Need::NotAPeer, Need::Program("strace")],
    a_cgroup_that_cannot_be_removed_stays_known[Need::NotAPeer, Need::Program("strace")],
    an_id_whose_config_cannot_be_saved_is_free[Need::NotAPeer, Need::Program("strace")],
    a_hook_that_cannot_be_read_is_named[Need::NotAPeer, Need::Program("strace")],
];

/// strace(1), which makes calls of the runtime and of its children fail, as in
/// `mount:error=EPERM:when=2`.
fn failing<'w>(inject: &'w str, more: &[&'w str]) -> Vec<&'w str> {
    strace(&[&["-f", "-e", "trace=all", "-e", inject], more].concat())
}

fn run(t: &Sandbox, container: &Container, prefix: &[&str]) -> Output {
    let call: Call = t.runtime().arg("run").prefix(prefix);
    container.launch(call).finish()
}

fn a_capability_whose_lookup_fails(t: &Sandbox) {
    // The first prctl(2) of `run` is about its own binary, the second makes it a subreaper. The next
    // ones ask for a capability that no kernel has yet, and for the last one.
    for when in ["3", "4"] {
        let inject = format!("inject=prctl:error=EIO:when={when}");
        let container = t.bundle().args(&["true"]).container();
        let strace = failing(&inject, &[]);
        let run = run(t, &container, &strace).fails();
        assert!(run.stderr.contains("prctl(PR_CAPBSET_READ)"), "{run}");
    }
}

fn a_signal_that_stays_ignored(t: &Sandbox) {
    let container = t
        .bundle()
        .args(&["grep", "SigIgn", "/proc/self/status"])
        .container();
    let ignoring = "trap '' HUP USR1 USR2 ALRM VTALRM PROF PIPE; exec \"$@\"";
    // The first calls are the runtime's own; init makes more of them.
    for when in ["1", "5+"] {
        let inject = format!("inject=rt_sigaction:error=EPERM:when={when}");
        let strace = failing(&inject, &[]);
        let prefix = [&["sh", "-c", ignoring, "sh"], &strace[..]].concat();
        let run = run(t, &container, &prefix).fails();
        let said = run.stderr.to_lowercase();
        assert!(said.contains("sigaction: operation not permitted"), "{run}");
    }
}

fn a_home_whose_lookup_fails(t: &Sandbox) {
    let bundle = || {
        t.bundle()
            .file("/etc/passwd", "root:x:0:0::/somewhere:/bin/sh\n")
            .args(&["sh", "-c", "echo $HOME"])
    };
    let passwd = ["-P", "/etc/passwd"];
    for inject in [
        "inject=openat:error=EIO",
        "inject=openat:error=EMFILE",
        "inject=read:error=EIO",
        "inject=fstat,newfstatat:error=ENOMEM",
    ] {
        let strace = failing(inject, &passwd);
        let run = run(t, &bundle().container(), &strace);
        run.fails_with("/etc/passwd");
    }
    // A file that the image itself makes unreadable counts as missing.
    for inject in ["inject=openat:error=EACCES", "inject=openat:error=ELOOP"] {
        let strace = failing(inject, &passwd);
        run(t, &bundle().container(), &strace).ok().prints("/");
    }
}

/// A bundle with a program of the same name in two directories of `PATH`.
fn twice<'t>(t: &'t Sandbox) -> Bundle<'t> {
    let bundle = t.bundle().args(&["twice"]);
    for directory in ["first", "second"] {
        let path = bundle.rootfs().join(directory);
        fs::create_dir_all(&path).expect("a directory");
        let program = path.join("twice");
        fs::write(&program, format!("#!/bin/sh\necho {directory}\n")).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    bundle.set("/process/env", json!(["PATH=/first:/second:/bin"]))
}

fn a_program_whose_lookup_fails(t: &Sandbox) {
    let container = twice(t).container();
    for (error, words) in [("EIO", "i/o error"), ("EMFILE", "too many open files")] {
        let inject = format!("inject=faccessat2:error={error}:when=1");
        let strace = failing(&inject, &[]);
        let run = run(t, &container, &strace).fails();
        let said = run.stderr.to_lowercase();
        assert!(said.contains("exec: \\\"twice\\\""), "{run}");
        assert!(said.contains(words), "{run}");
    }
    // A file without execute permission is skipped, as execvp(3) does.
    let strace = failing("inject=faccessat2:error=EACCES:when=1", &[]);
    run(t, &container, &strace).ok().prints("second");
}

fn a_message_that_init_does_not_receive(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    // Init has not begun to receive, or does not receive the last message.
    for (call, when) in [("close_range", "1"), ("recvmsg", "1"), ("recvmsg", "3+")] {
        let inject = format!("inject={call}:error=EPERM:when={when}");
        let strace = failing(&inject, &[]);
        let mapped = in_user_namespace(t.bundle()).args(&["true"]).container();
        run(t, &mapped, &strace).fails_with(&format!("{call}: operation not permitted"));
        run(t, &container, &strace).fails_with(&format!("{call}: operation not permitted"));
    }
}

/// The first two messages are those of create.
fn a_start_that_init_does_not_receive(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    let strace = failing("inject=recvmsg:error=EPERM:when=3+", &[]);
    let call = t.runtime().arg("create").prefix(&strace);
    let create = container.launch(call);
    t.eventually("the container is created", || {
        let state = container.verb("state").stdout;
        state.contains(r#""status": "created""#)
    });
    let start = container.start();
    start.fails_with("recvmsg: operation not permitted");
    create.finish().ok();
}

fn a_hook_that_is_not_executed_names_the_call(t: &Sandbox) {
    for (call, moment) in [
        ("dup3", "createRuntime"),
        ("fchdir", "createContainer"),
        ("dup3", "startContainer"),
    ] {
        let hook: Value = json!([{"path": "/bin/busybox", "args": ["busybox", "true"]}]);
        let bundle = t.bundle().set(&format!("/hooks/{moment}"), hook);
        let inject = format!("inject={call}:error=EIO:when=1");
        // Init changes directories for its mounts, but not to the root filesystem.
        let rootfs = bundle.rootfs();
        let only = ["-P", rootfs.to_str().expect("UTF-8")];
        let strace = match call {
            "fchdir" => failing(&inject, &only),
            _ => failing(&inject, &[]),
        };
        let container = bundle.args(&["true"]).container();
        let run = run(t, &container, &strace).fails();
        let said = run.stderr.to_lowercase();
        assert!(said.contains(&format!("{call}: i/o error")), "{run}");
        assert!(run.stderr.contains(&format!("hooks.{moment}[0]")), "{run}");
    }
}

fn an_own_binary_whose_lookup_fails(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    let strace = failing("inject=readlink,readlinkat:error=EIO", &[]);
    run(t, &container, &strace).fails_with("own binary: readlink");
}

fn refused_memory_is_reported(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/annotations", json!({"much": "x".repeat(8 << 20)}));
    let limit = ["sh", "-c", "ulimit -v 12000; exec \"$@\"", "sh"];
    let call = t
        .runtime()
        .arg("explain")
        .arg("--bundle")
        .arg(bundle.write());
    let output = call.prefix(limit).run();
    assert_eq!(output.status.code(), Some(1), "{output}");
    output.fails_with("out of memory: mmap: ");
}

/// No temporary file of the runtime is left beside the caller's file when the runtime dies.
fn a_pid_file_has_no_temporary_name(t: &Sandbox) {
    let directory = t.path("pids");
    fs::create_dir(&directory).expect("a directory");
    let file = directory.join("pid");
    fs::write(&file, "of the last one").expect("an old pid file");
    let only = ["-P", directory.to_str().expect("UTF-8")];
    let inject = "inject=rename,renameat,renameat2:error=EIO:signal=KILL";
    let strace = failing(inject, &only);
    let container = t.bundle().args(&["true"]).container();
    let run = t.runtime().arg("run").arg("--pid-file").arg(&file);
    container.launch(run.prefix(strace)).finish().ok();
    let pid = fs::read_to_string(&file).expect("the pid file");
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    let names = fs::read_dir(&directory).expect("the directory").count();
    assert_eq!(names, 1, "there is more than the pid file");
}

/// The state contains its path, so that `delete --force` can remove it later.
fn a_cgroup_that_cannot_be_removed_stays_known(t: &Sandbox) {
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let only = ["-P", mount.to_str().expect("UTF-8")];
    let strace = failing("inject=unlinkat,rmdir:error=EIO", &only);
    let container = t.bundle().args(&["/missing"]).container();
    let create = t.runtime().arg("create").prefix(strace);
    let said = container.launch(create).finish();
    let said = said.fails_with("/missing");
    assert!(
        mount.join(&container.id).exists(),
        "the cgroup stays: {said}"
    );
    container.delete_force().ok();
    assert!(!mount.join(&container.id).exists(), "the cgroup is removed");
    container.verb("state").fails_with("does not exist");
}

fn a_hook_that_cannot_be_read_is_named(t: &Sandbox) {
    let hook = json!([{"path": "/bin/busybox", "args": ["busybox", "true"]}]);
    let container = t.bundle().set("/hooks/poststop", hook).container();
    container.create().ok();
    let delete = t.runtime().args(["delete", &container.id]);
    let config = t.root.join(&container.id).join("config.json");
    let deleted = delete.denied(&config, "EIO").run().ok();
    let said = "hooks.poststop: not run: ";
    assert!(deleted.stderr.contains(said), "{deleted}");
}

fn an_id_whose_config_cannot_be_saved_is_free(t: &Sandbox) {
    for error in ["ENOSPC", "EMFILE"] {
        let container = t.bundle().args(&["true"]).container();
        let inject = format!("inject=openat:error={error}");
        let strace = failing(&inject, &["-P", "config.json"]);
        run(t, &container, &strace).fails_with("config.json: open");
        assert!(!t.root.join(&container.id).exists());
    }
}
