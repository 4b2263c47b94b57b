//! Annotations of crun that change what the runtime does.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use super::sockets::received;
use crate::{Bundle, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    groups_of_the_caller_are_kept[Need::Program("setpriv")],
    the_pidfd_goes_to_its_receiver,
    unknown_system_calls_can_be_an_error,
    handlers_are_refused_by_name[Need::NotAPeer],
    unknown_context_types_are_refused[Need::NotAPeer],
    output_of_hooks_is_appended_to_files,
    the_process_begins_in_the_delegated_cgroup,
    names_of_no_cgroup_are_refused[Need::NotAPeer],
    annotations_without_effect_give_a_warning[Need::NotAPeer],
];

fn with<'a>(bundle: Bundle<'a>, key: &str, value: &str) -> Bundle<'a> {
    bundle.set("/annotations", json!({ key: value }))
}

fn groups_of_the_caller_are_kept(t: &Sandbox) {
    let show = "grep ^Groups: /proc/self/status | tr -s '\\t ' ' '";
    let user = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    let bundle = with(t.bundle(), "run.oci.keep_original_groups", "1");
    let bundle = bundle.set("/process/user", user);
    let container = bundle.shell(&format!("{show}; sleep 1000")).container();
    let prefix = ["setpriv", "--groups", "4242,4243", "--"];
    let call = t.runtime().args(["run", "--detach"]).prefix(prefix);
    container.launch(call).finish().ok();
    container.wait_stdout("Groups: 4242 4243");
    let words = ["exec", &container.id, "sh", "-c", show];
    let output = t.runtime().args(words).prefix(prefix).run().ok();
    assert_eq!(output.stdout.trim(), "Groups: 4242 4243");
}

fn the_pidfd_goes_to_its_receiver(t: &Sandbox) {
    let path = t.path("receiver");
    let listener = UnixListener::bind(&path).expect("bind");
    let receiver = path.to_str().expect("UTF-8");
    let bundle = with(t.bundle(), "run.oci.pidfd_receiver", receiver);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let (_, name) = received(&listener);
    assert_eq!(name, "standard");
}

fn unknown_system_calls_can_be_an_error(t: &Sandbox) {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getpid", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = || t.bundle().set("/linux/seccomp", profile.clone());
    bundle().args(&["true"]).container().run().ok();
    let strict = with(bundle(), "run.oci.seccomp_fail_unknown_syscall", "1");
    let message = "linux.seccomp.syscalls: no architecture has these calls: no_such_call";
    strict.container().create().fails_with(message);
}

fn handlers_are_refused_by_name(t: &Sandbox) {
    let args = |program: &str| t.bundle().args(&[program]);
    for (bundle, annotations, name) in [
        (args("true"), json!({"run.oci.handler": "krun"}), "krun"),
        (args("true"), json!({"run.oci.handler": "wasm"}), "wasm"),
        (
            args("true"),
            json!({"module.wasm.image/variant": "compat"}),
            "wasm",
        ),
        (
            args("/a.wasm"),
            json!({"module.wasm.image/variant": "compat-smart"}),
            "wasm",
        ),
    ] {
        let container = bundle.set("/annotations", annotations).container();
        let output = container.create();
        assert!(output.stderr.contains(name), "{output}");
        output.fails_with("this runtime has no handler");
        container.verb("state").fails_with("does not exist");
    }
    let runs: [Value; 3] = [
        json!({"run.oci.handler": ""}),
        json!({"module.wasm.image/variant": "compat-smart"}),
        json!({"run.oci.handler": "wasm", "io.kubernetes.cri.container-type": "sandbox"}),
    ];
    for annotations in runs {
        let bundle = args("true").set("/annotations", annotations);
        bundle.container().run().ok();
    }
}

fn unknown_context_types_are_refused(t: &Sandbox) {
    let bundle = with(t.bundle(), "run.oci.mount_context_type", "seclabel");
    bundle
        .container()
        .create()
        .fails_with("is none of context, fscontext");
}

/// The runtime opens the files for those that run in the container.
fn output_of_hooks_is_appended_to_files(t: &Sandbox) {
    let (stdout, stderr) = (t.path("hooks.out"), t.path("hooks.err"));
    std::fs::write(&stdout, "before\n").expect("a file");
    let annotations = json!({
        "run.oci.hooks.stdout": stdout.to_str().expect("UTF-8"),
        "run.oci.hooks.stderr": stderr.to_str().expect("UTF-8"),
    });
    let hook = |name: &str| {
        let script = format!("echo {name}; echo error of {name} >&2");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let hooks = json!({"createRuntime": hook("one"), "createContainer": hook("two"),
        "startContainer": hook("inside"), "poststart": hook("three"), "poststop": hook("four")});
    let bundle = t.bundle().set("/annotations", annotations);
    let container = bundle.set("/hooks", hooks).args(&["true"]).container();
    container.run().ok();
    let read = |file| std::fs::read_to_string(file).expect("a file");
    assert_eq!(read(&stdout), "before\none\ntwo\ninside\nthree\nfour\n");
    let errors: Vec<_> = ["one", "two", "inside", "three", "four"]
        .map(|it| format!("error of {it}\n"))
        .into();
    assert_eq!(read(&stderr), errors.concat());

    for moment in ["createRuntime", "startContainer"] {
        let hooks = json!({moment: hook("one")});
        let missing = with(t.bundle(), "run.oci.hooks.stdout", "/no/such/dir/file");
        let container = missing.set("/hooks", hooks).container();
        container.create().fails_with(
            "open the file of run.oci.hooks.stdout or stderr: no such file or directory",
        );
    }
}

/// The root of the cgroup namespace is the container's cgroup, and `delete` removes both.
fn the_process_begins_in_the_delegated_cgroup(t: &Sandbox) {
    let bundle = with(t.bundle(), "run.oci.delegate-cgroup", "below");
    let container = bundle
        .shell("grep ^0:: /proc/self/cgroup; sleep 1000")
        .container();
    container.launch_ok();
    container.wait_stdout("0::/below");
    let output = container.exec(&["grep", "^0::", "/proc/self/cgroup"]).ok();
    assert_eq!(output.stdout.trim(), "0::/below");
    let output = container.exec_with(&["--cgroup", "/"], &["grep", "^0::", "/proc/self/cgroup"]);
    assert_eq!(output.ok().stdout.trim(), "0::/");
    container.delete_force().ok();
}

fn names_of_no_cgroup_are_refused(t: &Sandbox) {
    for name in ["..", ".", "a/b"] {
        let bundle = with(t.bundle(), "run.oci.delegate-cgroup", name);
        let output = bundle.container().create();
        output.fails_with("is not the name of a cgroup");
    }
}

fn annotations_without_effect_give_a_warning(t: &Sandbox) {
    let bundle = with(t.bundle(), "run.oci.seccomp.plugins", "/lib/plugin.so");
    let output = bundle.args(&["true"]).container().run().ok();
    let message = "this runtime does not have it, ignored";
    assert!(output.stderr.contains(message), "{output}");
}
