//! mounts add and mounts remove: what a running container sees, what is refused, and what a failure
//! leaves.

use std::collections::BTreeMap;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::userns_fs::mapped;
use crate::call::{Call, Output};
use crate::container::Container;
use crate::steps::with_children;
use crate::{Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    added_mounts_are_seen_and_removed[Need::NotAPeer],
    an_added_file_is_seen_and_removed_by_its_place[Need::NotAPeer],
    mounts_of_a_created_container_are_changed[Need::NotAPeer],
    mounts_add_is_all_or_nothing[Need::NotAPeer],
    mounts_add_names_a_missing_source[Need::NotAPeer],
    mounts_add_refuses_to_cover_what_confines[Need::NotAPeer],
    mounts_add_does_not_cover_the_root[Need::NotAPeer],
    mounts_remove_needs_a_mount[Need::NotAPeer],
    mounts_remove_follows_no_link[Need::NotAPeer],
    mounts_of_a_stopped_container_are_refused[Need::NotAPeer],
    an_added_mqueue_is_never_the_hosts[Need::NotAPeer],
    an_added_procfs_is_that_of_a_joined_pid_namespace[Need::NotAPeer],
    an_added_bind_keeps_what_the_host_locks[Need::NotAPeer],
    mounts_on_top_do_not_save_a_failed_mount[Need::NotAPeer],
    mounts_are_changed_in_the_containers_cgroup[Need::NotAPeer],
];

fn mounts(t: &Sandbox, container: &Container, action: &str, list: Value) -> Output {
    change(t, container, action, &list).run()
}

/// A file with the list, and the call that hands it to the runtime.
fn change(t: &Sandbox, container: &Container, action: &str, list: &Value) -> Call {
    let file = t.path("mounts.json");
    std::fs::write(&file, list.to_string()).unwrap();
    let call = t.runtime().args(["mounts", action]);
    call.arg(&container.id).arg(&file)
}

fn launched(t: &Sandbox) -> Container<'_> {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
}

fn bind(source: &std::path::Path, destination: &str) -> Value {
    json!({"source": source, "destination": destination, "options": ["bind", "ro"]})
}

fn tmpfs(destination: &str) -> Value {
    json!({"type": "tmpfs", "source": "tmpfs", "destination": destination,
        "options": ["nosuid", "ro", "size=64k"]})
}

fn mount_table(container: &Container) -> String {
    container.exec(&["cat", "/proc/self/mountinfo"]).ok().stdout
}

fn added_mounts_are_seen_and_removed(t: &Sandbox) {
    let source = t.path("shared");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("word"), "from the host").unwrap();
    let container = launched(t);
    let before = mount_table(&container);
    let list = json!([bind(&source, "/mnt/shared"), tmpfs("/mnt/scratch")]);
    mounts(t, &container, "add", list.clone()).ok();
    container
        .exec(&["cat", "/mnt/shared/word"])
        .ok()
        .prints("from the host");
    container.exec(&["touch", "/mnt/shared/new"]).fails();
    container.exec(&["touch", "/mnt/scratch/new"]).fails();
    let table = mount_table(&container);
    let scratch = table.lines().find(|line| line.contains(" /mnt/scratch "));
    let scratch = scratch.expect("the tmpfs is mounted");
    assert!(scratch.contains("ro,nosuid"), "{scratch}");
    assert!(scratch.contains("size=64k"), "{scratch}");
    mounts(t, &container, "remove", list).ok();
    assert_eq!(mount_table(&container), before);
}

fn an_added_file_is_seen_and_removed_by_its_place(t: &Sandbox) {
    let source = t.path("word");
    std::fs::write(&source, "a file").unwrap();
    let container = launched(t);
    let before = mount_table(&container);
    let list = json!([bind(&source, "/mnt/word"), tmpfs("/mnt/scratch")]);
    mounts(t, &container, "add", list).ok();
    container.exec(&["cat", "/mnt/word"]).ok().prints("a file");
    let places = json!([{"destination": "/mnt/word"},
        {"destination": "/mnt/scratch", "options": ["bind", "no-such-word"]}]);
    mounts(t, &container, "remove", places).ok();
    assert_eq!(mount_table(&container), before);
}

fn mounts_of_a_created_container_are_changed(t: &Sandbox) {
    let container = t.bundle().shell("cat /mnt/word").container();
    let source = t.path("word");
    std::fs::write(&source, "early").unwrap();
    container.create().ok();
    mounts(t, &container, "add", json!([bind(&source, "/mnt/word")])).ok();
    container.start().ok();
    container.wait_stdout("early");
}

