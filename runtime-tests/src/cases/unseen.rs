//! A file that cannot be read does not count as missing: the verb changes nothing and reports the
//! file.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::call::Output;
use crate::container::{Container, reap};
use crate::steps::Steps;
use crate::{Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    an_unreadable_process_is_not_gone[Need::NotAPeer, Need::Program("strace")],
    an_unreadable_lock_or_cgroup_is_reported[Need::NotAPeer, Need::Program("strace")],
    an_unreadable_host_is_reported[Need::NotAPeer, Need::Program("strace")],
    a_created_container_that_ends_never_runs[Need::NotAPeer],
    a_process_lives_as_long_as_its_last_thread,
    an_unreadable_state_is_not_a_leftover[Need::NotAPeer, Need::Program("strace")],
    a_broken_state_leaves_no_process[Need::NotAPeer],
    kill_of_all_reaches_an_init_outside_its_cgroup[Need::NotAPeer],
    kill_of_all_reaches_an_init_without_its_cgroup[Need::NotAPeer],
];

/// Errors of open(2) for a file that exists.
const ERRORS: [&str; 4] = ["EMFILE", "EIO", "ENOMEM", "EACCES"];

fn denied(t: &Sandbox, file: &Path, error: &str, words: &[&str]) -> Output {
    t.runtime().args(words).denied(file, error).run()
}

/// Verbs that need the status, and that would harm a container if they believed that it has
/// stopped.
fn verbs(id: &str) -> [Vec<&str>; 6] {
    [
        vec!["state", id],
        vec!["delete", id],
        vec!["delete", "--force", id],
        vec!["kill", id, "TERM"],
        vec!["start", id],
        vec!["exec", id, "true"],
    ]
}

fn an_unreadable_process_is_not_gone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let stat = format!("/proc/{}/stat", container.pid());
    for error in ERRORS {
        for words in verbs(&container.id) {
            denied(t, stat.as_ref(), error, &words).fails_with(&stat);
            assert_eq!(container.status(), "running", "{words:?} {error}");
        }
    }
}

fn an_unreadable_lock_or_cgroup_is_reported(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let lock = t.root.join(&container.id).join("init.lock");
    let events = container.cgroup().join("cgroup.events");
    for file in [&lock, &events] {
        for error in ERRORS {
            for words in verbs(&container.id) {
                // These files do not matter to `delete --force`, and the freezer does not matter to
                // a signal.
                if words.contains(&"--force") || (words.contains(&"kill") && *file == events) {
                    continue;
                }
                let output = denied(t, file, error, &words);
                output.fails_with(file.to_str().expect("UTF-8"));
                assert_eq!(container.status(), "running", "{words:?} {error}");
            }
        }
    }
}

/// Otherwise a container would have no limits without its cgroup, and no confinement without its
/// profile.
fn an_unreadable_host_is_reported(t: &Sandbox) {
    let container = t.bundle().container();
    let strace = strace(&["-e", "inject=statfs:error=EIO"]);
    let create = container.launch(t.runtime().arg("create").prefix(strace));
    create.finish().fails_with("/sys/fs/cgroup: statfs");
    let bundle = t
        .bundle()
        .set("/process/apparmorProfile", json!("unconfined"));
    let container = bundle.container();
    let file = Path::new("/sys/module/apparmor/parameters/enabled");
    let create = container.launch(t.runtime().arg("create").denied(file, "EIO"));
    create.finish().fails_with(file.to_str().expect("UTF-8"));
    container.verb("state").fails_with("does not exist");
}

/// An init that ends releases its lock before it becomes a zombie.
fn a_created_container_that_ends_never_runs(t: &Sandbox) {
    let mut count = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        let pid = container.pid();
        let mut state = Steps::begin(t.runtime().args(["state", &container.id]));
        if (0..count).any(|_| state.advance().is_none()) {
            state.finish().ok();
            break;
        }
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
        wait_for_zombie(t, pid);
        let status = state.finish().ok().json()["status"].clone();
        assert!(status == "created" || status == "stopped", "{status}");
        delete(&container, pid);
        count += 1;
    }
    assert!(count > 10, "only {count} steps");
}

