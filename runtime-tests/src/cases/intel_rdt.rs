//! `linux.intelRdt`. A directory stands in for the resctrl file system, which only some servers
//! have: the runtime gets a mount namespace of its own where it is at /sys/fs/resctrl. What the
//! kernel does there, such as files in a new group, the cases do themselves.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Call, Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    group_of_the_container[UNSHARE],
    named_group_is_shared[UNSHARE],
    group_with_other_schemata_is_refused[UNSHARE],
    update_changes_the_schemata[UNSHARE],
    monitoring_group[UNSHARE],
    failed_create_removes_its_group[UNSHARE],
    host_without_resctrl,
    invalid_groups,
];

const UNSHARE: Need = Need::Program("unshare");

/// The directory that stands in for resctrl, with a group `gold`.
fn resctrl(t: &Sandbox) -> PathBuf {
    let resctrl = t.path("fs/resctrl");
    fs::create_dir_all(t.path("fs/cgroup")).expect("a directory");
    fs::create_dir_all(resctrl.join("gold/mon_groups")).expect("a directory");
    for directory in [resctrl.clone(), resctrl.join("gold")] {
        fs::write(
            directory.join("schemata"),
            "    L3:0=00ff;1=00ff\n    MB:0=100;1=100\n",
        )
        .expect("a file");
        fs::write(directory.join("tasks"), "").expect("a file");
    }
    resctrl
}

/// A call of the runtime that sees the directory at /sys/fs/resctrl.
fn seeing(t: &Sandbox, verb: &str) -> Call {
    let fs = t.path("fs");
    let fs = fs.display();
    let script = format!(
        "mount --rbind /sys/fs/cgroup {fs}/cgroup && mount --rbind {fs} /sys/fs && exec \"$@\""
    );
    t.runtime()
        .arg(verb)
        .prefix(["unshare", "-m", "sh", "-c", &script, "sh"])
}

fn with_rdt<'a>(t: &'a Sandbox, rdt: Value) -> Container<'a> {
    let bundle = t.bundle().set("/linux/intelRdt", rdt);
    bundle.args(&["sleep", "1000"]).container()
}

fn tasks(group: &std::path::Path) -> String {
    fs::read_to_string(group.join("tasks")).expect("tasks")
}

/// The group has the container's id. `exec` puts its process there, and `delete` removes it.
fn group_of_the_container(t: &Sandbox) {
    let rdt = json!({"l3CacheSchema": "L3:0=f;1=f", "memBwSchema": "MB:0=20;1=20",
        "schemata": ["L2:0=1"]});
    let container = with_rdt(t, rdt);
    let group = resctrl(t).join(&container.id);
    container.launch(seeing(t, "create")).finish().ok();
    let schemata = fs::read_to_string(group.join("schemata")).expect("schemata");
    assert_eq!(schemata, "L3:0=f;1=f\nMB:0=20;1=20\nL2:0=1\n");
    assert_eq!(tasks(&group), container.pid().to_string());
    container.start().ok();
    let output = seeing(t, "exec").args([&container.id, "true"]).run();
    output.ok();
    assert_ne!(tasks(&group), container.pid().to_string());
    container.stop();
    // The kernel's files go with their directory.
    for file in ["schemata", "tasks"] {
        fs::remove_file(group.join(file)).expect("the file");
    }
    seeing(t, "delete").arg(&container.id).run().ok();
    assert!(!group.exists());
}

