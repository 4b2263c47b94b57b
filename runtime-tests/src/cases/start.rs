//! `start`: the container after its client has ended, and the result of a `start` that another
//! process has overtaken.

use std::cell::Cell;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::call::Call;
use crate::container::{Container, reap};
use crate::host::{cgroup2_mount, waits_in};
use crate::steps::Steps;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_started_container_needs_no_client[Need::NotAPeer],
    a_second_start_during_the_first[Need::NotAPeer],
    start_of_a_container_that_is_killed_meanwhile[Need::NotAPeer],
    start_of_a_container_that_is_started_meanwhile[Need::NotAPeer],
    start_where_the_cgroup_cannot_be_seen_changes_nothing[Need::NotAPeer],
    a_damaged_config_is_named_before_the_program_runs[Need::NotAPeer],
];

/// A startContainer hook that waits for the file /go.
fn waiting_hook() -> Value {
    let script = ": >/reached; while [ ! -e /go ]; do sleep 0.01; done";
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}])
}

fn verb<'t>(t: &'t Sandbox, container: &Container<'t>, verb: &str) -> Call {
    t.runtime().args([verb, &container.id])
}

fn a_started_container_needs_no_client(t: &Sandbox) {
    for name in ["start", "run"] {
        let bundle = t.bundle().shell("echo ran; exec sleep 1000");
        let bundle = bundle.set("/hooks/startContainer", waiting_hook());
        let (reached, go) = (bundle.rootfs().join("reached"), bundle.rootfs().join("go"));
        let container = bundle.container();
        let client = if name == "start" {
            container.create().ok();
            verb(t, &container, "start").spawn()
        } else {
            container.spawn_run(&["--detach"])
        };
        t.eventually("the hook runs", || reached.exists());
        client.signal(Signal::SIGKILL);
        client.end();
        std::fs::write(&go, "").expect("let the hook end");
        container.wait_stdout("ran");
        assert_eq!(container.status(), "running", "{name}");
    }
}

/// Init serves one client.
fn a_second_start_during_the_first(t: &Sandbox) {
    let bundle = t.bundle().args(&["sleep", "1000"]);
    let bundle = bundle.set("/hooks/startContainer", waiting_hook());
    let (reached, go) = (bundle.rootfs().join("reached"), bundle.rootfs().join("go"));
    let container = bundle.container();
    container.create().ok();
    let first = verb(t, &container, "start").spawn();
    t.eventually("the hook runs", || reached.exists());
    let second = container.start();
    second.fails_with("cannot start an already running container");
    std::fs::write(&go, "").expect("let the hook end");
    first.finish().ok();
    assert_eq!(container.status(), "running");
}

/// Stops `start` at each system call after it has read the state, until it ends. `body` gets the
/// container and the stopped `start`.
fn at_each_step(t: &Sandbox, body: impl Fn(&Sandbox, &Container, Steps)) {
    let mut count = 0;
    loop {
        let container = t.bundle().args(&["sleep", "1000"]).container();
        container.create().ok();
        let mut start = Steps::begin(verb(t, &container, "start"));
        start.pass("state.json");
        if (0..count).any(|_| start.advance().is_none()) {
            start.finish().ok();
            break;
        }
        body(t, &container, start);
        container.delete_force().ok();
        count += 1;
    }
    assert!(count > 10, "only {count} steps");
}

/// Before init receives the message, start fails because the container has stopped. Afterwards init
/// may have executed the program before it was killed.
fn start_of_a_container_that_is_killed_meanwhile(t: &Sandbox) {
    let hints = Cell::new(0);
    at_each_step(t, |_, container, start| {
        let pid = container.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill init");
        reap(pid);
        let output = start.finish();
        if output.code() != 0 {
            let output = output.fails();
            let words = ["cannot start a container that has stopped", "init died"];
            let right = words.iter().any(|words| output.stderr.contains(words));
            assert!(right, "{output}");
            let hint = "it has stopped during this start: it was killed, out of memory";
            hints.set(hints.get() + u32::from(output.stderr.contains(hint)));
        }
    });
    assert!(hints.get() > 0, "a reason is said once start has looked");
}

/// Whichever comes first, one starts the container and the other reports that it is running.
fn start_of_a_container_that_is_started_meanwhile(t: &Sandbox) {
    at_each_step(t, |t, container, first| {
        let mut second = verb(t, container, "start").spawn();
        // While init waits for the message of the first, the second has to wait too.
        let pid = second.pid();
        t.eventually("the second start waits or ends", || {
            waits_in(pid, &[libc::SYS_recvmsg]) || !second.is_running()
        });
        let outputs = [first.finish(), second.finish()];
        let started = outputs.iter().filter(|output| output.code() == 0).count();
        assert_eq!(started, 1, "{}\n{}", outputs[0], outputs[1]);
        for output in outputs.into_iter().filter(|output| output.code() != 0) {
            output.fails_with("cannot start an already running container");
        }
        assert_eq!(container.status(), "running");
    });
}

/// Neither the program nor a hook runs, so that a later start is complete.
fn start_where_the_cgroup_cannot_be_seen_changes_nothing(t: &Sandbox) {
    let Some(hierarchy) = cgroup2_mount() else {
        t.skip("no cgroup v2 hierarchy is mounted");
    };
    let script = "umount -l \"$0\" && exec \"$@\"";
    let hierarchy = hierarchy.to_str().expect("UTF-8");
    let hook = |name: &str| json!([{"path": "/bin/touch", "args": ["touch", t.path(name)]}]);
    let bundle = t.bundle().set("/hooks/poststart", hook("started"));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    let start = verb(t, &container, "start");
    start
        .prefix(["unshare", "-m", "sh", "-c", script, hierarchy])
        .run()
        .fails_with("cannot be seen from here");
    assert_eq!(container.status(), "created");
    container.start().ok();
    assert!(t.path("started").exists());
}

fn a_damaged_config_is_named_before_the_program_runs(t: &Sandbox) {
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = t.bundle().set("/hooks/poststart", hook);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    let config = t.root.join(&container.id).join("config.json");
    let text = std::fs::read(&config).expect("the saved config");
    std::fs::write(&config, "{").expect("damage it");
    let path = config.to_str().expect("UTF-8");
    container.start().fails_with(path);
    assert_eq!(container.status(), "created");
    container.exec(&["true"]).fails_with(path);
    verb(t, &container, "update")
        .args(["--pids-limit", "9"])
        .run()
        .fails_with(path);
    std::fs::write(&config, text).expect("mend it");
    container.start().ok();
}
