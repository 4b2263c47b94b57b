//! Hooks: when each runs, its input, and the effect of a failure.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    hooks_run_in_their_order,
    hooks_get_the_state_on_stdin,
    hooks_get_their_argv_and_environment,
    hooks_of_the_host_see_its_network,
    failing_hook_before_start_undoes_the_container,
    failing_poststop_does_not_keep_the_container,
    hanging_hook_is_killed_at_its_timeout,
];

/// A hook on the host that appends to the file `log` of the case.
fn hook(t: &Sandbox, script: &str) -> Value {
    let script = format!("exec >>{}; {script}", t.path("hooks.log").display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

fn log(t: &Sandbox) -> String {
    std::fs::read_to_string(t.path("hooks.log")).unwrap_or_default()
}

/// A bundle with two hooks at each moment at which hooks run on the host.
fn with_every_hook<'t>(t: &'t Sandbox, script: &str) -> Bundle<'t> {
    let moments = ["prestart", "createRuntime", "poststart", "poststop"];
    moments.iter().fold(t.bundle(), |bundle, moment| {
        let hooks = [1, 2].map(|n| hook(t, &script.replace("MOMENT", &format!("{moment}{n}"))));
        bundle.set(&format!("/hooks/{moment}"), json!(hooks))
    })
}

fn hooks_run_in_their_order(t: &Sandbox) {
    let container = with_every_hook(t, "echo MOMENT")
        .args(&["sleep", "1000"])
        .container();
    let created = "prestart1\nprestart2\ncreateRuntime1\ncreateRuntime2\n";
    container.create().ok();
    assert_eq!(log(t), created);
    container.start().ok();
    let started = format!("{created}poststart1\npoststart2\n");
    assert_eq!(log(t), started);
    container.stop();
    assert_eq!(log(t), started, "poststop belongs to delete");
    container.delete().ok();
    assert_eq!(log(t), format!("{started}poststop1\npoststop2\n"));
}

fn hooks_get_the_state_on_stdin(t: &Sandbox) {
    let container = with_every_hook(t, "cat; echo")
        .args(&["sleep", "1000"])
        .container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    container.stop();
    container.delete().ok();
    let log = log(t);
    let states: Vec<Value> = serde_json::Deserializer::from_str(&log)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}\n{log}"));
    assert_eq!(states.len(), 8, "{log}");
    for state in &states {
        assert_eq!(state["id"], container.id.as_str());
        assert_eq!(state["bundle"], container.bundle.to_str().expect("UTF-8"));
    }
    let statuses: Vec<_> = states
        .iter()
        .map(|state| state["status"].as_str())
        .collect();
    let expected = [
        "created", "created", "creating", "creating", "running", "running", "stopped", "stopped",
    ];
    assert_eq!(statuses, expected.map(Some), "{log}");
    assert!(states[..6].iter().all(|state| state["pid"] == pid), "{log}");
}

fn hooks_get_their_argv_and_environment(t: &Sandbox) {
    let mut hook = hook(t, "echo \"$0 $1 $A ${HOME-unset}\"");
    let args = hook["args"].as_array_mut().expect("args");
    args.extend([json!("zero"), json!("a b")]);
    hook["env"] = json!(["A=1", "PATH=/bin"]);
    let container = t
        .bundle()
        .set("/hooks/createRuntime", json!([hook]))
        .container();
    container.run().ok();
    assert_eq!(log(t), "zero a b 1 unset\n");
}

/// The runtime may be in the container's network namespace for some time.
fn hooks_of_the_host_see_its_network(t: &Sandbox) {
    let container = with_every_hook(t, "readlink /proc/self/ns/net")
        .args(&["sleep", "1000"])
        .container();
    container.create().ok();
    let of_init = std::fs::read_link(format!("/proc/{}/ns/net", container.pid()));
    let of_host = std::fs::read_link("/proc/self/ns/net").expect("namespace");
    assert_ne!(of_init.expect("namespace"), of_host);
    container.start().ok();
    container.stop();
    container.delete().ok();
    assert_eq!(log(t), format!("{}\n", of_host.display()).repeat(8));
}

fn failing_hook_before_start_undoes_the_container(t: &Sandbox) {
    for moment in ["prestart", "createRuntime"] {
        let failing = hook(t, "exit 3");
        let bundle = t
            .bundle()
            .set(&format!("/hooks/{moment}"), json!([failing]));
        let container = bundle.shell("echo ran").container();
        container.create().fails();
        assert_eq!(container.stdout(), "");
        container.verb("state").fails_with("does not exist");
    }
}

fn failing_poststop_does_not_keep_the_container(t: &Sandbox) {
    let hooks = json!([hook(t, "echo first; exit 3"), hook(t, "echo second")]);
    let container = t.bundle().set("/hooks/poststop", hooks).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    container.delete_force();
    container.verb("state").fails_with("does not exist");
    assert_eq!(
        log(t),
        "first\nsecond\n",
        "the failure of one must not stop the next"
    );
}

fn hanging_hook_is_killed_at_its_timeout(t: &Sandbox) {
    let mut hanging = hook(t, "exec sleep 1000");
    hanging["timeout"] = json!(1);
    let container = t
        .bundle()
        .set("/hooks/createRuntime", json!([hanging]))
        .container();
    container.create().fails();
    container.verb("state").fails_with("does not exist");
}
