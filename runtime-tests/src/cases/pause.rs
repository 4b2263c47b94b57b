//! pause and resume: the status, what they refuse, and what a paused container can still do.

use crate::call::strace;
use crate::container::reap;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    signals_wait_for_resume,
    every_process_is_frozen[Need::NotAPeer],
    created_container_can_be_paused,
    start_of_a_paused_container_is_refused[Need::NotAPeer],
    asked_to_end_a_kill_of_all_leaves_nothing_frozen[Need::NotAPeer, Need::Program("strace")],
    pause_of_a_paused_container_is_refused,
    resume_of_a_running_container_is_refused,
    pause_of_a_stopped_container_is_refused,
    pause_of_a_missing_container_is_refused,
    paused_container_can_be_killed,
    paused_container_can_be_deleted_by_force,
];

fn signals_wait_for_resume(t: &Sandbox) {
    let script = "trap 'echo got it' USR1; echo ready
        while :; do sleep 1000 & wait $!; kill $!; done";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container.verb("pause").ok();
    assert_eq!(container.status(), "paused");
    container.kill("USR1").ok();
    assert_eq!(container.stdout(), "ready\n");
    container.verb("resume").ok();
    assert_eq!(container.status(), "running");
    container.wait_stdout("got it");
}

fn every_process_is_frozen(t: &Sandbox) {
    let script = "sleep 1001 & echo ready; exec sleep 1002";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container.verb("pause").ok();
    assert!(container.cgroup_file("cgroup.events").contains("frozen 1"));
    container.verb("resume").ok();
    assert!(container.cgroup_file("cgroup.events").contains("frozen 0"));
}

/// `kill --all` freezes the cgroup while it sends the signals.
fn asked_to_end_a_kill_of_all_leaves_nothing_frozen(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let inject = format!("inject=pidfd_send_signal:signal={signal}:when=1");
        let kill = t.runtime().prefix(strace(&["-e", &inject]));
        let kill = kill.args(["kill", "--all", &container.id, "URG"]);
        kill.run().exits(128 + signal);
        assert_eq!(container.status(), "running", "{signal}");
    }
}

fn created_container_can_be_paused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    container.verb("pause").ok();
    assert_eq!(container.status(), "paused");
    container.start().fails();
    container.verb("resume").ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
    assert_eq!(container.status(), "running");
}

/// A container that has not been started is not `already running`.
fn start_of_a_paused_container_is_refused(t: &Sandbox) {
    for launch in [false, true] {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        if launch {
            container.start().ok();
        }
        container.verb("pause").ok();
        let refused = container.start();
        refused.fails_with("cannot start a container in the paused state");
    }
}

fn pause_of_a_paused_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.verb("pause").ok();
    container.verb("pause").fails();
    assert_eq!(container.status(), "paused");
}

fn resume_of_a_running_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.verb("resume").fails_with("not paused");
    assert_eq!(container.status(), "running");
}

fn pause_of_a_stopped_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    container.verb("pause").fails_with("not running");
    assert_eq!(container.status(), "stopped");
}

fn pause_of_a_missing_container_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    container.verb("pause").fails_with("does not exist");
    container.verb("resume").fails_with("does not exist");
}

fn paused_container_can_be_killed(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let pid = container.pid();
    container.verb("pause").ok();
    container.kill("KILL").ok();
    assert_eq!(reap(pid), 128 + 9);
    container.delete().ok();
}

fn paused_container_can_be_deleted_by_force(t: &Sandbox) {
    let script = "sleep 1001 & echo ready; exec sleep 1002";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container.verb("pause").ok();
    container.delete_force().ok();
    container.verb("state").fails_with("does not exist");
}