fn named_group_is_shared(t: &Sandbox) {
    for rdt in [
        json!({"closID": "gold"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:0=ff;1=FF"}),
        json!({"closID": "/", "schemata": ["MB:1=100"]}),
    ] {
        let root = resctrl(t);
        let group = if rdt["closID"] == "/" {
            root
        } else {
            root.join("gold")
        };
        let container = with_rdt(t, rdt);
        container.launch(seeing(t, "create")).finish().ok();
        assert_eq!(tasks(&group), container.pid().to_string());
        container.stop();
        seeing(t, "delete").arg(&container.id).run().ok();
        assert!(group.exists());
    }
}

fn group_with_other_schemata_is_refused(t: &Sandbox) {
    resctrl(t);
    for (rdt, message) in [
        (
            json!({"closID": "gold", "l3CacheSchema": "L3:0=f;1=ff"}),
            "/gold exists and its schemata are not L3:0=f;1=ff",
        ),
        (json!({"closID": "silver"}), "/silver does not exist"),
    ] {
        let container = with_rdt(t, rdt);
        container
            .launch(seeing(t, "create"))
            .finish()
            .fails_with(message);
        container.verb("state").fails_with("does not exist");
    }
}

fn update_changes_the_schemata(t: &Sandbox) {
    let container = with_rdt(t, json!({"l3CacheSchema": "L3:0=f;1=f"}));
    let group = resctrl(t).join(&container.id);
    container.launch(seeing(t, "create")).finish().ok();
    let update = |flags: &[&str]| seeing(t, "update").args(flags).arg(&container.id).run();
    let schemata = || fs::read_to_string(group.join("schemata")).expect("schemata");
    update(&["--l3-cache-schema=L3:0=3", "--mem-bw-schema", "MB:0=50"]).ok();
    assert_eq!(schemata(), "L3:0=3\nMB:0=50\n");
    update(&["--mem-bw-schema=50"]).fails_with("--mem-bw-schema: linux.intelRdt.memBwSchema: ");
    assert_eq!(schemata(), "L3:0=3\nMB:0=50\n");
    container.stop();
    for file in ["schemata", "tasks"] {
        fs::remove_file(group.join(file)).expect("the file");
    }
    seeing(t, "delete").arg(&container.id).run().ok();

    let container = with_rdt(t, json!({"closID": "gold"}));
    container.launch(seeing(t, "create")).finish().ok();
    let output = seeing(t, "update")
        .args(["--l3-cache-schema=L3:0=3", &container.id])
        .run();
    output.fails_with("linux.intelRdt: the group is not the container's own");
    container.stop();
    seeing(t, "delete").arg(&container.id).run().ok();
}

fn monitoring_group(t: &Sandbox) {
    let container = with_rdt(t, json!({"closID": "gold", "enableMonitoring": true}));
    let gold = resctrl(t).join("gold");
    let monitor = gold.join("mon_groups").join(&container.id);
    container.launch(seeing(t, "create")).finish().ok();
    for group in [&gold, &monitor] {
        assert_eq!(tasks(group), container.pid().to_string());
    }
    container.stop();
    fs::remove_file(monitor.join("tasks")).expect("the file");
    seeing(t, "delete").arg(&container.id).run().ok();
    assert!(gold.exists() && !monitor.exists());
}

fn failed_create_removes_its_group(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/intelRdt", json!({}));
    // It fails after the group was made and before there is a process.
    let bundle = bundle.set("/linux/cgroupsPath", json!("sampan-taken"));
    let bundle = bundle.set("/linux/resources/unified", json!({"no.such": "1"}));
    let container = bundle.container();
    let group = resctrl(t).join(&container.id);
    container
        .launch(seeing(t, "create"))
        .finish()
        .fails_with("no.such");
    assert!(!group.exists());
}

fn host_without_resctrl(t: &Sandbox) {
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        t.skip("the host has resctrl");
    }
    let container = with_rdt(t, json!({"closID": "gold"}));
    let message = "linux.intelRdt: no resctrl is mounted on /sys/fs/resctrl";
    container.create().fails_with(message);
    container.verb("state").fails_with("does not exist");
}

fn invalid_groups(t: &Sandbox) {
    for (rdt, message) in [
        (json!({"closID": "../x"}), "linux.intelRdt.closID: "),
        (json!({"closID": "info"}), "linux.intelRdt.closID: "),
        (
            json!({"l3CacheSchema": "ff"}),
            "linux.intelRdt.l3CacheSchema: ",
        ),
        (
            json!({"schemata": ["MB:0"]}),
            "linux.intelRdt.schemata[0]: ",
        ),
    ] {
        with_rdt(t, rdt).create().fails_with(message);
    }
}
