//! `linux.namespaces`: new, inherited and joined namespaces; `linux.timeOffsets`.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::container::reap;
use crate::{Container, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    listed_namespaces_are_new,
    other_namespaces_are_inherited,
    mount_namespace_may_be_the_hosts,
    namespaces_are_joined_by_path,
    joined_pid_namespace_shows_its_processes,
    new_user_namespace_sees_the_processes_of_a_joined_pid_namespace,
    mount_namespace_is_joined,
    namespace_of_another_type_is_refused,
    missing_and_foreign_paths_are_refused,
    duplicate_namespace_is_refused,
    unknown_namespace_is_refused,
    hostname_without_uts_namespace_is_refused,
    loopback_is_up,
    cgroup_namespace_hides_the_path,
    inherited_cgroup_namespace_shows_the_path,
    user_namespace_maps_ids,
    user_namespace_without_mappings_is_refused,
    mappings_without_user_namespace_are_refused,
    second_container_of_a_pod_joins_the_first,
    joined_user_namespace_with_namespaces_of_the_host,
    user_namespace_with_joined_network,
    processes_in_the_hosts_pid_namespace_end_with_the_container,
];

/// The file name in /proc/PID/ns for a namespace type of the config.
fn file(kind: &str) -> &str {
    match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    }
}

pub(super) fn link(pid: &str, kind: &str) -> String {
    let path = format!("/proc/{pid}/ns/{}", file(kind));
    fs::read_link(&path)
        .expect("a namespace")
        .display()
        .to_string()
}

/// Starts a container with every namespace of the default config, and leaves it running.
pub(super) fn running(bundle: Bundle<'_>) -> Container<'_> {
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
}

pub(super) const KINDS: [&str; 6] = ["pid", "network", "ipc", "uts", "mount", "cgroup"];

fn listed_namespaces_are_new(t: &Sandbox) {
    let container = running(
        t.bundle()
            .push("/linux/namespaces", json!({"type": "time"})),
    );
    let pid = container.pid().to_string();
    for kind in KINDS.into_iter().chain(["time"]) {
        assert_ne!(link(&pid, kind), link("self", kind), "{kind}");
    }
    assert_eq!(link(&pid, "user"), link("self", "user"));
}

fn other_namespaces_are_inherited(t: &Sandbox) {
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        let mut bundle = t.bundle().without_namespace(kind);
        if kind == "uts" {
            bundle = bundle.remove("/hostname");
        }
        let container = running(bundle);
        let pid = container.pid().to_string();
        for other in KINDS {
            let same = link(&pid, other) == link("self", other);
            assert_eq!(same, other == kind, "{other} in a container without {kind}");
        }
        container.delete_force().ok();
    }
}

fn mount_namespace_may_be_the_hosts(t: &Sandbox) {
    let bundle = t
        .bundle()
        .without_namespace("mount")
        .set("/mounts", json!([]));
    let bundle = bundle
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let container = bundle.shell("ls -d /bin; ls -d /work /lib").container();
    let output = container.run();
    assert_eq!(output.stdout, "/bin\n", "{output}");
}

fn join<'t>(bundle: Bundle<'t>, kind: &str, path: &str) -> Bundle<'t> {
    let bundle = bundle.without_namespace(kind);
    bundle.push("/linux/namespaces", json!({"type": kind, "path": path}))
}

pub(super) fn join_pid<'t>(bundle: Bundle<'t>, kind: &str, holder: i32) -> Bundle<'t> {
    join(bundle, kind, &format!("/proc/{holder}/ns/{}", file(kind)))
}

fn namespaces_are_joined_by_path(t: &Sandbox) {
    let holder = running(
        t.bundle()
            .push("/linux/namespaces", json!({"type": "time"})),
    );
    let first = holder.pid();
    for kind in ["network", "ipc", "uts", "pid", "cgroup", "time"] {
        let mut bundle = join_pid(t.bundle(), kind, first);
        if kind == "uts" {
            bundle = bundle.remove("/hostname");
        }
        let container = running(bundle);
        let second = container.pid().to_string();
        for other in KINDS {
            let same = link(&second, other) == link(&first.to_string(), other);
            assert_eq!(
                same,
                other == kind,
                "{other} of a container that joined {kind}"
            );
        }
        if kind == "time" {
            assert_eq!(link(&second, kind), link(&first.to_string(), kind));
        }
        // Reaped before the holder ends, whose pid namespace waits for every process in it.
        container.stop();
        container.delete().ok();
    }
    assert_eq!(holder.status(), "running");
}

