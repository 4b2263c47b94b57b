//! Directories from which the caller executes hooks and signals processes must belong to the caller
//! alone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use serde_json::json;

use crate::container::Container;
use crate::{Bundle, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    root_directory_of_another_user_is_refused[Need::NotAPeer],
    container_of_another_user_is_refused[Need::NotAPeer],
    directories_that_others_write_to_are_refused[Need::NotAPeer],
    modes_of_engines_are_accepted,
];

const OTHER: u32 = 12_345;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// The poststop hook leaves a trace.
fn with_hook(t: &Sandbox) -> Bundle<'_> {
    let script = format!(": >{}", t.path("ran").display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = t.bundle().set("/hooks/poststop", hook);
    bundle.args(&["sleep", "1000"])
}

/// Every verb that would act on the container or report on it.
fn all_refuse(t: &Sandbox, container: &Container, words: &str) {
    let id = container.id.as_str();
    let calls: &[&[&str]] = &[
        &["state", id],
        &["kill", id, "KILL"],
        &["kill", "--all", id, "KILL"],
        &["pause", id],
        &["ps", id],
        &["update", "--pids-limit", "7", id],
        &["exec", id, "true"],
        &["delete", id],
        &["delete", "--force", id],
    ];
    for call in calls {
        t.runtime().args(*call).run().fails_with(words);
    }
    assert!(!t.path("ran").exists(), "the hook has run");
}

fn root_directory_of_another_user_is_refused(t: &Sandbox) {
    let container = with_hook(t).container();
    container.launch_ok();
    chown(&t.root, Some(OTHER), None).expect("chown");
    all_refuse(t, &container, "belongs to user 12345");
    let list = t.runtime().args(["list"]).run();
    list.fails_with("belongs to user 12345");
    let another = container.sibling();
    another.create().fails_with("belongs to user 12345");
    assert!(!t.root.join(&another.id).exists());
    chown(&t.root, Some(0), None).expect("chown");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    assert!(t.path("ran").exists());
}

fn container_of_another_user_is_refused(t: &Sandbox) {
    let container = with_hook(t).container();
    container.launch_ok();
    let directory = t.root.join(&container.id);
    chown(&directory, Some(OTHER), None).expect("chown");
    all_refuse(t, &container, "belongs to user 12345");
    let list = t.runtime().args(["list", "-q"]).run().ok();
    assert!(list.stderr.contains("belongs to user 12345"), "{list}");
    list.prints("");
    chown(&directory, Some(0), None).expect("chown");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
}

fn directories_that_others_write_to_are_refused(t: &Sandbox) {
    let container = with_hook(t).container();
    container.launch_ok();
    let directory = t.root.join(&container.id);
    for path in [&t.root, &directory] {
        let before = fs::metadata(path).expect("stat").permissions();
        mode(path, 0o777);
        all_refuse(t, &container, "other than its owner may write to it");
        fs::set_permissions(path, before).expect("chmod");
        assert_eq!(container.status(), "running");
    }
    container.delete_force().ok();
}

fn modes_of_engines_are_accepted(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    fs::create_dir_all(&t.root).expect("mkdir");
    for bits in [0o700, 0o711, 0o755, 0o775, 0o1777, 0o1700] {
        mode(&t.root, bits);
        container.launch_ok();
        assert_eq!(container.status(), "running", "{bits:o}");
        container.delete_force().ok();
    }
}
