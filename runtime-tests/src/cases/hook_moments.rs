//! Hooks, apart from their order: the namespaces in which each runs, what it sees, and what its
//! failure undoes.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    each_hook_runs_in_its_namespaces,
    hooks_of_the_container_get_the_state,
    annotations_reach_hooks,
    create_container_sees_the_mounts_and_the_host,
    hooks_start_in_the_bundle[Need::NotAPeer],
    hooks_of_the_host_inherit_the_environment,
    cve_2025_23266_hooks_of_the_host_do_not_get_the_images_environment,
    start_container_gets_the_environment_of_the_process,
    start_container_hooks_run_in_order,
    hooks_need_not_read_the_state,
    failing_create_container_undoes_the_container,
    failing_create_runtime_stops_the_later_hooks,
    failing_start_container_keeps_the_program_from_running,
    failing_poststart_kills_the_container[Need::NotAPeer],
    failing_poststart_fails_run[Need::NotAPeer],
    hanging_hooks_in_the_container_are_killed,
    hook_killed_by_a_signal_is_reported[Need::NotAPeer],
    missing_hook_is_named,
    wrong_hooks_are_refused,
    poststop_runs_without_its_bundle[Need::NotAPeer],
    poststop_runs_after_a_created_container_is_deleted,
];

/// A hook that appends to the case's log, on the host or where the host's paths are visible.
fn hook(t: &Sandbox, script: &str) -> Value {
    let script = format!("exec >>{}; {script}", t.path("hooks.log").display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// A hook that appends to the container's /log.
fn inside(script: &str) -> Value {
    let script = format!("exec >>/log; {script}");
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]})
}

fn log(t: &Sandbox) -> String {
    std::fs::read_to_string(t.path("hooks.log")).unwrap_or_default()
}

fn inner_log(container: &Container) -> String {
    std::fs::read_to_string(container.bundle.join("rootfs/log")).unwrap_or_default()
}

fn with<'t>(bundle: Bundle<'t>, moment: &str, hook: Value) -> Bundle<'t> {
    bundle.push(&format!("/hooks/{moment}"), hook)
}

/// The whole life cycle of a container.
fn live(container: &Container) {
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    container.delete().ok();
}

/// The hooks that are programs of the host, in their order.
pub(super) const HOST_MOMENTS: [&str; 5] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "poststart",
    "poststop",
];

const KINDS: [&str; 6] = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];

fn each_hook_runs_in_its_namespaces(t: &Sandbox) {
    let script = |moment: &str| {
        let links: Vec<_> = KINDS
            .iter()
            .map(|kind| format!("/proc/self/ns/{kind}"))
            .collect();
        format!(
            "echo {moment} $(for n in {}; do readlink $n; done)",
            links.join(" ")
        )
    };
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        with(bundle, moment, hook(t, &script(moment)))
    });
    let bundle = with(bundle, "startContainer", inside(&script("startContainer")));
    let container = bundle.args(&["true"]).container();
    container.create().ok();
    let pid = container.pid();
    let links = |pid: &str| -> Vec<String> {
        let link =
            |kind| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
        KINDS
            .iter()
            .map(|kind| link(kind).display().to_string())
            .collect()
    };
    let (hosts, own) = (links("self"), links(&pid.to_string()));
    container.start().ok();
    reap(pid);
    container.delete().ok();
    let text = log(t) + &inner_log(&container);
    for moment in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let line = text.lines().find(|line| line.starts_with(moment));
        let line = line.unwrap_or_else(|| panic!("{moment} did not run:\n{text}"));
        let expected = if moment.ends_with("Container") {
            &own
        } else {
            &hosts
        };
        assert_eq!(line, format!("{moment} {}", expected.join(" ")));
    }
}

fn hooks_of_the_container_get_the_state(t: &Sandbox) {
    let bundle = with(t.bundle(), "createContainer", hook(t, "cat"));
    let bundle = with(bundle, "startContainer", inside("cat"));
    let container = bundle.container();
    live(&container);
    for (text, status) in [(log(t), "creating"), (inner_log(&container), "created")] {
        let state: Value = serde_json::from_str(&text).expect(&text);
        assert_eq!(state["status"], status, "{text}");
        assert_eq!(state["id"], container.id.as_str());
        // The hook runs in the container's pid namespace.
        assert_eq!(state["pid"], 1, "{text}");
        assert_eq!(state["bundle"], container.bundle.to_str().expect("UTF-8"));
        assert!(state["ociVersion"].is_string(), "{text}");
    }
}

