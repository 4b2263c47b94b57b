//! events: statistics, out-of-memory notifications, and the end of the output.

use std::fs;

use serde_json::{Value, json};

use crate::{Container, Need, Running, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    stats_are_one_object,
    stats_report_limits_and_usage [Need::Controller("memory"), Need::Controller("pids")],
    stats_repeat_until_the_container_ends,
    last_process_ends_the_events [Need::NotAPeer],
    out_of_memory_is_reported [Need::Controller("memory")],
    events_of_a_stopped_container_are_refused,
    interval_of_zero_is_refused,
];

const MIB: i64 = 1024 * 1024;

fn stats(t: &Sandbox, container: &Container) -> Value {
    let call = t.runtime().args(["events", "--stats", &container.id]);
    let output = call.run().ok();
    assert_eq!(output.stdout.lines().count(), 1, "{output}");
    let start = format!("{{\"type\":\"stats\",\"id\":\"{}\",", container.id);
    assert!(output.stdout.starts_with(&start), "{output}");
    let event = output.json();
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!(container.id))
    );
    event["data"].clone()
}

/// `events`, without waiting for it.
fn follow(t: &Sandbox, interval: &str, container: &Container) -> Running {
    let call = t.runtime().args(["events", "--interval", interval]);
    call.arg(&container.id).spawn()
}

fn printed(events: &Running) -> String {
    fs::read_to_string(&events.stdout).expect("output of events")
}

fn stats_are_one_object(t: &Sandbox) {
    let container = t.bundle().shell("while :; do :; done").container();
    container.launch_ok();
    // Some kernels account CPU time in ticks.
    t.eventually("CPU time is counted", || {
        stats(t, &container)["cpu"]["usage"]["total"].as_u64() > Some(0)
    });
    let data = stats(t, &container);
    assert!(data["cpu"]["usage"]["user"].is_u64(), "{data}");
    for pointer in [
        "/cpu/throttling",
        "/cpuset/sched_relax_domain_level",
        "/memory/usage/limit",
        "/memory/swap/failcnt",
        "/memory/kernel/limit",
        "/memory/kernelTCP/limit",
        "/pids",
        "/blkio",
        "/hugetlb",
        "/intel_rdt",
        "/network_interfaces",
    ] {
        assert!(data.pointer(pointer).is_some(), "{pointer}: {data}");
    }
}

fn stats_report_limits_and_usage(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 64 * MIB}))
        .set("/linux/resources/pids/limit", json!(100));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let data = stats(t, &container);
    assert_eq!(data["pids"], json!({"current": 1, "limit": 100}));
    let memory = &data["memory"];
    assert_eq!(memory["usage"]["limit"], json!(64 * MIB));
    assert!(memory["usage"]["usage"].as_u64() > Some(0), "{memory}");
    assert!(memory["raw"]["anon"].as_u64() > Some(0), "{memory}");
}

fn stats_repeat_until_the_container_ends(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let events = follow(t, "10ms", &container);
    t.eventually("two statistics", || printed(&events).lines().count() > 1);
    container.stop();
    container.delete().ok();
    let output = events.finish().ok();
    for line in output.stdout.lines() {
        let event: Value = serde_json::from_str(line).expect("an object a line");
        assert_eq!(
            (&event["type"], &event["id"]),
            (&json!("stats"), &json!(container.id))
        );
    }
}

fn last_process_ends_the_events(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    // It may have started to watch already or come too late. Either way it does not wait for the
    // hour.
    let events = follow(t, "1h", &container);
    container.stop();
    let output = events.finish();
    assert_eq!(output.stdout, "");
}

fn out_of_memory_is_reported(t: &Sandbox) {
    let memory = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    // The shell that allocates 64 MiB is killed; the one around it stays.
    let script = "trap 'go=1' USR1; echo ready
        until [ -n \"$go\" ]; do sleep 0.1; done
        sh -c 'x=$(head -c 67108864 /dev/zero | tr \"\\0\" x); echo $x'
        echo over; while :; do sleep 1000; done";
    let bundle = t.bundle().set("/linux/resources/memory", memory);
    let container = bundle.shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    let events = follow(t, "10ms", &container);
    t.eventually("events watches", || printed(&events).contains("stats"));
    container.kill("USR1").ok();
    container.wait_stdout("over");
    t.eventually("a notice", || printed(&events).contains("\"oom\""));
    container.stop();
    container.delete().ok();
    let output = events.finish().ok();
    let notice = output.stdout.lines().find(|line| line.contains("\"oom\""));
    let notice: Value = serde_json::from_str(notice.expect("a notice")).expect("an object");
    assert_eq!(notice, json!({"type": "oom", "id": container.id}));
}

fn events_of_a_stopped_container_are_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    let call = t.runtime().args(["events", "--stats", &container.id]);
    call.run().fails_with("not running");
}

fn interval_of_zero_is_refused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let call = t
        .runtime()
        .args(["events", "--interval", "0s", &container.id]);
    call.run().fails_with("interval");
}
