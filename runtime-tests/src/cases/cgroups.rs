//! `linux.cgroupsPath` and the life cycle of the cgroup. `limits` tests limits.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::container::reap;
use crate::host::cgroup2_mount;
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    absolute_path_starts_at_the_root[Need::NotAPeer],
    relative_path_is_beside_the_callers[Need::NotAPeer],
    absent_path_is_the_id[Need::NotAPeer],
    deep_path_is_made_and_removed[Need::NotAPeer],
    dots_stay_inside[Need::NotAPeer],
    dots_of_a_relative_path_stay_below_the_callers_parent[Need::NotAPeer],
    files_of_the_cgroup_core_are_refused_as_limits[Need::NotAPeer],
    empty_cgroup_may_exist[Need::NotAPeer],
    cgroup_with_processes_is_refused[Need::NotAPeer],
    path_of_the_root_is_refused[Need::NotAPeer],
    nested_cgroups_are_removed_with_the_container[Need::NotAPeer],
    refused_create_leaves_no_cgroup,
    frozen_container_is_paused[Need::NotAPeer],
    frozen_container_is_deleted_by_force[Need::NotAPeer],
    every_process_is_in_the_cgroup[Need::NotAPeer],
    denied_device_cannot_be_opened[Need::NotAPeer],
    limit_without_its_controller_is_named[NO_MEMORY, Need::NotAPeer],
    no_limit_needs_no_controller[NO_MEMORY, Need::NotAPeer],
    limits_are_seen_inside[Need::Controller("memory"), Need::Controller("pids")],
    limits_of_every_kind[Need::Controller("memory"), Need::Controller("pids"), Need::Controller("cpu")],
    wrong_unified_property_leaves_nothing[Need::Controller("memory")],
    no_cgroup_on_request[Need::NotAPeer],
];

/// A cgroup v2 hierarchy without the memory controller, as on hybrid hosts.
const NO_MEMORY: Need =
    Need::Custom(
        "a cgroup v2 hierarchy without a memory controller",
        || match Need::Controller("memory").check(std::path::Path::new("/")) {
            Ok(()) => Err("the host has the memory controller in cgroup v2".into()),
            Err(_) => Ok(()),
        },
    );

fn mount() -> PathBuf {
    cgroup2_mount().expect("cgroup v2")
}

fn with_path<'t>(t: &'t Sandbox, path: &str) -> Container<'t> {
    let bundle = t.bundle().set("/linux/cgroupsPath", json!(path));
    bundle.args(&["sleep", "1000"]).container()
}

fn end(container: &Container) {
    let cgroup = container.cgroup();
    assert!(cgroup.is_dir());
    container.delete_force().ok();
    assert!(!cgroup.exists(), "{} is still there", cgroup.display());
}

fn absolute_path_starts_at_the_root(t: &Sandbox) {
    let container = with_path(t, &format!("/{}-absolute", t.id));
    container.create().ok();
    assert_eq!(
        container.cgroup(),
        mount().join(format!("{}-absolute", t.id))
    );
    container.start().ok();
    end(&container);
}

/// The parent of the cgroup that contains this process, and so the runtime.
fn parent() -> PathBuf {
    let text = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let own = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .expect("a v2 line");
    let own = mount().join(own);
    if own == mount() {
        own
    } else {
        own.parent().expect("a parent").to_owned()
    }
}

fn relative_path_is_beside_the_callers(t: &Sandbox) {
    let container = with_path(t, &format!("{}-relative", t.id));
    container.create().ok();
    assert_eq!(
        container.cgroup(),
        parent().join(format!("{}-relative", t.id))
    );
    end(&container);
}

fn absent_path_is_the_id(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    assert_eq!(container.cgroup(), parent().join(&container.id));
    end(&container);
}

fn deep_path_is_made_and_removed(t: &Sandbox) {
    let top = mount().join(&t.id);
    fs::create_dir(&top).expect("a cgroup of the caller's");
    let container = with_path(t, &format!("/{}/a/b/c", t.id));
    container.create().ok();
    assert_eq!(container.cgroup(), top.join("a/b/c"));
    end(&container);
    assert!(top.is_dir(), "the caller's cgroup is none of the runtime's");
    let _ = fs::remove_dir(top.join("a/b"));
    let _ = fs::remove_dir(top.join("a"));
    fs::remove_dir(&top).expect("nothing is left in it");
}

fn dots_stay_inside(t: &Sandbox) {
    let container = with_path(t, &format!("/../../x/../{}-dots", t.id));
    container.create().ok();
    assert_eq!(container.cgroup(), mount().join(format!("{}-dots", t.id)));
    end(&container);
}

