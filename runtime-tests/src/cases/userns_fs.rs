//! The file system in a user namespace: owners, devices, locked flags, and access to sources.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use serde_json::{Value, json};

use crate::{Bundle, Container, Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    ids_are_mapped,
    several_mappings,
    files_belong_to_the_mapped_ids,
    unmapped_owners_are_nobody,
    default_devices_come_from_the_host,
    bound_devices_hold_no_programs,
    message_queues_belong_to_the_mapped_root,
    nosymfollow_of_a_source_is_not_kept,
    listed_device_comes_from_the_host,
    listed_device_that_the_host_lacks[Need::NotAPeer],
    listed_device_that_differs_on_the_host[Need::NotAPeer],
    fifo_is_made,
    sysfs_is_mounted,
    sysfs_of_the_host_network,
    all_mounts_of_the_default_config,
    masks_and_read_only_paths_hold,
    read_only_root_holds,
    network_parameters_are_set[Need::NotAPeer],
    tmpfs_belongs_to_the_mapped_root,
    tmpfs_with_an_unmapped_owner_is_refused,
    copy_up_in_a_user_namespace,
    cgroup_mount_is_delegated,
    read_only_cgroup_mount_is_not_delegated,
    joined_user_namespace,
    joined_user_namespace_with_its_own_mappings[Need::NotAPeer],
    joined_user_namespace_with_a_long_map[Need::NotAPeer],
    map_of_more_than_a_page_is_refused_with_advice[Need::NotAPeer],
    joined_user_namespace_with_other_mappings_is_refused[Need::NotAPeer],
    mappings_without_a_namespace_are_refused,
    new_namespace_without_mappings_is_refused[Need::NotAPeer],
];

/// The host id of the container's root.
const ROOT: u32 = 100_000;

/// Gives the bundle a user namespace whose root owns the directories of the root filesystem.
pub(super) fn mapped(bundle: Bundle<'_>) -> Bundle<'_> {
    let map = json!([{"containerID": 0, "hostID": ROOT, "size": 65536}]);
    let rootfs = bundle.rootfs();
    chown(&rootfs, Some(ROOT), Some(ROOT)).expect("chown");
    for entry in fs::read_dir(rootfs).expect("the rootfs").flatten() {
        if entry.file_type().expect("the type").is_dir() {
            chown(entry.path(), Some(ROOT), Some(ROOT)).expect("chown");
        }
    }
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn ids_are_mapped(t: &Sandbox) {
    let bundle = mapped(t.bundle()).shell("id -u; id -g; cat /proc/self/uid_map");
    let output = bundle.container().run().ok();
    let words: Vec<_> = output.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "100000", "65536"], "{output}");
}

fn several_mappings(t: &Sandbox) {
    let map = json!([{"containerID": 0, "hostID": ROOT, "size": 10},
        {"containerID": 1000, "hostID": 200_000, "size": 5}]);
    let bundle = mapped(t.bundle())
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    let bundle = bundle.set("/process/user", json!({"uid": 1002, "gid": 1003}));
    let bundle = bundle.shell("touch /tmp/file; sleep 1000");
    let file = bundle.rootfs().join("tmp/file");
    let container = bundle.container();
    container.launch_ok();
    t.eventually("the file is there", || file.exists());
    let stat = fs::metadata(&file).expect("the file");
    assert_eq!((stat.uid(), stat.gid()), (200_002, 200_003));
    assert_eq!(
        fs::metadata(format!("/proc/{}", container.pid()))
            .expect("proc")
            .uid(),
        200_002
    );
}

fn files_belong_to_the_mapped_ids(t: &Sandbox) {
    let bundle = mapped(t.bundle()).shell("touch /file; chown 7:8 /file; touch /other");
    let rootfs = bundle.rootfs();
    bundle.container().run().ok();
    let owner = |name: &str| {
        let stat = fs::metadata(rootfs.join(name)).expect("the file");
        (stat.uid(), stat.gid())
    };
    assert_eq!(owner("file"), (ROOT + 7, ROOT + 8));
    assert_eq!(owner("other"), (ROOT, ROOT));
}

