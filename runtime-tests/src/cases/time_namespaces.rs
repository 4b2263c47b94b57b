//! `linux.timeOffsets`, and time namespaces.

use serde_json::{Value, json};

use super::namespaces::{join_pid, running, user_namespace};
use crate::bundle::Bundle;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    time_offsets_shift_the_clocks,
    time_offsets_in_a_user_namespace,
    time_offsets_without_time_namespace_are_refused,
    time_namespace_without_offsets,
    joined_time_namespace,
];

fn offsets() -> Value {
    json!({"monotonic": {"secs": 1_000_000, "nanosecs": 5}, "boottime": {"secs": 2_000_000}})
}

const OFFSETS: &str = "tr -s ' ' </proc/self/timens_offsets; cut -d. -f1 /proc/uptime";

fn check_offsets(bundle: Bundle) {
    let bundle = bundle
        .push("/linux/namespaces", json!({"type": "time"}))
        .set("/linux/timeOffsets", offsets());
    let output = bundle.shell(OFFSETS).container().run().ok();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(
        lines[..2],
        ["monotonic 1000000 5", "boottime 2000000 0"],
        "{output}"
    );
    let uptime: u64 = lines[2].parse().expect("seconds");
    assert!(uptime >= 2_000_000, "{output}");
}

fn time_offsets_shift_the_clocks(t: &Sandbox) {
    check_offsets(t.bundle());
}

fn time_offsets_in_a_user_namespace(t: &Sandbox) {
    check_offsets(user_namespace(t.bundle()));
}

fn time_offsets_without_time_namespace_are_refused(t: &Sandbox) {
    let container = t.bundle().set("/linux/timeOffsets", offsets()).container();
    container.create().fails_with("timeOffsets");
    container.verb("state").fails_with("does not exist");
    let wrong = json!({"realtime": {"secs": 1}});
    let bundle = t
        .bundle()
        .push("/linux/namespaces", json!({"type": "time"}));
    let container = bundle.set("/linux/timeOffsets", wrong).container();
    let output = container.create();
    if crate::host::peer_name(&t.runtime).is_none() {
        output.fails_with("timeOffsets");
    }
}

fn time_namespace_without_offsets(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/namespaces", json!({"type": "time"}));
    let output = bundle.shell(OFFSETS).container().run().ok();
    assert!(
        output.stdout.starts_with("monotonic 0 0\nboottime 0 0\n"),
        "{output}"
    );
}

fn joined_time_namespace(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/namespaces", json!({"type": "time"}));
    let holder = running(bundle.set("/linux/timeOffsets", offsets()));
    let bundle = join_pid(t.bundle(), "time", holder.pid());
    let output = bundle.shell(OFFSETS).container().run().ok();
    assert!(output.stdout.contains("boottime 2000000 0"), "{output}");
    let bundle = join_pid(t.bundle(), "time", holder.pid()).set("/linux/timeOffsets", offsets());
    bundle.container().create().fails_with("timeOffsets");
}
