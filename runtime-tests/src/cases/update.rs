//! update: which values reach the kernel, which are kept, and what is refused as a whole.

use serde_json::{Value, json};

use crate::{Container, Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    flags_take_sizes [Need::Controller("memory")],
    unlimited_memory_is_unlimited_swap [Need::Controller("memory")],
    quota_and_period_keep_each_other [Need::Controller("cpu")],
    burst_may_shrink_with_the_quota [Need::Controller("cpu")],
    cpus_can_be_chosen [Need::Controller("cpuset")],
    paused_container_is_updated [Need::Controller("pids")],
    flags_are_ignored_beside_a_file [Need::Controller("pids")],
    limit_above_the_saved_swap_is_refused [Need::Controller("memory"), Need::NotAPeer],
    check_before_update_refuses_a_limit_below_usage [Need::Controller("memory"), Need::NotAPeer],
    unified_properties_are_written [Need::NotAPeer],
    refused_value_undoes_the_others [Need::NotAPeer],
    missing_device_undoes_the_limits [
        Need::Controller("memory"),
        Need::Controller("cpu"),
        Need::Controller("io"),
        Need::NotAPeer,
    ],
    later_exec_and_start_take_the_updated_config [Need::NotAPeer],
    stopped_container_is_refused,
    missing_container_is_refused,
    wrong_value_names_the_flag [Need::NotAPeer],
    broken_file_is_refused,
    intel_rdt_needs_a_group [Need::NotAPeer],
];

const MIB: i64 = 1024 * 1024;

fn running<'t>(t: &'t Sandbox, resources: &[(&str, Value)]) -> Container<'t> {
    let mut bundle = t.bundle().args(&["sleep", "1000"]);
    for (name, value) in resources {
        bundle = bundle.set(&format!("/linux/resources/{name}"), value.clone());
    }
    let container = bundle.container();
    container.launch_ok();
    container
}

#[track_caller]
fn update(t: &Sandbox, container: &Container, flags: &[&str]) -> Output {
    t.runtime()
        .arg("update")
        .args(flags)
        .arg(&container.id)
        .run()
}

#[track_caller]
fn update_with(t: &Sandbox, container: &Container, resources: &Value) -> Output {
    let call = t.runtime().args(["update", "--resources=-", &container.id]);
    call.stdin(resources.to_string()).run()
}

fn flags_take_sizes(t: &Sandbox) {
    let container = running(t, &[]);
    update(
        t,
        &container,
        &["--memory", "64m", "--memory-reservation=32MiB"],
    )
    .ok();
    assert_eq!(container.cgroup_file("memory.max"), (64 * MIB).to_string());
    assert_eq!(container.cgroup_file("memory.low"), (32 * MIB).to_string());
}

fn unlimited_memory_is_unlimited_swap(t: &Sandbox) {
    let container = running(
        t,
        &[("memory", json!({"limit": 64 * MIB, "swap": 64 * MIB}))],
    );
    update(t, &container, &["--memory", "-1"]).ok();
    assert_eq!(container.cgroup_file("memory.max"), "max");
    if container.cgroup().join("memory.swap.max").exists() {
        assert_eq!(container.cgroup_file("memory.swap.max"), "max");
    }
}

fn quota_and_period_keep_each_other(t: &Sandbox) {
    let container = running(t, &[]);
    update(t, &container, &["--cpu-quota", "20000"]).ok();
    assert_eq!(container.cgroup_file("cpu.max"), "20000 100000");
    update(t, &container, &["--cpu-period", "50000"]).ok();
    assert_eq!(container.cgroup_file("cpu.max"), "20000 50000");
    update(t, &container, &["--cpu-quota", "-1"]).ok();
    assert_eq!(container.cgroup_file("cpu.max"), "max 50000");
}

fn burst_may_shrink_with_the_quota(t: &Sandbox) {
    let container = running(t, &[("cpu", json!({"quota": 20_000, "burst": 10_000}))]);
    update(t, &container, &["--cpu-quota=5000", "--cpu-burst=4000"]).ok();
    assert_eq!(container.cgroup_file("cpu.max"), "5000 100000");
    assert_eq!(container.cgroup_file("cpu.max.burst"), "4000");
    update(t, &container, &["--cpu-quota=30000", "--cpu-burst=25000"]).ok();
    assert_eq!(container.cgroup_file("cpu.max.burst"), "25000");
}

