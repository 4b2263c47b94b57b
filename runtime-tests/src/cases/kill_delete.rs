//! kill and delete: which processes they reach, what they refuse, and what they leave.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::container::reap;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    signals_arrive_by_name_and_number,
    kill_sends_term_by_default,
    kill_of_a_stopped_container_is_refused,
    kill_of_a_missing_container_is_refused,
    kill_with_an_unknown_signal_is_refused,
    kill_ends_a_created_container,
    delete_of_a_running_container_is_refused,
    delete_of_a_created_container_ends_it,
    delete_of_a_missing_container_fails,
    forced_delete_of_a_missing_container_succeeds,
    forced_delete_ends_every_process,
    id_is_free_after_delete,
    forced_delete_follows_a_state_of_an_older_version[Need::NotAPeer],
    delete_leaves_another_cgroup_of_the_path_alone[Need::NotAPeer],
];

fn signals_arrive_by_name_and_number(t: &Sandbox) {
    let script = "for s in TERM USR1 USR2 HUP; do trap \"echo got $s\" $s; done
        echo ready; while :; do sleep 1000 & wait $!; kill $!; done";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    let usr1 = crate::sandbox::signal_number("USR1").to_string();
    for (signal, word) in [
        ("TERM", "TERM"),
        ("SIGUSR2", "USR2"),
        (&usr1, "USR1"),
        ("hup", "HUP"),
    ] {
        container.kill(signal).ok();
        container.wait_stdout(&format!("got {word}\n"));
    }
}

fn kill_sends_term_by_default(t: &Sandbox) {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 1000 & wait $!; done";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    let pid = container.pid();
    container.verb("kill").ok();
    assert_eq!(reap(pid), 7);
}

fn kill_of_a_stopped_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    container.kill("TERM").fails_with("container not running");
    container.kill("KILL").fails_with("container not running");
}

fn kill_of_a_missing_container_is_refused(t: &Sandbox) {
    t.bundle()
        .container()
        .kill("KILL")
        .fails_with("does not exist");
}

fn kill_with_an_unknown_signal_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.kill("NONSENSE").fails_with("NONSENSE");
    assert_eq!(container.status(), "running");
}

fn kill_ends_a_created_container(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let pid = container.pid();
    container.kill("KILL").ok();
    assert_eq!(reap(pid), 128 + 9);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

fn delete_of_a_running_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.delete().fails_with("not stopped");
    assert_eq!(container.status(), "running");
}

fn delete_of_a_created_container_ends_it(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let pid = container.pid();
    container.delete().ok();
    assert_eq!(reap(pid), 128 + 9);
    container.verb("state").fails_with("does not exist");
}

fn delete_of_a_missing_container_fails(t: &Sandbox) {
    t.bundle().container().delete().fails_with("does not exist");
}

fn forced_delete_of_a_missing_container_succeeds(t: &Sandbox) {
    t.bundle().container().delete_force().ok();
}

fn forced_delete_ends_every_process(t: &Sandbox) {
    // One child ignores signals, the other has its own session.
    let script = "trap '' TERM HUP INT; setsid sleep 1001 & sleep 1002 & echo ready; wait";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container.delete_force().ok();
    container.verb("state").fails_with("does not exist");
}

fn id_is_free_after_delete(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    for _ in 0..3 {
        container.create().ok();
        container.delete_force().ok();
    }
    container.run().ok();
}

/// The state does not describe hooks and the process, so no verb may assume that there are none.
fn forced_delete_follows_a_state_of_an_older_version(t: &Sandbox) {
    let script = format!(": >{}", t.path("hook").display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = t.bundle().set("/hooks/poststop", hook);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let (pid, cgroup) = (container.pid(), container.cgroup());
    let file = t.root.join(&container.id).join("state.json");
    let text = fs::read_to_string(&file).expect("the state");
    let mut state: Value = serde_json::from_str(&text).expect("JSON");
    let later = state.as_object_mut().expect("an object").remove("later");
    assert!(later.is_some(), "{text}");
    fs::write(&file, state.to_string()).expect("the state");
    for verb in ["state", "delete"] {
        container.verb(verb).fails_with("delete --force");
    }
    container.delete_force().ok();
    assert_eq!(reap(pid), 137);
    assert!(!cgroup.exists() && t.path("hook").exists());
    container.verb("state").fails_with("does not exist");
}

/// After the container's cgroup was removed, somebody else has made one of this path.
fn delete_leaves_another_cgroup_of_the_path_alone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let cgroup = container.cgroup();
    container.stop();
    fs::remove_dir(&cgroup).expect("the container's cgroup");
    fs::create_dir(&cgroup).expect("another cgroup");
    let mut other = Command::new("sleep").arg("1000").spawn().expect("sleep");
    let pid = other.id().to_string();
    fs::write(cgroup.join("cgroup.procs"), pid).expect("a process in it");
    let output = container.verb("delete");
    let ended = other.try_wait().expect("the process");
    other.kill().expect("the process");
    other.wait().expect("the process");
    let removed = fs::remove_dir(&cgroup);
    output.ok();
    assert!(ended.is_none(), "{ended:?}");
    removed.expect("the other cgroup");
}
