//! create, start, run: their order, pid files and exit statuses.

use serde_json::json;

use crate::bundle::write_config;
use crate::container::reap;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    create_then_start,
    start_twice_is_refused,
    start_of_a_stopped_container_is_refused,
    start_of_a_missing_container_is_refused,
    run_returns_the_exit_status,
    run_returns_128_plus_the_signal,
    run_passes_stdin_and_stdout,
    run_detached_returns_at_once,
    run_keeps_a_container_on_request,
    run_leaves_nothing,
    pid_file_holds_digits_only,
    no_pid_file_after_a_failure,
    config_changed_after_create_has_no_effect,
    two_containers_of_one_bundle,
    bundle_defaults_to_the_working_directory,
    missing_program_fails_at_create,
    program_without_execute_permission_fails,
];

fn create_then_start(t: &Sandbox) {
    let container = t.bundle().shell("echo ran; sleep 1000").container();
    container.create().ok();
    assert_eq!(container.status(), "created");
    assert_eq!(
        container.stdout(),
        "",
        "the process must not run before start"
    );
    container.start().ok();
    assert_eq!(container.status(), "running");
    container.wait_stdout("ran");
    container.stop();
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
    container.verb("state").fails_with("does not exist");
}

fn start_twice_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let pid = container.pid();
    container.start().fails();
    assert_eq!(container.status(), "running");
    assert_eq!(
        container.pid(),
        pid,
        "the refused start must not touch the container"
    );
}

fn start_of_a_stopped_container_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["true"]).container();
    container.create().ok();
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    container.start().fails_with("stopped");
    assert_eq!(container.status(), "stopped");
}

fn start_of_a_missing_container_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    container.start().fails_with("does not exist");
}

fn run_returns_the_exit_status(t: &Sandbox) {
    t.bundle().shell("exit 0").container().run().exits(0);
    t.bundle().shell("exit 42").container().run().exits(42);
    t.bundle().shell("exit 255").container().run().exits(255);
}

fn run_returns_128_plus_the_signal(t: &Sandbox) {
    // Init ignores signals without a handler, so the signal comes from outside.
    let container = t.bundle().shell("echo ready; sleep 1000").container();
    let run = container.spawn_run(&[]);
    container.wait_stdout("ready");
    container.kill("KILL").ok();
    run.finish().exits(128 + 9);
}

fn run_passes_stdin_and_stdout(t: &Sandbox) {
    let container = t.bundle().shell("cat; echo to stderr >&2").container();
    let call = t.runtime().arg("run").stdin("over standard input");
    let output = container
        .launch(call)
        .finish()
        .ok()
        .prints("over standard input");
    assert_eq!(output.stderr, "to stderr\n");
}

fn run_detached_returns_at_once(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.run_with(&["--detach"]).ok();
    assert_eq!(container.status(), "running");
    container.stop();
    container.delete().ok();
}

fn run_keeps_a_container_on_request(t: &Sandbox) {
    let container = t.bundle().shell("exit 3").container();
    let output = container.run_with(&["--keep"]);
    if output.stderr.contains("not defined: -keep") {
        t.skip("the runtime has no run --keep");
    }
    output.exits(3);
    assert_eq!(container.status(), "stopped");
    container.run().fails_with("exist");
    container.delete().ok();
}

fn run_leaves_nothing(t: &Sandbox) {
    let container = t.bundle().container();
    container.run().ok();
    container.verb("state").fails_with("does not exist");
    let left = std::fs::read_dir(&t.root)
        .expect("the runtime's root")
        .count();
    assert_eq!(left, 0, "the runtime's root is not empty after run");
}

fn pid_file_holds_digits_only(t: &Sandbox) {
    let file = t.path("pid");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container
        .create_with(&["--pid-file", file.to_str().expect("UTF-8")])
        .ok();
    let text = std::fs::read_to_string(file).expect("the pid file");
    assert_eq!(
        text,
        container.pid().to_string(),
        "engines parse the file as it is"
    );
}

fn no_pid_file_after_a_failure(t: &Sandbox) {
    let file = t.path("pid");
    let container = t.bundle().args(&["/no/such/program"]).container();
    container
        .create_with(&["--pid-file", file.to_str().expect("UTF-8")])
        .fails();
    assert!(
        !file.exists(),
        "a pid file tells engines that create worked"
    );
}

fn config_changed_after_create_has_no_effect(t: &Sandbox) {
    let bundle = t.bundle().shell("echo first");
    let (path, mut config) = (bundle.path.clone(), bundle.config.clone());
    let container = bundle.container();
    container.create().ok();
    config["process"]["args"] = json!(["echo", "second"]);
    write_config(&path, &config);
    let pid = container.pid();
    container.start().ok();
    reap(pid);
    assert_eq!(container.stdout(), "first\n");
}

fn two_containers_of_one_bundle(t: &Sandbox) {
    let first = t.bundle().args(&["sleep", "1000"]).container();
    let second = first.sibling();
    first.launch_ok();
    second.launch_ok();
    assert_ne!(first.pid(), second.pid());
    first.delete_force().ok();
    assert_eq!(
        second.status(),
        "running",
        "deleting one must not touch the other"
    );
}

fn bundle_defaults_to_the_working_directory(t: &Sandbox) {
    let bundle = t.bundle().args(&["echo", "found"]).write();
    let call = t
        .runtime()
        .args(["run", &format!("{}-cwd", t.id)])
        .cwd(bundle);
    call.run().ok().prints("found");
}

fn missing_program_fails_at_create(t: &Sandbox) {
    let container = t.bundle().args(&["no-such-program"]).container();
    // Engines turn this text into exit status 127.
    container
        .create()
        .fails_with("executable file not found in");
    container.verb("state").fails_with("does not exist");
    let container = t.bundle().args(&["/no/such/program"]).container();
    container.create().fails_with("no such file or directory");
}

fn program_without_execute_permission_fails(t: &Sandbox) {
    let container = t
        .bundle()
        .file("/plain", "text")
        .args(&["/plain"])
        .container();
    // Engines turn this text into exit status 126.
    container.run().fails_with("permission denied");
}
