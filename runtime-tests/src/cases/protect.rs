//! Masked and read-only paths, and mounts that must be refused.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::container::reap;
use crate::{Bundle, Need, Output, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    masked_file_is_dev_null,
    masked_and_read_only_devices,
    masked_directory_is_an_empty_read_only_tmpfs,
    masked_directories_share_one_tmpfs[Need::NotAPeer],
    masked_path_twice,
    missing_masked_path_is_ignored,
    masked_link_masks_its_target,
    masked_link_that_dangles,
    masked_path_below_a_file,
    masked_path_in_a_read_only_root,
    masked_path_below_a_masked_path,
    masked_relative_path_is_refused[Need::NotAPeer],
    read_only_file,
    read_only_directory_with_submounts,
    read_only_root,
    read_only_path_keeps_the_other_flags,
    read_only_link_protects_its_target,
    read_only_path_that_is_a_mount,
    masks_need_a_mount_namespace,
    mount_below_proc_is_refused,
    mount_of_any_type_on_proc_is_refused,
    files_of_proc_that_may_be_replaced,
    other_files_of_proc_are_refused,
    bind_through_a_link_into_proc_is_refused,
    proc_below_proc_is_refused,
    bind_of_a_directory_on_proc_is_refused,
    bind_of_a_proc_on_proc,
    proc_on_a_link_is_refused,
    sysfs_on_a_link_is_refused,
    file_systems_below_sys_are_allowed,
    cgroup_mount_is_read_only,
    cgroup_mount_is_writable,
    cgroup_mount_shows_the_own_cgroup_without_namespace[Need::NotAPeer],
];

fn masked<'t>(bundle: Bundle<'t>, paths: Value) -> Bundle<'t> {
    bundle.set("/linux/maskedPaths", paths)
}

fn masked_file_is_dev_null(t: &Sandbox) {
    let bundle = masked(t.bundle().file("/secret", "text"), json!(["/secret"]));
    let script = "stat -c '%F %t:%T' /secret; echo more >/secret; cat /secret";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("character special file 1:3");
}

fn masked_and_read_only_devices(t: &Sandbox) {
    let bundle = masked(t.bundle(), json!(["/dev/zero"]));
    let bundle = bundle.set("/linux/readonlyPaths", json!(["/dev/full"]));
    let script = "head -c 1 /dev/zero | wc -c; chmod 600 /dev/full || echo refused";
    let output = bundle.shell(script).container().run().ok();
    assert_eq!(output.stdout, "0\nrefused\n", "{output}");
    assert!(output.stderr.contains("Read-only"), "{output}");
}

fn masked_directory_is_an_empty_read_only_tmpfs(t: &Sandbox) {
    let bundle = masked(t.bundle().file("/secrets/one", "text"), json!(["/secrets"]));
    let output = bundle
        .shell("ls -A /secrets; cat /proc/self/mountinfo")
        .container()
        .run()
        .ok();
    let mount = mount_info::at(&output.stdout, "/secrets");
    assert_eq!(mount.fstype, "tmpfs", "{output}");
    assert!(mount.has(&["ro"]), "{output}");
    assert!(!output.stdout.starts_with("one"), "{output}");
}

fn masked_directories_share_one_tmpfs(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/a/x", "")
        .file("/b/x", "")
        .file("/c/x", "");
    let bundle = masked(bundle, json!(["/a", "/b", "/c"]));
    let output = bundle
        .args(&["stat", "-c", "%d", "/a", "/b", "/c"])
        .container()
        .run()
        .ok();
    let devices: std::collections::HashSet<_> = output.stdout.lines().collect();
    assert_eq!(devices.len(), 1, "{output}");
}

fn masked_path_twice(t: &Sandbox) {
    let bundle = t.bundle().file("/a/x", "").file("/f", "");
    let bundle = masked(bundle, json!(["/a", "/f", "/a", "/f", "/a/"]));
    let output = bundle
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
        .run()
        .ok();
    let table = mount_info::table(&output.stdout);
    assert_eq!(
        table.iter().filter(|mount| mount.point == "/a").count(),
        1,
        "{output}"
    );
    assert_eq!(
        table.iter().filter(|mount| mount.point == "/f").count(),
        1,
        "{output}"
    );
}

fn missing_masked_path_is_ignored(t: &Sandbox) {
    let bundle = masked(t.bundle(), json!(["/no/such", "/etc/nothing"]));
    let rootfs = bundle.rootfs();
    bundle.container().run().ok();
    assert!(!rootfs.join("no").exists() && !rootfs.join("etc/nothing").exists());
}

fn masked_link_masks_its_target(t: &Sandbox) {
    let bundle = masked(t.bundle().file("/secret", "text"), json!(["/link"]));
    symlink("secret", bundle.rootfs().join("link")).expect("the link");
    bundle
        .args(&["cat", "/secret"])
        .container()
        .run()
        .ok()
        .prints("");
}

