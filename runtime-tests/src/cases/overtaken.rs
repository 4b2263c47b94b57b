//! The container is killed while a verb works, at each of its system calls. The verb reports that
//! the container has stopped, or succeeds if it was done before.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::call::Call;
use crate::container::{Container, reap};
use crate::steps::Steps;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    create_of_a_container_that_is_deleted_meanwhile[Need::NotAPeer],
    create_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    create_that_was_deleted_leaves_the_next_container_alone[Need::NotAPeer],
    create_without_its_state_makes_no_cgroup[Need::NotAPeer],
    create_that_is_deleted_at_each_step[Need::NotAPeer],
    state_of_a_container_that_is_deleted_meanwhile[Need::NotAPeer],
    create_whose_parent_cgroup_is_removed_makes_it_again[Need::NotAPeer],
    exec_in_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    pause_of_a_container_that_is_resumed_meanwhile[Need::NotAPeer],
    pause_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    resume_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    update_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    mounts_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    ps_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    list_does_not_warn_about_a_container_that_is_being_created[Need::NotAPeer],
    list_names_what_a_killed_create_has_left[Need::NotAPeer],
];

fn create_of_a_container_that_is_deleted_meanwhile(t: &Sandbox) {
    let (runtime, root) = (t.runtime.display(), t.root.display());
    let script = format!(
        r#"id=$(sed 's/.*"id":"\([^"]*\)".*/\1/'); exec {runtime} --root {root} delete --force "$id""#
    );
    let hook =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]);
    for moment in ["prestart", "createRuntime"] {
        let bundle = t.bundle().set(&format!("/hooks/{moment}"), hook.clone());
        let container = bundle.container();
        container
            .create()
            .fails_with("was deleted while it was created");
        container.verb("state").fails_with("does not exist");
    }
}

/// Others see the container shortly before its create has ended.
fn create_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    t.remember(&container.id);
    let call = t.runtime().args(["create", "--bundle"]);
    let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
    let is_created = || {
        container
            .verb("state")
            .stdout
            .contains(r#""status": "created""#)
    };
    while !is_created() {
        create.advance().expect("the create has not ended");
    }
    let init = container.pid();
    kill(Pid::from_raw(init), Signal::SIGKILL).expect("kill init");
    container.wait_status("stopped");
    // It counts as stopped when it begins to end. Its end of the connection is closed a little later.
    super::unseen::wait_for_zombie(t, init);
    let output = create.finish();
    output.fails_with("init died while it set the container up: killed by signal 9");
    container.verb("state").fails_with("does not exist");
}

/// The container is resumed before the pause has seen that it is frozen. The pause is the earlier of
/// the two then, and does not wait for a freezer that stays off.
fn pause_of_a_container_that_is_resumed_meanwhile(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let mut pause = Steps::begin(t.runtime().args(["pause", &container.id]));
    while container.status() != "paused" {
        pause.advance().expect("the pause has not ended");
    }
    container.verb("resume").ok();
    pause.finish().ok();
    assert_eq!(container.status(), "running");
}

/// Stops a verb at each system call after it has read the state, kills the container, and continues
/// the verb. The result must be a success or one of `words`.
fn at_each_step(
    t: &Sandbox,
    prepare: fn(&Container),
    call: impl Fn(&Container) -> Call,
    words: &[&str],
) {
    let mut count = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.launch_ok();
        prepare(&container);
        let mut verb = Steps::begin(call(&container));
        verb.pass("state.json");
        if (0..count).any(|_| verb.advance().is_none()) {
            verb.finish().ok();
            break;
        }
        let pid = container.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
        // The process is a zombie only after the verb has waited for what it started in the
        // container.
        container.wait_status("stopped");
        let output = verb.finish();
        reap(pid);
        // Exec returns 137 if its process was killed with the container.
        if ![0, 128 + 9].contains(&output.code()) {
            let output = output.fails();
            let right = words.iter().any(|words| output.stderr.contains(words));
            assert!(right, "step {count}\n{output}");
        }
        container.delete().ok();
        count += 1;
    }
    assert!(count > 5, "only {count} steps");
}

fn exec_in_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let call = |container: &Container| t.runtime().args(["exec", &container.id, "true"]);
    at_each_step(t, |_| {}, call, &["cannot exec in a stopped container"]);
}

fn pause_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let call = |container: &Container| t.runtime().args(["pause", &container.id]);
    at_each_step(t, |_| {}, call, &["container not running"]);
}

fn resume_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let call = |container: &Container| t.runtime().args(["resume", &container.id]);
    let pause = |container: &Container| drop(container.verb("pause").ok());
    at_each_step(t, pause, call, &["container not paused"]);
}

fn update_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let call = |container: &Container| t.runtime().args(["update", &container.id]);
    at_each_step(t, |_| {}, call, &["container not running"]);
}

fn mounts_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let list = t.path("mounts.json");
    let mount = json!([{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]);
    std::fs::write(&list, mount.to_string()).expect("the list");
    let call = |container: &Container| {
        let call = t.runtime().args(["mounts", "add", &container.id]);
        call.arg(&list)
    };
    at_each_step(t, |_| {}, call, &["container not running"]);
}

fn ps_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let call = |container: &Container| t.runtime().args(["ps", "-f", "json", &container.id]);
    at_each_step(t, |_| {}, call, &[]);
}

