//! `--systemd-cgroup`: a unit around the container, as systemctl shows it.

use serde_json::json;

use crate::bundle::Bundle;
use crate::call::Output;
use crate::container::Container;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_scope_with_the_limits_of_the_config [Need::Systemd, Need::Controller("memory"), Need::Controller("pids")],
    delete_and_a_failed_create_leave_no_unit [Need::Systemd],
    an_ended_container_leaves_no_unit [Need::Systemd],
    exec_joins_the_unit [Need::Systemd],
    update_changes_the_unit [Need::Systemd, Need::Controller("memory"), Need::Controller("pids")],
    update_keeps_the_period [Need::Systemd, Need::Controller("cpu")],
    update_ends_the_idle_state [Need::Systemd, Need::Controller("cpu"), Need::NotAPeer],
    a_failed_unit_is_forgotten_with_its_container [Need::Systemd, Need::Controller("memory")],
    quota_is_rounded_as_systemd_does [Need::Systemd, Need::Controller("cpu")],
    annotations_become_properties [Need::Systemd],
    annotations_of_engines_become_properties [Need::Systemd],
    annotations_that_reach_beyond_the_container_are_refused [Need::NotAPeer],
    an_annotation_does_not_undo_a_limit [Need::Systemd, Need::Controller("pids"), Need::NotAPeer],
    a_taken_name_is_refused [Need::Systemd, Need::NotAPeer],
    the_default_is_a_scope_of_the_id [Need::Systemd, Need::NotAPeer],
    the_cgroup_namespace_begins_at_the_unit [Need::Systemd],
    callers_of_conmon_get_a_cgroup_in_the_unit [Need::Systemd, Need::Controller("memory"), Need::NotAPeer],
    the_unit_reaches_its_limit_before_the_cgroup_in_it [Need::Systemd, Need::Controller("memory"), Need::NotAPeer],
    an_annotation_decides_on_the_cgroup_in_the_unit [Need::Systemd, Need::NotAPeer],
    cpus_are_those_of_the_unit [Need::Systemd, Need::Controller("cpuset")],
];

/// A bundle whose container sleeps, in the scope `sampantest-ID.scope` of the slice `test-a.slice`.
fn bundle(t: &Sandbox) -> Bundle<'_> {
    let path = format!("test-a.slice:sampantest:{}", t.id);
    t.bundle()
        .set("/linux/cgroupsPath", json!(path))
        .args(&["sleep", "1000"])
}

fn unit(t: &Sandbox) -> String {
    format!("sampantest-{}.scope", t.id)
}

#[track_caller]
fn create(t: &Sandbox, container: &Container) -> Output {
    let call = t.runtime().args(["--systemd-cgroup", "create"]);
    container.launch(call).finish()
}

#[track_caller]
fn launch(t: &Sandbox, container: &Container) {
    create(t, container).ok();
    container.start().ok();
}

/// A property of a unit, as systemctl prints it.
#[track_caller]
fn property(t: &Sandbox, unit: &str, name: &str) -> String {
    let call = t
        .call("systemctl")
        .args(["show", "--value", "--property", name, unit]);
    call.run().ok().stdout.trim().to_owned()
}

#[track_caller]
fn assert_gone(t: &Sandbox, unit: &str) {
    assert_eq!(property(t, unit, "LoadState"), "not-found", "{unit}");
}

fn a_scope_with_the_limits_of_the_config(t: &Sandbox) {
    let bundle = bundle(t)
        .set(
            "/linux/resources/memory",
            json!({"limit": 67_108_864, "reservation": 33_554_432}),
        )
        .set("/linux/resources/pids/limit", json!(50));
    let container = bundle.container();
    launch(t, &container);
    let unit = unit(t);
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "test-a.slice"),
        ("Transient", "yes"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("MemoryLow", "33554432"),
        ("TasksMax", "50"),
        ("TasksAccounting", "yes"),
    ] {
        assert_eq!(property(t, &unit, name), value, "{name}");
    }
    let path = format!("/test.slice/test-a.slice/{unit}");
    assert_eq!(property(t, &unit, "ControlGroup"), path);
    assert!(container.cgroup().ends_with(path.trim_start_matches('/')));
    assert_eq!(container.cgroup_file("memory.max"), "67108864");
    assert_eq!(container.cgroup_file("pids.max"), "50");
    // Engines do not repeat the flag.
    container.kill("KILL").ok();
    container.wait_status("stopped");
    container.delete().ok();
    assert_gone(t, &unit);
}

