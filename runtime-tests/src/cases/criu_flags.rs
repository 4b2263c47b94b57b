//! Flags of `checkpoint` and `restore` about files, terminals, labels and the caller.

use std::fs;

use serde_json::json;

use super::criu::{
    CRIU, MOMENT, checkpoint, count, counter, images, launch, restore, save_and_restore, wait_count,
};
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    file_locks_are_held_again[CRIU],
    deleted_name_of_an_open_file_is_remembered[CRIU],
    terminal_of_the_caller_is_replaced[CRIU],
    file_of_the_host_is_refused[CRIU],
    restore_in_the_foreground_has_the_exit_status[CRIU],
    label_is_replaced[CRIU, Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    label_that_is_none_is_refused[Need::NotAPeer],
];

fn file_locks_are_held_again(t: &Sandbox) {
    let container = t.bundle().probe(&["saved", "lock", "/lock"]).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let file = fs::File::open(container.bundle.join("rootfs/lock")).expect("lock");
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    assert!(text.contains("--file-locks"), "{text}");
    checkpoint(t, &container, &["--file-locks"]);
    file.try_lock().expect("the lock is free");
    file.unlock().expect("unlock");
    let saved = count(&container);
    restore(t, &container, &["--file-locks"]).ok();
    wait_count(t, &container, saved + 2);
    file.try_lock().expect_err("the lock is held");
    container.stop();
    container.delete().ok();
}

fn deleted_name_of_an_open_file_is_remembered(t: &Sandbox) {
    let script = format!("exec 3>/one; ln /one /two; rm /one; {}", counter());
    let container = t.bundle().shell(&script).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    assert!(text.contains("use --link-remap"), "{text}");
    save_and_restore(t, &container, &["--link-remap"], &["--link-remap"]);
    let link = fs::read_link(format!("/proc/{}/fd/3", container.pid())).expect("descriptor 3");
    assert_eq!(link.to_str(), Some("/one (deleted)"));
    container.stop();
    container.delete().ok();
}

fn terminal_of_the_caller_is_replaced(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    let (_first, slave) = crate::console::callers();
    let call = t.runtime().args(["run", "--detach"]).terminal(slave);
    container.launch(call).finish().ok();
    wait_count(t, &container, 2);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    assert!(text.contains("fd=0 path=/dev/pts/"), "{text}");
    let words = "only the caller's terminal can be replaced, with --shell-job";
    assert!(text.contains(words), "{text}");
    checkpoint(t, &container, &["--shell-job"]);
    let saved = count(&container);
    let (mut second, slave) = crate::console::callers();
    let call = t.runtime().args(["restore", "--detach", "--shell-job"]);
    let call = call.args(["--image-path", &images(t)]).terminal(slave);
    let output = container.launch(call).finish();
    second.read();
    assert!(output.status.success(), "{}", second.seen);
    wait_count(t, &container, saved + 2);
    container.stop();
    container.delete().ok();
}

fn file_of_the_host_is_refused(t: &Sandbox) {
    let container = t.bundle().shell(&counter()).container();
    container.run_with(&["--detach"]).ok();
    wait_count(t, &container, 2);
    let call = t.runtime().args(["checkpoint", "--image-path", &images(t)]);
    let text = call.arg(&container.id).run().fails().stderr;
    let words = "the file is the host's: ";
    assert!(
        text.contains(words) && text.contains("pipes or /dev/null"),
        "{text}"
    );
    wait_count(t, &container, count(&container));
    container.stop();
    container.delete().ok();
}

fn restore_in_the_foreground_has_the_exit_status(t: &Sandbox) {
    let script = format!(
        "i=0; while ! test -e /end; do echo $i >/count; i=$((i+1)); {MOMENT}; done; exit 7"
    );
    let container = t.bundle().shell(&script).container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    let saved = count(&container);
    let call = t.runtime().args(["restore", "--image-path", &images(t)]);
    let running = container.launch(call);
    wait_count(t, &container, saved + 2);
    fs::write(container.bundle.join("rootfs/end"), "").expect("end");
    running.finish().exits(7);
    container.verb("state").fails_with("does not exist");
}

fn label_is_replaced(t: &Sandbox) {
    let names = ["sampan-saved", "sampan-restored"];
    for name in names {
        super::labels::load_profile(t, name);
    }
    let bundle = t.bundle().shell(&counter());
    let container = bundle
        .set("/process/apparmorProfile", json!(names[0]))
        .container();
    launch(t, &container);
    wait_count(t, &container, 2);
    checkpoint(t, &container, &[]);
    for (flags, profile) in [
        (vec!["--lsm-profile", "apparmor:sampan-restored"], names[1]),
        (vec![], names[0]),
    ] {
        let saved = count(&container);
        restore(t, &container, &flags).ok();
        wait_count(t, &container, saved + 1);
        let file = format!("/proc/{}/attr/current", container.pid());
        let label = fs::read_to_string(file).expect("label");
        assert_eq!(label.trim(), format!("{profile} (enforce)"));
        container.stop();
        container.delete().ok();
    }
    let selinux = ["--lsm-profile", "selinux:a:b:c:d"];
    let text = restore(t, &container, &selinux).fails().stderr;
    assert!(text.contains("selinux not supported by kernel"), "{text}");
}

fn label_that_is_none_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    for profile in ["other:x", "apparmor", "apparmor:", "none:x"] {
        let text = restore(t, &container, &["--lsm-profile", profile])
            .fails()
            .stderr;
        let words = "is not apparmor:PROFILE, selinux:CONTEXT or none:";
        assert!(text.contains(words), "{text}");
    }
}