fn annotations_reach_hooks(t: &Sandbox) {
    let annotations = json!({"com.example.key": "a \"value\"\n", "empty": ""});
    let bundle = with(t.bundle(), "createRuntime", hook(t, "cat"));
    let container = bundle
        .set("/annotations", annotations.clone())
        .args(&["sleep", "1000"])
        .container();
    container.create().ok();
    let state: Value = serde_json::from_str(&log(t)).expect("the state");
    assert_eq!(state["annotations"], annotations);
    assert_eq!(container.state()["annotations"], annotations);
}

fn create_container_sees_the_mounts_and_the_host(t: &Sandbox) {
    let marker = t.path("on-the-host");
    std::fs::write(&marker, "").expect("marker");
    let script = "ls MARKER; grep -c \" ROOT/proc \" /proc/self/mounts; hostname";
    let script = script.replace("MARKER", marker.to_str().expect("UTF-8"));
    let bundle = t.bundle();
    let script = script.replace("ROOT", bundle.rootfs().to_str().expect("UTF-8"));
    let container = with(bundle, "createContainer", hook(t, &script)).container();
    live(&container);
    // The host name need not be set before start, so only the lines before the last one count.
    let expected = format!("{}\n1\n", marker.display());
    assert!(log(t).starts_with(&expected), "{}", log(t));
    // The same check on the host: the mount does not exist there.
    let bundle = with(
        t.bundle(),
        "createRuntime",
        hook(
            t,
            "echo; grep -c \"$(pwd)/rootfs/proc \" /proc/self/mounts; true",
        ),
    );
    live(&bundle.container());
    assert!(log(t).ends_with("\n0\n"), "{}", log(t));
}

fn hooks_start_in_the_bundle(t: &Sandbox) {
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        with(bundle, moment, hook(t, "pwd"))
    });
    let container = bundle.container();
    live(&container);
    let bundle = format!("{}\n", container.bundle.display());
    // The specification does not define this. runc starts createContainer hooks in the rootfs, and
    // hooks look for its files there.
    let rootfs = format!("{}\n", container.bundle.join("rootfs").display());
    let expected = [&bundle, &bundle, &rootfs, &bundle, &bundle];
    assert_eq!(log(t), expected.map(String::as_str).concat());
}

fn hooks_of_the_host_inherit_the_environment(t: &Sandbox) {
    let mut hook = hook(t, "echo $FROM_THE_CALLER $A");
    hook.as_object_mut().expect("a hook").remove("env");
    let container = with(t.bundle(), "createRuntime", hook).container();
    let call = t.runtime().env("FROM_THE_CALLER", "1").arg("run");
    container.launch(call).finish().ok();
    assert_eq!(log(t), "1\n");
}

/// Variables of the image such as LD_PRELOAD are for programs of the image alone. createContainer
/// hooks start in the rootfs, where a relative path would name a file of the image.
fn cve_2025_23266_hooks_of_the_host_do_not_get_the_images_environment(t: &Sandbox) {
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        let with_env = hook(t, &format!("echo {moment}; env"));
        let mut without = with_env.clone();
        without.as_object_mut().expect("a hook").remove("env");
        with(with(bundle, moment, with_env), moment, without)
    });
    let mut of_image = inside("env");
    of_image.as_object_mut().expect("a hook").remove("env");
    let bundle = with(bundle, "startContainer", inside("env"));
    let bundle = with(bundle, "startContainer", of_image);
    let container = bundle.push("/process/env", json!("FROM_THE_IMAGE=./evil.so"));
    let container = container.container();
    live(&container);
    let text = log(t);
    let expected = HOST_MOMENTS
        .map(|moment| format!("{moment} {moment}"))
        .join(" ");
    let ran: Vec<_> = text
        .lines()
        .filter(|line| HOST_MOMENTS.contains(line))
        .collect();
    assert_eq!(ran.join(" "), expected, "{text}");
    assert!(!text.contains("FROM_THE_IMAGE"), "{text}");
    // A startContainer hook is a program of the image. Its own environment replaces the other.
    let inner = inner_log(&container);
    assert_eq!(inner.matches("FROM_THE_IMAGE=").count(), 1, "{inner}");
}

