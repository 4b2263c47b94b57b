//! Default devices and links, and `linux.devices`.

use std::os::unix::fs::symlink;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::{Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    ptmx_is_a_link_into_devpts,
    ptmx_of_the_image_is_replaced,
    default_links_lead_to_the_streams,
    existing_default_device_is_used,
    wrong_default_device_is_refused[Need::NotAPeer],
    character_device,
    block_device,
    unbuffered_is_a_character_device,
    fifo,
    mode_and_owner_of_a_device,
    device_without_a_mode,
    device_in_a_new_directory,
    device_outside_dev,
    existing_matching_device,
    existing_other_device_is_refused[Need::NotAPeer],
    existing_file_is_refused[Need::NotAPeer],
    redundant_default_devices,
    ptmx_in_the_list_is_tolerated,
    console_in_the_list_is_tolerated,
    default_device_listed_with_another_mode,
    same_device_twice,
    device_without_a_path_is_refused[Need::NotAPeer],
    unknown_device_type_is_refused,
    device_path_through_a_link_stays_inside,
    dev_that_is_a_link_stays_inside[Need::NotAPeer],
    nothing_is_made_in_a_bound_dev,
    no_dev_mount_fills_the_rootfs,
    devpts_has_its_options,
];

fn device(path: &str, kind: &str, major: u32, minor: u32) -> Value {
    json!({"path": path, "type": kind, "major": major, "minor": minor})
}

/// Runs stat in a container with one additional device. Returns type, numbers, mode and owner of
/// `path`.
#[track_caller]
fn stat_of(t: &Sandbox, device: Value, expected: &str) {
    let path = device["path"].as_str().expect("a path").to_owned();
    let bundle = t.bundle().push("/linux/devices", device);
    let stat = ["stat", "-c", "%F %t:%T %a %u:%g", &path];
    bundle.args(&stat).container().run().ok().prints(expected);
}

fn ptmx_is_a_link_into_devpts(t: &Sandbox) {
    t.bundle()
        .args(&["readlink", "/dev/ptmx"])
        .container()
        .run()
        .ok()
        .prints("pts/ptmx");
}

fn without_dev_mount(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["destination"] != "/dev");
}

fn ptmx_of_the_image_is_replaced(t: &Sandbox) {
    let bundle = t.bundle().patch(without_dev_mount).file("/dev/ptmx", "");
    bundle
        .args(&["readlink", "/dev/ptmx"])
        .container()
        .run()
        .ok()
        .prints("pts/ptmx");
}

fn default_links_lead_to_the_streams(t: &Sandbox) {
    // Standard output is a file here, which `>` would truncate.
    let script = "echo text >>/dev/stdout; echo other >>/dev/fd/1; echo bad >>/dev/stderr";
    let output = t.bundle().shell(script).container().run().ok();
    assert_eq!(output.stdout, "text\nother\n", "{output}");
    assert!(output.stderr.contains("bad"), "{output}");
}

fn make_node(path: &std::path::Path, major: u64, minor: u64) {
    let mode = Mode::from_bits_truncate(0o666);
    mknod(path, SFlag::S_IFCHR, mode, makedev(major, minor)).expect("mknod");
}

fn existing_default_device_is_used(t: &Sandbox) {
    let bundle = t.bundle().patch(without_dev_mount);
    make_node(&bundle.rootfs().join("dev/null"), 1, 3);
    bundle
        .args(&["stat", "-c", "%t:%T", "/dev/null"])
        .container()
        .run()
        .ok()
        .prints("1:3");
}

fn wrong_default_device_is_refused(t: &Sandbox) {
    let bundle = t.bundle().patch(without_dev_mount);
    make_node(&bundle.rootfs().join("dev/null"), 1, 1);
    bundle.container().create().fails_with("/dev/null");
}

fn character_device(t: &Sandbox) {
    stat_of(
        t,
        device("/dev/one", "c", 10, 229),
        "character special file a:e5 666 0:0",
    );
}

fn block_device(t: &Sandbox) {
    stat_of(
        t,
        device("/dev/disk", "b", 7, 300),
        "block special file 7:12c 666 0:0",
    );
}

fn unbuffered_is_a_character_device(t: &Sandbox) {
    stat_of(
        t,
        device("/dev/one", "u", 1, 3),
        "character special file 1:3 666 0:0",
    );
}

fn fifo(t: &Sandbox) {
    let fifo = json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o600});
    stat_of(t, fifo, "fifo 0:0 600 0:0");
}

fn mode_and_owner_of_a_device(t: &Sandbox) {
    let device = json!({"path": "/dev/one", "type": "c", "major": 1, "minor": 3,
        "fileMode": 0o640, "uid": 12, "gid": 34});
    stat_of(t, device, "character special file 1:3 640 12:34");
}

fn device_without_a_mode(t: &Sandbox) {
    stat_of(
        t,
        device("/dev/one", "c", 1, 3),
        "character special file 1:3 666 0:0",
    );
}

fn device_in_a_new_directory(t: &Sandbox) {
    stat_of(
        t,
        device("/dev/net/deep/one", "c", 1, 3),
        "character special file 1:3 666 0:0",
    );
}

fn device_outside_dev(t: &Sandbox) {
    stat_of(
        t,
        device("/opt/one", "c", 1, 3),
        "character special file 1:3 666 0:0",
    );
}

