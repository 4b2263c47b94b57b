//! Cgroups that a container creates below its own, as deep and with names as long as it likes.

use serde_json::json;

use crate::container::{Container, reap};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    verbs_reach_a_process_below_long_names,
    verbs_reach_a_process_below_many_levels,
    forced_delete_below_long_names,
    a_failed_freeze_is_undone[Need::NotAPeer, Need::Program("strace")],
];

/// Ten kilobytes of names are more than a path may have.
const LONG: [&str; 2] = ["40", "250"];
/// More levels than the runtime has descriptors in [`few_descriptors`].
const DEEP: [&str; 2] = ["100", "8"];

/// A container with a writable cgroup mount. Its second process is in the innermost of the cgroups
/// that it has created.
fn nested<'t>(t: &'t Sandbox, [count, length]: [&str; 2]) -> Container<'t> {
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"});
    let bundle = t.bundle().mount(mount);
    let container = bundle.probe(&["nest-cgroups", count, length]).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container
}

/// Every verb runs with at most 24 descriptors.
fn few_descriptors(t: &Sandbox, words: &[&str]) -> crate::Output {
    let limit = ["sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"];
    t.runtime().args(words).prefix(limit).run()
}

fn pids(t: &Sandbox, container: &Container) -> Vec<i64> {
    let listed = few_descriptors(t, &["ps", "--format", "json", &container.id]);
    let listed = listed.ok().json();
    let pids = listed.as_array().into_iter().flatten();
    pids.filter_map(serde_json::Value::as_i64).collect()
}

fn reaches(t: &Sandbox, shape: [&str; 2]) {
    let container = nested(t, shape);
    let id = container.id.as_str();
    let init = container.pid();
    assert_eq!(pids(t, &container).len(), 2);
    few_descriptors(t, &["pause", id]).ok();
    assert_eq!(container.status(), "paused");
    few_descriptors(t, &["resume", id]).ok();
    few_descriptors(t, &["events", "--stats", id]).ok().json();
    few_descriptors(t, &["exec", id, "/bin/true"]).ok();
    // Init has no handler, so the signal does not end it.
    few_descriptors(t, &["kill", "--all", id, "TERM"]).ok();
    container.wait_stdout("the child has ended");
    assert_eq!(container.cgroup_file("cgroup.freeze"), "0");
    assert_eq!(pids(t, &container), [i64::from(init)]);
    few_descriptors(t, &["kill", "--all", id, "KILL"]).ok();
    assert_eq!(reap(init), 137);
    container.delete().ok();
}

fn verbs_reach_a_process_below_long_names(t: &Sandbox) {
    reaches(t, LONG);
}

fn verbs_reach_a_process_below_many_levels(t: &Sandbox) {
    reaches(t, DEEP);
}

fn forced_delete_below_long_names(t: &Sandbox) {
    let container = nested(t, LONG);
    let cgroup = container.cgroup();
    container.delete_force().ok();
    assert!(!cgroup.exists());
    container.verb("state").fails_with("does not exist");
}

fn a_failed_freeze_is_undone(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let events = container.cgroup().join("cgroup.events");
    for words in [["kill", "--all", "TERM"], ["pause", "", ""]] {
        let words = words.into_iter().filter(|word| !word.is_empty());
        let call = t.runtime().args(words.take(2)).arg(&container.id);
        call.denied(&events, "ENOMEM:when=2")
            .run()
            .fails_with("cgroup.events");
        assert_eq!(container.cgroup_file("cgroup.freeze"), "0");
        assert_eq!(container.status(), "running");
    }
}