fn start_container_gets_the_environment_of_the_process(t: &Sandbox) {
    let mut hook = inside("echo ${FROM_THE_CALLER-unset} $A");
    hook.as_object_mut().expect("a hook").remove("env");
    let bundle = with(t.bundle(), "startContainer", hook).push("/process/env", json!("A=config"));
    let container = bundle.container();
    let call = t.runtime().env("FROM_THE_CALLER", "1").arg("run");
    container.launch(call).finish().ok();
    assert_eq!(inner_log(&container), "unset config\n");
}

fn start_container_hooks_run_in_order(t: &Sandbox) {
    let bundle = with(t.bundle(), "startContainer", inside("echo first"));
    let bundle = with(bundle, "startContainer", inside("echo second"));
    let container = bundle.shell("echo program >>/log").container();
    container.create().ok();
    assert_eq!(
        inner_log(&container),
        "",
        "startContainer hooks belong to start"
    );
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    assert_eq!(inner_log(&container), "first\nsecond\nprogram\n");
}

fn hooks_need_not_read_the_state(t: &Sandbox) {
    // More than a pipe holds, for hooks that end or close their input without reading it.
    let annotations = json!({"long": "x".repeat(200_000)});
    let bundle = HOST_MOMENTS.iter().fold(t.bundle(), |bundle, moment| {
        let bundle = with(bundle, moment, hook(t, "exec <&-; echo ran"));
        with(bundle, moment, hook(t, "wc -c >/dev/null; echo read"))
    });
    let bundle = with(bundle, "startContainer", json!({"path": "/bin/true"}));
    let bundle = with(bundle, "startContainer", inside("wc -c"));
    let container = bundle.set("/annotations", annotations).container();
    live(&container);
    assert_eq!(log(t), "ran\nread\n".repeat(5));
    let read: usize = inner_log(&container).trim().parse().expect("a number");
    assert!(read > 200_000, "the state is cut at {read} bytes");
}

fn failing_create_container_undoes_the_container(t: &Sandbox) {
    let bundle = with(t.bundle(), "createContainer", hook(t, "echo first; exit 3"));
    let bundle = with(bundle, "createContainer", hook(t, "echo never"));
    let bundle = with(bundle, "poststop", hook(t, "echo poststop"));
    let container = bundle.container();
    container.create().fails_with("createContainer");
    container.verb("state").fails_with("does not exist");
    assert_eq!(log(t), "first\npoststop\n");
}

fn failing_create_runtime_stops_the_later_hooks(t: &Sandbox) {
    let bundle = with(t.bundle(), "prestart", hook(t, "echo prestart; exit 1"));
    let bundle = with(bundle, "createRuntime", hook(t, "echo never"));
    let bundle = with(bundle, "createContainer", hook(t, "echo never"));
    let bundle = with(bundle, "poststop", hook(t, "echo poststop"));
    let container = bundle.container();
    container.create().fails_with("prestart");
    container.verb("state").fails_with("does not exist");
    assert_eq!(log(t), "prestart\npoststop\n");
}

fn failing_start_container_keeps_the_program_from_running(t: &Sandbox) {
    let bundle = with(t.bundle(), "startContainer", inside("echo hook; exit 3"));
    let bundle = with(bundle, "startContainer", inside("echo never"));
    let bundle = with(bundle, "poststop", hook(t, "echo poststop"));
    let container = bundle.shell("echo program >>/log").container();
    container.create().ok();
    let pid = container.pid();
    let output = container.start().fails();
    assert!(output.stderr.contains("startContainer"), "{output}");
    reap(pid);
    assert_eq!(inner_log(&container), "hook\n");
    // Source: runtime-spec 1.3, lifecycle, step 7: stop the container, and continue with step 12.
    container.verb("state").fails_with("does not exist");
    assert_eq!(log(t), "poststop\n");
    container.delete_force().ok();
}