fn unmapped_owners_are_nobody(t: &Sandbox) {
    let bundle = mapped(t.bundle()).args(&["stat", "-c", "%u:%g", "/etc/passwd"]);
    bundle.container().run().ok().prints("65534:65534");
}

fn default_devices_come_from_the_host(t: &Sandbox) {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done
        echo x >/dev/null; head -c 4 /dev/zero | wc -c; readlink /dev/ptmx; readlink /dev/fd";
    let expected = "/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n\
        /dev/urandom 1:9\n/dev/tty 5:0\n4\npts/ptmx\n/proc/self/fd";
    mapped(t.bundle())
        .shell(script)
        .container()
        .run()
        .ok()
        .prints(expected);
}

fn device(path: &str, major: u32, minor: u32) -> Value {
    json!({"path": path, "type": "c", "major": major, "minor": minor})
}

/// In the mount table of the container, the options of each mount are in the sixth field.
fn bound_devices_hold_no_programs(t: &Sandbox) {
    let bundle = mapped(t.bundle()).push("/linux/devices", device("/dev/kmsg", 1, 11));
    let bundle = bundle.args(&["cat", "/proc/self/mountinfo"]);
    let output = bundle.container().run().ok();
    for path in ["/dev/null", "/dev/tty", "/dev/kmsg"] {
        let mount = mount_info::at(&output.stdout, path);
        assert!(mount.has(&["nosuid", "noexec"]), "{mount:?}");
    }
}

fn message_queues_belong_to_the_mapped_root(t: &Sandbox) {
    let bundle = mapped(t.bundle()).args(&["stat", "-c", "%u:%g", "/dev/mqueue"]);
    bundle.container().run().ok().prints("0:0");
}

/// An option for the mount decides on all flags that the kernel does not lock.
fn nosymfollow_of_a_source_is_not_kept(t: &Sandbox) {
    let source = t.path("source");
    fs::create_dir(&source).expect("the source");
    fs::write(source.join("file"), "").expect("a file");
    std::os::unix::fs::symlink("file", source.join("link")).expect("a link");
    let script =
        "mount --bind \"$0\" \"$0\" && mount -o remount,bind,nosymfollow \"$0\" && exec \"$@\"";
    for (options, status) in [
        (["rbind", "nodev"], 0),
        (["rbind", "symfollow"], 0),
        (["rbind", "nosymfollow"], 1),
    ] {
        let mount = json!({"destination": "/mnt", "source": source, "options": options});
        let bundle = mapped(t.bundle()).mount(mount).args(&["cat", "/mnt/link"]);
        let container = bundle.container();
        let source = source.to_string_lossy().into_owned();
        let call = t.runtime().arg("run");
        let call = call.prefix(["unshare", "-m", "sh", "-c", script, &source]);
        let output = container.launch(call).finish();
        assert_eq!(output.code(), status, "{options:?}\n{output}");
    }
}

fn listed_device_comes_from_the_host(t: &Sandbox) {
    let bundle = mapped(t.bundle()).push("/linux/devices", device("/dev/kmsg", 1, 11));
    bundle
        .args(&["stat", "-c", "%t:%T", "/dev/kmsg"])
        .container()
        .run()
        .ok()
        .prints("1:b");
}

fn listed_device_that_the_host_lacks(t: &Sandbox) {
    let bundle = mapped(t.bundle()).push("/linux/devices", device("/dev/no-such", 1, 11));
    bundle.container().create().fails_with("linux.devices[0]");
}

fn listed_device_that_differs_on_the_host(t: &Sandbox) {
    let bundle = mapped(t.bundle()).push("/linux/devices", device("/dev/kmsg", 1, 5));
    bundle.container().create().fails_with("linux.devices[0]");
}

fn fifo_is_made(t: &Sandbox) {
    let fifo = json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o640});
    let bundle = mapped(t.bundle()).push("/linux/devices", fifo);
    bundle
        .args(&["stat", "-c", "%F %a %u", "/dev/pipe"])
        .container()
        .run()
        .ok()
        .prints("fifo 640 0");
}

