//! `wait`: the end of a container, and its reason, for a caller that is not its parent.

use std::fs;

use serde_json::{Value, json};

use crate::container::{reap, reap_ended};
use crate::host::kernel;
use crate::{Container, Need, Running, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_zombie_has_a_status[Need::NotAPeer],
    a_status_outlives_the_reaping[Need::NotAPeer],
    a_container_that_was_reaped_before_has_no_status[Need::NotAPeer],
    a_created_container_is_waited_for[Need::NotAPeer],
    a_container_that_never_started_says_so[Need::NotAPeer],
    a_signal_has_its_name[Need::NotAPeer],
    a_paused_container_is_waited_for[Need::NotAPeer],
    a_delete_is_told[Need::NotAPeer],
    a_kill_by_seccomp_is_told[Need::NotAPeer],
    a_sigsys_from_elsewhere_is_not_seccomp[Need::NotAPeer],
    a_kill_for_lack_of_memory_is_told[Need::NotAPeer, Need::Controller("memory")],
    a_limit_of_a_parent_is_told[Need::NotAPeer, Need::Controller("memory")],
    a_kill_with_enough_memory_is_from_elsewhere[Need::NotAPeer, Need::Controller("memory")],
    run_says_why_a_process_was_killed[Need::NotAPeer],
    run_says_that_memory_was_short[Need::NotAPeer, Need::Controller("memory")],
    run_logs_the_reason_and_keeps_stderr_clean[Need::NotAPeer],
    run_is_silent_about_other_ends[Need::NotAPeer],
    unknown_ids_are_refused[Need::NotAPeer],
];

const MIB: i64 = 1024 * 1024;
/// Fills a shell variable with 64 MiB.
const EAT: &str = "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo ${#x}";

/// `wait`, which has begun: it holds a pidfd, and an end from now on does not escape it.
fn waiting(t: &Sandbox, container: &Container) -> Running {
    let wait = t.runtime().args(["wait", "--json", &container.id]).spawn();
    let holds_a_pidfd = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", wait.pid()));
        let mut links = descriptors.into_iter().flatten().flatten();
        links.any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("pidfd"))
        })
    };
    t.eventually("wait holds a pidfd", holds_a_pidfd);
    wait
}

/// The pid of init, from the state file: `state` has none after its end.
fn init(t: &Sandbox, container: &Container) -> i32 {
    let file = t.root.join(&container.id).join("state.json");
    let text = fs::read(file).expect("the state");
    let state: Value = serde_json::from_slice(&text).expect("JSON");
    state["pid"].as_i64().expect("a pid") as i32
}

/// The members of the JSON object that are the same on every host.
fn told(object: &Value) -> Value {
    json!([
        object["reason"],
        object["status"],
        object["exitCode"],
        object["signal"]
    ])
}

fn a_zombie_has_a_status(t: &Sandbox) {
    let container = t.bundle().shell("exit 7").container();
    container.launch_ok();
    let text = format!("container {} exited with status 7", container.id);
    container.verb("wait").exits(7).prints(&text);
    container.wait_status("stopped");
    container.verb("wait").exits(7).prints(&text);
    assert_eq!(reap(init(t, &container)), 7);
}

fn a_status_outlives_the_reaping(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let wait = waiting(t, &container);
    // Reaped at once: whether wait sees the zombie before is left to the scheduler.
    container.stop();
    let output = wait.finish();
    let object = output.json();
    if kernel() >= (6, 15) || object["reason"] != "unknown" {
        assert_eq!(told(&object), json!(["signal", 137, null, "SIGKILL"]));
        output.exits(137);
    } else {
        let message = object["message"].as_str().expect("a message");
        assert!(message.contains("Linux 6.15"), "{output}");
        output.exits(1);
    }
}

fn a_container_that_was_reaped_before_has_no_status(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    let output = container.verb("wait").exits(1);
    let text = "has ended, but its status is not known: its parent had reaped it";
    assert!(output.stdout.contains(text), "{output}");
    assert_eq!(output.stderr, "");
    let call = t.runtime().args(["wait", "--json", &container.id]);
    let object = call.run().exits(1).json();
    assert_eq!(told(&object), json!(["unknown", null, null, null]));
}

fn a_created_container_is_waited_for(t: &Sandbox) {
    let container = t.bundle().shell("exit 3").container();
    container.create().ok();
    let wait = waiting(t, &container);
    container.start().ok();
    let output = wait.finish().exits(3);
    assert_eq!(told(&output.json()), json!(["exited", 3, 3, null]));
}