pub(super) fn wait_for_zombie(t: &Sandbox, pid: i32) {
    t.eventually("init has ended", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    });
}

fn delete(container: &Container, pid: i32) {
    reap(pid);
    container.delete().ok();
}

/// The first thread is then a zombie, and /proc reports the process as one.
fn a_process_lives_as_long_as_its_last_thread(t: &Sandbox) {
    let container = t.bundle().probe(&["first-thread-ends"]).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    wait_for_zombie(t, pid);
    assert_eq!(container.status(), "running");
    container.delete().fails_with("not stopped");
    assert_eq!(container.status(), "running");
}

fn an_unreadable_state_is_not_a_leftover(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let directory = t.root.join(&container.id);
    for file in [directory.join("state.json"), directory] {
        for error in ERRORS {
            for words in verbs(&container.id) {
                let output = denied(t, &file, error, &words);
                output.fails_with(file.to_str().expect("UTF-8"));
                assert_eq!(container.status(), "running", "{words:?} {error}");
            }
        }
    }
}

/// The cgroup is at the path in the saved config.
fn a_broken_state_leaves_no_process(t: &Sandbox) {
    let broken = ["", "{", "{\"id\": 7}", "\u{0}\u{0}\u{0}"];
    for (number, broken) in broken.into_iter().enumerate() {
        let mut bundle = t.bundle().args(&["sleep", "1000"]);
        if number % 2 == 0 {
            let path = format!("/broken-{}/deep", std::process::id());
            bundle = bundle.set("/linux/cgroupsPath", json!(path));
        }
        let script = format!(": >{}", t.path(&format!("hook{number}")).display());
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        let container = bundle.set("/hooks/poststop", hook).container();
        container.launch_ok();
        let (pid, cgroup) = (container.pid(), container.cgroup());
        let file = t.root.join(&container.id).join("state.json");
        std::fs::write(&file, broken).expect("the state");
        container.delete().fails_with("delete --force");
        container.delete_force().ok();
        assert_eq!(reap(pid), 128 + 9);
        assert!(!cgroup.exists() && t.path(&format!("hook{number}")).exists());
        if number % 2 == 0 {
            std::fs::remove_dir(cgroup.parent().expect("a parent")).expect("rmdir");
        }
        container.verb("state").fails_with("does not exist");
    }
}

/// Moves init to the cgroup above its own.
fn move_up(container: &Container) -> std::path::PathBuf {
    let cgroup = container.cgroup();
    let above = cgroup.parent().expect("a parent").join("cgroup.procs");
    std::fs::write(above, container.pid().to_string()).expect("move init");
    cgroup
}

fn kill_of_all_reaches_an_init_outside_its_cgroup(t: &Sandbox) {
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done";
    for (signal, status) in [("KILL", 128 + 9), ("USR1", 7)] {
        let container = t.bundle().shell(script).container();
        container.launch_ok();
        container.wait_stdout("ready");
        let pid = container.pid();
        move_up(&container);
        let call = t.runtime().args(["kill", "--all", &container.id, signal]);
        call.run().ok();
        assert_eq!(reap(pid), status);
        container.delete().ok();
    }
}

fn kill_of_all_reaches_an_init_without_its_cgroup(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let pid = container.pid();
    std::fs::remove_dir(move_up(&container)).expect("rmdir");
    let kill = |signal| t.runtime().args(["kill", "--all", &container.id, signal]);
    // There may be other processes that cannot be found.
    kill("CONT").run().fails_with("cgroup");
    assert_eq!(container.status(), "running");
    kill("KILL").run().ok();
    assert_eq!(reap(pid), 128 + 9);
    kill("KILL").run().ok();
    container.delete().ok();
}
