//! Bind mounts in a user namespace: flags that the kernel locks, and sources out of reach.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::mount::MsFlags;
use serde_json::json;

use super::userns_fs::mapped;
use crate::{Container, Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    locked_flags_of_a_source_stay,
    bind_cannot_leave_locked_submounts_behind,
    bind_of_a_namespace_file,
    container_cannot_clear_a_locked_flag,
    container_cannot_uncover_what_a_submount_hides,
    clearing_a_locked_flag_is_refused[Need::NotAPeer],
    locked_flags_of_submounts_stay,
    bind_source_out_of_reach_of_the_mapped_root,
    file_source_out_of_reach_of_the_mapped_root,
    rootfs_out_of_reach_of_the_mapped_root[Need::NotAPeer],
];

/// A mount of the host with flags that a user namespace may not clear.
fn locked(t: &Sandbox) -> std::path::PathBuf {
    mount_info::leave_host();
    let path = t.path("locked");
    mount_info::tmpfs(
        &path,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME,
    );
    mount_info::tmpfs(&path.join("inner"), MsFlags::MS_NOEXEC | MsFlags::MS_NODEV);
    path
}

#[track_caller]
fn bound<'t>(t: &'t Sandbox, source: &Path, options: &[&str]) -> Container<'t> {
    let bind = json!({"destination": "/m", "source": source, "options": options});
    mapped(t.bundle())
        .mount(bind)
        .args(&["cat", "/proc/self/mountinfo"])
        .container()
}

fn locked_flags_of_a_source_stay(t: &Sandbox) {
    let source = locked(t);
    for words in [&[][..], &["ro"], &["noexec"], &["rprivate", "rw"]] {
        let options = [&["rbind"][..], words].concat();
        let output = bound(t, &source, &options).run().ok();
        let mount = mount_info::at(&output.stdout, "/m");
        assert!(
            mount.has(&["nosuid", "nodev", "noatime"]),
            "{options:?}: {mount:?}"
        );
        let set = words.iter().filter(|word| !word.ends_with("private"));
        assert!(
            set.clone().all(|word| mount.has(&[word])),
            "{options:?}: {mount:?}"
        );
    }
}

fn clearing_a_locked_flag_is_refused(t: &Sandbox) {
    let source = locked(t);
    for word in ["suid", "dev"] {
        bound(t, &source, &["bind", word])
            .create()
            .fails_with("mounts[6]");
    }
    for word in ["strictatime", "relatime"] {
        bound(t, &source, &["bind", word])
            .create()
            .fails_with("mounts[6]");
    }
}

fn locked_flags_of_submounts_stay(t: &Sandbox) {
    let source = locked(t);
    let output = bound(t, &source, &["rbind", "ro"]).run().ok();
    let inner = mount_info::at(&output.stdout, "/m/inner");
    assert!(inner.has(&["noexec", "nodev", "rw"]), "{inner:?}");
    bound(t, &source, &["rbind", "rexec"]).create().fails();
}

fn bind_cannot_leave_locked_submounts_behind(t: &Sandbox) {
    let source = locked(t);
    bound(t, &source, &["bind"]).create().fails_with("/m");
}

fn bind_of_a_namespace_file(t: &Sandbox) {
    let container = bound(t, Path::new("/proc/self/ns/net"), &["bind"]);
    let output = container.run().ok();
    assert_eq!(mount_info::at(&output.stdout, "/m").fstype, "nsfs");
}

/// A container whose root has CAP_SYS_ADMIN in its user namespace.
#[track_caller]
fn with_sys_admin<'t>(t: &'t Sandbox, source: &Path, script: &str) -> Container<'t> {
    let bind = json!({"destination": "/m", "source": source, "options": ["rbind"]});
    let all = json!(["CAP_SYS_ADMIN"]);
    let sets = json!({"bounding": all, "effective": all, "permitted": all});
    mapped(t.bundle())
        .mount(bind)
        .set("/process/capabilities", sets)
        .shell(script)
        .container()
}

fn container_cannot_clear_a_locked_flag(t: &Sandbox) {
    mount_info::leave_host();
    let source = t.path("locked");
    mount_info::tmpfs(&source, MsFlags::MS_NOSUID);
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777)).expect("the mode");
    mount_info::change(
        &source,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID,
    );
    let script = "mount -o remount,bind,rw,nosuid /m; touch /m/file";
    with_sys_admin(t, &source, script)
        .run()
        .fails_with("Read-only file system");
    let script = "mount -o remount,bind,ro,suid /m && echo cleared";
    with_sys_admin(t, &source, script)
        .run()
        .fails_with("permission denied");
}

fn container_cannot_uncover_what_a_submount_hides(t: &Sandbox) {
    mount_info::leave_host();
    let source = t.path("source");
    fs::create_dir_all(source.join("sub")).expect("the source");
    fs::write(source.join("sub/hidden"), "").expect("a file below");
    mount_info::tmpfs(&source.join("sub"), MsFlags::empty());
    with_sys_admin(t, &source, "umount /m/sub; ls -A /m/sub")
        .run()
        .prints("");
}

/// A directory that only the host's root may enter.
fn private_directory(t: &Sandbox) -> std::path::PathBuf {
    let path = t.path("private");
    fs::create_dir_all(path.join("data")).expect("the directory");
    fs::write(path.join("data/mark"), "here").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("the mode");
    path
}

fn bind_source_out_of_reach_of_the_mapped_root(t: &Sandbox) {
    let source = private_directory(t).join("data");
    let bind = json!({"destination": "/m", "source": source, "options": ["rbind", "ro"]});
    let bundle = mapped(t.bundle()).mount(bind).args(&["cat", "/m/mark"]);
    bundle.container().run().ok().prints("here");
}

fn file_source_out_of_reach_of_the_mapped_root(t: &Sandbox) {
    let source = private_directory(t).join("data/mark");
    let bind = json!({"destination": "/etc/mark", "source": source, "options": ["bind"]});
    let bundle = mapped(t.bundle()).mount(bind).args(&["cat", "/etc/mark"]);
    bundle.container().run().ok().prints("here");
}

fn rootfs_out_of_reach_of_the_mapped_root(t: &Sandbox) {
    let bundle = mapped(t.bundle().file("/mark", "here")).args(&["cat", "/mark"]);
    fs::set_permissions(&bundle.path, fs::Permissions::from_mode(0o700)).expect("the mode");
    bundle.container().run().ok().prints("here");
}
