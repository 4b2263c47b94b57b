//! A path in `linux.namespaces` that leads to the runtime's own namespace or to the host's. The
//! container must not change settings there that it may change in a new namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    changes_of_the_runtimes_own_namespace_are_refused[Need::NotAPeer],
    changes_of_the_hosts_namespace_are_refused[Need::NotAPeer],
    the_runtimes_own_mount_namespace_cannot_be_joined[Need::NotAPeer],
    the_runtimes_own_cgroup_namespace_shows_no_hierarchy[Need::NotAPeer],
    no_hierarchy_is_added_to_the_runtimes_own_cgroup_namespace[Need::NotAPeer],
    the_runtimes_own_user_namespace_cannot_be_joined[Need::NotAPeer],
    an_unchanged_own_namespace_may_be_joined,
];

/// Each property: the type of its namespace, its JSON pointer, its value, and its name in errors.
fn properties() -> [(&'static str, &'static str, Value, &'static str); 8] {
    let sysctl = |key: &str, value: &str| json!({ key: value });
    [
        (
            "network",
            "/linux/sysctl",
            sysctl("net.ipv4.ip_forward", "1"),
            "linux.sysctl[\"net.ipv4.ip_forward\"]",
        ),
        (
            "network",
            "/linux/netDevices",
            json!({"eth0": {"name": "eth1"}}),
            "linux.netDevices",
        ),
        (
            "ipc",
            "/linux/sysctl",
            sysctl("kernel.msgmax", "12345"),
            "linux.sysctl[\"kernel.msgmax\"]",
        ),
        (
            "ipc",
            "/linux/sysctl",
            sysctl("fs.mqueue.queues_max", "77"),
            "linux.sysctl[\"fs.mqueue.queues_max\"]",
        ),
        (
            "uts",
            "/linux/sysctl",
            sysctl("kernel.domainname", "harbour"),
            "linux.sysctl[\"kernel.domainname\"]",
        ),
        ("uts", "/hostname", json!("ship"), "hostname"),
        ("uts", "/domainname", json!("harbour"), "domainname"),
        (
            "mount",
            "/linux/rootfsPropagation",
            json!("private"),
            "root.path",
        ),
    ]
}

fn file(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

/// A bundle that joins the namespace at `path` and changes nothing in it.
fn joining<'t>(t: &'t Sandbox, kind: &str, path: &str) -> Bundle<'t> {
    let bundle = t.bundle().remove("/hostname").without_namespace(kind);
    bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
}

/// The runtime runs in a new namespace here, so that a failed case does not change the host.
fn changes_of_the_runtimes_own_namespace_are_refused(t: &Sandbox) {
    for (kind, pointer, value, name) in properties() {
        let path = format!("/proc/self/ns/{}", file(kind));
        let container = joining(t, kind, &path).set(pointer, value).container();
        let flag = format!("--{}", if kind == "network" { "net" } else { kind });
        let call = t.runtime().arg("create").prefix(["unshare", &flag]);
        let output = container.launch(call).finish().fails_with(&path);
        let message = output.stderr.replace('\\', "");
        assert!(message.contains("the runtime's own"), "{output}");
        assert!(message.contains(name), "{name}\n{output}");
        container.verb("state").fails_with("does not exist");
    }
}

/// Inodes of the initial namespaces, PROC_UTS_INIT_INO and PROC_IPC_INIT_INO of the kernel.
const INITIAL: [(&str, u64); 2] = [("uts", 0xEFFF_FFFE), ("ipc", 0xEFFF_FFFF)];

/// A runtime in its own namespaces, for example in a container, must refuse them too. The values
/// are the host's current ones.
fn changes_of_the_hosts_namespace_are_refused(t: &Sandbox) {
    for (kind, inode) in INITIAL {
        let path = format!("/proc/{}/ns/{kind}", std::process::id());
        if fs::metadata(&path).expect("the own namespace").ino() != inode {
            t.skip("the tests do not run in the host's namespaces");
        }
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
            text.expect("a parameter").trim().to_owned()
        };
        let (key, value) = match kind {
            "uts" => ("kernel.domainname", read("domainname")),
            _ => ("kernel.msgmax", read("msgmax")),
        };
        let bundle = joining(t, kind, &path).set("/linux/sysctl", json!({ key: value }));
        let container = bundle.container();
        let flag = format!("--{kind}");
        let call = t.runtime().arg("create").prefix(["unshare", &flag]);
        let output = container.launch(call).finish().fails_with(&path);
        assert!(output.stderr.contains("the host's"), "{output}");
    }
}

/// Its root would become the container's, for every process in it.
fn the_runtimes_own_mount_namespace_cannot_be_joined(t: &Sandbox) {
    let bundle = joining(t, "mount", "/proc/self/ns/mnt")
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let container = bundle.container();
    let root = t.root.display();
    let bundle = container.bundle.display();
    let script = format!(
        "\"$0\" --root {root} run --bundle {bundle} {}; echo status $?; test -d {root} && echo there",
        container.id
    );
    let call = t.call("unshare").args(["-m", "sh", "-c", &script]);
    let output = call.arg(&t.runtime).run();
    assert_eq!(output.stdout, "status 1\nthere\n", "{output}");
    assert!(output.stderr.contains("root.path"), "{output}");
}

/// A new mount of the hierarchy would show all of it, writable.
fn the_runtimes_own_cgroup_namespace_shows_no_hierarchy(t: &Sandbox) {
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"});
    let bundle = joining(t, "cgroup", "/proc/self/ns/cgroup").mount(mount);
    let container = bundle.container();
    let call = t.runtime().arg("create").prefix(["unshare", "--cgroup"]);
    let output = container.launch(call).finish().fails_with("mounts[6]");
    assert!(output.stderr.contains("the runtime's own"), "{output}");
}

/// The same for `mounts add`.
fn no_hierarchy_is_added_to_the_runtimes_own_cgroup_namespace(t: &Sandbox) {
    let container = joining(t, "cgroup", "/proc/self/ns/cgroup").args(&["sleep", "1000"]);
    let container = container.container();
    container.launch_ok();
    let file = t.path("mounts.json");
    let mount = json!([{"destination": "/mnt", "type": "cgroup", "source": "cgroup"}]);
    fs::write(&file, mount.to_string()).expect("the list");
    let call = t
        .runtime()
        .args(["mounts", "add", &container.id])
        .arg(&file);
    let output = call.run().fails_with("would show all of its hierarchy");
    assert!(output.stderr.contains("the runtime's own"), "{output}");
    let tmpfs = json!([{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]);
    fs::write(&file, tmpfs.to_string()).expect("the list");
    let call = t
        .runtime()
        .args(["mounts", "add", &container.id])
        .arg(&file);
    call.run().ok();
}

fn the_runtimes_own_user_namespace_cannot_be_joined(t: &Sandbox) {
    let container = joining(t, "user", "/proc/self/ns/user").container();
    let output = container.create().fails_with("linux.namespaces[6].path");
    assert!(output.stderr.contains("the runtime's own"), "{output}");
}

/// Kubernetes pods with the host's network have its path in each config.
fn an_unchanged_own_namespace_may_be_joined(t: &Sandbox) {
    for kind in ["network", "ipc", "uts", "cgroup"] {
        let path = format!("/proc/self/ns/{}", file(kind));
        let script = format!("readlink {path}");
        let container = joining(t, kind, &path).shell(&script).container();
        let own = fs::read_link(&path).expect("the own namespace");
        container.run().ok().prints(&own.to_string_lossy());
    }
}