fn sysfs_is_mounted(t: &Sandbox) {
    let bundle = mapped(t.bundle()).args(&["cat", "/proc/self/mountinfo"]);
    let mount = mount_info::at(&bundle.container().run().ok().stdout, "/sys");
    assert_eq!(mount.fstype, "sysfs");
    assert!(mount.has(&["ro", "nosuid", "nodev", "noexec"]), "{mount:?}");
}

/// Without its own network namespace a container may not mount sysfs, so the host's is
/// bind-mounted.
fn sysfs_of_the_host_network(t: &Sandbox) {
    let bundle = mapped(t.bundle()).without_namespace("network");
    let bundle = bundle.shell("ls /sys/class/net; cat /proc/self/mountinfo");
    let output = bundle.container().run().ok();
    assert!(
        output.stdout.starts_with("lo\n") || output.stdout.contains("\nlo\n"),
        "{output}"
    );
    assert!(
        mount_info::at(&output.stdout, "/sys").has(&["ro"]),
        "{output}"
    );
}

fn all_mounts_of_the_default_config(t: &Sandbox) {
    let bundle = mapped(t.bundle()).args(&["cat", "/proc/self/mountinfo"]);
    let table = bundle.container().run().ok().stdout;
    for (point, fstype) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
    ] {
        assert_eq!(mount_info::at(&table, point).fstype, fstype);
    }
}

fn masks_and_read_only_paths_hold(t: &Sandbox) {
    let bundle = mapped(
        t.bundle()
            .file("/secret", "text")
            .file("/secrets/one", "")
            .file("/fixed/file", ""),
    );
    let bundle = bundle
        .push("/linux/maskedPaths", json!("/secret"))
        .push("/linux/maskedPaths", json!("/secrets"))
        .push("/linux/readonlyPaths", json!("/fixed"));
    let script = "cat /secret; ls /secrets; touch /fixed/new 2>/dev/null || echo refused
        touch /proc/sys/kernel/x 2>/dev/null || echo refused";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("refused\nrefused");
}

fn read_only_root_holds(t: &Sandbox) {
    let bundle = mapped(t.bundle()).set("/root/readonly", json!(true));
    bundle
        .args(&["touch", "/file"])
        .container()
        .run()
        .fails_with("Read-only file system");
}

fn network_parameters_are_set(t: &Sandbox) {
    let bundle = mapped(t.bundle()).set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    bundle
        .args(&["cat", "/proc/sys/net/ipv4/ip_forward"])
        .container()
        .run()
        .ok()
        .prints("1");
}

fn tmpfs_belongs_to_the_mapped_root(t: &Sandbox) {
    let tmpfs =
        json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["mode=0700"]});
    let bundle = mapped(t.bundle())
        .mount(tmpfs)
        .shell("stat -c %u:%g:%a /m; touch /m/file");
    bundle.container().run().ok().prints("0:0:700");
}

fn tmpfs_with_an_unmapped_owner_is_refused(t: &Sandbox) {
    let tmpfs =
        json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["uid=100000"]});
    mapped(t.bundle())
        .mount(tmpfs)
        .container()
        .create()
        .fails_with("uid");
}

fn copy_up_in_a_user_namespace(t: &Sandbox) {
    let bundle = mapped(t.bundle().file("/m/file", "text"));
    chown(
        bundle.rootfs().join("m/file"),
        Some(ROOT + 5),
        Some(ROOT + 6),
    )
    .expect("chown");
    let tmpfs =
        json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
    let bundle = bundle
        .mount(tmpfs)
        .shell("cat /m/file; stat -c ' %u:%g' /m/file");
    bundle.container().run().ok().prints("text 5:6");
}

fn cgroup(options: &[&str]) -> Value {
    json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})
}

fn cgroup_mount_is_delegated(t: &Sandbox) {
    let bundle = mapped(t.bundle()).mount(cgroup(&["nosuid", "noexec", "nodev"]));
    let script = "cd /sys/fs/cgroup && mkdir new && echo $$ >new/cgroup.procs && cat new/cgroup.procs | head -n 1";
    bundle.shell(script).container().run().ok().prints("1");
}