fn delete_and_a_failed_create_leave_no_unit(t: &Sandbox) {
    let missing = bundle(t).args(&["/missing"]).container();
    create(t, &missing).fails_with("/missing");
    assert_gone(t, &unit(t));
    // The name is free at once.
    let container = bundle(t).container();
    for _ in 0..3 {
        launch(t, &container);
        assert_eq!(property(t, &unit(t), "ActiveState"), "active");
        container.delete_force().ok();
        assert_gone(t, &unit(t));
    }
}

fn an_ended_container_leaves_no_unit(t: &Sandbox) {
    let container = bundle(t).shell("exit 3").container();
    let call = t.runtime().args(["--cgroup-manager", "systemd", "run"]);
    container.launch(call).finish().exits(3);
    assert_gone(t, &unit(t));
}

fn exec_joins_the_unit(t: &Sandbox) {
    let container = bundle(t).container();
    launch(t, &container);
    // The cgroup namespace of the process begins at the unit.
    let output = container.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert!(
        output.stdout.lines().any(|line| line == "0::/"),
        "{}",
        output.stdout
    );
}

fn update_changes_the_unit(t: &Sandbox) {
    let container = bundle(t).container();
    launch(t, &container);
    let flags = ["update", "--pids-limit", "60", "--memory", "50331648"];
    t.runtime().args(flags).arg(&container.id).run().ok();
    for (file, name, value) in [
        ("pids.max", "TasksMax", "60"),
        ("memory.max", "MemoryMax", "50331648"),
    ] {
        assert_eq!(property(t, &unit(t), name), value);
        assert_eq!(container.cgroup_file(file), value);
    }
}

/// systemd itself writes its default for the period of a quota without a limit.
fn update_keeps_the_period(t: &Sandbox) {
    let cpu = json!({"quota": 20_000, "period": 50_000});
    let container = bundle(t).set("/linux/resources/cpu", cpu).container();
    launch(t, &container);
    for (flags, value) in [
        (["--cpu-quota", "-1"], "max 50000"),
        (["--cpu-period", "40000"], "max 40000"),
        (["--cpu-quota", "20000"], "20000 40000"),
    ] {
        let call = t.runtime().arg("update").args(flags);
        call.arg(&container.id).run().ok();
        assert_eq!(container.cgroup_file("cpu.max"), value, "{flags:?}");
    }
}

fn update_ends_the_idle_state(t: &Sandbox) {
    let idle = json!({"idle": 1});
    let container = bundle(t).set("/linux/resources/cpu", idle).container();
    launch(t, &container);
    assert_eq!(container.cgroup_file("cpu.idle"), "1");
    let call = t.runtime().args(["update", "--cpu-share", "2048"]);
    call.arg(&container.id).run().ok();
    assert_eq!(container.cgroup_file("cpu.idle"), "0");
    assert_eq!(
        property(t, &unit(t), "CPUWeight"),
        container.cgroup_file("cpu.weight")
    );
}

/// CRI-O's tests expect that only an annotation changes how systemd treats a unit that has failed.
fn a_failed_unit_is_forgotten_with_its_container(t: &Sandbox) {
    let annotations = json!({
        "org.systemd.property.RuntimeMaxSec": "1",
        "org.systemd.property.TimeoutStopSec": "1",
    });
    let container = bundle(t).set("/annotations", annotations).container();
    launch(t, &container);
    assert_eq!(property(t, &unit(t), "CollectMode"), "inactive");
    crate::container::reap(container.pid());
    t.eventually("the unit has failed", || {
        property(t, &unit(t), "ActiveState") == "failed"
    });
    container.delete().ok();
    assert_eq!(property(t, &unit(t), "LoadState"), "not-found");
}

fn quota_is_rounded_as_systemd_does(t: &Sandbox) {
    let cpu = json!({"quota": 50_001, "period": 100_000, "shares": 512});
    let container = bundle(t).set("/linux/resources/cpu", cpu).container();
    launch(t, &container);
    assert_eq!(property(t, &unit(t), "CPUQuotaPerSecUSec"), "510ms");
    assert_eq!(container.cgroup_file("cpu.max"), "51000 100000");
    let weight = container.cgroup_file("cpu.weight");
    assert_eq!(property(t, &unit(t), "CPUWeight"), weight);
    // systemd keeps the properties that it knows when it is reloaded.
    t.call("systemctl").arg("daemon-reload").run().ok();
    assert_eq!(container.cgroup_file("cpu.max"), "51000 100000");
}