fn existing_matching_device(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/opt/one", "c", 1, 3))
        .file("/opt/x", "");
    make_node(&bundle.rootfs().join("opt/one"), 1, 3);
    bundle
        .args(&["stat", "-c", "%t:%T", "/opt/one"])
        .container()
        .run()
        .ok()
        .prints("1:3");
}

fn existing_other_device_is_refused(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/opt/one", "c", 1, 3))
        .file("/opt/x", "");
    make_node(&bundle.rootfs().join("opt/one"), 1, 5);
    bundle.container().create().fails_with("linux.devices[0]");
}

fn existing_file_is_refused(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/opt/one", "c", 1, 3));
    bundle
        .file("/opt/one", "")
        .container()
        .create()
        .fails_with("/opt/one");
}

fn redundant_default_devices(t: &Sandbox) {
    let mut bundle = t.bundle();
    for (path, major, minor) in [
        ("/dev/null", 1, 3),
        ("/dev/tty", 5, 0),
        ("/dev/urandom", 1, 9),
    ] {
        bundle = bundle.push("/linux/devices", device(path, "c", major, minor));
    }
    bundle
        .shell("echo x >/dev/null; stat -c %t:%T /dev/tty")
        .container()
        .run()
        .ok()
        .prints("5:0");
}

fn ptmx_in_the_list_is_tolerated(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/dev/ptmx", "c", 5, 2));
    let script = "test -c /dev/ptmx && stat -L -c %t:%T /dev/ptmx";
    bundle.shell(script).container().run().ok().prints("5:2");
}

fn console_in_the_list_is_tolerated(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/dev/console", "c", 5, 1));
    bundle.args(&["true"]).container().run().ok();
}

fn default_device_listed_with_another_mode(t: &Sandbox) {
    let device =
        json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600});
    stat_of(t, device, "character special file 1:5 600 0:0");
}

fn same_device_twice(t: &Sandbox) {
    let one = device("/dev/one", "c", 1, 3);
    let bundle = t
        .bundle()
        .push("/linux/devices", one.clone())
        .push("/linux/devices", one);
    bundle
        .args(&["test", "-c", "/dev/one"])
        .container()
        .run()
        .ok();
}

fn device_without_a_path_is_refused(t: &Sandbox) {
    let device = json!({"type": "c", "major": 1, "minor": 3});
    t.bundle()
        .push("/linux/devices", device)
        .container()
        .create()
        .fails_with("path");
}

fn unknown_device_type_is_refused(t: &Sandbox) {
    t.bundle()
        .push("/linux/devices", device("/dev/one", "q", 1, 3))
        .container()
        .create()
        .fails();
}

fn device_path_through_a_link_stays_inside(t: &Sandbox) {
    let outside = t.path("outside");
    std::fs::create_dir(&outside).expect("a directory of the host");
    let bundle = t
        .bundle()
        .push("/linux/devices", device("/opt/link/one", "c", 1, 3))
        .file("/opt/x", "");
    symlink(&outside, bundle.rootfs().join("opt/link")).expect("the link");
    bundle
        .args(&["test", "-c", "/opt/link/one"])
        .container()
        .run()
        .ok();
    assert!(
        std::fs::read_dir(outside)
            .expect("the directory")
            .next()
            .is_none()
    );
}

/// An image whose /dev is a link must not make the runtime change the host's files.
fn dev_that_is_a_link_stays_inside(t: &Sandbox) {
    let outside = t.path("outside");
    std::fs::create_dir(&outside).expect("a directory of the host");
    std::fs::write(outside.join("ptmx"), "").expect("a file of the host");
    let bundle = t.bundle().patch(without_dev_mount).patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| {
            !mount["destination"]
                .as_str()
                .expect("text")
                .starts_with("/dev/")
        });
    });
    let dev = bundle.rootfs().join("dev");
    std::fs::remove_dir(&dev).expect("remove /dev");
    symlink(&outside, dev).expect("the link");
    bundle
        .args(&["test", "-c", "/dev/null"])
        .container()
        .run()
        .ok();
    assert!(outside.join("ptmx").is_file());
    assert!(!outside.join("null").exists());
}

fn nothing_is_made_in_a_bound_dev(t: &Sandbox) {
    let dev = t.path("dev");
    std::fs::create_dir(&dev).expect("the source");
    let bundle = t.bundle().patch(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| {
            !mount["destination"]
                .as_str()
                .expect("text")
                .starts_with("/dev")
        });
    });
    let bundle = bundle.mount(json!({"destination": "/dev", "source": dev, "options": ["rbind"]}));
    let bundle = bundle.push("/linux/devices", device("/dev/one", "c", 1, 3));
    bundle
        .args(&["ls", "-A", "/dev"])
        .container()
        .run()
        .ok()
        .prints("");
    assert!(
        std::fs::read_dir(dev)
            .expect("the directory")
            .next()
            .is_none()
    );
}

fn no_dev_mount_fills_the_rootfs(t: &Sandbox) {
    let bundle = t.bundle().patch(without_dev_mount);
    let dev = bundle.rootfs().join("dev");
    bundle.shell("echo x >/dev/null").container().run().ok();
    assert!(dev.join("null").exists());
}

fn devpts_has_its_options(t: &Sandbox) {
    let output = t
        .bundle()
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
        .run()
        .ok();
    let mount = mount_info::at(&output.stdout, "/dev/pts");
    for option in ["gid=5", "mode=620", "ptmxmode=666"] {
        assert!(
            mount.fs_options.iter().any(|one| one == option),
            "{option}: {mount:?}"
        );
    }
}
