//! A verb acts only on the container that it has looked up. At each of its system calls, other
//! processes delete that container and create another one with the same id.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::call::{Call, Running};
use crate::container::{Container, reap, reap_ended};
use crate::host::waits_in;
use crate::steps::Steps;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    late_delete_leaves_the_successor_alone[Need::NotAPeer],
    late_forced_delete_leaves_the_successor_alone[Need::NotAPeer],
    late_kill_of_all_leaves_the_successor_alone[Need::NotAPeer],
    late_kill_leaves_the_successor_alone[Need::NotAPeer],
    late_pause_leaves_the_successor_alone[Need::NotAPeer],
    late_update_leaves_the_successor_alone[Need::NotAPeer],
    late_failure_of_create_leaves_the_successor_alone[Need::NotAPeer],
    late_end_of_run_leaves_the_successor_alone[Need::NotAPeer],
    second_delete_finds_no_container[Need::NotAPeer],
    state_during_a_delete_finds_a_container_or_none[Need::NotAPeer],
    list_skips_containers_deleted_meanwhile[Need::NotAPeer],
];

/// Continues the call until it ends, or until it waits in flock(2) for another process's lock.
/// Returns whether it has ended.
#[track_caller]
fn ends_or_waits(t: &Sandbox, other: &mut Running) -> bool {
    let pid = other.pid();
    let mut ended = false;
    t.eventually("the call ends or waits for a lock", || {
        ended = !other.is_running();
        ended || waits_in(pid, &[libc::SYS_flock])
    });
    ended
}

/// A container with two processes in one cgroup.
fn two_processes(t: &Sandbox) -> Container<'_> {
    let script = "sleep 1001 & echo ready; exec sleep 1000";
    t.bundle().shell(script).container()
}

fn launch(container: &Container) {
    container.launch_ok();
    container.wait_stdout("ready");
}

fn is_untouched(container: &Container, pid: i32, step: u32) {
    assert_eq!(
        (container.status(), container.pid()),
        ("running".to_owned(), pid),
        "step {step}"
    );
    let processes = container.cgroup_file("cgroup.procs");
    assert_eq!(processes.lines().count(), 2, "step {step}");
    assert!(container.bundle.exists());
}

/// Stops a verb at each system call after it has found the directory. Other processes replace the
/// container there, unless the verb's lock prevents it.
fn successor_survives(t: &Sandbox, prepare: fn(&Container), words: &[&str]) {
    let (mut step, mut replaced) = (0, 0);
    loop {
        let container = two_processes(t);
        launch(&container);
        prepare(&container);
        let call = t.runtime().args(words.iter().map(|word| match *word {
            "ID" => container.id.as_str(),
            word => word,
        }));
        let mut verb = Steps::begin(call);
        verb.pass(&container.id);
        if (0..step).any(|_| verb.advance().is_none()) {
            verb.finish();
            container.delete_force().ok();
            break;
        }
        let delete = t.runtime().args(["delete", "--force", &container.id]);
        let mut delete = delete.spawn();
        if ends_or_waits(t, &mut delete) {
            delete.finish().ok();
            launch(&container);
            let (pid, directory) = (container.pid(), t.root.join(&container.id));
            let files = || fs::read_dir(&directory).expect("its directory").count();
            let before = files();
            verb.finish();
            is_untouched(&container, pid, step);
            assert_eq!(files(), before, "step {step}");
            replaced += 1;
        } else {
            verb.finish();
            delete.finish().ok();
        }
        container.delete_force().ok();
        reap_ended();
        step += 1;
    }
    assert!(
        step > 5 && replaced > 0,
        "{step} steps, {replaced} replaced"
    );
}

fn late_delete_leaves_the_successor_alone(t: &Sandbox) {
    successor_survives(t, |container| container.stop(), &["delete", "ID"]);
}

fn late_forced_delete_leaves_the_successor_alone(t: &Sandbox) {
    successor_survives(t, |_| {}, &["delete", "--force", "ID"]);
}

fn late_kill_of_all_leaves_the_successor_alone(t: &Sandbox) {
    successor_survives(t, |_| {}, &["kill", "--all", "ID", "KILL"]);
}

fn late_kill_leaves_the_successor_alone(t: &Sandbox) {
    successor_survives(t, |_| {}, &["kill", "ID", "KILL"]);
}

fn late_pause_leaves_the_successor_alone(t: &Sandbox) {
    successor_survives(t, |_| {}, &["pause", "ID"]);
}