fn read_only_cgroup_mount_is_not_delegated(t: &Sandbox) {
    let bundle = mapped(t.bundle()).mount(cgroup(&["ro"]));
    let script = "stat -c %u /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/new";
    let output = bundle.shell(script).container().run().fails();
    assert_eq!(output.stdout.trim(), "65534", "{output}");
}

/// A container that waits, and the path of its user namespace.
fn owner(t: &Sandbox) -> (Container<'_>, String) {
    let container = mapped(t.bundle()).args(&["sleep", "1000"]).container();
    container.create().ok();
    let path = format!("/proc/{}/ns/user", container.pid());
    (container, path)
}

fn join<'t>(bundle: Bundle<'t>, path: &str) -> Bundle<'t> {
    let path = path.to_owned();
    mapped(bundle).patch(|config| {
        let list = config["linux"]["namespaces"]
            .as_array_mut()
            .expect("namespaces");
        list.pop();
        list.push(json!({"type": "user", "path": path}));
    })
}

fn map_of_more_than_a_page_is_refused_with_advice(t: &Sandbox) {
    let bundle = with_map(mapped(t.bundle()), &long_map(300));
    let output = bundle.container().create();
    output.fails_with("invalid argument (the kernel reads less than a page of mappings");
}

/// A map of `count` single ids and, behind them, of the usual range.
fn long_map(count: u32) -> Value {
    let single = |id: u32| json!({"containerID": id, "hostID": ROOT + id, "size": 1});
    let others = (70_000..70_000 + count).rev().map(single);
    let first = json!({"containerID": 0, "hostID": ROOT, "size": 65536});
    json!(others.chain([first]).collect::<Vec<_>>())
}

fn with_map<'t>(bundle: Bundle<'t>, map: &Value) -> Bundle<'t> {
    bundle
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map.clone())
}

fn without_mappings(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings")
}

fn joined_user_namespace(t: &Sandbox) {
    let (_owner, path) = owner(t);
    let bundle = without_mappings(join(t.bundle(), &path));
    let script = "readlink /proc/self/ns/user; id -u; touch /file; echo x >/dev/null";
    let bundle = bundle.shell(script);
    let file = bundle.rootfs().join("file");
    let namespace = fs::read_link(path).expect("the namespace");
    bundle
        .container()
        .run()
        .ok()
        .prints(&format!("{}\n0", namespace.display()));
    assert_eq!(fs::metadata(file).expect("the file").uid(), ROOT);
}

fn joined_user_namespace_with_its_own_mappings(t: &Sandbox) {
    let (_owner, path) = owner(t);
    join(t.bundle(), &path)
        .args(&["id", "-u"])
        .container()
        .run()
        .ok()
        .prints("0");
}

/// The kernel shows such a map in more than one read(2), and in the order of the container's ids.
fn joined_user_namespace_with_a_long_map(t: &Sandbox) {
    let map = long_map(200);
    let owner = with_map(mapped(t.bundle()), &map).args(&["sleep", "1000"]);
    let owner = owner.container();
    owner.create().ok();
    let path = format!("/proc/{}/ns/user", owner.pid());
    let joins = with_map(join(t.bundle(), &path), &map).args(&["id", "-u"]);
    joins.container().run().ok().prints("0");
}

fn joined_user_namespace_with_other_mappings_is_refused(t: &Sandbox) {
    let (_owner, path) = owner(t);
    let bundle = join(t.bundle(), &path).set("/linux/uidMappings/0/hostID", json!(300_000));
    bundle.container().create().fails_with("linux.uidMappings");
}

fn mappings_without_a_namespace_are_refused(t: &Sandbox) {
    let map = json!([{"containerID": 0, "hostID": ROOT, "size": 10}]);
    t.bundle()
        .set("/linux/uidMappings", map)
        .container()
        .create()
        .fails();
}

fn new_namespace_without_mappings_is_refused(t: &Sandbox) {
    without_mappings(mapped(t.bundle()))
        .container()
        .create()
        .fails_with("linux.uidMappings");
}