fn joined_pid_namespace_shows_its_processes(t: &Sandbox) {
    let holder = running(t.bundle());
    let bundle = join_pid(t.bundle(), "pid", holder.pid());
    let script = "[ $$ != 1 ] && tr '\\0' ' ' </proc/1/cmdline; kill -TERM $$; echo no";
    let container = bundle.shell(script).container();
    let output = container.run().exits(128 + 15);
    assert_eq!(output.stdout.trim(), "sleep 1000", "{output}");
    assert_eq!(holder.status(), "running");
}

/// The new user namespace has no rights over the pid namespace, which mounting a procfs needs.
fn new_user_namespace_sees_the_processes_of_a_joined_pid_namespace(t: &Sandbox) {
    let holder = running(t.bundle());
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let bundle = join_pid(t.bundle(), "pid", holder.pid());
    let bundle = join_pid(bundle, "ipc", holder.pid())
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set("/linux/maskedPaths", json!(["/proc/version"]))
        .set("/linux/readonlyPaths", json!(["/proc/sys"]))
        .set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_unprivileged_port_start": "80"}),
        );
    let rootfs = std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(100_000));
    rootfs.expect("chown");
    let script = "tr '\\0' ' ' </proc/1/cmdline; echo
        grep ' / /proc ' /proc/self/mountinfo | cut -d' ' -f6
        cat /proc/1/environ 2>&1 | grep -o denied
        wc -c </proc/version; grep ' /proc/sys ' /proc/self/mountinfo | cut -d' ' -f6
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -o 'dev/mqueue .* - mqueue' /proc/self/mountinfo | cut -d' ' -f2";
    let output = bundle.shell(script).container().run().ok();
    let flags = "nosuid,nodev,noexec,relatime";
    let expected = format!("sleep 1000\nrw,{flags}\ndenied\n0\nro,{flags}\n80\nrw,{flags}");
    let lines: Vec<_> = output.stdout.lines().map(str::trim).collect();
    assert_eq!(lines.join("\n"), expected, "{output}");
    assert_eq!(holder.status(), "running");
}

fn mount_namespace_is_joined(t: &Sandbox) {
    let holder = running(t.bundle().file("/of-the-holder", ""));
    let bundle = join_pid(t.bundle(), "mount", holder.pid());
    let bundle = bundle
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let container = bundle.args(&["true"]).container();
    // The bundle's path does not exist in there. A regular error is as good as a start.
    let output = container.run();
    if !output.status.success() {
        output.fails();
    }
    assert_eq!(holder.status(), "running");
}

fn namespace_of_another_type_is_refused(t: &Sandbox) {
    let holder = running(t.bundle());
    for (kind, other) in [
        ("network", "ipc"),
        ("ipc", "uts"),
        ("pid", "net"),
        ("cgroup", "mnt"),
        ("user", "net"),
    ] {
        let path = format!("/proc/{}/ns/{other}", holder.pid());
        let container = join(t.bundle(), kind, &path).container();
        container.create().fails_with(&path);
        container.verb("state").fails_with("does not exist");
    }
}

fn missing_and_foreign_paths_are_refused(t: &Sandbox) {
    let plain = t.path("plain");
    fs::write(&plain, "").expect("a file");
    let plain = plain.to_str().expect("UTF-8");
    for path in ["/no/such/namespace", plain, "relative/path", "/"] {
        let container = join(t.bundle(), "network", path).container();
        container.create().fails_with(path);
        container.verb("state").fails_with("does not exist");
    }
}

fn duplicate_namespace_is_refused(t: &Sandbox) {
    for value in [
        json!({"type": "pid"}),
        json!({"type": "pid", "path": "/proc/self/ns/pid"}),
    ] {
        let container = t.bundle().push("/linux/namespaces", value).container();
        container.create().fails_with("pid");
        container.verb("state").fails_with("does not exist");
    }
}