fn cpus_can_be_chosen(t: &Sandbox) {
    let container = running(t, &[]);
    update(t, &container, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    assert_eq!(container.cgroup_file("cpuset.cpus"), "0");
    assert_eq!(container.cgroup_file("cpuset.mems"), "0");
}

fn paused_container_is_updated(t: &Sandbox) {
    let container = running(t, &[]);
    container.verb("pause").ok();
    update(t, &container, &["--pids-limit", "20"]).ok();
    assert_eq!(container.cgroup_file("pids.max"), "20");
    assert_eq!(container.status(), "paused");
}

fn flags_are_ignored_beside_a_file(t: &Sandbox) {
    let container = running(t, &[]);
    let file = t.path("resources.json");
    std::fs::write(&file, r#"{"pids": {"limit": 30}}"#).expect("write the file");
    let file = file.to_str().expect("a path in UTF-8");
    update(t, &container, &["--pids-limit", "40", "-r", file]).ok();
    assert_eq!(container.cgroup_file("pids.max"), "30");
}

fn limit_above_the_saved_swap_is_refused(t: &Sandbox) {
    let container = running(
        t,
        &[("memory", json!({"limit": 32 * MIB, "swap": 64 * MIB}))],
    );
    update(t, &container, &["--memory", "128m"]).fails_with("linux.resources.memory.swap");
    assert_eq!(container.cgroup_file("memory.max"), (32 * MIB).to_string());
    update(t, &container, &["--memory", "48m"]).ok();
    if container.cgroup().join("memory.swap.max").exists() {
        let swap = (16 * MIB).to_string();
        assert_eq!(container.cgroup_file("memory.swap.max"), swap);
    }
}

fn check_before_update_refuses_a_limit_below_usage(t: &Sandbox) {
    let memory = json!({"limit": 64 * MIB, "checkBeforeUpdate": true});
    let container = running(t, &[("memory", memory)]);
    update(t, &container, &["--memory", "4096"]).fails();
    assert_eq!(container.cgroup_file("memory.max"), (64 * MIB).to_string());
    assert_eq!(container.status(), "running");
}

fn unified_properties_are_written(t: &Sandbox) {
    let container = running(t, &[]);
    let unified = json!({"cgroup.max.depth": "3"});
    update_with(t, &container, &json!({"unified": unified})).ok();
    assert_eq!(container.cgroup_file("cgroup.max.depth"), "3");
}

fn refused_value_undoes_the_others(t: &Sandbox) {
    let container = running(t, &[]);
    // Files are written in the order of their names.
    let unified = json!({"cgroup.max.depth": "3", "cgroup.max.descendants": "many"});
    update_with(t, &container, &json!({"unified": unified})).fails_with("cgroup.max.descendants: ");
    assert_eq!(container.cgroup_file("cgroup.max.depth"), "max");
    let saved = std::fs::read_to_string(t.root.join(&container.id).join("config.json"));
    assert!(
        !saved
            .expect("the saved config")
            .contains("cgroup.max.depth")
    );
}

fn missing_device_undoes_the_limits(t: &Sandbox) {
    let container = running(t, &[("memory", json!({"limit": 64 * MIB}))]);
    let device = json!({"major": 250, "minor": 250, "rate": 1_000_000});
    let resources = json!({
        "memory": {"limit": 32 * MIB, "swap": 40 * MIB},
        "cpu": {"quota": 50_000},
        "blockIO": {"throttleReadBpsDevice": [device]},
    });
    update_with(t, &container, &resources).fails_with("io.max");
    assert_eq!(container.cgroup_file("memory.max"), (64 * MIB).to_string());
    assert_eq!(container.cgroup_file("cpu.max"), "max 100000");
    if container.cgroup().join("memory.swap.max").exists() {
        assert_eq!(container.cgroup_file("memory.swap.max"), "max");
    }
}

fn later_exec_and_start_take_the_updated_config(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    let unified = json!({"cgroup.max.depth": "3"});
    update_with(t, &container, &json!({"unified": unified, "devices": []})).ok();
    container.start().ok();
    container.exec(&["echo", "hello"]).ok().prints("hello");
    assert_eq!(container.cgroup_file("cgroup.max.depth"), "3");
}

fn stopped_container_is_refused(t: &Sandbox) {
    let container = running(t, &[]);
    container.stop();
    update(t, &container, &["--pids-limit", "20"]).fails();
}

fn missing_container_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    update(t, &container, &["--pids-limit", "20"]).fails_with("does not exist");
}

fn wrong_value_names_the_flag(t: &Sandbox) {
    let container = running(t, &[]);
    for (flags, word) in [
        (["--cpu-quota", "5"], "--cpu-quota"),
        (["--memory", "much"], "--memory"),
        (["--cpuset-cpus", "3-1"], "--cpuset-cpus"),
        (["--cpu-rt-runtime", "5"], "--cpu-rt-runtime"),
    ] {
        update(t, &container, &flags).fails_with(word);
    }
}

fn broken_file_is_refused(t: &Sandbox) {
    let container = running(t, &[]);
    let call = t.runtime().args(["update", "-r", "-", &container.id]);
    call.stdin("{\"pids\"").run().fails();
    update(t, &container, &["--resources=/missing"]).fails_with("/missing");
}

fn intel_rdt_needs_a_group(t: &Sandbox) {
    let container = running(t, &[]);
    for flag in ["--l3-cache-schema", "--mem-bw-schema"] {
        let message = "linux.intelRdt: missing (only a container that was created with it";
        update(t, &container, &[flag, "L3:0=f"]).fails_with(message);
    }
}
