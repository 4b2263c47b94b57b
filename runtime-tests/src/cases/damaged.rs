//! `delete --force` of a container whose state is damaged, and of a directory that is none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::container::{Container, reap};
use crate::{Need, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    what_a_damaged_state_says_is_used[Need::NotAPeer],
    the_mounts_of_a_damaged_state_are_removed[Need::NotAPeer],
    a_lost_process_keeps_its_directory[Need::NotAPeer],
    a_process_that_has_ended_without_its_cgroup_is_removed[Need::NotAPeer],
    a_process_of_another_namespace_keeps_its_directory[Need::NotAPeer, Need::Program("unshare")],
    a_directory_of_something_else_is_not_removed[Need::NotAPeer],
    nothing_is_removed_across_a_mount[Need::NotAPeer],
];

fn state_file(t: &Sandbox, container: &Container) -> PathBuf {
    t.root.join(&container.id).join("state.json")
}

/// Changes the text of the state.
fn damage(t: &Sandbox, container: &Container, how: impl Fn(&str) -> String) {
    let file = state_file(t, container);
    let text = fs::read_to_string(&file).expect("the state");
    let damaged = how(&text);
    assert_ne!(damaged, text);
    fs::write(&file, damaged).expect("the state");
    container.delete().fails_with("delete --force");
}

/// A container without a cgroup of its own can be found by its pid alone.
fn without_cgroup(t: &Sandbox) -> Container<'_> {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    let call = t
        .runtime()
        .args(["--cgroup-manager", "disabled", "run", "-d"]);
    container.launch(call).finish().ok();
    container
}

fn what_a_damaged_state_says_is_used(t: &Sandbox) {
    let truncated = |text: &str| {
        let end = text.find("\"owner\"").expect("a field") - 4;
        text[..end].to_owned()
    };
    let wrong_type = |text: &str| text.replace("\"owner\":0", "\"owner\":\"root\"");
    let missing = |text: &str| text.replace("\"later\"", "\"sooner\"");
    let ways: [&dyn Fn(&str) -> String; 3] = [&truncated, &wrong_type, &missing];
    for how in ways {
        let container = without_cgroup(t);
        let pid = container.pid();
        damage(t, &container, how);
        container.delete_force().ok();
        assert_eq!(reap(pid), 128 + 9);
        container.verb("state").fails_with("does not exist");
    }
}

fn the_mounts_of_a_damaged_state_are_removed(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change("/".as_ref(), MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    let bundle = t
        .bundle()
        .without_namespace("mount")
        .args(&["sleep", "1000"]);
    let bundle = bundle
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let rootfs = bundle.rootfs();
    let container = bundle.container();
    container.launch_ok();
    let pid = container.pid();
    let mounted = || {
        let table = mount_info::of_process(std::process::id() as i32);
        table.contains(rootfs.to_str().expect("UTF-8"))
    };
    assert!(mounted());
    damage(t, &container, |text| {
        text.replace("\"owner\":0", "\"owner\":[]")
    });
    container.delete_force().ok();
    assert_eq!(reap(pid), 128 + 9);
    assert!(!mounted());
}

fn a_lost_process_keeps_its_directory(t: &Sandbox) {
    let damages: [fn(&Sandbox, &Container); 2] = [
        |t, container| damage(t, container, |_| "{".to_owned()),
        |t, container| fs::remove_file(state_file(t, container)).expect("the state"),
    ];
    for damage in damages {
        let container = without_cgroup(t);
        let pid = container.pid();
        damage(t, &container);
        let directory = t.root.join(&container.id);
        let output = container.delete_force().fails_with("processes may be left");
        assert!(output.stderr.contains(directory.to_str().expect("UTF-8")));
        assert!(directory.join("config.json").exists());
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("init lives");
        reap(pid);
        fs::remove_dir_all(&directory).expect("the directory");
    }
}

/// The path of the cgroup is none that systemd could have made one for.
fn a_process_that_has_ended_without_its_cgroup_is_removed(t: &Sandbox) {
    let path = format!("/{}", t.id);
    let bundle = t.bundle().set("/linux/cgroupsPath", json!(path));
    let container = bundle.args(&["sleep", "1000"]).container();
    container.launch_ok();
    let cgroup = container.cgroup();
    container.stop();
    fs::remove_dir(cgroup).expect("the cgroup");
    damage(t, &container, |text| {
        let end = text.find("\"bundle\"").expect("a field");
        text[..end].to_owned()
    });
    container.delete_force().ok();
    container.verb("state").fails_with("does not exist");
}

/// The part that is left has the pid, but not the namespace that it is a number in.
fn a_process_of_another_namespace_keeps_its_directory(t: &Sandbox) {
    let container = without_cgroup(t);
    let pid = container.pid();
    damage(t, &container, |text| {
        let end = text.find("\"namespaces\"").expect("a field");
        text[..end].to_owned()
    });
    let call = t
        .runtime()
        .prefix(["unshare", "--pid", "--fork", "--mount-proc"]);
    let call = call.args(["delete", "--force", &container.id]);
    call.run().fails_with("processes may be left");
    container.delete_force().ok();
    assert_eq!(reap(pid), 128 + 9);
}

/// Directories in a root directory that was named by mistake.
fn a_directory_of_something_else_is_not_removed(t: &Sandbox) {
    let project = t.root.join("project");
    fs::create_dir_all(project.join("src")).expect("a directory");
    for path in [&t.root, &project] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
    }
    let kept = [project.join("src/main.c"), project.join("config.json")];
    for file in &kept {
        fs::write(file, "{}").expect("a file");
    }
    let check = |words: &[&str]| {
        let output = t.runtime().args(words).run();
        assert!(kept.iter().all(|file| file.exists()), "{output}");
        output
    };
    let output = check(&["delete", "--force", "project"]).fails_with("project/src");
    assert!(output.stderr.contains("--root"), "{output}");
    check(&["delete", "--force", "--regex", "."]).ok();
    for words in [&["list"][..], &["state", "project"], &["delete", "project"]] {
        let output = check(words);
        assert!(!output.stderr.contains("delete --force"), "{output}");
    }
    fs::remove_dir_all(project.join("src")).expect("the directory");
    fs::write(project.join("state.json"), "{}").expect("a file");
    fs::write(project.join("main.c"), "").expect("a file");
    let again = t.runtime().args(["delete", "--force", "project"]).run();
    again.fails_with("project/main.c");
    assert!(project.join("main.c").exists() && project.join("state.json").exists());
    fs::remove_dir_all(&project).expect("the directory");
}

fn nothing_is_removed_across_a_mount(t: &Sandbox) {
    mount_info::leave_host();
    mount_info::change("/".as_ref(), MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    let container = t.bundle().args(&["true"]).container();
    container.create().ok();
    let notify = t.root.join(&container.id).join("notify/below");
    fs::create_dir_all(&notify).expect("a directory");
    let other = t.path("other");
    fs::create_dir(&other).expect("a directory");
    fs::write(other.join("file"), "").expect("a file");
    mount_info::bind(&other, &notify, MsFlags::empty());
    container.delete_force().fails_with("notify");
    assert!(other.join("file").exists());
    nix::mount::umount(&notify).expect("umount");
    container.delete_force().ok();
    let left = fs::read_dir(&t.root).expect("the root").count();
    assert_eq!(left, 0);
}
