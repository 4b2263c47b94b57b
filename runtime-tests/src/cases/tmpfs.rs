//! tmpfs mounts: mode, size, read-only, and `tmpcopyup`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use serde_json::{Value, json};

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    mode_of_the_covered_directory_is_kept,
    a_missing_directory_gets_mode_1777,
    mode_option_wins,
    size_is_a_limit,
    read_only_tmpfs,
    read_only_tmpfs_is_filled_before,
    read_only_dev_is_filled_before,
    tmpfs_is_empty_without_copy_up,
    copy_up_copies_files_and_directories,
    copy_up_keeps_modes_and_owners,
    copy_up_keeps_links,
    copy_up_keeps_special_bits[Need::NotAPeer],
    copy_up_does_not_follow_links,
    copy_up_into_a_read_only_tmpfs,
    copy_up_of_a_missing_directory,
];

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn mode_of_the_covered_directory_is_kept(t: &Sandbox) {
    let bundle = t.bundle().file("/a/file", "").file("/b/file", "");
    for (name, mode) in [("a", 0o750), ("b", 0o3770)] {
        let path = bundle.rootfs().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode");
    }
    let bundle = bundle
        .mount(tmpfs("/a", &["nodev"]))
        .mount(tmpfs("/b", &[]));
    bundle
        .args(&["stat", "-c", "%a", "/a", "/b", "/tmp"])
        .container()
        .run()
        .ok()
        .prints("750\n3770\n1777");
}

fn a_missing_directory_gets_mode_1777(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(tmpfs("/new", &[]))
        .mount(tmpfs("/new/deep/er", &["nosuid", "size=64k"]))
        .mount(tmpfs("/copied", &["tmpcopyup"]))
        .mount(tmpfs("/own", &["mode=0700"]));
    let paths = ["/new", "/new/deep", "/new/deep/er", "/copied", "/own"];
    let words: Vec<_> = ["stat", "-c", "%a"].into_iter().chain(paths).collect();
    let container = bundle.args(&words).container();
    // The second container finds the directories that the first has made.
    for _ in 0..2 {
        let output = container.run().ok();
        output.prints("1777\n755\n1777\n1777\n700");
    }
    let user = t
        .bundle()
        .mount(tmpfs("/new", &[]))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    user.args(&["touch", "/new/file"]).container().run().ok();
}

fn mode_option_wins(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/a/file", "")
        .mount(tmpfs("/a", &["mode=0700"]));
    bundle
        .args(&["stat", "-c", "%a", "/a"])
        .container()
        .run()
        .ok()
        .prints("700");
}

fn size_is_a_limit(t: &Sandbox) {
    let script = "dd if=/dev/zero of=/m/file bs=64k count=2 2>&1 | grep -o 'No space left'; stat -c %s /m/file";
    let bundle = t.bundle().mount(tmpfs("/m", &["size=64k"])).shell(script);
    bundle.container().run().ok().prints("No space left\n65536");
}

fn read_only_tmpfs(t: &Sandbox) {
    let bundle = t
        .bundle()
        .mount(tmpfs("/m", &["ro"]))
        .args(&["touch", "/m/file"]);
    bundle.container().run().fails_with("Read-only file system");
}

fn read_only_tmpfs_is_filled_before(t: &Sandbox) {
    let source = t.path("source");
    fs::write(&source, "here").expect("the source");
    let bind = json!({"destination": "/m/deep/file", "source": source, "options": ["bind"]});
    let bundle = t.bundle().mount(tmpfs("/m", &["ro"])).mount(bind);
    let script = "cat /m/deep/file; touch /m/new 2>/dev/null || echo refused";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("hererefused");
}

fn read_only_dev_is_filled_before(t: &Sandbox) {
    let bundle = t
        .bundle()
        .patch(|config| config["mounts"][1]["options"] = json!(["nosuid", "ro"]));
    let script = "echo x >/dev/null; touch /dev/shm/file; readlink /dev/fd; touch /dev/new 2>/dev/null || echo refused";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("/proc/self/fd\nrefused");
}

fn tmpfs_is_empty_without_copy_up(t: &Sandbox) {
    let bundle = t.bundle().file("/m/file", "").mount(tmpfs("/m", &[]));
    bundle
        .args(&["ls", "-A", "/m"])
        .container()
        .run()
        .ok()
        .prints("");
}

