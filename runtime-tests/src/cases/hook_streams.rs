//! The output of hooks: separate from the output of the container and of the runtime, and part of
//! the error if a hook fails.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::caller::{self, Trait};
use crate::console::callers;
use crate::container::reap;
use crate::{Bundle, Container, Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    hooks_may_print_whatever_the_callers_streams_are[Need::NotAPeer],
    output_of_hooks_is_not_the_containers,
    failing_hook_is_reported_with_its_output[Need::NotAPeer],
    failing_start_hook_is_reported_beside_a_terminal[Need::NotAPeer],
    end_of_a_long_output_is_reported[Need::NotAPeer],
    output_cannot_forge_log_lines[Need::NotAPeer],
    process_that_a_hook_leaves_behind_is_not_waited_for[Need::NotAPeer],
    hook_with_endless_output_is_killed[Need::NotAPeer],
    killed_hook_is_reported_with_its_output[Need::NotAPeer],
    start_container_hook_has_the_home_of_the_process,
    a_fifo_gets_the_output_and_needs_a_reader[Need::NotAPeer],
];

const MOMENTS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// A hook at each of these moments.
fn with<'t>(bundle: Bundle<'t>, moments: &[&str], hook: &Value) -> Bundle<'t> {
    moments.iter().fold(bundle, |bundle, moment| {
        bundle.set(&format!("/hooks/{moment}"), json!([hook]))
    })
}

/// Creates, starts and deletes the container as far as possible. Returns the output of all verbs.
#[track_caller]
fn live(container: &Container) -> String {
    let printed = |output: Output| output.stdout + &output.stderr;
    let created = container.create();
    if !created.status.success() {
        return printed(created);
    }
    let pid = container.pid();
    let started = container.start();
    let mut all = printed(created);
    if started.status.success() {
        container.kill("KILL").ok();
        reap(pid);
    }
    all += &printed(started);
    all + &printed(container.delete_force().ok())
}

fn hooks_may_print_whatever_the_callers_streams_are(t: &Sandbox) {
    let hook = shell("set -e; echo out; echo err >&2; exit 0");
    for streams in [Trait::StreamsReadonly, Trait::StreamsClosed] {
        let bundle = with(t.bundle(), &MOMENTS, &hook);
        let container = bundle.args(&["sleep", "1000"]).container();
        let runtime = || t.runtime().prefix(caller::with(&[streams]));
        container.launch(runtime().arg("create")).finish().ok();
        let pid = container.pid();
        runtime().args(["start", &container.id]).run().ok();
        container.kill("KILL").ok();
        reap(pid);
        runtime().args(["delete", &container.id]).run().ok();
        let run = with(t.bundle(), &MOMENTS, &hook).container();
        run.launch(runtime().arg("run")).finish().ok();
    }
}

fn output_of_hooks_is_not_the_containers(t: &Sandbox) {
    let hook = shell("echo out of a hook; echo err of a hook >&2");
    let container = with(t.bundle(), &MOMENTS, &hook)
        .args(&["echo", "mine"])
        .container();
    let output = container.run().ok().prints("mine");
    assert_eq!(output.stderr, "");
}

fn failing_hook_is_reported_with_its_output(t: &Sandbox) {
    let hook = shell("echo; echo '  first'; echo 'last words  ' >&2; echo; exit 3");
    for moment in MOMENTS {
        let bundle = with(t.bundle(), &[moment], &hook);
        let container = bundle.args(&["sleep", "1000"]).container();
        let printed = live(&container);
        let end = "exit status 3: first\\nlast words\"";
        // In a JSON log line, a backslash is escaped.
        let found = printed.replace("\\\\", "\\");
        assert!(found.trim_end().ends_with(end), "{moment}: {printed}");
        assert!(printed.contains(moment), "{printed}");
    }
}

fn failing_start_hook_is_reported_beside_a_terminal(t: &Sandbox) {
    let hook = shell("test -t 1 && echo on a terminal; echo last words; exit 3");
    let bundle = with(t.bundle(), &["startContainer"], &hook);
    let container = bundle.set("/process/terminal", json!(true)).container();
    let (mut master, slave) = callers();
    let log = t.path("log");
    let call = t.runtime().arg("--log").arg(&log).arg("run");
    container.launch(call.terminal(slave)).finish().exits(1);
    let log = fs::read_to_string(log).expect("the log");
    assert!(
        log.trim_end().ends_with("exit status 3: last words\""),
        "{log}"
    );
    master.read();
    let shown = &master.seen;
    assert_eq!(shown.matches("last words").count(), 1, "{shown}");
}

