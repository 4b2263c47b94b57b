//! What other processes see of the runtime's command line and environment.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::cve_process::in_user_namespace;
use super::own_mount::OTHER_MAPPINGS;
use crate::call::{Call, Running};
use crate::{Bundle, Need, Sandbox, Test, strace, tests};

pub const TESTS: &[Test] = tests![
    init_that_waits_shows_only_the_name[Need::NotAPeer, OTHER_MAPPINGS],
    process_of_run_shows_only_the_name[Need::NotAPeer, Need::Program("strace"), OTHER_MAPPINGS],
    process_of_exec_shows_only_the_name[Need::NotAPeer, Need::Program("strace"), OTHER_MAPPINGS],
    runtime_whose_kernel_refuses_shows_everything[Need::NotAPeer, Need::Program("strace")],
];

/// A value on the command line and in the environment of the runtime.
const SECRET: &str = "hunter2";

/// /proc/PID/cmdline and /proc/PID/environ.
fn shown(pid: Pid) -> (String, String) {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("a file of /proc");
    let text = |name: &str| String::from_utf8(read(name)).expect("UTF-8");
    (text("cmdline"), text("environ"))
}

/// The name of the runtime alone.
fn only_name(t: &Sandbox) -> (String, String) {
    (format!("{}\0", t.runtime.display()), String::new())
}

fn parent(pid: Pid) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Pid::from_raw(line.and_then(|it| it.trim().parse().ok()).expect("a pid"))
}

fn bundle(t: &Sandbox) -> Bundle<'_> {
    let user = json!({"uid": 1000, "gid": 1000});
    t.bundle()
        .set("/process/user", user)
        .args(&["sleep", "1000"])
}

fn init_that_waits_shows_only_the_name(t: &Sandbox) {
    let container = bundle(t).container();
    let call = t.runtime().arg("create").env("SECRET", SECRET);
    container.launch(call).finish().ok();
    assert_eq!(shown(Pid::from_raw(container.pid())), only_name(t));
}

/// Looks at the process, which is stopped before it executes its program, and at the runtime.
#[track_caller]
fn stopped_shows_only_the_name(t: &Sandbox, verb: &str, running: Running) {
    let process = t.stopped();
    assert_eq!(shown(process), only_name(t), "{verb}");
    // The process can be here before clone3(2) returns in the runtime.
    let runtime = parent(process);
    t.eventually("the runtime shows its command line and environment", || {
        let (line, environment) = shown(runtime);
        line.contains(&format!("\0{verb}\0")) && environment.contains(SECRET)
    });
    kill(process, Signal::SIGCONT).expect("the process goes on");
    running.finish().ok();
}

/// The process stops when it becomes the user.
fn stopping(t: &Sandbox, verb: &str) -> Call {
    let call = t.runtime().arg(verb).env("SECRET", SECRET);
    call.stopping("setresuid", None)
}

fn process_of_run_shows_only_the_name(t: &Sandbox) {
    for bundle in [bundle(t), in_user_namespace(bundle(t))] {
        let container = bundle.args(&["true"]).container();
        let running = container.launch(stopping(t, "run"));
        stopped_shows_only_the_name(t, "run", running);
    }
}

fn process_of_exec_shows_only_the_name(t: &Sandbox) {
    for bundle in [bundle(t), in_user_namespace(bundle(t))] {
        let container = bundle.container();
        container.launch_ok();
        let value = format!("DB_PASSWORD={SECRET}");
        let call = stopping(t, "exec").args(["--env", &value, &container.id, "true"]);
        stopped_shows_only_the_name(t, "exec", call.spawn());
    }
}

/// The number of prctl(2) calls of `create` up to the one that shortens its command line, which is
/// the second with PR_SET_MM. The first is for its file.
fn shortening(t: &Sandbox) -> usize {
    let file = t.path("trace");
    let options = ["-o", file.to_str().expect("UTF-8"), "-e", "trace=prctl"];
    let call = t.runtime().arg("create").prefix(strace(&options));
    bundle(t).container().launch(call).finish().ok();
    let trace = fs::read_to_string(&file).expect("the trace");
    let mut calls = trace.lines().enumerate();
    let mut others = calls
        .by_ref()
        .filter(|(_, line)| line.contains("PR_SET_MM"));
    others.nth(1).expect("the call").0 + 1
}

fn runtime_whose_kernel_refuses_shows_everything(t: &Sandbox) {
    let inject = format!("inject=prctl:error=EINVAL:when={}", shortening(t));
    let call = t.runtime().arg("create");
    let call = call.prefix(strace(&["-e", "trace=prctl", "-e", &inject]));
    let container = bundle(t).container();
    container.launch(call).finish().ok();
    let (line, _) = shown(Pid::from_raw(container.pid()));
    assert!(line.contains("\0create\0"), "{line}");
    container.start().ok();
}
