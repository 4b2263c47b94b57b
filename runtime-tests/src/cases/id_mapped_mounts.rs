//! Mounts whose files have other owners than in their file system.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::userns_fs::mapped;
use crate::{Bundle, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    ids_are_mapped_without_a_user_namespace,
    ids_are_mapped_as_in_the_user_namespace,
    mappings_that_are_those_of_the_user_namespace,
    mappings_of_its_own_in_a_user_namespace,
    a_joined_user_namespace_maps,
    a_file_has_mapped_ids,
    a_mapped_mount_is_read_only,
    mounts_below_are_mapped_if_asked_for,
    a_mount_added_later_is_mapped[Need::NotAPeer],
    a_map_needs_a_user_namespace_or_mappings[Need::NotAPeer],
    a_new_tmpfs_is_mapped[Need::Kernel(6, 3)],
    a_new_file_system_that_cannot_map_is_named[Need::NotAPeer],
    file_system_that_cannot_map_is_named[Need::NotAPeer],
];

/// A directory of root with a file, which no other user can enter.
fn volume(t: &Sandbox) -> PathBuf {
    let volume = t.path("volume");
    fs::create_dir(&volume).expect("a directory");
    fs::write(volume.join("file"), "x").expect("a file");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o700)).expect("chmod");
    volume
}

fn bind(source: &Path, options: &[&str]) -> Value {
    json!({"destination": "/volume", "type": "bind", "source": source, "options": options})
}

fn with_maps(mut mount: Value, uid: u32, gid: u32) -> Value {
    let map = |first: u32| json!([{"containerID": 0, "hostID": first, "size": 10}]);
    mount["uidMappings"] = map(uid);
    mount["gidMappings"] = map(gid);
    mount
}

/// The script's output, and the owner of `made` in the volume.
fn output_and_owner(bundle: Bundle, volume: &Path, script: &str) -> (String, (u32, u32)) {
    let output = bundle.shell(script).container().run().ok();
    let made = fs::metadata(volume.join("made")).expect("the container made a file");
    (output.stdout, (made.uid(), made.gid()))
}

const LOOK: &str = "stat -c '%u %g' /volume/file; cat /volume/file; touch /volume/made";

fn ids_are_mapped_without_a_user_namespace(t: &Sandbox) {
    let volume = volume(t);
    let bundle = t
        .bundle()
        .mount(with_maps(bind(&volume, &["bind"]), 5000, 6000))
        .set("/process/user", json!({"uid": 5000, "gid": 6000}));
    let (output, owner) = output_and_owner(bundle, &volume, LOOK);
    assert_eq!((output.as_str(), owner), ("5000 6000\nx", (0, 0)));
}

fn ids_are_mapped_as_in_the_user_namespace(t: &Sandbox) {
    let volume = volume(t);
    let bundle = mapped(t.bundle()).mount(bind(&volume, &["bind", "idmap"]));
    let (output, owner) = output_and_owner(bundle, &volume, LOOK);
    assert_eq!((output.as_str(), owner), ("0 0\nx", (0, 0)));
}

