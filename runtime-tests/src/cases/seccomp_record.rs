//! `--seccomp-record`: a profile of the calls that a container makes.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::seccomp::rules;
use crate::bundle::Bundle;
use crate::container::reap;
use crate::host::waits_in;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_recording_is_a_profile_that_suffices[Need::NotAPeer],
    a_recording_allows_what_a_pause_needs[Need::NotAPeer],
    a_recording_by_annotation_outlives_create_and_start[Need::NotAPeer],
    a_recording_has_the_calls_of_exec[Need::NotAPeer],
    a_recording_replaces_nothing[Need::NotAPeer],
    a_recording_that_fails_is_reported_and_removed[Need::NotAPeer],
    a_recorder_that_is_killed_is_reported[Need::NotAPeer],
    a_recorder_that_is_killed_leaves_nothing[Need::NotAPeer],
];

/// Without `wait`: whether a shell's wait builtin sleeps in a call of its own depends on which of the
/// two processes is faster.
const WORK: &str = "mkdir /tmp/a && echo x >/tmp/a/b && ls /tmp/a | wc -l; ln -s b /tmp/a/c; \
    cat /tmp/a/c; (true; true); kill -0 $$ && echo alive";

fn recorded(file: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(file).expect("the recording");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn names(profile: &Value) -> Vec<&str> {
    let names = profile["syscalls"][0]["names"].as_array().expect("names");
    names.iter().filter_map(Value::as_str).collect()
}

/// The profile must also allow what init calls after it has loaded the filter.
fn a_recording_is_a_profile_that_suffices(t: &Sandbox) {
    for (number, no_new_privileges) in [true, false].into_iter().enumerate() {
        let file = t.path(&format!("profile{number}"));
        let bundle = t
            .bundle()
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        let container = bundle.shell(WORK).container();
        let call = t.runtime().args(["run", "--seccomp-record"]).arg(&file);
        let output = container.launch(call).finish().ok();
        assert_eq!(output.stdout, "1\nx\nalive\n", "{output}");
        let profile = recorded(&file);
        let names = names(&profile);
        for expected in ["execve", "symlink", "write", "exit_group"] {
            assert!(names.contains(&expected), "{expected}: {names:?}");
        }
        assert_eq!(names.contains(&"capset"), !no_new_privileges, "{names:?}");
        assert!(!names.contains(&"mount"), "{names:?}");
        let bundle = t
            .bundle()
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/linux/seccomp", profile.clone());
        let output = bundle.shell(WORK).container().run().ok();
        assert_eq!(output.stdout, "1\nx\nalive\n", "{output}");
        let bundle = t.bundle().set("/linux/seccomp", profile);
        let container = bundle.shell("rm -r /tmp && echo removed; true").container();
        let output = container.run().ok();
        assert!(!output.stdout.contains("removed"), "{output}");
    }
}

/// A pause interrupts the call that a process sleeps in, and the kernel has it call
/// restart_syscall(2), which no recording without a pause has seen.
fn a_recording_allows_what_a_pause_needs(t: &Sandbox) {
    let file = t.path("profile");
    let container = t.bundle().args(&["sleep", "0.01"]).container();
    let call = t.runtime().args(["run", "--seccomp-record"]).arg(&file);
    container.launch(call).finish().ok();
    let bundle = t.bundle().set("/linux/seccomp", recorded(&file));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    container.start().ok();
    let init = container.pid();
    t.eventually("the program sleeps", || {
        waits_in(init, &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep])
    });
    container.verb("pause").ok();
    container.verb("resume").ok();
    t.eventually("the program sleeps on", || {
        waits_in(init, &[libc::SYS_restart_syscall])
    });
}