fn annotations_become_properties(t: &Sandbox) {
    let annotations = json!({
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.Description": "'a test'",
        "org.systemd.property.IOReadBandwidthMax": "[('/dev/null', uint64 2000)]",
    });
    let container = bundle(t).set("/annotations", annotations).container();
    launch(t, &container);
    assert_eq!(property(t, &unit(t), "TimeoutStopUSec"), "7s");
    assert_eq!(property(t, &unit(t), "Description"), "a test");
    let limits = property(t, &unit(t), "IOReadBandwidthMax");
    assert_eq!(limits, "/dev/null 2000");
    let wrong = json!({"org.systemd.property.TimeoutStopUSec": "'soon'"});
    container.delete_force().ok();
    let container = bundle(t).set("/annotations", wrong).container();
    create(t, &container).fails_with("TimeoutStopUSec");
    assert_gone(t, &unit(t));
}

/// As Podman, CRI-O and containerd write them.
fn annotations_of_engines_become_properties(t: &Sandbox) {
    let annotations = json!({
        "org.systemd.property.KillSignal": "37",
        "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.DefaultDependencies": "true",
        "org.systemd.property.After": "['crio.service']",
        "org.systemd.property.Delegate": "true",
    });
    let container = bundle(t).set("/annotations", annotations).container();
    launch(t, &container);
    for (name, value) in [
        ("KillSignal", "37"),
        ("TimeoutStopUSec", "10s"),
        ("CollectMode", "inactive-or-failed"),
        ("DefaultDependencies", "yes"),
        ("Delegate", "yes"),
    ] {
        assert_eq!(property(t, &unit(t), name), value, "{name}");
    }
    assert!(property(t, &unit(t), "After").contains("crio.service"));
    container.delete_force().ok();
    assert_gone(t, &unit(t));
}