fn mappings_that_are_those_of_the_user_namespace(t: &Sandbox) {
    let volume = volume(t);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mut mount = bind(&volume, &["rbind", "rprivate"]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    let (output, owner) = output_and_owner(mapped(t.bundle()).mount(mount), &volume, LOOK);
    assert_eq!((output.as_str(), owner), ("0 0\nx", (0, 0)));
}

fn mappings_of_its_own_in_a_user_namespace(t: &Sandbox) {
    let volume = volume(t);
    let mount = with_maps(bind(&volume, &["bind", "idmap"]), 100_007, 100_008);
    let bundle = mapped(t.bundle())
        .mount(mount)
        .set("/process/user", json!({"uid": 7, "gid": 8}));
    let (output, owner) = output_and_owner(bundle, &volume, LOOK);
    assert_eq!((output.as_str(), owner), ("7 8\nx", (0, 0)));
}

fn a_joined_user_namespace_maps(t: &Sandbox) {
    let holder = mapped(t.bundle()).args(&["sleep", "1000"]).container();
    holder.launch_ok();
    let volume = volume(t);
    let user = format!("/proc/{}/ns/user", holder.pid());
    let bundle = mapped(t.bundle())
        .without_namespace("user")
        .push("/linux/namespaces", json!({"type": "user", "path": user}))
        .mount(bind(&volume, &["bind", "idmap"]));
    let (output, owner) = output_and_owner(bundle, &volume, LOOK);
    assert_eq!((output.as_str(), owner), ("0 0\nx", (0, 0)));
}

fn a_file_has_mapped_ids(t: &Sandbox) {
    let source = volume(t).join("file");
    let bundle = mapped(t.bundle())
        .mount(bind(&source, &["bind", "idmap"]))
        .shell("stat -c '%u %g' /volume; cat /volume");
    bundle.container().run().ok().prints("0 0\nx");
}

fn a_mapped_mount_is_read_only(t: &Sandbox) {
    let volume = volume(t);
    let bundle = mapped(t.bundle())
        .mount(bind(&volume, &["bind", "ro", "idmap"]))
        .shell("stat -c %u /volume/file; touch /volume/made 2>&1 | grep -o Read-only");
    bundle.container().run().ok().prints("0\nRead-only");
    assert!(!volume.join("made").exists());
}

fn mounts_below_are_mapped_if_asked_for(t: &Sandbox) {
    let volume = volume(t);
    let below = volume.join("below");
    fs::create_dir(&below).expect("a directory");
    let (none, tmpfs) = (None::<&str>, Some("tmpfs"));
    mount(tmpfs, &below, tmpfs, MsFlags::empty(), none).expect("mount");
    let owners = |option| {
        let bundle = mapped(t.bundle())
            .mount(bind(&volume, &["rbind", option]))
            .shell("stat -c %u /volume /volume/below");
        bundle.container().run()
    };
    let (top, all) = (owners("idmap"), owners("ridmap"));
    umount2(&below, MntFlags::MNT_DETACH).expect("umount");
    // 65534 stands for an unmapped id.
    top.ok().prints("0\n65534");
    all.ok().prints("0\n0");
}

fn a_mount_added_later_is_mapped(t: &Sandbox) {
    let volume = volume(t);
    let container = mapped(t.bundle()).args(&["sleep", "1000"]).container();
    container.launch_ok();
    let file = t.path("mounts.json");
    let mounts = json!([bind(&volume, &["bind", "idmap"])]);
    fs::write(&file, mounts.to_string()).expect("a file");
    let call = t.runtime().args(["mounts", "add", &container.id]);
    call.arg(&file).run().ok();
    container.exec(&["sh", "-c", LOOK]).ok().prints("0 0\nx");
    container.delete_force().ok();
}

fn a_map_needs_a_user_namespace_or_mappings(t: &Sandbox) {
    let volume = volume(t);
    let refused = |mount: Value, part: &str| {
        let container = t.bundle().mount(mount).container();
        container.create().fails_with(part);
    };
    refused(bind(&volume, &["bind", "idmap"]), "needs a user namespace");
    let mut half = with_maps(bind(&volume, &["bind"]), 1, 1);
    half["gidMappings"] = json!([]);
    refused(half, "gidMappings");
    let remount = bind(&volume, &["bind", "remount"]);
    refused(with_maps(remount, 1, 1), "only a new mount");
}

fn file_system_that_cannot_map_is_named(t: &Sandbox) {
    let bundle = mapped(t.bundle()).mount(bind(Path::new("/sys/class"), &["bind", "idmap"]));
    let output = bundle.container().create().fails_with("mount_setattr");
    assert!(output.stderr.contains("cannot map ids"), "{output}");
}

/// The owners in the file system are those on the other side of the map, with and without a user
/// namespace.
fn a_new_tmpfs_is_mapped(t: &Sandbox) {
    let tmpfs = json!({"destination": "/volume", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "size=1m"]});
    let script = "stat -c '%u %g %a' /volume; touch /volume/made && stat -c '%u %g' /volume/made";
    let plain = t.bundle().mount(with_maps(tmpfs.clone(), 5000, 6000));
    let output = plain.shell(script).container().run();
    assert!(output.stdout.starts_with("5000 6000 1777\n"), "{output}");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let mut mount = tmpfs;
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    let bundle = mapped(t.bundle().file("/volume/under", "")).mount(mount);
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("0 0 755\n0 0");
}

fn a_new_file_system_that_cannot_map_is_named(t: &Sandbox) {
    for (fstype, words) in [
        ("mqueue", "mqueue cannot have mapped ids"),
        ("ramfs", "mount ramfs on /volume"),
        ("ramfs", "the file system cannot map ids"),
    ] {
        let mount = json!({"destination": "/volume", "type": fstype, "source": fstype});
        let bundle = mapped(t.bundle()).mount(with_maps(mount, 5000, 6000));
        bundle.container().create().fails_with(words);
    }
}