fn unknown_namespace_is_refused(t: &Sandbox) {
    let container = t
        .bundle()
        .push("/linux/namespaces", json!({"type": "dream"}))
        .container();
    container.create().fails();
    container.verb("state").fails_with("does not exist");
}

fn hostname_without_uts_namespace_is_refused(t: &Sandbox) {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let container = t.bundle().without_namespace("uts").container();
    container.create().fails_with("hostname");
    container.verb("state").fails_with("does not exist");
    let after = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    assert_eq!(before, after);
}

fn loopback_is_up(t: &Sandbox) {
    let container = t
        .bundle()
        .shell("cat /sys/class/net/lo/flags; ls /sys/class/net; sed -n 's/^ *\\(.*\\):.*/\\1/p' /proc/net/dev | sort")
        .container();
    let output = container.run().ok();
    let flags = output.stdout.lines().next().unwrap_or_default();
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).expect("flags");
    assert_eq!(flags & 1, 1, "IFF_UP: {output}");
    // sysfs shows the network namespace of the process that mounted it, procfs that of its reader.
    let interfaces: Vec<_> = output.stdout.lines().skip(1).collect();
    let (sysfs, procfs) = interfaces.split_at(interfaces.len() / 2);
    assert_eq!(sysfs, procfs, "{output}");
}

fn cgroup_namespace_hides_the_path(t: &Sandbox) {
    let container = t.bundle().shell("grep ^0:: /proc/self/cgroup").container();
    container.run().ok().prints("0::/");
}

fn inherited_cgroup_namespace_shows_the_path(t: &Sandbox) {
    let path = format!("/{}/deep", t.id);
    let bundle = t
        .bundle()
        .without_namespace("cgroup")
        .set("/linux/cgroupsPath", json!(path));
    let container = bundle.shell("grep ^0:: /proc/self/cgroup").container();
    let output = container.run().ok();
    assert!(output.stdout.trim().ends_with(&path), "{output}");
    remove_parent(t);
}

/// The cgroup above the container's is shared, so the runtime may leave it.
fn remove_parent(t: &Sandbox) {
    for (_, mount) in crate::host::cgroup_mounts() {
        let _ = fs::remove_dir(mount.join(&t.id));
    }
}

pub(super) fn user_namespace(bundle: Bundle<'_>) -> Bundle<'_> {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 50_000},
        {"containerID": 60_000, "hostID": 200_000, "size": 1}]);
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn user_namespace_maps_ids(t: &Sandbox) {
    let bundle = user_namespace(t.bundle());
    let script = "id -u; id -g; tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups";
    let container = bundle.shell(&format!("{script}; sleep 1000")).container();
    container.launch_ok();
    container.wait_stdout("allow");
    assert_eq!(
        container.stdout(),
        "0\n0\n 0 100000 50000\n 60000 200000 1\nallow\n"
    );
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("status");
    assert!(
        status.contains("Uid:\t100000\t100000\t100000\t100000\n"),
        "{status}"
    );
    // A user in the second range.
    let bundle = user_namespace(t.bundle()).set(
        "/process/user",
        json!({"uid": 60_000, "gid": 60_000, "additionalGids": [7]}),
    );
    let container = bundle.shell("id -u; id -G").container();
    container.run().ok().prints("60000\n60000 7");
    let bundle = user_namespace(t.bundle()).set("/process/user", json!({"uid": 70_000, "gid": 0}));
    bundle.container().run().fails();
}

fn user_namespace_without_mappings_is_refused(t: &Sandbox) {
    let container = t
        .bundle()
        .push("/linux/namespaces", json!({"type": "user"}))
        .container();
    container.create().fails_with("Mappings");
    container.verb("state").fails_with("does not exist");
}

fn mappings_without_user_namespace_are_refused(t: &Sandbox) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1}]);
    let container = t
        .bundle()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .container();
    container.create().fails_with("Mappings");
    container.verb("state").fails_with("does not exist");
}

