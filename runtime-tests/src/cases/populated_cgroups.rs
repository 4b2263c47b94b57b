//! A container below a cgroup that has processes of its own, as in a container that has the whole
//! hierarchy, and below a threaded cgroup.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::container::reap;
use crate::host::cgroup2_mount;
use crate::{Bundle, Container, Need, Running, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    no_limit_leaves_a_populated_parent_as_it_is[Need::Controller("pids")],
    a_limit_of_pids_makes_the_container_threaded[Need::Controller("pids"), Need::NotAPeer],
    a_limit_of_memory_is_refused_and_undone[Need::Controller("memory"), Need::NotAPeer],
    a_wrong_limit_is_undone[Need::Controller("pids"), Need::NotAPeer],
    a_threaded_parent_is_joined[Need::NotAPeer],
    exec_beyond_the_limit_of_pids[Need::Controller("pids")],
    a_full_parent_is_named[Need::Controller("pids"), Need::NotAPeer],
];

/// A cgroup of the caller, with a process in it.
struct Parent {
    path: PathBuf,
    process: Option<Running>,
}

impl Parent {
    fn new(t: &Sandbox) -> Self {
        let path = cgroup2_mount().expect("cgroup v2").join(&t.id);
        fs::create_dir(&path).expect("a cgroup");
        let process = t.call("sleep").arg("1000").spawn();
        let parent = Self {
            path,
            process: Some(process),
        };
        let pid = parent.process.as_ref().map(Running::pid);
        parent.write("cgroup.procs", &pid.unwrap_or_default().to_string());
        parent
    }

    fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path.join(name)).expect("a control file");
        text.trim().to_owned()
    }

    fn write(&self, name: &str, value: &str) {
        fs::write(self.path.join(name), value).expect("a control file");
    }

    fn is_untouched(&self) {
        assert_eq!(self.read("cgroup.subtree_control"), "");
        assert_eq!(self.read("cgroup.type"), "domain");
    }

    fn end(mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::SIGKILL);
            process.finish();
        }
        fs::remove_dir(&self.path).expect("nothing is left below it");
    }
}

/// A container whose cgroup is `a/b` below the parent's.
fn below<'t>(t: &'t Sandbox, resources: Value) -> Container<'t> {
    let bundle = bundle_below(t, resources);
    bundle.args(&["sleep", "1000"]).container()
}

fn bundle_below<'t>(t: &'t Sandbox, resources: Value) -> Bundle<'t> {
    t.bundle()
        .set("/linux/cgroupsPath", json!(format!("/{}/a/b", t.id)))
        .set("/linux/resources", resources)
}

fn no_limit_leaves_a_populated_parent_as_it_is(t: &Sandbox) {
    let parent = Parent::new(t);
    let container = below(t, json!({}));
    container.launch_ok();
    assert_eq!(container.cgroup(), parent.path.join("a/b"));
    parent.is_untouched();
    container.delete_force().ok();
    let _ = fs::remove_dir(parent.path.join("a"));
    parent.end();
}

/// Every verb that reaches the processes through the cgroup.
fn verbs_work(t: &Sandbox, container: &Container) {
    let init = container.pid();
    container.exec(&["true"]).ok();
    let listed = t
        .runtime()
        .args(["ps", "--format", "json", &container.id])
        .run();
    assert_eq!(listed.ok().json(), json!([init]));
    container.verb("pause").ok();
    assert_eq!(container.status(), "paused");
    container.verb("resume").ok();
    t.runtime()
        .args(["events", "--stats", &container.id])
        .run()
        .ok();
    t.runtime()
        .args(["kill", "--all", &container.id, "KILL"])
        .run()
        .ok();
    assert_eq!(reap(init), 137);
    container.delete().ok();
}

fn a_limit_of_pids_makes_the_container_threaded(t: &Sandbox) {
    let parent = Parent::new(t);
    let container = below(t, json!({"pids": {"limit": 20}}));
    container.launch_ok();
    assert_eq!(container.cgroup_file("pids.max"), "20");
    assert_eq!(container.cgroup_file("cgroup.type"), "threaded");
    verbs_work(t, &container);
    let again = below(t, json!({"pids": {"limit": 20}}));
    again.launch_ok();
    again.delete_force().ok();
    let _ = fs::remove_dir(parent.path.join("a"));
    parent.end();
}

fn a_limit_of_memory_is_refused_and_undone(t: &Sandbox) {
    let parent = Parent::new(t);
    for resources in [
        json!({"memory": {"limit": 1 << 26}}),
        json!({"memory": {"limit": 1 << 26}, "pids": {"limit": 20}, "cpu": {"shares": 512}}),
    ] {
        let container = below(t, resources);
        let output = container.create().fails_with("the memory controller");
        let file = parent.path.join("cgroup.subtree_control");
        assert!(output.stderr.contains(&*file.to_string_lossy()), "{output}");
        assert!(output.stderr.contains("contains processes"), "{output}");
        assert!(!parent.path.join("a").exists());
        parent.is_untouched();
    }
    parent.end();
}

fn a_wrong_limit_is_undone(t: &Sandbox) {
    let parent = Parent::new(t);
    let container = below(t, json!({"unified": {"pids.max": "nonsense"}}));
    container.create().fails_with("pids.max");
    assert!(!parent.path.join("a").exists());
    parent.is_untouched();
    let bundle = bundle_below(t, json!({"pids": {"limit": 20}}));
    let container = bundle.args(&["/no/such/program"]).container();
    container.create().fails_with("no such file");
    parent.is_untouched();
    parent.end();
}

fn a_threaded_parent_is_joined(t: &Sandbox) {
    let parent = Parent::new(t);
    fs::create_dir(parent.path.join("threads")).expect("a cgroup");
    parent.write("threads/cgroup.type", "threaded");
    let container = below(t, json!({}));
    container.launch_ok();
    assert_eq!(container.cgroup_file("cgroup.type"), "threaded");
    verbs_work(t, &container);
    let forced = below(t, json!({}));
    forced.launch_ok();
    forced.delete_force().ok();
    let _ = fs::remove_dir(parent.path.join("a"));
    fs::remove_dir(parent.path.join("threads")).expect("an empty cgroup");
    parent.end();
}

fn exec_beyond_the_limit_of_pids(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/resources/pids/limit", json!(1));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(container.cgroup_file("pids.current"), "1");
}

fn a_full_parent_is_named(t: &Sandbox) {
    let parent = Parent::new(t);
    parent.write("pids.max", "1");
    let output = below(t, json!({})).create().fails_with("clone3");
    let file = parent.path.join("pids.max");
    assert!(output.stderr.contains(&*file.to_string_lossy()), "{output}");
    parent.end();
}