fn late_update_leaves_the_successor_alone(t: &Sandbox) {
    let file = t.path("resources.json");
    fs::write(
        &file,
        json!({"unified": {"cgroup.max.depth": "7"}}).to_string(),
    )
    .expect("the file");
    let file = file.to_str().expect("UTF-8").to_owned();
    successor_survives(t, |_| {}, &["update", "--resources", &file, "ID"]);
}

/// A create waits for its hook. Its container is deleted by force, and the id is used again.
fn late_failure_of_create_leaves_the_successor_alone(t: &Sandbox) {
    let (reached, go) = (t.path("reached"), t.path("go"));
    let script = format!(
        ": >{}; until [ -e {} ]; do sleep 0.01; done",
        reached.display(),
        go.display()
    );
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin"]}]);
    let container = two_processes(t);
    let bundle = t.bundle().set("/hooks/createRuntime", hook).write();
    let first = Container::new(t, container.id.clone(), &bundle);
    let create = first.launch(t.runtime().arg("create"));
    t.eventually("the hook runs", || reached.exists());
    container.delete_force().ok();
    launch(&container);
    let pid = container.pid();
    fs::write(go, "").expect("the word to go on");
    create.finish().fails();
    is_untouched(&container, pid, 0);
}

fn late_end_of_run_leaves_the_successor_alone(t: &Sandbox) {
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo x >>{}", t.path("hooks").display())]}]);
    let container = two_processes(t);
    let bundle = t.bundle().set("/hooks/poststop", hook);
    let bundle = bundle.args(&["sleep", "1000"]).write();
    let first = Container::new(t, container.id.clone(), &bundle);
    let run = first.spawn_run(&[]);
    t.eventually("it runs", || {
        let state = container.verb("state");
        state.status.success() && state.json()["status"] == "running"
    });
    // The runtime must not end before the new container exists.
    run.signal(Signal::SIGSTOP);
    container.delete_force().ok();
    launch(&container);
    let pid = container.pid();
    run.signal(Signal::SIGCONT);
    run.finish().exits(128 + 9);
    is_untouched(&container, pid, 0);
    let hooks = fs::read_to_string(t.path("hooks")).expect("the hook ran");
    assert_eq!(hooks, "x\n", "once for one container");
}

/// Collects the output of `second` at each system call of a delete.
fn beside_a_delete(t: &Sandbox, second: impl Fn(&Container) -> Call, words: &[&str]) {
    let mut step = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.launch_ok();
        container.stop();
        let mut verb = Steps::begin(t.runtime().args(["delete", &container.id]));
        verb.pass(&container.id);
        if (0..step).any(|_| verb.advance().is_none()) {
            verb.finish().ok();
            break;
        }
        let mut second = second(&container).spawn();
        let ended = ends_or_waits(t, &mut second);
        let first = verb.finish();
        let second = second.finish();
        assert!(ended || first.status.success(), "step {step}\n{first}");
        for output in [first, second] {
            if !output.status.success() {
                let output = output.fails_with("does not exist");
                let wrong = output.stderr.contains("left from");
                assert!(!wrong, "step {step}\n{output}");
            } else if !output.stdout.is_empty() {
                let status = output.json()["status"].clone();
                assert!(words.iter().any(|word| status == *word), "{output}");
            }
        }
        container.delete_force().ok();
        step += 1;
    }
    assert!(step > 5, "only {step} steps");
}

fn second_delete_finds_no_container(t: &Sandbox) {
    beside_a_delete(
        t,
        |container| t.runtime().args(["delete", &container.id]),
        &[],
    );
}

fn state_during_a_delete_finds_a_container_or_none(t: &Sandbox) {
    let state = |container: &Container| t.runtime().args(["state", &container.id]);
    beside_a_delete(t, state, &["stopped"]);
}

fn list_skips_containers_deleted_meanwhile(t: &Sandbox) {
    let mut step = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        let pid = container.pid();
        let mut list = Steps::begin(t.runtime().args(["list", "-q"]));
        list.pass(t.root.to_str().expect("UTF-8"));
        let ended = (0..step).any(|_| list.advance().is_none());
        if !ended {
            container.delete_force().ok();
            reap(pid);
        }
        let output = list.finish().ok();
        assert_eq!(output.stderr, "", "step {step}\n{output}");
        if ended {
            break;
        }
        step += 1;
    }
    assert!(step > 10, "only {step} steps");
}