fn end_of_a_long_output_is_reported(t: &Sandbox) {
    let script =
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo the end; exit 3";
    for moment in ["createRuntime", "createContainer"] {
        let container = with(t.bundle(), &[moment], &shell(script)).container();
        let printed = live(&container);
        assert!(printed.trim_end().ends_with("\\nthe end\""), "{printed}");
        assert!(printed.contains("exit status 3: …"), "{printed}");
        assert!(printed.len() < 10_000, "{} bytes", printed.len());
    }
}

fn output_cannot_forge_log_lines(t: &Sandbox) {
    let script = "printf '\\033[2Jone\\ntime=now level=error msg=\"two\"\\377\\n'; exit 3";
    let container = with(t.bundle(), &["createRuntime"], &shell(script)).container();
    let output = container.create().fails();
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(!output.stderr.contains('\u{1b}'), "{output}");
    assert!(output.stderr.contains('\u{fffd}'), "{output}");
}

/// Ends the process whose pid is in this file.
fn end(file: &Path) {
    let pid = fs::read_to_string(file).expect("the hook ran");
    let pid = pid.trim().parse().expect("a pid");
    // The process may be gone, because its streams are.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    crate::container::reap_ended();
}

fn process_that_a_hook_leaves_behind_is_not_waited_for(t: &Sandbox) {
    let file = t.path("left");
    for (left, status) in [("sleep 1000", 0), ("sleep 1000", 3), ("yes", 0), ("yes", 3)] {
        let script = format!("{left} & echo $! >{}; exit {status}", file.display());
        let container = with(t.bundle(), &["createRuntime"], &shell(&script)).container();
        let output = container.create();
        end(&file);
        assert_eq!(output.code(), i32::from(status != 0), "{output}");
        container.delete_force();
    }
}

fn hook_with_endless_output_is_killed(t: &Sandbox) {
    let mut hook = shell("exec yes");
    hook["timeout"] = json!(1);
    for moment in ["createRuntime", "createContainer"] {
        let container = with(t.bundle(), &[moment], &hook).container();
        container.create().fails_with("timed out");
        container.verb("state").fails_with("does not exist");
    }
}

fn killed_hook_is_reported_with_its_output(t: &Sandbox) {
    let mut hook = shell("echo half done; exec sleep 1000");
    hook["timeout"] = json!(1);
    for moment in ["createRuntime", "createContainer"] {
        let container = with(t.bundle(), &[moment], &hook).container();
        container.create().fails_with("killed: half done");
    }
}

fn start_container_hook_has_the_home_of_the_process(t: &Sandbox) {
    let mut hook = shell("echo $HOME >/home-of-the-hook; echo $A >>/home-of-the-hook");
    hook.as_object_mut().expect("a hook").remove("env");
    for (env, home) in [
        ("B=1", "/root"),
        ("HOME=/mine", "/mine"),
        ("HOME=", "/root"),
    ] {
        let bundle = with(t.bundle(), &["startContainer"], &hook);
        let bundle = bundle
            .push("/process/env", json!(env))
            .push("/process/env", json!("A=config"));
        let container = bundle.container();
        container.run().ok();
        let written = fs::read_to_string(container.bundle.join("rootfs/home-of-the-hook"));
        assert_eq!(
            written.expect("the hook ran"),
            format!("{home}\nconfig\n"),
            "{env}"
        );
    }
}

fn a_fifo_gets_the_output_and_needs_a_reader(t: &Sandbox) {
    let file = t.path("fifo");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    for moment in ["createRuntime", "createContainer", "startContainer"] {
        let bundle = t
            .bundle()
            .set("/annotations", json!({"run.oci.hooks.stdout": file}));
        let container = with(bundle, &[moment], &shell("echo said")).container();
        let output = container
            .create()
            .fails_with("no process has the FIFO open for reading");
        output.fails_with("run.oci.hooks.stdout");
        container.verb("state").fails_with("does not exist");
        let mut options = fs::File::options();
        let options = options.read(true).custom_flags(libc::O_NONBLOCK);
        let mut reader = options.open(&file).expect("the reader");
        container.create().ok();
        container.start().ok();
        let mut text = String::new();
        t.eventually("the hook's output", || {
            let _ = reader.read_to_string(&mut text);
            text == "said\n"
        });
        container.delete_force().ok();
    }
}