fn mounts_add_is_all_or_nothing(t: &Sandbox) {
    let source = t.path("word");
    std::fs::write(&source, "a file").unwrap();
    let container = launched(t);
    let before = mount_table(&container);
    let wrong = json!({"type": "tmpfs", "destination": "/mnt/b", "options": ["size=nonsense"]});
    let list = json!([tmpfs("/mnt/a"), bind(&source, "/mnt/word"), wrong]);
    mounts(t, &container, "add", list).fails_with("mounts[2]");
    assert_eq!(mount_table(&container), before);
}

fn mounts_add_names_a_missing_source(t: &Sandbox) {
    let container = launched(t);
    let before = mount_table(&container);
    let missing = t.path("missing");
    let list = json!([tmpfs("/mnt/a"), bind(&missing, "/mnt/b")]);
    mounts(t, &container, "add", list).fails_with("mounts[1]: source");
    assert_eq!(mount_table(&container), before);
}

fn mounts_add_refuses_to_cover_what_confines(t: &Sandbox) {
    let container = launched(t);
    let before = mount_table(&container);
    for place in [
        "/",
        "/proc",
        "/sys",
        "/dev",
        "/proc/self/attr",
        "/proc/../proc",
    ] {
        mounts(t, &container, "add", json!([tmpfs(place)])).fails_with("mounts[0].destination");
        mounts(t, &container, "remove", json!([tmpfs(place)])).fails_with("mounts[0]");
    }
    // Through a link the path reveals nothing, but the descriptor does.
    container
        .exec(&["ln", "-s", "/proc/self", "/tmp/link"])
        .ok();
    mounts(t, &container, "add", json!([tmpfs("/tmp/link/attr")])).fails_with("procfs");
    assert_eq!(mount_table(&container), before);
}

fn mounts_add_does_not_cover_the_root(t: &Sandbox) {
    let source = t.path("shared");
    std::fs::create_dir(&source).unwrap();
    let container = launched(t);
    container.exec(&["ln", "-s", "/", "/link"]).ok();
    for mount in [bind(&source, "/link"), tmpfs("/link")] {
        let added = mounts(t, &container, "add", json!([mount]));
        added.fails_with("leads to the container's /");
    }
    // A process that enters later sees the container's mounts.
    container.exec(&["true"]).ok();
}

fn mounts_remove_needs_a_mount(t: &Sandbox) {
    let container = launched(t);
    let before = mount_table(&container);
    mounts(t, &container, "remove", json!([tmpfs("/tmp/.")])).fails_with("nothing is mounted");
    mounts(t, &container, "remove", json!([tmpfs("/missing")])).fails_with("no such file");
    mounts(t, &container, "remove", json!({"destination": "/tmp"})).fails_with("mounts");
    assert_eq!(mount_table(&container), before);
}

fn mounts_remove_follows_no_link(t: &Sandbox) {
    let container = launched(t);
    let before = mount_table(&container);
    container.exec(&["ln", "-s", "/proc", "/tmp/link"]).ok();
    container.exec(&["ln", "-s", "/", "/tmp/top"]).ok();
    for place in ["/tmp/link", "/tmp/top/proc"] {
        mounts(t, &container, "remove", json!([tmpfs(place)])).fails();
    }
    assert_eq!(mount_table(&container), before);
}

fn mounts_of_a_stopped_container_are_refused(t: &Sandbox) {
    let container = launched(t);
    container.verb("pause").ok();
    mounts(t, &container, "add", json!([tmpfs("/mnt")])).fails_with("not running");
    container.verb("resume").ok();
    container.stop();
    mounts(t, &container, "add", json!([tmpfs("/mnt")])).fails_with("not running");
    mounts(t, &container, "remove", json!([tmpfs("/mnt")])).fails_with("not running");
}

/// Starts a container in its own user namespace, and in the namespace `kind` of another container.
fn launched_in<'a>(t: &'a Sandbox, kind: &str, holder: &Container) -> Container<'a> {
    let path = format!("/proc/{}/ns/{kind}", holder.pid());
    let container = mapped(t.bundle())
        .without_namespace(kind)
        .push("/linux/namespaces", json!({"type": kind, "path": path}))
        .args(&["sleep", "1000"])
        .container();
    container.launch_ok();
    container
}

fn an_added_mqueue_is_never_the_hosts(t: &Sandbox) {
    let holder = launched(t);
    let container = launched_in(t, "ipc", &holder);
    let before = mount_table(&container);
    let mqueue = json!([{"type": "mqueue", "source": "mqueue", "destination": "/mnt/queues"}]);
    mounts(t, &container, "add", mqueue).fails_with("mounts[0]");
    assert_eq!(mount_table(&container), before);
}

