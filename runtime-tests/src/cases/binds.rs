//! Bind mounts: sources, targets and flags.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::mount::MsFlags;
use serde_json::json;

use crate::{Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    bind_without_options_keeps_the_flags_of_the_source,
    bind_with_an_option_sets_the_flags_exactly[Need::NotAPeer],
    bind_without_r_leaves_submounts_behind,
    rbind_brings_submounts,
    bind_type_without_the_option,
    missing_directory_target_is_made,
    missing_target_below_a_set_group_directory_is_made,
    missing_file_target_is_made,
    relative_source_is_below_the_bundle,
    relative_destination_is_below_the_root,
    dots_in_the_destination_stay_inside,
    source_made_by_an_earlier_mount[Need::NotAPeer],
    source_in_the_rootfs,
    target_through_a_link_stays_inside,
    target_through_a_dangling_link_is_made_inside,
    target_through_a_dangling_link_in_the_middle,
    target_through_a_relative_link,
    file_on_a_directory_is_refused,
    directory_on_a_file_is_refused,
    bind_over_an_existing_file,
    bind_without_a_source_is_refused,
    source_may_be_a_link,
    source_may_be_a_socket,
    bind_of_a_mounted_directory_on_another_mount,
];

fn source(t: &Sandbox) -> PathBuf {
    let path = t.path("source");
    fs::create_dir(&path).expect("the source");
    fs::write(path.join("mark"), "here").expect("a file in it");
    path
}

fn flagged_source(t: &Sandbox) -> PathBuf {
    mount_info::leave_host();
    let path = t.path("source");
    mount_info::tmpfs(
        &path,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
    );
    path
}

#[track_caller]
fn options_of_bind(t: &Sandbox, source: &PathBuf, options: &[&str]) -> Vec<String> {
    let bind = json!({"destination": "/mnt", "source": source, "options": options});
    let bundle = t
        .bundle()
        .mount(bind)
        .args(&["cat", "/proc/self/mountinfo"]);
    mount_info::at(&bundle.container().run().ok().stdout, "/mnt").options
}

fn bind_without_options_keeps_the_flags_of_the_source(t: &Sandbox) {
    let source = flagged_source(t);
    let expected = ["rw", "nosuid", "nodev", "noexec", "relatime"];
    assert_eq!(options_of_bind(t, &source, &["bind"]), expected);
    assert_eq!(
        options_of_bind(t, &source, &["rbind", "rprivate"]),
        expected
    );
}

fn bind_with_an_option_sets_the_flags_exactly(t: &Sandbox) {
    let source = flagged_source(t);
    assert_eq!(
        options_of_bind(t, &source, &["bind", "ro"]),
        ["ro", "relatime"]
    );
    assert_eq!(
        options_of_bind(t, &source, &["bind", "rw"]),
        ["rw", "relatime"]
    );
    assert_eq!(
        options_of_bind(t, &source, &["bind", "nodev"]),
        ["rw", "nodev", "relatime"]
    );
    assert_eq!(
        options_of_bind(t, &source, &["bind", "exec", "nosuid"]),
        ["rw", "nosuid", "relatime"]
    );
}

fn source_with_submount(t: &Sandbox) -> PathBuf {
    mount_info::leave_host();
    let source = source(t);
    mount_info::tmpfs(&source.join("sub"), MsFlags::empty());
    fs::write(source.join("sub/below"), "deep").expect("a file in the submount");
    source
}