fn masked_link_that_dangles(t: &Sandbox) {
    let bundle = masked(t.bundle(), json!(["/link"]));
    symlink("/no/where", bundle.rootfs().join("link")).expect("the link");
    bundle.container().run().ok();
}

fn masked_path_below_a_file(t: &Sandbox) {
    masked(t.bundle(), json!(["/etc/passwd/x"]))
        .container()
        .create()
        .fails_with("/etc/passwd/x");
}

fn masked_path_in_a_read_only_root(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/secret", "text")
        .file("/secrets/one", "text");
    let bundle = masked(bundle, json!(["/secret", "/secrets"])).set("/root/readonly", json!(true));
    bundle
        .shell("cat /secret; ls /secrets")
        .container()
        .run()
        .ok()
        .prints("");
}

fn masked_path_below_a_masked_path(t: &Sandbox) {
    let bundle = masked(t.bundle().file("/a/b/c", "text"), json!(["/a", "/a/b"]));
    bundle
        .args(&["ls", "-A", "/a"])
        .container()
        .run()
        .ok()
        .prints("");
}

fn masked_relative_path_is_refused(t: &Sandbox) {
    masked(t.bundle(), json!(["/a", "b"]))
        .container()
        .create()
        .fails_with("linux.maskedPaths[1]");
}

fn readonly<'t>(bundle: Bundle<'t>, paths: Value) -> Bundle<'t> {
    bundle.set("/linux/readonlyPaths", paths)
}

fn read_only_file(t: &Sandbox) {
    let bundle = readonly(t.bundle().file("/fixed", "text"), json!(["/fixed"]));
    let script = "cat /fixed; echo x >/fixed || rm /fixed || echo refused; echo x >/free";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("textrefused");
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn read_only_directory_with_submounts(t: &Sandbox) {
    let bundle = t.bundle().mount(tmpfs("/a", &[])).mount(tmpfs("/a/b", &[]));
    let script = "touch /a/file || echo refused; touch /a/b/file && echo written";
    let bundle = readonly(bundle, json!(["/a"])).shell(script);
    bundle.container().run().ok().prints("refused\nwritten");
}

fn read_only_root(t: &Sandbox) {
    for path in ["/", "//", "/.", "/tmp/..", "/link", "/../"] {
        let bundle = readonly(t.bundle().mount(tmpfs("/a", &[])), json!([path]));
        symlink("tmp/..", bundle.rootfs().join("link")).expect("the link");
        let script = "touch /new || echo refused; touch /a/file && echo written";
        let container = bundle.shell(script).container();
        container.create().ok();
        let pid = container.pid();
        // exec starts in the same root.
        container
            .exec(&["touch", "/new"])
            .fails_with("Read-only file system");
        container.start().ok();
        reap(pid);
        assert_eq!(container.stdout(), "refused\nwritten\n", "{path}");
        container.delete().ok();
    }
}

fn read_only_path_keeps_the_other_flags(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(tmpfs("/a", &["nosuid", "nodev", "noexec"]));
    let bundle = readonly(bundle, json!(["/a"])).args(&["cat", "/proc/self/mountinfo"]);
    let mount = mount_info::at(&bundle.container().run().ok().stdout, "/a");
    assert!(mount.has(&["ro", "nosuid", "nodev", "noexec"]), "{mount:?}");
}

fn read_only_link_protects_its_target(t: &Sandbox) {
    let bundle = readonly(t.bundle().file("/a/file", ""), json!(["/link"]));
    symlink("a", bundle.rootfs().join("link")).expect("the link");
    bundle
        .args(&["touch", "/a/new"])
        .container()
        .run()
        .fails_with("Read-only file system");
}

fn read_only_path_that_is_a_mount(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let bind = json!({"destination": "/a", "source": source, "options": ["bind"]});
    let bundle = readonly(t.bundle().mount(bind), json!(["/a"])).args(&["touch", "/a/new"]);
    bundle.container().run().fails_with("Read-only file system");
    std::fs::write(source.join("file"), "").expect("the host's directory stays writable");
}

fn masks_need_a_mount_namespace(t: &Sandbox) {
    t.bundle()
        .without_namespace("mount")
        .container()
        .create()
        .fails();
}

/// A container that must be refused because of this mount.
#[track_caller]
fn refused(t: &Sandbox, mount: Value) -> Output {
    t.bundle().mount(mount).container().create().fails()
}

fn mount_below_proc_is_refused(t: &Sandbox) {
    for place in [
        "/proc/sys",
        "/proc/self",
        "/proc/new",
        "/proc/../proc/tty",
        "proc/irq",
    ] {
        let output = refused(t, tmpfs(place, &[]));
        assert!(output.stderr.contains("/proc"), "{output}");
    }
}

fn mount_of_any_type_on_proc_is_refused(t: &Sandbox) {
    refused(t, tmpfs("/proc", &[]));
}

fn proc_file(t: &Sandbox, name: &str) -> Value {
    let source = t.path("replacement");
    std::fs::write(&source, "replaced").expect("the source");
    json!({"destination": format!("/proc/{name}"), "source": source, "options": ["bind"]})
}

fn files_of_proc_that_may_be_replaced(t: &Sandbox) {
    let mut bundle = t.bundle();
    let mut script = String::new();
    let names = [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
    ];
    for name in names
        .into_iter()
        .filter(|name| std::path::Path::new("/proc").join(name).exists())
    {
        bundle = bundle.mount(proc_file(t, name));
        script += &format!("grep -q '^replaced$' /proc/{name} || echo {name}; ");
    }
    bundle.shell(&script).container().run().ok().prints("");
}

fn other_files_of_proc_are_refused(t: &Sandbox) {
    for name in [
        "version",
        "cmdline",
        "self/attr/current",
        "sys/kernel/hostname",
        "sysrq-trigger",
    ] {
        refused(t, proc_file(t, name));
    }
}

fn bind_through_a_link_into_proc_is_refused(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let bind = json!({"destination": "/link", "source": source, "options": ["bind"]});
    let bundle = t.bundle().mount(bind);
    symlink("/proc/tty", bundle.rootfs().join("link")).expect("the link");
    bundle.container().create().fails();
    let bundle = t.bundle().mount(tmpfs("/link", &[]));
    symlink("/proc/tty", bundle.rootfs().join("link")).expect("the link");
    bundle.container().create().fails();
}

fn proc_below_proc_is_refused(t: &Sandbox) {
    refused(
        t,
        json!({"destination": "/proc/tty", "type": "proc", "source": "proc"}),
    );
}

fn without_proc(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["destination"] != "/proc");
    config["linux"]["readonlyPaths"] = json!([]);
    config["linux"]["maskedPaths"] = json!([]);
}