fn failing_poststart_kills_the_container(t: &Sandbox) {
    let bundle = with(t.bundle(), "poststart", hook(t, "echo poststart; exit 3"));
    let bundle = with(bundle, "poststart", hook(t, "echo never"));
    let bundle = with(bundle, "poststop", hook(t, "echo poststop"));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    let pid = container.pid();
    container.start().fails_with("poststart");
    assert_eq!(reap(pid), 128 + 9);
    // Source: runtime-spec 1.3, lifecycle: stop the container, and continue with step 12.
    container.verb("state").fails_with("does not exist");
    assert_eq!(log(t), "poststart\npoststop\n");
    container.delete_force().ok();
}

fn failing_poststart_fails_run(t: &Sandbox) {
    for flags in [&[][..], &["--detach"]] {
        let bundle = with(t.bundle(), "poststart", hook(t, "exit 3"));
        let container = bundle.args(&["sleep", "1000"]).container();
        container.run_with(flags).fails_with("poststart");
        container.verb("state").fails_with("does not exist");
        container.delete_force().ok();
    }
}

fn hanging_hooks_in_the_container_are_killed(t: &Sandbox) {
    let timed = |mut hook: Value| {
        hook["timeout"] = json!(1);
        hook
    };
    let container = with(
        t.bundle(),
        "createContainer",
        timed(hook(t, "exec sleep 1000")),
    )
    .container();
    container.create().fails_with("createContainer");
    container.verb("state").fails_with("does not exist");
    let container = with(
        t.bundle(),
        "startContainer",
        timed(inside("exec sleep 1000")),
    )
    .container();
    container.create().ok();
    let output = container.start().fails();
    assert!(
        output.stderr.contains("timed out") || output.stderr.contains("timeout"),
        "{output}"
    );
    container.delete_force().ok();
}

fn hook_killed_by_a_signal_is_reported(t: &Sandbox) {
    for moment in ["createRuntime", "createContainer"] {
        let container = with(t.bundle(), moment, hook(t, "kill -KILL $$")).container();
        let output = container.create().fails_with(moment);
        assert!(output.stderr.contains("signal 9"), "{output}");
    }
    let container = with(t.bundle(), "createContainer", hook(t, "exit 7")).container();
    let output = container.create().fails();
    assert!(output.stderr.contains("exit status 7"), "{output}");
}

fn missing_hook_is_named(t: &Sandbox) {
    for moment in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        let hook = json!({"path": "/no/such/hook"});
        let container = with(t.bundle(), moment, hook)
            .args(&["sleep", "1000"])
            .container();
        let output = container.create();
        let output = if output.status.success() {
            container.start()
        } else {
            output
        };
        let output = output.fails_with("/no/such/hook");
        let text = output.stderr.to_lowercase();
        assert!(text.contains("no such file or directory"), "{output}");
        container.delete_force().ok();
    }
}

fn wrong_hooks_are_refused(t: &Sandbox) {
    let wrong = [
        json!({"path": "bin/true"}),
        json!({"path": "/bin/true", "timeout": 0}),
        json!({}),
    ];
    for hook in wrong {
        let container = with(t.bundle(), "createRuntime", hook.clone()).container();
        let output = container.create();
        if crate::host::peer_name(&t.runtime).is_some() && output.status.success() {
            container.delete_force().ok();
            continue;
        }
        output.fails_with("createRuntime");
        container.verb("state").fails_with("does not exist");
    }
}

fn poststop_runs_without_its_bundle(t: &Sandbox) {
    let container = with(t.bundle(), "poststop", hook(t, "echo ran; pwd")).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    std::fs::remove_dir_all(&container.bundle).expect("remove the bundle");
    container.delete().ok();
    assert_eq!(log(t), "ran\n/\n");
}

fn poststop_runs_after_a_created_container_is_deleted(t: &Sandbox) {
    let container = with(t.bundle(), "poststop", hook(t, "echo ran; cat")).container();
    container.create().ok();
    container.delete_force().ok();
    let text = log(t);
    let state: Value = serde_json::from_str(text.strip_prefix("ran\n").expect(&text)).expect(&text);
    assert_eq!(state["status"], "stopped");
}