/// The plan refuses them before systemd is called, so hosts without systemd refuse them too.
fn annotations_that_reach_beyond_the_container_are_refused(t: &Sandbox) {
    let own = format!("[uint32 {}]", std::process::id());
    for (name, value) in [
        ("PIDs", own.as_str()),
        ("Slice", "'system.slice'"),
        ("Delegate", "false"),
        ("Conflicts", "['ssh.service']"),
        ("Requires", "['rescue.target']"),
        ("Before", "['ssh.service']"),
        ("OnFailure", "['reboot.target']"),
        ("SuccessAction", "'exit'"),
        ("FailureAction", "'reboot'"),
        ("JobTimeoutAction", "'poweroff-force'"),
        ("CPUWeight", "uint64 10000"),
        ("MemoryMin", "uint64 1000000000"),
        ("DevicePolicy", "'auto'"),
        ("NoSuchProperty", "7"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let annotations = json!({ key.as_str(): value });
        let container = bundle(t).set("/annotations", annotations).container();
        let expected = format!("annotations[\"{key}\"]: {name} cannot be set by an annotation");
        let output = create(t, &container).fails();
        // The log escapes the quotes.
        let message = output.stderr.replace('\\', "");
        assert!(message.contains(&expected), "{expected}\n{output}");
        container.verb("state").fails_with("does not exist");
    }
}

fn an_annotation_does_not_undo_a_limit(t: &Sandbox) {
    let bundle = |value: &str| {
        bundle(t)
            .set("/linux/resources/pids/limit", json!(20))
            .set("/annotations/org.systemd.property.TasksMax", json!(value))
    };
    let container = bundle("uint64 1000").container();
    create(t, &container).fails_with("linux.resources.pids.limit");
    let container = bundle("uint64 20").container();
    launch(t, &container);
    assert_eq!(property(t, &unit(t), "TasksMax"), "20");
    container.delete_force().ok();
}

fn a_taken_name_is_refused(t: &Sandbox) {
    let first = bundle(t).container();
    launch(t, &first);
    let second = first.sibling();
    create(t, &second).fails_with("another container may use it");
    assert_eq!(first.status(), "running");
    assert_eq!(property(t, &unit(t), "ActiveState"), "active");
}

fn the_default_is_a_scope_of_the_id(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    launch(t, &container);
    let unit = format!("sampan-{}.scope", container.id);
    assert_eq!(property(t, &unit, "Slice"), "system.slice");
    container.delete_force().ok();
    assert_gone(t, &unit);
    let container = t
        .bundle()
        .set("/linux/cgroupsPath", json!("/a/path"))
        .container();
    create(t, &container).fails_with("slice:prefix:name");
}

fn the_cgroup_namespace_begins_at_the_unit(t: &Sandbox) {
    let container = bundle(t).shell("cat /proc/self/cgroup").container();
    let call = t.runtime().args(["--systemd-cgroup", "run"]);
    let output = container.launch(call).finish().exits(0);
    assert!(
        output.stdout.lines().any(|line| line == "0::/"),
        "{}",
        output.stdout
    );
}

fn of_podman(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle.set("/annotations/io.container.manager", json!("libpod"))
}

fn callers_of_conmon_get_a_cgroup_in_the_unit(t: &Sandbox) {
    let bundle = of_podman(bundle(t)).set("/linux/resources/memory/limit", json!(67_108_864));
    let container = bundle.container();
    launch(t, &container);
    let unit = unit(t);
    let whole = format!("test.slice/test-a.slice/{unit}");
    assert!(container.cgroup().ends_with(format!("{whole}/container")));
    assert_eq!(container.cgroup_file("memory.max"), "67108864");
    assert_eq!(property(t, &unit, "MemoryMax"), "67108864");
    // Limits apply to processes of exec too: they are in the same cgroup.
    let script = "cat /proc/self/cgroup; sleep 1000 &";
    let output = container.exec(&["sh", "-c", script]).ok();
    output.prints("0::/");
    let processes = container.cgroup_file("cgroup.procs");
    assert_eq!(processes.lines().count(), 2, "{processes}");
    let flags = ["update", "--memory", "50331648"];
    t.runtime().args(flags).arg(&container.id).run().ok();
    assert_eq!(container.cgroup_file("memory.max"), "50331648");
    assert_eq!(property(t, &unit, "MemoryMax"), "50331648");
    container.verb("pause").ok();
    assert_eq!(container.status(), "paused");
    container.delete_force().ok();
    assert_gone(t, &unit);
}

/// conmon stops watching after an event that is not an out-of-memory kill.
fn the_unit_reaches_its_limit_before_the_cgroup_in_it(t: &Sandbox) {
    let limit = json!({"limit": 16 << 20, "swap": 16 << 20});
    let bundle = of_podman(bundle(t))
        .set("/linux/resources/memory", limit)
        .shell("head -c 67108864 /dev/zero | tail; exec sleep 1000");
    let container = bundle.container();
    launch(t, &container);
    let events = || container.cgroup_file("memory.events");
    t.eventually("a kill for memory", || events().contains("oom_kill 1"));
    let lines = events();
    for none in ["max 0", "oom 0"] {
        assert!(lines.lines().any(|line| line == none), "{lines}");
    }
    container.delete_force().ok();
}

fn an_annotation_decides_on_the_cgroup_in_the_unit(t: &Sandbox) {
    for (name, behind) in [("", String::new()), ("own", "/own".to_owned())] {
        let annotation = "/annotations/run.oci.systemd.subgroup";
        let bundle = of_podman(bundle(t)).set(annotation, json!(name));
        let container = bundle.container();
        launch(t, &container);
        let place = format!("test-a.slice/{}{behind}", unit(t));
        assert!(container.cgroup().ends_with(&place), "{place}");
        container.delete_force().ok();
        assert_gone(t, &unit(t));
    }
}

fn cpus_are_those_of_the_unit(t: &Sandbox) {
    let bundle = bundle(t).set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    let container = bundle.container();
    launch(t, &container);
    assert_eq!(property(t, &unit(t), "AllowedCPUs"), "0");
    assert_eq!(property(t, &unit(t), "AllowedMemoryNodes"), "0");
    assert_eq!(container.cgroup_file("cpuset.cpus"), "0");
    container.delete_force().ok();
    // A unit that started without the controller gets it from an update.
    let container = self::bundle(t).container();
    launch(t, &container);
    let flags = ["update", "--cpuset-cpus", "0"];
    t.runtime().args(flags).arg(&container.id).run().ok();
    assert_eq!(property(t, &unit(t), "AllowedCPUs"), "0");
    assert_eq!(container.cgroup_file("cpuset.cpus"), "0");
}