/// At each system call of the create, from the directory to the state.
fn list_does_not_warn_about_a_container_that_is_being_created(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    t.remember(&container.id);
    let call = t.runtime().args(["create", "--bundle"]);
    let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
    let directory = t.root.join(&container.id);
    let mut unlisted = 0;
    loop {
        create.advance().expect("the create has not ended");
        if !directory.exists() {
            continue;
        }
        let output = t.runtime().args(["list", "--quiet"]).run().ok();
        assert_eq!(output.stderr, "", "{unlisted} system calls later");
        if output.stdout.contains(&container.id) {
            break;
        }
        unlisted += 1;
    }
    create.finish().ok();
    assert!(unlisted > 5, "only {unlisted} steps");
}

fn list_names_what_a_killed_create_has_left(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    t.remember(&container.id);
    let call = t.runtime().args(["create", "--bundle"]);
    let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
    let directory = t.root.join(&container.id);
    let config = directory.join("config.json");
    while std::fs::metadata(&config).map_or(0, |config| config.len()) == 0 {
        create.advance().expect("the create has not ended");
    }
    create.kill();
    assert!(!directory.join("state.json").exists());
    let output = t.runtime().args(["list", "--quiet"]).run().ok();
    assert_eq!(output.stdout, "");
    assert!(
        output.stderr.contains("delete --force removes it"),
        "{output}"
    );
    container.delete_force().ok();
    let output = t.runtime().args(["list", "--quiet"]).run().ok();
    assert_eq!(output.stderr, "");
}

/// The next container with the id has a cgroup of the same name. A create that was deleted neither
/// makes that cgroup nor removes it.
fn create_that_was_deleted_leaves_the_next_container_alone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let cgroup = container.cgroup();
    container.delete_force().ok();
    assert!(!cgroup.exists());
    t.remember(&container.id);
    let call = t.runtime().args(["create", "--bundle"]);
    let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
    let lock = t.root.join(&container.id).join("init.lock");
    while !lock.exists() {
        create.advance().expect("the create has not ended");
    }
    container.delete_force().ok();
    while create.advance().is_some() {
        assert!(!cgroup.exists(), "a cgroup without a container");
    }
    create
        .finish()
        .fails_with("was deleted while it was created");
    container.launch_ok();
    assert_eq!(container.status(), "running");
}

/// A create that fails removes the parents of its cgroup that are not in use.
fn create_whose_parent_cgroup_is_removed_makes_it_again(t: &Sandbox) {
    let path = format!("/{}-parent/child", t.id);
    let bundle = t.bundle().set("/linux/cgroupsPath", json!(path));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    let (cgroup, parent) = (container.cgroup(), container.cgroup().join(".."));
    let parent = parent.canonicalize().expect("the parent");
    let remove = || std::fs::remove_dir(&parent).expect("remove the parent");
    container.delete_force().ok();
    remove();
    for more in 0..3 {
        let call = t.runtime().args(["create", "--bundle"]);
        let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
        while !parent.exists() {
            create.advance().expect("the create has not ended");
        }
        for _ in 0..more {
            create.advance().expect("the create has not ended");
        }
        assert!(!cgroup.exists());
        remove();
        create.finish().ok();
        assert_eq!(container.cgroup(), cgroup);
        container.delete_force().ok();
        remove();
    }
}

/// Whenever a create is deleted, the next container with the id is the only one.
fn create_that_is_deleted_at_each_step(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    t.remember(&container.id);
    let directory = t.root.join(&container.id);
    let mut count = 0;
    loop {
        let call = t.runtime().args(["create", "--bundle"]);
        let mut first = Steps::begin(call.arg(&container.bundle).arg(&container.id));
        while !directory.exists() {
            first.advance().expect("the create has not ended");
        }
        if (0..count).any(|_| first.advance().is_none()) {
            first.finish().ok();
            container.delete_force().ok();
            break;
        }
        // While the create holds the lock, a delete waits for it.
        if !is_locked(&directory) {
            container.delete_force().ok();
            assert!(!directory.exists());
            container.launch_ok();
            let output = first.finish();
            assert_eq!(container.status(), "running", "step {count}\n{output}");
        } else {
            first.finish().ok();
        }
        container.delete_force().ok();
        count += 1;
    }
    assert!(count > 50, "only {count} steps");
}

fn is_locked(directory: &std::path::Path) -> bool {
    use nix::fcntl::{Flock, FlockArg};
    let file = std::fs::File::open(directory).expect("open the directory");
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

/// A created container does not become one that is being created.
fn state_of_a_container_that_is_deleted_meanwhile(t: &Sandbox) {
    let mut count = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        let mut state = Steps::begin(t.runtime().args(["state", &container.id]));
        state.pass("state.json");
        if (0..count).any(|_| state.advance().is_none()) {
            state.finish().ok();
            container.delete_force().ok();
            break;
        }
        container.delete_force().ok();
        let output = state.finish();
        if output.status.success() {
            assert!(
                !output.stdout.contains("creating"),
                "step {count}\n{output}"
            )
        } else {
            drop(output.fails_with("does not exist"))
        }
        count += 1;
    }
    assert!(count > 5, "only {count} steps");
}

/// A delete that fails half-way removes the state first. The next one would not find the cgroup.
fn create_without_its_state_makes_no_cgroup(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let call = t.runtime().args(["create", "--bundle"]);
    let mut create = Steps::begin(call.arg(&container.bundle).arg(&container.id));
    let directory = t.root.join(&container.id);
    while !directory.join("state.json").exists() {
        create.advance().expect("the create has not ended");
    }
    std::fs::remove_file(directory.join("state.json")).expect("remove the state");
    let output = create.finish();
    output.fails_with("was deleted while it was created");
    assert!(!directory.exists());
}