fn a_container_that_never_started_says_so(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    container.kill("KILL").ok();
    let output = container.verb("wait").exits(137);
    let text = "ended before it executed its program: killed by signal 9";
    assert!(output.stdout.contains(text), "{output}");
    reap(init(t, &container));
}

fn a_signal_has_its_name(t: &Sandbox) {
    for (signal, name, status) in [("USR1", "SIGUSR1", 138), ("37", "SIGRTMIN+3", 165)] {
        // The first process of a pid namespace is immune to signals that it does not handle.
        let container = t
            .bundle()
            .without_namespace("pid")
            .args(&["sleep", "1000"])
            .container();
        container.launch_ok();
        let wait = waiting(t, &container);
        container.kill(signal).ok();
        let object = wait.finish().exits(status).json();
        assert_eq!(told(&object), json!(["signal", status, null, name]));
        // Not by `reap`: the C library has no names for real-time signals.
        reap_ended();
        container.delete().ok();
    }
}

fn a_paused_container_is_waited_for(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.verb("pause").ok();
    let mut wait = waiting(t, &container);
    assert!(wait.is_running());
    container.stop();
    wait.finish();
}

fn a_delete_is_told(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    // The zombie stays until the end of the case, because nothing reaps it.
    let wait = waiting(t, &container);
    let pid = container.pid();
    container.delete_force().ok();
    let object = wait.finish().exits(137).json();
    assert_eq!(told(&object), json!(["deleted", 137, null, "SIGKILL"]));
    reap(pid);
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn killing_profile() -> Value {
    let rule = json!({"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS"});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

fn a_kill_by_seccomp_is_told(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/seccomp", killing_profile());
    let container = bundle.args(&["mkdir", "/new"]).container();
    container.launch_ok();
    let output = container.verb("wait").exits(159);
    let text = "was killed by signal 31 (SIGSYS): linux.seccomp does not allow";
    assert!(output.stdout.contains(text), "{output}");
    let call = t.runtime().args(["wait", "--json", &container.id]);
    let object = call.run().exits(159).json();
    assert_eq!(told(&object), json!(["seccomp", 159, null, "SIGSYS"]));
    reap(init(t, &container));
}

fn a_sigsys_from_elsewhere_is_not_seccomp(t: &Sandbox) {
    let bundle = t.bundle().without_namespace("pid");
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let wait = waiting(t, &container);
    container.kill("SYS").ok();
    let object = wait.finish().exits(159).json();
    assert_eq!(told(&object), json!(["signal", 159, null, "SIGSYS"]));
    reap(init(t, &container));
}

/// A bundle whose program needs more memory than it may have.
fn hungry<'t>(t: &'t Sandbox, script: &str) -> Container<'t> {
    let memory = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    let bundle = t.bundle().set("/linux/resources/memory", memory);
    bundle.shell(script).container()
}

fn a_kill_for_lack_of_memory_is_told(t: &Sandbox) {
    let container = hungry(t, EAT);
    container.create().ok();
    let cgroup = container.cgroup();
    let wait = waiting(t, &container);
    container.start().ok();
    let output = wait.finish().exits(137);
    let object = output.json();
    assert_eq!(
        told(&object),
        json!(["out-of-memory", 137, null, "SIGKILL"])
    );
    let oom = &object["oom"];
    assert!(oom["kills"].as_u64() >= Some(1), "{output}");
    assert_eq!(
        json!([oom["scope"], oom["limit"], oom["cgroup"]]),
        json!(["container", 16 * MIB, cgroup])
    );
    if kernel() >= (5, 19) {
        assert!(oom["peak"].as_u64() > Some(15 * MIB as u64), "{output}");
    }
    let output = container.verb("wait").exits(137);
    let text = "of its processes: the limit of 16 MiB in ";
    assert!(output.stdout.contains(text), "{output}");
    // What the cgroup counts is told when the status is not known any more.
    reap(init(t, &container));
    let output = container.verb("wait").exits(1);
    assert!(output.stdout.contains(text), "{output}");
}