/// The caller's own cgroup is two levels deep, so three times `..` would lead to the root.
fn dots_of_a_relative_path_stay_below_the_callers_parent(t: &Sandbox) {
    let outer = mount().join(&t.id);
    fs::create_dir_all(outer.join("inner/caller")).expect("cgroups");
    let procs = outer.join("inner/caller/cgroup.procs");
    let enter = format!("echo $$ >{}; exec \"$@\"", procs.display());
    let container = with_path(t, &format!("../../../{}-escaped", t.id));
    let call = t.runtime().arg("create").prefix(["sh", "-c", &enter, "sh"]);
    container.launch(call).finish().ok();
    let name = format!("inner/{}-escaped", t.id);
    assert_eq!(container.cgroup(), outer.join(name));
    end(&container);
    for directory in ["inner/caller", "inner", ""] {
        fs::remove_dir(outer.join(directory)).expect("nothing is left in it");
    }
}

/// These files act on processes, including the host's, and on what the runtime itself relies on.
fn files_of_the_cgroup_core_are_refused_as_limits(t: &Sandbox) {
    let mut victim = t.call("sleep").arg("1000").spawn();
    let cgroup = || fs::read_to_string(format!("/proc/{}/cgroup", victim.pid()));
    let before = cgroup().expect("the victim's cgroup");
    let pid = victim.pid().to_string();
    for (file, value) in [
        ("cgroup.procs", pid.as_str()),
        ("cgroup.threads", &pid),
        ("cgroup.kill", "1"),
        ("cgroup.freeze", "1"),
        ("cgroup.type", "threaded"),
        ("cgroup.subtree_control", "+pids"),
        ("cgroup.no_such_file", "1"),
    ] {
        let unified = json!({file: value});
        let bundle = t.bundle().set("/linux/resources/unified", unified);
        let container = bundle.args(&["sleep", "1000"]).container();
        let output = container.create().fails_with("linux.resources.unified");
        assert!(output.stderr.contains(file), "{output}");
        container.verb("state").fails_with("does not exist");
        assert_eq!(cgroup().expect("the victim's cgroup"), before, "{file}");
    }
    for (file, value) in [("cgroup.max.depth", "3"), ("cgroup.max.descendants", "7")] {
        let unified = json!({file: value});
        let bundle = t.bundle().set("/linux/resources/unified", unified);
        let container = bundle.args(&["sleep", "1000"]).container();
        container.create().ok();
        assert_eq!(container.cgroup_file(file), value);
        container.delete_force().ok();
    }
    assert!(victim.is_running());
    victim.signal(nix::sys::signal::Signal::SIGKILL);
    victim.finish();
}

fn empty_cgroup_may_exist(t: &Sandbox) {
    let name = format!("{}-there", t.id);
    fs::create_dir(mount().join(&name)).expect("cgroup");
    let container = with_path(t, &format!("/{name}"));
    container.create().ok();
    assert_eq!(container.cgroup(), mount().join(&name));
    container.delete_force().ok();
    // The runtime may keep or remove it.
    let _ = fs::remove_dir(mount().join(&name));
}

fn cgroup_with_processes_is_refused(t: &Sandbox) {
    let name = format!("/{}-taken", t.id);
    let first = with_path(t, &name);
    first.launch_ok();
    let second = with_path(t, &name);
    second.create().fails_with("not empty");
    second.verb("state").fails_with("does not exist");
    assert_eq!(
        first.status(),
        "running",
        "the refused create must not touch the first"
    );
    end(&first);
}

fn path_of_the_root_is_refused(t: &Sandbox) {
    for path in ["/", "/..", "/a/.."] {
        let container = with_path(t, path);
        container.create().fails_with("cgroupsPath");
        container.verb("state").fails_with("does not exist");
    }
}

fn nested_cgroups_are_removed_with_the_container(t: &Sandbox) {
    let container = with_path(t, &format!("/{}-nested", t.id));
    container.launch_ok();
    let cgroup = container.cgroup();
    for name in ["one", "one/two", "three"] {
        fs::create_dir(cgroup.join(name)).expect("a nested cgroup");
    }
    let pid = container.pid();
    fs::write(cgroup.join("one/two/cgroup.procs"), pid.to_string()).expect("move init");
    container.kill("KILL").ok();
    reap(pid);
    container.delete().ok();
    assert!(!cgroup.exists());
}

fn refused_create_leaves_no_cgroup(t: &Sandbox) {
    let name = format!("{}-failed", t.id);
    let bundle = t
        .bundle()
        .set("/linux/cgroupsPath", json!(format!("/{name}")));
    let container = bundle.args(&["/no/such/program"]).container();
    container.create().fails();
    for (_, mount) in crate::host::cgroup_mounts() {
        assert!(!mount.join(&name).exists(), "{}", mount.display());
    }
}