fn bind_without_r_leaves_submounts_behind(t: &Sandbox) {
    let bind =
        json!({"destination": "/mnt", "source": source_with_submount(t), "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .shell("cat /mnt/mark; ls /mnt/sub")
        .container()
        .run()
        .ok()
        .prints("here");
}

fn rbind_brings_submounts(t: &Sandbox) {
    let bind =
        json!({"destination": "/mnt", "source": source_with_submount(t), "options": ["rbind"]});
    t.bundle()
        .mount(bind)
        .args(&["cat", "/mnt/sub/below"])
        .container()
        .run()
        .ok()
        .prints("deep");
}

fn bind_type_without_the_option(t: &Sandbox) {
    let bind = json!({"destination": "/mnt", "type": "bind", "source": source(t)});
    t.bundle()
        .mount(bind)
        .args(&["cat", "/mnt/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn missing_directory_target_is_made(t: &Sandbox) {
    let bind = json!({"destination": "/a/b/c", "source": source(t), "options": ["bind"]});
    let bundle = t.bundle().mount(bind).args(&["cat", "/a/b/c/mark"]);
    let made = bundle.rootfs().join("a/b/c");
    bundle.container().run().ok().prints("here");
    assert!(made.is_dir() && !made.join("mark").exists());
}

/// The kernel gives new directories the bit and the group of the directory that they are in.
fn missing_target_below_a_set_group_directory_is_made(t: &Sandbox) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
    let bind = json!({"destination": "/shared/a/b", "source": source(t), "options": ["bind"]});
    let bundle = t.bundle().mount(bind).args(&["cat", "/shared/a/b/mark"]);
    let shared = bundle.rootfs().join("shared");
    std::fs::create_dir(&shared).expect("a directory");
    chown(&shared, None, Some(7)).expect("chown");
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o2755)).expect("chmod");
    bundle.container().run().ok().prints("here");
    let made = shared.join("a/b").metadata().expect("the target was made");
    assert_eq!((made.gid(), made.mode() & 0o7777), (7, 0o2755));
}

fn missing_file_target_is_made(t: &Sandbox) {
    let source = source(t).join("mark");
    let bind = json!({"destination": "/a/b/c", "source": source, "options": ["bind"]});
    let bundle = t.bundle().mount(bind).args(&["cat", "/a/b/c"]);
    let made = bundle.rootfs().join("a/b/c");
    bundle.container().run().ok().prints("here");
    assert!(made.is_file());
    assert_eq!(fs::read(made).expect("the file"), b"");
}

fn relative_source_is_below_the_bundle(t: &Sandbox) {
    let bind = json!({"destination": "/mnt", "source": "data", "options": ["bind"]});
    let bundle = t.bundle().mount(bind).args(&["cat", "/mnt/mark"]);
    fs::create_dir(bundle.path.join("data")).expect("the source");
    fs::write(bundle.path.join("data/mark"), "here").expect("a file in it");
    bundle.container().run().ok().prints("here");
}

fn relative_destination_is_below_the_root(t: &Sandbox) {
    let bind = json!({"destination": "a/b", "source": source(t), "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .args(&["cat", "/a/b/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn dots_in_the_destination_stay_inside(t: &Sandbox) {
    let bind = json!({"destination": "/../../../a", "source": source(t), "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .args(&["cat", "/a/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

/// A directory that an earlier mount provides can be bind-mounted again by its path in the rootfs.
fn source_made_by_an_earlier_mount(t: &Sandbox) {
    let bundle = t.bundle();
    let inner = bundle.rootfs().join("first/mark");
    let bundle = bundle
        .mount(json!({"destination": "/first", "source": source(t), "options": ["bind"]}))
        .mount(json!({"destination": "/second", "source": inner, "options": ["bind", "ro"]}));
    bundle
        .args(&["cat", "/second"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn source_in_the_rootfs(t: &Sandbox) {
    let bundle = t.bundle().file("/data/mark", "here");
    let data = bundle.rootfs().join("data");
    let bundle = bundle.mount(json!({"destination": "/mnt", "source": data, "options": ["bind"]}));
    bundle
        .args(&["cat", "/mnt/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

/// A bind mount on /link/in, where /link is a link to `target`, and the container's view of it.
#[track_caller]
fn bind_through_link(t: &Sandbox, target: &str, seen: &str) {
    let bind = json!({"destination": "/link/in", "source": source(t), "options": ["bind"]});
    let mark = format!("{seen}/mark");
    let bundle = t.bundle().mount(bind).args(&["cat", &mark]);
    symlink(target, bundle.rootfs().join("link")).expect("the link");
    bundle.container().run().ok().prints("here");
}

fn target_through_a_link_stays_inside(t: &Sandbox) {
    // /etc exists on the host too, but the link refers to the one in the rootfs.
    bind_through_link(t, "/../../etc", "/etc/in");
    assert!(!std::path::Path::new("/etc/in").exists());
}

fn target_through_a_dangling_link_is_made_inside(t: &Sandbox) {
    let name = format!("/tmp/{}-dangling", t.id);
    bind_through_link(t, &name, &format!("{name}/in"));
    assert!(!std::path::Path::new(&name).exists());
}

fn target_through_a_dangling_link_in_the_middle(t: &Sandbox) {
    let bind = json!({"destination": "/a/link/b/c", "source": source(t), "options": ["bind"]});
    let bundle = t
        .bundle()
        .mount(bind)
        .file("/a/file", "")
        .args(&["cat", "/new/place/b/c/mark"]);
    symlink("../new/place", bundle.rootfs().join("a/link")).expect("the link");
    bundle.container().run().ok().prints("here");
}

fn target_through_a_relative_link(t: &Sandbox) {
    bind_through_link(t, "../../../../var", "/var/in");
}

fn file_on_a_directory_is_refused(t: &Sandbox) {
    let file = source(t).join("mark");
    let bind = json!({"destination": "/home", "source": file, "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .container()
        .create()
        .fails_with("/home");
}

fn directory_on_a_file_is_refused(t: &Sandbox) {
    let bind = json!({"destination": "/etc/passwd", "source": source(t), "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .container()
        .create()
        .fails_with("/etc/passwd");
}

fn bind_over_an_existing_file(t: &Sandbox) {
    let file = source(t).join("mark");
    let bind = json!({"destination": "/etc/group", "source": file, "options": ["bind"]});
    let bundle = t.bundle().mount(bind).args(&["cat", "/etc/group"]);
    let group = bundle.rootfs().join("etc/group");
    bundle.container().run().ok().prints("here");
    assert!(
        fs::read_to_string(group)
            .expect("the covered file")
            .starts_with("root")
    );
}

fn bind_without_a_source_is_refused(t: &Sandbox) {
    let bind = json!({"destination": "/mnt", "options": ["bind"]});
    t.bundle().mount(bind).container().create().fails();
}

fn source_may_be_a_link(t: &Sandbox) {
    let link = t.path("link");
    symlink(source(t), &link).expect("the link");
    let bind = json!({"destination": "/mnt", "source": link, "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .args(&["cat", "/mnt/mark"])
        .container()
        .run()
        .ok()
        .prints("here");
}

fn source_may_be_a_socket(t: &Sandbox) {
    let path = t.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let bind = json!({"destination": "/run/socket", "source": path, "options": ["bind"]});
    t.bundle()
        .mount(bind)
        .args(&["test", "-S", "/run/socket"])
        .container()
        .run()
        .ok();
}

fn bind_of_a_mounted_directory_on_another_mount(t: &Sandbox) {
    let tmpfs = json!({"destination": "/m", "type": "tmpfs", "source": "tmpfs"});
    let bind = json!({"destination": "/m/x/y", "source": source(t), "options": ["bind"]});
    let bundle = t
        .bundle()
        .mount(tmpfs)
        .mount(bind)
        .args(&["cat", "/m/x/y/mark"]);
    let rootfs = bundle.rootfs();
    bundle.container().run().ok().prints("here");
    assert!(
        !rootfs.join("m/x").exists(),
        "the target is made in the tmpfs"
    );
}