fn a_recording_by_annotation_outlives_create_and_start(t: &Sandbox) {
    let file = t.path("profile");
    let bundle = t
        .bundle()
        .set("/annotations", json!({"sampan.seccomp.record": file}));
    let container = bundle.shell("echo ready; sleep 1000").container();
    container.create().ok();
    container.start().ok();
    container.wait_stdout("ready");
    assert!(!file.exists(), "it is written when the last process ends");
    container.stop();
    t.eventually("the recording is written", || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with("}\n"))
    });
    assert!(names(&recorded(&file)).contains(&"execve"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("it").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// The process that records answers for several processes at once, whichever ends first.
fn a_recording_has_the_calls_of_exec(t: &Sandbox) {
    for by_annotation in [true, false] {
        let file = t.path(if by_annotation { "create" } else { "run" });
        let mut bundle = t.bundle();
        if by_annotation {
            bundle = bundle.set("/annotations", json!({"sampan.seccomp.record": file}));
        }
        let container = bundle.shell("echo ready; sleep 1000").container();
        if by_annotation {
            container.create().ok();
            let output = container.exec(&["true"]).ok();
            let words = "this process is not recorded";
            assert!(output.stderr.contains(words), "{output}");
            container.start().ok();
        } else {
            let call = t.runtime().args(["run", "--detach", "--seccomp-record"]);
            container.launch(call.arg(&file)).finish().ok();
        }
        container.wait_stdout("ready");
        let pid_file = t.path("pid");
        let flags = ["--detach", "--pid-file", pid_file.to_str().expect("UTF-8")];
        let waits = "ulimit -n 99; until [ -h /tmp/b ]; do sleep 0.1; done";
        container.exec_with(&flags, &["sh", "-c", waits]).ok();
        let links = ["sh", "-c", "ln -s a /tmp/b; echo linked"];
        let output = container.exec(&links).ok();
        assert_eq!((&*output.stdout, &*output.stderr), ("linked\n", ""));
        let pid = std::fs::read_to_string(&pid_file).expect("the pid file");
        assert_eq!(reap(pid.parse().expect("digits only")), 0);
        assert!(!file.exists(), "it is written when the last process ends");
        container.stop();
        t.eventually("the recording is written", || {
            std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with("}\n"))
        });
        let profile = recorded(&file);
        for expected in ["symlink", "prlimit64"] {
            assert!(names(&profile).contains(&expected), "{profile}");
        }
    }
}

/// Nothing is left of a container that cannot be recorded, and nothing is overwritten.
fn a_recording_replaces_nothing(t: &Sandbox) {
    let run = |bundle: Bundle, file: &std::path::Path| {
        let call = t.runtime().args(["run", "--seccomp-record"]).arg(file);
        bundle
            .args(&["true"])
            .container()
            .launch(call)
            .finish()
            .fails()
    };
    let (target, link) = (t.path("target"), t.path("link"));
    std::fs::write(&target, "kept").expect("a file");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    for file in [&target, &link] {
        let output = run(t.bundle(), file);
        assert!(output.stderr.contains("--seccomp-record: /"), "{output}");
        assert!(output.stderr.contains("exists"), "{output}");
    }
    assert_eq!(std::fs::read_to_string(&target).expect("the file"), "kept");
    let dangling = t.path("dangling");
    std::os::unix::fs::symlink(t.path("nowhere"), &dangling).expect("a link");
    run(t.bundle(), &dangling);
    assert!(!t.path("nowhere").exists());
    let output = run(rules(t, json!([])), &t.path("new"));
    assert!(
        output
            .stderr
            .contains("linux.seccomp: system calls cannot be recorded"),
        "{output}"
    );
    let annotation = json!({"sampan.seccomp.record": "relative"});
    let bundle = t.bundle().set("/annotations", annotation);
    bundle
        .container()
        .create()
        .fails_with("is not an absolute path");
    assert!(!t.path("new").exists());
}

fn a_recording_that_fails_is_reported_and_removed(t: &Sandbox) {
    crate::mount_info::leave_host();
    let directory = t.path("full");
    std::fs::create_dir(&directory).expect("mkdir");
    nix::mount::mount(
        Some("tmpfs"),
        &directory,
        Some("tmpfs"),
        nix::mount::MsFlags::empty(),
        Some("size=4k"),
    )
    .expect("a small file system");
    std::fs::write(directory.join("other"), [0; 4096]).expect("fill it");
    let file = directory.join("profile");
    let container = t.bundle().args(&["true"]).container();
    let call = t.runtime().args(["run", "--seccomp-record"]).arg(&file);
    let output = container
        .launch(call)
        .finish()
        .fails_with("--seccomp-record");
    output.fails_with("write: no space left on device");
    assert!(!file.exists());
}

/// Kills the processes of the runtime that `parent` has, which are its children but not `init`.
fn kill_recorder(parent: i32, init: i32) {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.expect("the children of the runtime");
    let pids = children
        .split_whitespace()
        .map(|pid| pid.parse().expect("a pid"));
    for pid in pids.filter(|&pid| pid != init) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill");
    }
}

fn a_recorder_that_is_killed_is_reported(t: &Sandbox) {
    let file = t.path("profile");
    let container = t.bundle().shell("echo ready; sleep 1000").container();
    let call = t.runtime().args(["run", "--seccomp-record"]).arg(&file);
    let running = container.launch(call);
    container.wait_stdout("ready");
    kill_recorder(running.pid(), container.pid());
    container.kill("KILL").ok();
    running
        .finish()
        .fails_with("the process that records was killed");
    assert!(!file.exists());
}

/// Nobody waits for the recorder of a container in the background, which is a child of the case then.
fn a_recorder_that_is_killed_leaves_nothing(t: &Sandbox) {
    let file = t.path("profile");
    let container = t.bundle().shell("echo ready; sleep 1000").container();
    let call = t.runtime().args(["run", "--detach", "--seccomp-record"]);
    container.launch(call.arg(&file)).finish().ok();
    container.wait_stdout("ready");
    assert!(!file.exists(), "the profile is not complete");
    kill_recorder(std::process::id() as i32, container.pid());
    container.delete_force().ok();
    assert!(!file.exists());
}
