//! `root`, and how it becomes `/`.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::{Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    root_path_may_be_absolute,
    root_path_may_hold_dots,
    root_path_may_be_the_bundle,
    missing_root_is_refused,
    root_without_path_is_refused,
    root_path_that_does_not_exist_is_refused,
    root_path_that_is_a_file_is_refused[Need::NotAPeer],
    root_of_the_host_is_refused_by_every_path[Need::NotAPeer],
    symlink_as_root_shows_its_target[Need::NotAPeer],
    read_only_root_is_a_flag_of_the_mount,
    writable_root_is_written_to_the_bundle,
    read_only_root_leaves_submounts_writable,
    root_that_is_a_mount_keeps_its_submounts,
    root_below_a_shared_mount,
    host_mounts_are_gone,
    mounts_without_a_namespace_end_with_the_container[Need::NotAPeer],
    mounts_without_a_namespace_end_with_a_failed_create[Need::NotAPeer],
    mounts_without_a_namespace_are_not_gone_elsewhere[Need::NotAPeer, Need::Program("unshare")],
    read_only_root_without_a_namespace[Need::NotAPeer],
    foreign_mount_on_the_rootfs_stays[Need::NotAPeer],
];

fn root_path_may_be_absolute(t: &Sandbox) {
    let bundle = t.bundle().file("/mark", "here");
    let rootfs = bundle.rootfs();
    let bundle = bundle.set("/root/path", json!(rootfs));
    bundle
        .args(&["cat", "/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn root_path_may_hold_dots(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/mark", "here")
        .set("/root/path", json!("./etc/../rootfs/."));
    std::fs::create_dir(bundle.path.join("etc")).expect("a directory");
    bundle
        .args(&["cat", "/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn root_path_may_be_the_bundle(t: &Sandbox) {
    let bundle = t.bundle().file("/mark", "here");
    let config = bundle.config.clone();
    let rootfs = bundle.rootfs();
    crate::bundle::write_config(&rootfs, &config);
    let container = t.container(&rootfs);
    let mut config = config;
    config["root"]["path"] = json!(".");
    config["process"]["args"] = json!(["cat", "/mark"]);
    crate::bundle::write_config(&rootfs, &config);
    container.run().ok().prints("here");
}

fn missing_root_is_refused(t: &Sandbox) {
    t.bundle()
        .remove("/root")
        .container()
        .create()
        .fails_with("root");
}

fn root_without_path_is_refused(t: &Sandbox) {
    t.bundle()
        .set("/root/path", json!(""))
        .container()
        .create()
        .fails();
}

fn root_path_that_does_not_exist_is_refused(t: &Sandbox) {
    let bundle = t.bundle().set("/root/path", json!("nowhere"));
    bundle.container().create().fails_with("nowhere");
}

fn root_path_that_is_a_file_is_refused(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/file", "")
        .set("/root/path", json!("rootfs/file"));
    bundle.container().create().fails_with("root.path");
}

fn root_of_the_host_is_refused_by_every_path(t: &Sandbox) {
    let link = t.path("link-to-the-root");
    symlink("/", &link).expect("the link");
    let up = format!("{}/../..", t.dir.display()).replace("//", "/");
    let up = up + &"/..".repeat(t.dir.components().count());
    let link = link.to_str().expect("UTF-8");
    for path in [
        "/",
        "/..",
        "/tmp/..",
        "/proc/self/root",
        "/proc/1/../..",
        link,
        &up,
    ] {
        let bundle = t.bundle().set("/root/path", json!(path));
        let output = bundle.container().create().fails_with("root.path");
        assert!(output.stderr.contains("the host's root"), "{output}");
    }
}

fn symlink_as_root_shows_its_target(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/mark", "here")
        .set("/root/path", json!("link"));
    symlink("rootfs", bundle.path.join("link")).expect("the link");
    bundle
        .args(&["cat", "/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn read_only_root_is_a_flag_of_the_mount(t: &Sandbox) {
    let table = ["cat", "/proc/self/mountinfo"];
    let bundle = t.bundle().set("/root/readonly", json!(true)).args(&table);
    let output = bundle.container().run().ok();
    assert!(mount_info::at(&output.stdout, "/").has(&["ro"]), "{output}");
    let output = t.bundle().args(&table).container().run().ok();
    assert!(mount_info::at(&output.stdout, "/").has(&["rw"]), "{output}");
}

fn writable_root_is_written_to_the_bundle(t: &Sandbox) {
    let bundle = t.bundle().shell("echo text >/out");
    let out = bundle.rootfs().join("out");
    bundle.container().run().ok();
    assert_eq!(std::fs::read_to_string(out).expect("the file"), "text\n");
}

fn read_only_root_leaves_submounts_writable(t: &Sandbox) {
    let tmpfs = json!({"destination": "/a/b", "type": "tmpfs", "source": "tmpfs"});
    let bundle = t.bundle().set("/root/readonly", json!(true)).mount(tmpfs);
    bundle
        .shell("touch /a/b/file && touch /a/file")
        .container()
        .run()
        .fails_with("/a/file");
}

fn root_that_is_a_mount_keeps_its_submounts(t: &Sandbox) {
    mount_info::leave_host();
    let bundle = t.bundle();
    let rootfs = bundle.rootfs();
    mount_info::bind(&rootfs, &rootfs, nix::mount::MsFlags::empty());
    mount_info::tmpfs(&rootfs.join("sub"), nix::mount::MsFlags::empty());
    std::fs::write(rootfs.join("sub/mark"), "here").expect("a file");
    bundle
        .args(&["cat", "/sub/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn root_below_a_shared_mount(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(
        std::path::Path::new("/"),
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_SHARED,
    );
    for propagation in ["", "private", "slave", "shared", "unbindable"] {
        let before = mount_info::of_process(std::process::id() as i32);
        let bundle = t
            .bundle()
            .set("/linux/rootfsPropagation", json!(propagation));
        bundle
            .args(&["echo", "fine"])
            .container()
            .run()
            .ok()
            .prints("fine");
        let after = mount_info::of_process(std::process::id() as i32);
        let points = |text: &str| -> Vec<String> {
            mount_info::table(text)
                .into_iter()
                .map(|mount| mount.point)
                .collect()
        };
        assert_eq!(
            points(&before),
            points(&after),
            "{propagation}: mounts on the host"
        );
    }
}

fn host_mounts_are_gone(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::tmpfs(&t.path("secret"), nix::mount::MsFlags::empty());
    let output = t
        .bundle()
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
        .run()
        .ok();
    assert!(!output.stdout.contains("secret"), "{output}");
}

/// A bundle whose container stays in the caller's mount namespace.
fn unshared(t: &Sandbox) -> crate::Bundle<'_> {
    let bundle = t.bundle().without_namespace("mount");
    bundle
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
}

/// The number of mounts on and below the rootfs that this process sees.
fn mounts_below(rootfs: &std::path::Path) -> usize {
    let table = mount_info::table(&mount_info::of_process(std::process::id() as i32));
    table
        .iter()
        .filter(|mount| std::path::Path::new(&mount.point).starts_with(rootfs))
        .count()
}

fn mounts_without_a_namespace_end_with_the_container(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change(
        std::path::Path::new("/"),
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_SHARED,
    );
    let bundle = unshared(t).shell("cat /proc/self/comm; echo x >/dev/null; ls -d /../bin");
    let rootfs = bundle.rootfs();
    let container = bundle.container();
    container.create().ok();
    assert!(mounts_below(&rootfs) > 6, "the mounts are the host's too");
    let pid = container.pid();
    container.start().ok();
    assert_eq!(crate::container::reap(pid), 0);
    container.delete().ok();
    assert_eq!(container.stdout(), "cat\n/../bin\n");
    assert_eq!(mounts_below(&rootfs), 0);
}

/// In another mount namespace the mounts of the rootfs are others, or none.
fn mounts_without_a_namespace_are_not_gone_elsewhere(t: &Sandbox) {
    mount_info::leave_host();
    let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    mount_info::change(std::path::Path::new("/"), private);
    for flags in [&["delete"][..], &["delete", "--force"]] {
        let bundle = unshared(t).args(&["true"]);
        let rootfs = bundle.rootfs();
        let container = bundle.container();
        container.create().ok();
        let pid = container.pid();
        container.start().ok();
        assert_eq!(crate::container::reap(pid), 0);
        let words = "cannot be seen from here, and may exist";
        let call = t.runtime().prefix(["unshare", "--mount"]).args(flags);
        let output = call.arg(&container.id).run();
        assert!(output.stderr.contains(words), "{output}");
        assert!(output.stderr.contains("nsenter --mount"), "{output}");
        if flags.contains(&"--force") {
            output.ok();
            container.verb("state").fails_with("does not exist");
            nix::mount::umount2(&rootfs, nix::mount::MntFlags::MNT_DETACH).expect("umount");
        } else {
            output.fails();
            container.delete().ok();
        }
        assert_eq!(mounts_below(&rootfs), 0);
    }
}

fn mounts_without_a_namespace_end_with_a_failed_create(t: &Sandbox) {
    mount_info::leave_host();
    let bundle = unshared(t).args(&["/no/such/program"]);
    let rootfs = bundle.rootfs();
    bundle.container().create().fails();
    assert_eq!(mounts_below(&rootfs), 0);
}

fn read_only_root_without_a_namespace(t: &Sandbox) {
    let bundle = unshared(t)
        .set("/root/readonly", json!(true))
        .args(&["touch", "/file"]);
    let rootfs = bundle.rootfs();
    bundle.container().run().fails_with("Read-only file system");
    std::fs::write(rootfs.join("file"), "").expect("the bundle stays writable");
}

/// Only the runtime's own mounts are removed.
fn foreign_mount_on_the_rootfs_stays(t: &Sandbox) {
    mount_info::leave_host();
    let bundle = unshared(t).args(&["true"]);
    let rootfs = bundle.rootfs();
    mount_info::bind(&rootfs, &rootfs, nix::mount::MsFlags::empty());
    bundle.container().run().ok();
    assert_eq!(mounts_below(&rootfs), 1);
}