fn a_limit_of_a_parent_is_told(t: &Sandbox) {
    let outer = hungry(t, "while :; do sleep 1000; done");
    outer.launch_ok();
    // A container in a container: its cgroup is below the one whose limit is reached.
    let cgroup = outer.cgroup();
    let mount = crate::host::cgroup2_mount().expect("cgroup v2");
    let parent = cgroup.strip_prefix(&mount).expect("below the mount");
    let limit = parent.with_file_name(format!("{}-limit", t.id));
    let directory = mount.join(&limit);
    fs::create_dir(&directory).expect("a cgroup");
    for (file, value) in [("memory.max", 16 * MIB), ("memory.swap.max", 0)] {
        // The host may account no swap.
        let written = fs::write(directory.join(file), value.to_string());
        assert!(written.is_ok() || file == "memory.swap.max", "{written:?}");
    }
    let path = format!("/{}/inner", limit.display());
    let inner = t
        .bundle()
        .set("/linux/cgroupsPath", json!(path))
        .set("/linux/resources/memory", json!({"limit": 1024 * MIB}))
        .shell(EAT)
        .container();
    inner.create().ok();
    let wait = waiting(t, &inner);
    inner.start().ok();
    let object = wait.finish().exits(137).json();
    assert_eq!(
        json!([object["oom"]["scope"], object["oom"]["cgroup"]]),
        json!(["above", directory])
    );
    reap(init(t, &inner));
    inner.delete().ok();
    fs::remove_dir(&directory).expect("the cgroup is empty");
}

fn a_kill_with_enough_memory_is_from_elsewhere(t: &Sandbox) {
    let memory = json!({"limit": 64 * MIB});
    let bundle = t.bundle().set("/linux/resources/memory", memory);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let wait = waiting(t, &container);
    container.kill("KILL").ok();
    let output = wait.finish().exits(137);
    let object = output.json();
    assert_eq!(told(&object), json!(["signal", 137, null, "SIGKILL"]));
    let message = object["message"].as_str().expect("a message");
    assert!(message.ends_with("not for lack of memory"), "{output}");
    reap(init(t, &container));
}

fn run_says_why_a_process_was_killed(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/seccomp", killing_profile());
    let container = bundle.args(&["mkdir", "/new"]).container();
    let output = container.run().exits(159);
    let text = "was killed by signal 31 (SIGSYS): linux.seccomp does not allow";
    assert!(output.stderr.contains(text), "{output}");
    // The shell returns the status of the process that the filter has killed.
    let bundle = t.bundle().set("/linux/seccomp", killing_profile());
    let output = bundle.shell("mkdir /new; exit $?").container().run();
    let text = "exited with status 159; its seccomp profile has probably killed";
    assert!(output.exits(159).stderr.contains(text));
    let container = t
        .bundle()
        .without_namespace("pid")
        .shell("kill -KILL $$")
        .container();
    let output = container.run().exits(137);
    assert!(
        output.stderr.contains("was killed by signal 9 (SIGKILL)"),
        "{output}"
    );
}

fn run_says_that_memory_was_short(t: &Sandbox) {
    let output = hungry(t, EAT).run().exits(137);
    assert!(
        output
            .stderr
            .contains("for lack of memory the kernel killed"),
        "{output}"
    );
    let script = format!("sh -c \"{}\"; exit $?", EAT.replace('$', "\\$"));
    let output = hungry(t, &script).run().exits(137);
    assert!(
        output.stderr.contains("exited with status 137; for lack"),
        "{output}"
    );
}

fn run_logs_the_reason_and_keeps_stderr_clean(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/seccomp", killing_profile());
    let container = bundle.args(&["mkdir", "/new"]).container();
    let log = t.path("log");
    let call = t
        .runtime()
        .args(["--log-format", "json", "--log"])
        .arg(&log);
    let output = container.launch(call.arg("run")).finish().exits(159);
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let text = fs::read_to_string(&log).expect("the log");
    let line: Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(line["level"], "warning");
    assert!(
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("SIGSYS")),
        "{text}"
    );
}

fn run_is_silent_about_other_ends(t: &Sandbox) {
    for (script, status) in [("exit 3", 3), ("exit 137", 137), ("exit 159", 159)] {
        let output = t.bundle().shell(script).container().run().exits(status);
        assert_eq!(output.stderr, "");
    }
    let script = "kill -TERM $$";
    let bundle = t.bundle().without_namespace("pid").shell(script);
    assert_eq!(bundle.container().run().exits(143).stderr, "");
}

fn unknown_ids_are_refused(t: &Sandbox) {
    for (id, text) in [
        ("nobody", "container does not exist: nobody"),
        ("../x", "invalid container ID format"),
    ] {
        t.runtime().args(["wait", id]).run().fails_with(text);
    }
}