/// Like a pod of Podman: one container holds the namespaces, the others join all but pid and mount.
fn second_container_of_a_pod_joins_the_first(t: &Sandbox) {
    let first = running(user_namespace(t.bundle()));
    let pid = first.pid();
    let shared = ["user", "ipc", "network", "uts"];
    let bundle = user_namespace(t.bundle()).remove("/hostname");
    let bundle = shared
        .iter()
        .fold(bundle, |bundle, kind| join_pid(bundle, kind, pid));
    let container = running(bundle);
    let second = container.pid().to_string();
    for kind in shared {
        assert_eq!(link(&second, kind), link(&pid.to_string(), kind), "{kind}");
    }
    for kind in ["pid", "mount", "cgroup"] {
        assert_ne!(link(&second, kind), link(&pid.to_string(), kind), "{kind}");
        assert_ne!(link(&second, kind), link("self", kind), "{kind}");
    }
    let status = fs::read_to_string(format!("/proc/{second}/status")).expect("status");
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    assert_eq!(
        parent,
        Some(std::process::id().to_string().as_str()),
        "an engine waits for its child"
    );
    let shared = ["user", "ipc", "network", "uts", "pid"];
    let bundle = user_namespace(t.bundle())
        .remove("/hostname")
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings");
    let bundle = shared
        .iter()
        .fold(bundle, |bundle, kind| join_pid(bundle, kind, pid));
    let third = bundle
        .shell("id -u; tr '\\0' ' ' </proc/1/cmdline")
        .container();
    third.run().ok().prints("0\nsleep 1000");
}

/// Each of the other namespaces may belong to the host or to the joined user namespace.
fn joined_user_namespace_with_namespaces_of_the_host(t: &Sandbox) {
    let owner = running(user_namespace(t.bundle()));
    let hosts = running(
        t.bundle()
            .push("/linux/namespaces", json!({"type": "time"})),
    );
    for kind in ["network", "ipc", "uts", "cgroup", "time"] {
        let bundle = join_pid(user_namespace(t.bundle()), "user", owner.pid());
        let bundle = join_pid(bundle, kind, hosts.pid()).patch(|config| {
            if kind == "uts" {
                config.as_object_mut().expect("config").remove("hostname");
            }
            // These file systems need rights over the namespace.
            let mounts = config["mounts"].as_array_mut().expect("mounts");
            mounts.retain(|mount| {
                !["/sys", "/dev/mqueue"].contains(&mount["destination"].as_str().unwrap_or(""))
            });
        });
        let container = running(bundle);
        let pid = container.pid().to_string();
        assert_eq!(link(&pid, "user"), link(&owner.pid().to_string(), "user"));
        assert_eq!(
            link(&pid, kind),
            link(&hosts.pid().to_string(), kind),
            "{kind}"
        );
        container.exec(&["true"]).ok();
        container.stop();
        container.delete().ok();
    }
}

fn user_namespace_with_joined_network(t: &Sandbox) {
    // The network namespace belongs to the host's user namespace, and joining it needs rights
    // there.
    let holder = running(t.bundle());
    let bundle = join_pid(user_namespace(t.bundle()), "network", holder.pid());
    // sysfs cannot be mounted without an own network namespace.
    let container = running(bundle.patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys");
    }));
    let pids = [container.pid().to_string(), holder.pid().to_string()];
    assert_eq!(link(&pids[0], "network"), link(&pids[1], "network"));
    assert_ne!(link(&pids[0], "user"), link(&pids[1], "user"));
}

fn processes_in_the_hosts_pid_namespace_end_with_the_container(t: &Sandbox) {
    let script = "setsid sleep 1001 & sleep 1002 & echo ready; wait";
    for forced in [false, true] {
        let container = t
            .bundle()
            .without_namespace("pid")
            .shell(script)
            .container();
        container.launch_ok();
        container.wait_stdout("ready");
        if forced {
            container.delete_force().ok();
        } else {
            let pid = container.pid();
            container.kill("KILL").ok();
            reap(pid);
            container.delete().ok();
        }
        container.verb("state").fails_with("does not exist");
    }
}
