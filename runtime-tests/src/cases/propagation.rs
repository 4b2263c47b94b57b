//! `linux.rootfsPropagation`, and which mounts cross the boundary.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, umount};
use serde_json::json;

use crate::{Bundle, Container, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    each_root_propagation,
    mounts_of_the_runtime_are_private,
    unknown_root_propagation_is_refused,
    mounts_of_the_host_in_the_rootfs_show_up_in_a_slave_alone,
    mounts_of_the_host_show_up_in_a_slave,
    mounts_of_the_host_do_not_show_up_in_a_private_bind,
    mounts_of_the_container_do_not_show_up_on_the_host,
    shared_bind_shows_mounts_on_both_sides,
    private_root_cuts_the_host_off,
    shared_root_stays_out_of_the_rootfs_on_the_host,
];

fn each_root_propagation(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    for (word, expected) in [
        ("", "private"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("private", "private"),
        ("rprivate", "private"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
        ("slave", "slave"),
        ("rslave", "slave"),
    ] {
        let bundle = t.bundle().set("/linux/rootfsPropagation", json!(word));
        let output = bundle
            .args(&["cat", "/proc/self/mountinfo"])
            .container()
            .run()
            .ok();
        assert_eq!(
            mount_info::at(&output.stdout, "/").propagation(),
            expected,
            "{word}\n{output}"
        );
    }
}

fn mounts_of_the_runtime_are_private(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    let bundle = t.bundle().args(&["cat", "/proc/self/mountinfo"]);
    let output = bundle.container().run().ok();
    for mount in mount_info::table(&output.stdout) {
        assert_eq!(mount.propagation(), "private", "{}\n{output}", mount.point);
    }
}

fn unknown_root_propagation_is_refused(t: &Sandbox) {
    let bundle = t.bundle().set("/linux/rootfsPropagation", json!("public"));
    bundle.container().create().fails_with("public");
}

fn mounts_of_the_host_in_the_rootfs_show_up_in_a_slave_alone(t: &Sandbox) {
    mount_info::leave_host();
    for (word, seen) in [("", false), ("private", false), ("slave", true)] {
        let bundle = t.bundle().set("/linux/rootfsPropagation", json!(word));
        // The rootfs is a mount with another mount below it, as an engine's may be.
        let (rootfs, below) = (bundle.rootfs(), bundle.rootfs().join("below"));
        mount_info::bind(&rootfs, &rootfs, MsFlags::empty());
        mount_info::tmpfs(&below, MsFlags::empty());
        mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
        let container = bundle.args(&["sleep", "1000"]).container();
        container.create().ok();
        let later = [rootfs.join("later"), below.join("later")];
        for path in &later {
            mount_info::tmpfs(path, MsFlags::empty());
        }
        let text = mount_info::of_process(container.pid());
        let found = mount_info::table(&text);
        for point in ["/later", "/below/later"] {
            let found = found.iter().any(|mount| mount.point == point);
            assert_eq!(found, seen, "{word:?}: {point}\n{text}");
        }
        container.delete_force().ok();
        for path in &later {
            umount(path).expect("unmount");
        }
    }
}

/// A directory that is a shared mount of the host.
pub(super) fn shared_directory(t: &Sandbox) -> PathBuf {
    mount_info::leave_host();
    let path = t.path("shared");
    mount_info::tmpfs(&path, MsFlags::empty());
    mount_info::change(&path, MsFlags::MS_SHARED);
    std::fs::create_dir(path.join("a")).expect("a directory");
    path
}

/// A running container with the directory bind-mounted on /m, and CAP_SYS_ADMIN to mount.
fn running<'t>(bundle: Bundle<'t>, source: &Path, options: &[&str]) -> Container<'t> {
    let capabilities = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
    let sets =
        json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities});
    let bundle = bundle.set("/process/capabilities", sets);
    let bundle = bundle.mount(json!({"destination": "/m", "source": source, "options": options}));
    let script = "trap 'mount -t tmpfs in /m/a; echo done' USR1; echo ready
        while true; do sleep 1000 & wait; done";
    let container = bundle.shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container
}

/// Mounts on the host below the shared directory. Returns whether the container sees it.
pub(super) fn container_sees_host(container: &Container, source: &Path) -> bool {
    mount_info::tmpfs(&source.join("a"), MsFlags::empty());
    let text = mount_info::of_process(container.pid());
    let seen = mount_info::table(&text)
        .iter()
        .any(|mount| mount.point == "/m/a");
    umount(&source.join("a")).expect("unmount");
    seen
}

/// Lets the container mount. Returns whether the host sees it.
fn host_sees_container(container: &Container, source: &Path) -> bool {
    container.kill("USR1").ok();
    container.wait_stdout("done");
    let inside = mount_info::of_process(container.pid());
    assert!(
        mount_info::table(&inside)
            .iter()
            .any(|mount| mount.point == "/m/a"),
        "{inside}"
    );
    is_mounted_on_host(source)
}

/// Whether a mount is on the host below the shared directory.
pub(super) fn is_mounted_on_host(source: &Path) -> bool {
    let own = mount_info::of_process(std::process::id() as i32);
    let point = source.join("a");
    mount_info::table(&own)
        .iter()
        .any(|mount| Path::new(&mount.point) == point)
}

fn mounts_of_the_host_show_up_in_a_slave(t: &Sandbox) {
    let source = shared_directory(t);
    let container = running(t.bundle(), &source, &["rbind", "rslave"]);
    assert!(container_sees_host(&container, &source));
    assert!(!host_sees_container(&container, &source));
}

fn mounts_of_the_host_do_not_show_up_in_a_private_bind(t: &Sandbox) {
    let source = shared_directory(t);
    let container = running(t.bundle(), &source, &["rbind", "rprivate"]);
    assert!(!container_sees_host(&container, &source));
}

fn mounts_of_the_container_do_not_show_up_on_the_host(t: &Sandbox) {
    let source = shared_directory(t);
    let container = running(t.bundle(), &source, &["rbind"]);
    assert!(!host_sees_container(&container, &source));
}

fn shared_bind_shows_mounts_on_both_sides(t: &Sandbox) {
    let source = shared_directory(t);
    let bundle = t.bundle().set("/linux/rootfsPropagation", json!("shared"));
    let container = running(bundle, &source, &["rbind", "rshared"]);
    assert!(container_sees_host(&container, &source));
    assert!(host_sees_container(&container, &source));
}

fn private_root_cuts_the_host_off(t: &Sandbox) {
    let source = shared_directory(t);
    let bundle = t.bundle().set("/linux/rootfsPropagation", json!("private"));
    let container = running(bundle, &source, &["rbind"]);
    assert!(!container_sees_host(&container, &source));
}

fn shared_root_stays_out_of_the_rootfs_on_the_host(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SHARED);
    let bundle = t.bundle().set("/linux/rootfsPropagation", json!("shared"));
    let rootfs = bundle.rootfs();
    let container = bundle.args(&["sleep", "1000"]).container();
    container.create().ok();
    let own = mount_info::of_process(std::process::id() as i32);
    let below = mount_info::table(&own);
    let below = below
        .iter()
        .filter(|mount| Path::new(&mount.point).starts_with(&rootfs));
    assert_eq!(below.count(), 0, "{own}");
}
