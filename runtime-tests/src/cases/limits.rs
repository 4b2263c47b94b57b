//! `linux.resources` on cgroup v2: the values that reach the kernel, and what the kernel enforces.

use serde_json::{Value, json};

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    memory_limits_reach_the_kernel [Need::Controller("memory")],
    memory_limit_is_enforced [Need::Controller("memory")],
    pids_limit_is_enforced [Need::Controller("pids")],
    pids_limit_of_zero_is_one [Need::Controller("pids")],
    cpu_quota_and_shares_reach_the_kernel [Need::Controller("cpu")],
    unified_properties_reach_the_kernel [Need::Controller("memory"), Need::Controller("pids")],
    update_changes_limits [Need::Controller("memory"), Need::Controller("pids")],
    devices_are_denied_by_default [Need::UnifiedCgroups],
    device_rules_apply_in_order [Need::UnifiedCgroups],
];

const MIB: i64 = 1024 * 1024;

fn memory_limits_reach_the_kernel(t: &Sandbox) {
    // `swap` is the sum of memory and swap, as in cgroup v1.
    let memory = json!({"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB});
    let bundle = t
        .bundle()
        .set("/linux/resources/memory", memory)
        .args(&["sleep", "1000"]);
    let container = bundle.container();
    container.launch_ok();
    assert_eq!(container.cgroup_file("memory.max"), (64 * MIB).to_string());
    assert_eq!(container.cgroup_file("memory.low"), (32 * MIB).to_string());
    if container.cgroup().join("memory.swap.max").exists() {
        assert_eq!(
            container.cgroup_file("memory.swap.max"),
            (32 * MIB).to_string()
        );
    }
}

fn memory_limit_is_enforced(t: &Sandbox) {
    let memory = json!({"limit": 16 * MIB, "swap": 16 * MIB});
    let bundle = t.bundle().set("/linux/resources/memory", memory);
    // A shell variable of 64 MiB.
    let script = "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo ${#x}";
    let output = bundle.shell(script).container().run().exits(128 + 9);
    assert_eq!(output.stdout, "");
}

fn pids_limit_is_enforced(t: &Sandbox) {
    let limited = || t.bundle().set("/linux/resources/pids/limit", json!(4));
    let container = limited().args(&["sleep", "1000"]).container();
    container.launch_ok();
    assert_eq!(container.cgroup_file("pids.max"), "4");
    let script = "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo all of them";
    let output = limited().shell(script).container().run().fails_with("fork");
    assert_eq!(output.stdout, "");
}

/// The kernel counts init, so no container runs with 0. Configs of engines have it.
fn pids_limit_of_zero_is_one(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/resources/pids/limit", json!(0));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    assert_eq!(container.cgroup_file("pids.max"), "1");
}

fn cpu_quota_and_shares_reach_the_kernel(t: &Sandbox) {
    let cpu = json!({"quota": 50_000, "period": 100_000, "shares": 2048});
    let bundle = t
        .bundle()
        .set("/linux/resources/cpu", cpu)
        .args(&["sleep", "1000"]);
    let container = bundle.container();
    container.launch_ok();
    assert_eq!(container.cgroup_file("cpu.max"), "50000 100000");
    let weight: u64 = container
        .cgroup_file("cpu.weight")
        .parse()
        .expect("a number");
    assert!(
        (79..=210).contains(&weight),
        "twice the default share is weight {weight}"
    );
}

fn unified_properties_reach_the_kernel(t: &Sandbox) {
    let unified = json!({"memory.high": "50331648", "pids.max": "77"});
    let bundle = t
        .bundle()
        .set("/linux/resources/unified", unified)
        .args(&["sleep", "1000"]);
    let container = bundle.container();
    container.launch_ok();
    assert_eq!(container.cgroup_file("memory.high"), "50331648");
    assert_eq!(container.cgroup_file("pids.max"), "77");
}

fn update_changes_limits(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/resources/pids/limit", json!(100));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let resources = json!({"memory": {"limit": 48 * MIB}, "pids": {"limit": 50}});
    let call = t
        .runtime()
        .args(["update", "--resources", "-", &container.id]);
    call.stdin(resources.to_string()).run().ok();
    assert_eq!(container.cgroup_file("memory.max"), (48 * MIB).to_string());
    assert_eq!(container.cgroup_file("pids.max"), "50");
    t.runtime()
        .args(["update", "--pids-limit", "60", &container.id])
        .run()
        .ok();
    assert_eq!(container.cgroup_file("pids.max"), "60");
    assert_eq!(container.cgroup_file("memory.max"), (48 * MIB).to_string());
}

/// A container that creates the node of /dev/mem and a copy of /dev/zero's, and opens both.
fn opens_devices(t: &Sandbox, rules: Value) -> String {
    // In /dev, because the rootfs may be on a nodev mount.
    let script = "mknod /dev/one c 1 1; mknod /dev/five c 1 5
        head -c 1 /dev/five >/dev/null && echo zero
        head -c 1 /dev/one >/dev/null && echo mem
        head -c 1 /dev/zero >/dev/null && echo dev";
    let bundle = t
        .bundle()
        .set("/linux/resources/devices", rules)
        .shell(script);
    bundle.container().run().stdout
}

fn devices_are_denied_by_default(t: &Sandbox) {
    // The default devices of the specification stay allowed, whatever their nodes are called.
    let out = opens_devices(t, json!([{"allow": false, "access": "rwm"}]));
    assert!(out.contains("dev\n") && !out.contains("mem"), "{out}");
}

fn device_rules_apply_in_order(t: &Sandbox) {
    let deny = json!({"allow": false, "access": "rwm"});
    let mknod = json!({"allow": true, "type": "c", "access": "m"});
    let mem = json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"});
    let not_mem = json!({"allow": false, "type": "c", "major": 1, "minor": 1, "access": "rw"});
    let capable = |rules: &[&Value]| opens_devices(t, json!(rules));
    assert!(capable(&[&deny, &mknod, &mem, &not_mem]).contains("zero\ndev\n"));
    assert!(!capable(&[&deny, &mknod, &mem, &not_mem]).contains("mem\n"));
}
