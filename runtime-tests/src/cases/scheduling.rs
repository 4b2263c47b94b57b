//! `process.ioPriority`: what the program may use, and how soon.

use serde_json::{Value, json};

use crate::{Bundle, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    io_priority_is_set,
    io_priority_of_exec,
    io_priority_outside_its_range,
];

fn with_io_priority<'a>(t: &'a Sandbox, class: &str, priority: i64) -> Bundle<'a> {
    let value = json!({"class": class, "priority": priority});
    t.bundle().set("/process/ioPriority", value)
}

fn io_priority_is_set(t: &Sandbox) {
    for (class, priority, shown) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_BE", 0, "best-effort: prio 0"),
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let user = json!({"uid": 1000, "gid": 1000});
        let bundle = with_io_priority(t, class, priority).set("/process/user", user);
        let output = bundle.args(&["ionice"]).container().run().ok();
        assert!(output.stdout.starts_with(shown), "{class}: {output}");
    }
}

/// A COMMAND and a file without the property have the container's, a file can have its own.
fn io_priority_of_exec(t: &Sandbox) {
    let container = with_io_priority(t, "IOPRIO_CLASS_BE", 6)
        .args(&["sleep", "1000"])
        .container();
    container.launch_ok();
    container
        .exec(&["ionice"])
        .ok()
        .prints("best-effort: prio 6");
    let process = |own: Option<Value>| {
        let mut process = json!({"user": {"uid": 1000, "gid": 1000}, "cwd": "/",
            "args": ["ionice"], "env": ["PATH=/bin"]});
        if let Some(own) = own {
            process["ioPriority"] = own;
        }
        container.exec_process(&process)
    };
    process(None).ok().prints("best-effort: prio 6");
    let own = json!({"class": "IOPRIO_CLASS_BE", "priority": 1});
    process(Some(own)).ok().prints("best-effort: prio 1");
}

fn io_priority_outside_its_range(t: &Sandbox) {
    let container = with_io_priority(t, "IOPRIO_CLASS_BE", 8).container();
    container
        .create()
        .fails_with("process.ioPriority.priority: 8 is outside the range 0 to 7");
    container.verb("state").fails_with("does not exist");
}