fn bind_of_a_directory_on_proc_is_refused(t: &Sandbox) {
    let source = t.path("source");
    std::fs::create_dir(&source).expect("the source");
    let bind = json!({"destination": "/proc", "source": source, "options": ["bind"]});
    t.bundle()
        .patch(without_proc)
        .mount(bind)
        .container()
        .create()
        .fails_with("/proc");
}

fn bind_of_a_proc_on_proc(t: &Sandbox) {
    let bind = json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]});
    let bundle = t
        .bundle()
        .patch(without_proc)
        .without_namespace("pid")
        .mount(bind);
    let comm = std::fs::read_to_string("/proc/1/comm").expect("the host's first process");
    bundle
        .args(&["cat", "/proc/1/comm"])
        .container()
        .run()
        .ok()
        .prints(&comm);
}

fn link_in_place_of<'t>(t: &'t Sandbox, name: &str) -> crate::Container<'t> {
    let bundle = t.bundle().file("/elsewhere/file", "");
    std::fs::remove_dir(bundle.rootfs().join(name)).expect("remove the directory");
    symlink("elsewhere", bundle.rootfs().join(name)).expect("the link");
    bundle.container()
}

fn proc_on_a_link_is_refused(t: &Sandbox) {
    link_in_place_of(t, "proc").create().fails_with("/proc");
}

fn sysfs_on_a_link_is_refused(t: &Sandbox) {
    link_in_place_of(t, "sys").create().fails_with("/sys");
}

fn file_systems_below_sys_are_allowed(t: &Sandbox) {
    let bundle = t.bundle().mount(tmpfs("/sys/fs/cgroup", &["mode=755"]));
    bundle
        .shell("touch /sys/fs/cgroup/file; ls /sys/fs/cgroup")
        .container()
        .run()
        .ok()
        .prints("file");
}

fn cgroup(options: &[&str]) -> Value {
    json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})
}

fn cgroup_mount_is_read_only(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(cgroup(&["nosuid", "noexec", "nodev", "ro"]));
    let bundle = bundle.shell("mkdir /sys/fs/cgroup/new").container();
    bundle.run().fails_with("Read-only file system");
}

fn cgroup_mount_is_writable(t: &Sandbox) {
    let bundle = t.bundle().mount(cgroup(&["nosuid", "noexec", "nodev"]));
    let script = "cd /sys/fs/cgroup && mkdir new && grep -x 1 cgroup.procs && rmdir new";
    bundle.shell(script).container().run().ok().prints("1");
}

fn cgroup_mount_shows_the_own_cgroup_without_namespace(t: &Sandbox) {
    let bundle = t
        .bundle()
        .without_namespace("cgroup")
        .mount(cgroup(&["ro"]));
    let script = "path=$(sed -n 's/^0:://p' /proc/self/cgroup); grep -x 1 /sys/fs/cgroup/cgroup.procs || grep -x 1 /sys/fs/cgroup/$path/cgroup.procs";
    bundle.shell(script).container().run().ok().prints("1");
}