fn an_added_procfs_is_that_of_a_joined_pid_namespace(t: &Sandbox) {
    let holder = launched(t);
    let container = launched_in(t, "pid", &holder);
    let proc = json!([{"type": "proc", "source": "proc", "destination": "/mnt/proc"}]);
    mounts(t, &container, "add", proc).ok();
    let shown = container.exec(&["cat", "/mnt/proc/1/comm"]).ok();
    shown.prints("sleep");
}

/// Like a bind mount of the config in a user namespace: see `container_cannot_clear_a_locked_flag`.
fn an_added_bind_keeps_what_the_host_locks(t: &Sandbox) {
    mount_info::leave_host();
    let source = t.path("source");
    mount_info::tmpfs(&source, MsFlags::empty());
    std::fs::create_dir(source.join("sub")).unwrap();
    std::fs::write(source.join("sub/hidden"), "").unwrap();
    mount_info::tmpfs(&source.join("sub"), MsFlags::empty());
    let readonly = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount_info::change(&source, readonly);
    let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    let bundle = mapped(t.bundle()).set("/process/capabilities", sets);
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let before = mount_table(&container);
    let list = json!([{"source": source, "destination": "/mnt", "options": ["rbind"]}]);
    mounts(t, &container, "add", list.clone()).ok();
    for script in [
        "mount -o remount,bind,rw /mnt; grep -q '/mnt rw' /proc/self/mountinfo && echo cleared",
        "umount /mnt/sub; ls -A /mnt/sub",
    ] {
        let shown = container.exec(&["sh", "-c", script]);
        assert_eq!(shown.stdout, "", "{shown}");
    }
    mounts(t, &container, "remove", list).ok();
    assert_eq!(mount_table(&container), before);
}

/// The many mounts before the wrong one give the container time to mount on the first.
fn mounts_on_top_do_not_save_a_failed_mount(t: &Sandbox) {
    let script = ": >/tmp/ready; until grep -q ' /mnt/first ' /proc/self/mountinfo; do :; done
        mount -t tmpfs top /mnt/first && : >/tmp/stacked; sleep 1000";
    let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    let bundle = t.bundle().set("/process/capabilities", sets);
    let bundle = bundle.shell(script);
    let rootfs = bundle.rootfs();
    let container = bundle.container();
    container.launch_ok();
    t.eventually("the container looks", || rootfs.join("tmp/ready").exists());
    let mut list = vec![tmpfs("/mnt/first")];
    list.extend((0..300).map(|number| tmpfs(&format!("/mnt/{number}"))));
    list.push(json!({"type": "tmpfs", "destination": "/mnt/b", "options": ["size=nonsense"]}));
    mounts(t, &container, "add", Value::Array(list)).fails_with("mounts[301]");
    let table = mount_table(&container);
    let ours = table.lines().find(|line| line.contains("size=64k"));
    assert_eq!(ours, None, "{table}");
    if !rootfs.join("tmp/stacked").exists() {
        t.skip("the container was too slow");
    }
}

/// The cgroup2 line of /proc/PID/cgroup.
fn cgroup_of(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process");
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with("0::"));
    line.expect("a cgroup of version 2").to_owned()
}

/// The files that are copied up are memory, which counts for the cgroup of the process that copies
/// them. The runtime's other children only make a procfs.
fn mounts_are_changed_in_the_containers_cgroup(t: &Sandbox) {
    let mut bundle = t.bundle().args(&["sleep", "1000"]);
    for number in 0..20 {
        bundle = bundle.file(&format!("/copied/{number}"), "text");
    }
    let container = bundle.container();
    container.launch_ok();
    let expected = cgroup_of(container.pid());
    assert_ne!(expected, cgroup_of(std::process::id() as i32));
    let list = json!([{"type": "tmpfs", "source": "tmpfs", "destination": "/copied",
        "options": ["tmpcopyup"]}]);
    for action in ["add", "remove"] {
        let mut seen = BTreeMap::<i32, Vec<String>>::new();
        let call = change(t, &container, action, &list);
        let look = |pid: nix::unistd::Pid, _| {
            let of_process = seen.entry(pid.as_raw()).or_default();
            of_process.push(cgroup_of(pid.as_raw()));
        };
        with_children(call, look).ok();
        let busiest = seen.into_values().max_by_key(Vec::len);
        for found in busiest.expect("a process that changes the mounts") {
            assert_eq!(found, expected, "mounts {action}");
        }
    }
}