fn frozen_container_is_paused(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let file = container.cgroup().join("cgroup.freeze");
    fs::write(&file, "1").expect("freeze");
    container.wait_status("paused");
    fs::write(&file, "0").expect("thaw");
    container.wait_status("running");
}

fn frozen_container_is_deleted_by_force(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    fs::write(container.cgroup().join("cgroup.freeze"), "1").expect("freeze");
    container.delete().fails();
    container.delete_force().ok();
}

fn every_process_is_in_the_cgroup(t: &Sandbox) {
    let script = "sleep 1001 & setsid sleep 1002 & echo ready; wait";
    let container = t.bundle().shell(script).container();
    container.create().ok();
    assert_eq!(
        container.cgroup_file("cgroup.procs"),
        container.pid().to_string()
    );
    container.start().ok();
    container.wait_stdout("ready");
    let count = || container.cgroup_file("cgroup.procs").lines().count();
    t.eventually("three processes", || count() == 3);
}

fn denied_device_cannot_be_opened(t: &Sandbox) {
    // The nodes of /dev/mem and /dev/zero under other names: creating them is allowed, opening the
    // first is not. They are created in /dev, because the rootfs may be on a nodev mount.
    let script = "cd /dev; mknod one c 1 1 && mknod five c 1 5 && echo made
        head -c 1 one 2>&1 | grep -o 'not permitted'; head -c 1 five >/dev/null && echo opened";
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "access": "m"},
        {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rw"},
    ]);
    let bundle = t.bundle().set("/linux/resources/devices", rules);
    let output = bundle.shell(script).container().run().ok();
    output.prints("made\nnot permitted\nopened");
}

fn limit_without_its_controller_is_named(t: &Sandbox) {
    for (pointer, value, controller) in [
        ("memory/limit", json!(1 << 26), "memory"),
        ("pids/limit", json!(10), "pids"),
        ("cpu/shares", json!(512), "cpu"),
        ("unified", json!({"memory.high": "1000000"}), "memory"),
    ] {
        let bundle = t
            .bundle()
            .set(&format!("/linux/resources/{pointer}"), value);
        let container = bundle.container();
        let output = container
            .create()
            .fails_with(&format!("no {controller} controller"));
        let field = format!("linux.resources.{}", pointer.replace('/', "."));
        assert!(output.stderr.contains(&field), "{output}");
        container.verb("state").fails_with("does not exist");
    }
}

fn no_limit_needs_no_controller(t: &Sandbox) {
    let resources = json!({"memory": {"limit": -1}, "pids": {"limit": -1}});
    let bundle = t.bundle().set("/linux/resources", resources);
    bundle.container().run().ok();
}

fn limits_are_seen_inside(t: &Sandbox) {
    let resources = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 20}});
    let cgroup = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"]});
    let bundle = t.bundle().set("/linux/resources", resources).mount(cgroup);
    let script =
        "cd /sys/fs/cgroup; cat memory.max pids.max; echo 1 >cgroup.freeze || echo readonly";
    let output = bundle.shell(script).container().run().ok();
    assert_eq!(output.stdout, "67108864\n20\nreadonly\n", "{output}");
}

fn limits_of_every_kind(t: &Sandbox) {
    let resources = json!({
        "memory": {"limit": 64 << 20, "reservation": 32 << 20},
        "pids": {"limit": 20},
        "cpu": {"quota": 25_000, "period": 50_000, "burst": 1000, "shares": 1024},
        "unified": {"memory.high": "50000000", "pids.max": "30"},
    });
    let bundle = t.bundle().set("/linux/resources", resources);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.low", "33554432"),
        ("cpu.max", "25000 50000"),
        ("cpu.weight", "100"),
        // The unified properties are applied last.
        ("pids.max", "30"),
    ] {
        assert_eq!(container.cgroup_file(file), value, "{file}");
    }
    let high: u64 = container
        .cgroup_file("memory.high")
        .parse()
        .expect("a number");
    // The kernel rounds to pages.
    assert!(high <= 50_000_000 && high > 49_900_000, "{high}");
    end(&container);
}

fn wrong_unified_property_leaves_nothing(t: &Sandbox) {
    for (file, value) in [
        ("memory.nonsense", "1"),
        ("memory.max", "nonsense"),
        ("../memory.max", "1"),
    ] {
        let unified = json!({file: value});
        let container = t
            .bundle()
            .set("/linux/resources/unified", unified)
            .container();
        let output = container.create().fails();
        assert!(output.stderr.contains("unified"), "{output}");
        container.verb("state").fails_with("does not exist");
    }
}

fn no_cgroup_on_request(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let call = t.runtime().args(["--cgroup-manager", "disabled", "create"]);
    container.launch(call).finish().ok();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("cgroup");
    assert!(!text.contains(&t.id), "{text}");
    container.start().ok();
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
}