fn copy_up_copies_files_and_directories(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/m/file", "text")
        .file("/m/a/b/deep", "more");
    let big = "0123456789abcdef".repeat(5000);
    let bundle = bundle
        .file("/m/big", &big)
        .mount(tmpfs("/m", &["tmpcopyup"]));
    let script = "cat /m/file /m/a/b/deep; echo; wc -c </m/big; echo new >/m/file; touch /m/other";
    let rootfs = bundle.rootfs();
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("textmore\n80000");
    assert_eq!(
        fs::read_to_string(rootfs.join("m/file")).expect("the file"),
        "text"
    );
    assert!(!rootfs.join("m/other").exists());
}

fn copy_up_keeps_modes_and_owners(t: &Sandbox) {
    let bundle = t.bundle().file("/m/file", "").file("/m/dir/inner", "");
    let m = bundle.rootfs().join("m");
    for (name, mode, owner) in [
        ("file", 0o640, 7),
        ("dir", 0o1730, 8),
        ("dir/inner", 0o400, 9),
    ] {
        chown(m.join(name), Some(owner), Some(owner + 10)).expect("the owner");
        fs::set_permissions(m.join(name), fs::Permissions::from_mode(mode)).expect("the mode");
    }
    fs::set_permissions(&m, fs::Permissions::from_mode(0o751)).expect("the mode");
    let bundle = bundle.mount(tmpfs("/m", &["tmpcopyup"]));
    let files = [
        "stat",
        "-c",
        "%a %u %g",
        "/m",
        "/m/file",
        "/m/dir",
        "/m/dir/inner",
    ];
    let expected = "751 0 0\n640 7 17\n1730 8 18\n400 9 19";
    bundle.args(&files).container().run().ok().prints(expected);
}

fn copy_up_keeps_links(t: &Sandbox) {
    let bundle = t.bundle().file("/m/file", "");
    symlink("/no/where", bundle.rootfs().join("m/dangling")).expect("a link");
    symlink("file", bundle.rootfs().join("m/link")).expect("a link");
    let bundle = bundle.mount(tmpfs("/m", &["tmpcopyup"]));
    let bundle = bundle.shell("readlink /m/dangling; readlink /m/link");
    bundle.container().run().ok().prints("/no/where\nfile");
}

fn copy_up_keeps_special_bits(t: &Sandbox) {
    let bundle = t.bundle().file("/m/tool", "").file("/m/group/file", "");
    let m = bundle.rootfs().join("m");
    fs::set_permissions(m.join("tool"), fs::Permissions::from_mode(0o4755)).expect("the mode");
    fs::set_permissions(m.join("group"), fs::Permissions::from_mode(0o2775)).expect("the mode");
    let bundle = bundle.mount(tmpfs("/m", &["tmpcopyup"]));
    bundle
        .args(&["stat", "-c", "%a", "/m/tool", "/m/group"])
        .container()
        .run()
        .ok()
        .prints("4755\n2775");
}

/// A link in the image must not copy a file of the host into the container.
fn copy_up_does_not_follow_links(t: &Sandbox) {
    let secret = t.path("secret");
    fs::write(&secret, "secret").expect("a file of the host");
    let bundle = t.bundle().file("/m/file", "");
    symlink(&secret, bundle.rootfs().join("m/link")).expect("the link");
    let bundle = bundle
        .mount(tmpfs("/m", &["tmpcopyup"]))
        .shell("test -L /m/link; cat /m/link");
    bundle.container().run().fails_with("No such file");
}

fn copy_up_into_a_read_only_tmpfs(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/m/file", "text")
        .mount(tmpfs("/m", &["tmpcopyup", "ro"]));
    let script = "cat /m/file; touch /m/new 2>/dev/null || echo refused";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("textrefused");
}

fn copy_up_of_a_missing_directory(t: &Sandbox) {
    let bundle = t.bundle().mount(tmpfs("/new/m", &["tmpcopyup"]));
    bundle
        .shell("touch /new/m/file; ls /new/m")
        .container()
        .run()
        .ok()
        .prints("file");
}
