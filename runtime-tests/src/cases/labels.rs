//! Labels of the security modules.

use serde_json::json;

use super::criu::{CRIU, checkpoint, count, counter, launch, restore, wait_count};
use super::cve_paths::without_mount;
use crate::host::Need;
use crate::{Container, Sandbox, Test, mount_info, tests};

pub const TESTS: &[Test] = tests![
    an_apparmor_profile_confines_the_process [Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    an_apparmor_profile_that_is_not_loaded_is_named [Need::Lsm("apparmor")],
    exec_takes_an_apparmor_profile [Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    cve_2015_1334_label_is_not_written_to_what_the_image_shows_as_proc [Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    selinux_labels_reach_the_process_and_the_mounts [Need::Lsm("selinux"), Need::Path("/sys/fs/selinux/load"), NO_POLICY],
    restore_replaces_the_context_of_mounts [CRIU, Need::Lsm("selinux"), Need::Path("/sys/fs/selinux/load"), OWN_POLICY],
];

/// Loads a profile that allows all files except /secret.
pub(super) fn load_profile(t: &Sandbox, name: &str) {
    let file = t.path("profile");
    let text = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  \
         mount,\n  signal,\n  network,\n  unix,\n  ptrace,\n  deny /secret rwklx,\n}}\n"
    );
    std::fs::write(&file, text).unwrap();
    let load = [
        std::ffi::OsStr::new("-r"),
        std::ffi::OsStr::new("-K"),
        file.as_os_str(),
    ];
    t.call("apparmor_parser").args(load).run().ok();
}

fn an_apparmor_profile_confines_the_process(t: &Sandbox) {
    load_profile(t, "sampan-test");
    let container = t
        .bundle()
        .file("/secret", "secret")
        .set("/process/apparmorProfile", json!("sampan-test"))
        .shell("cat /proc/self/attr/current; cat /secret || echo denied")
        .container();
    let output = container.run().ok();
    assert_eq!(output.stdout, "sampan-test (enforce)\ndenied\n");
}

fn an_apparmor_profile_that_is_not_loaded_is_named(t: &Sandbox) {
    let container = t
        .bundle()
        .set("/process/apparmorProfile", json!("sampan-none"))
        .args(&["true"])
        .container();
    let output = container.create().fails_with("process.apparmorProfile: ");
    assert!(output.stderr.contains("sampan-none"), "{output}");
    assert!(output.stderr.contains("is not loaded"), "{output}");
}

fn exec_takes_an_apparmor_profile(t: &Sandbox) {
    load_profile(t, "sampan-exec");
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let flags = ["--apparmor", "sampan-exec"];
    let output = container
        .exec_with(&flags, &["cat", "/proc/self/attr/current"])
        .ok();
    assert_eq!(output.stdout, "sampan-exec (enforce)\n");
    container.stop();
}

/// Neither `create` nor `exec` writes the label to the image's files in /proc.
fn cve_2015_1334_label_is_not_written_to_what_the_image_shows_as_proc(t: &Sandbox) {
    load_profile(t, "sampan-proc");
    let with_proc_of_the_image = || {
        let bundle = without_mount(t.bundle(), "/proc").file("/secret", "secret");
        let bundle = bundle.set("/linux/maskedPaths", json!([]));
        let bundle = bundle.set("/linux/readonlyPaths", json!([]));
        let files = ["self", "thread-self", "1"].map(|name| format!("/proc/{name}/attr"));
        files.iter().fold(bundle, |bundle, attr| {
            let bundle = bundle.file(&format!("{attr}/exec"), "");
            bundle.file(&format!("{attr}/apparmor/exec"), "")
        })
    };
    let look = ["cat", "/secret"];
    let confined = with_proc_of_the_image().set("/process/apparmorProfile", json!("sampan-proc"));
    confined.args(&look).container().run().exits(1).prints("");

    let container = with_proc_of_the_image()
        .args(&["sleep", "1000"])
        .container();
    container.launch_ok();
    container.exec(&look).ok().prints("secret");
    let output = container.exec_with(&["--apparmor", "sampan-proc"], &look);
    output.exits(1).prints("");
    container.stop();
}

/// Whether no policy is loaded: then the kernel calls every process by the name of its first one.
const NO_POLICY: Need = Need::Custom(
    "SELinux without a policy",
    || match std::fs::read_to_string("/proc/self/attr/current") {
        Ok(context) if context.trim_end_matches(['\0', '\n']) == "kernel" => Ok(()),
        Ok(context) => Err(format!("the processes have the context {context}")),
        Err(error) => Err(format!("/proc/self/attr/current: {error}")),
    },
);

/// Whether no policy is loaded, or that of the case before: a policy stays until the host restarts.
const OWN_POLICY: Need = Need::Custom("SELinux with the policy of these tests", || {
    let context = std::fs::read_to_string("/proc/self/attr/current");
    match context.map_err(|error| format!("/proc/self/attr/current: {error}")) {
        Ok(context) if context.starts_with(LABEL) || context.starts_with("kernel") => Ok(()),
        Ok(context) => Err(format!("the processes have the context {context}")),
        Err(error) => Err(error),
    }
});

/// The context of each process under the policy of these tests.
const LABEL: &str = "all_u:all_r:all_t";

fn load_policy() {
    let policy = include_bytes!("../../data/selinux-policy");
    std::fs::write("/sys/fs/selinux/load", policy).expect("the policy is loaded");
}

/// One case, because a loaded policy stays until the host restarts.
fn selinux_labels_reach_the_process_and_the_mounts(t: &Sandbox) {
    // Without a policy the kernel knows only its initial contexts.
    process_has_label(t, "kernel");
    load_policy();
    process_has_label(t, LABEL);

    let label = "all_u:object_r:other_t";
    for (annotation, option) in [
        (None, "context"),
        (Some("fscontext"), "fscontext"),
        (Some("rootcontext"), "rootcontext"),
    ] {
        let mut bundle = t
            .bundle()
            .set("/linux/mountLabel", json!(label))
            .mount(json!({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}))
            .args(&["grep", " /labelled ", "/proc/self/mountinfo"]);
        if let Some(kind) = annotation {
            let annotations = json!({"run.oci.mount_context_type": kind});
            bundle = bundle.set("/annotations", annotations);
        }
        let container = bundle.container();
        let output = container.run().ok();
        let options = output.stdout.split([' ', ',', '\n']);
        let expected = format!("{option}={label}");
        assert!(
            options.clone().any(|it| it == expected),
            "{expected}: {output}"
        );
    }

    let container = t
        .bundle()
        .set("/linux/mountLabel", json!("all_u:object_r:none_t"))
        .mount(json!({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}))
        .container();
    container.create().fails_with("none_t");
    container.verb("state").fails_with("does not exist");
}

fn process_has_label(t: &Sandbox, label: &str) {
    let container = t
        .bundle()
        .set("/process/selinuxLabel", json!(label))
        .args(&["cat", "/proc/self/attr/current"])
        .container();
    let output = container.run().ok();
    assert_eq!(output.stdout.trim_end_matches(['\0', '\n']), label);
}

fn restore_replaces_the_context_of_mounts(t: &Sandbox) {
    load_policy();
    let context = |name: &str| format!("all_u:object_r:{name}");
    let bundle = t.bundle().shell(&counter());
    let container = bundle
        .set("/linux/mountLabel", json!(context("all_t")))
        .mount(json!({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}))
        .container();
    launch(t, &container);
    wait_count(t, &container, 2);
    assert_context(&container, &context("all_t"));
    checkpoint(t, &container, &[]);
    let other = context("other_t");
    for (flags, expected) in [
        (vec!["--lsm-mount-context", &other], &other),
        (vec![], &context("all_t")),
    ] {
        let saved = count(&container);
        restore(t, &container, &flags).ok();
        wait_count(t, &container, saved + 1);
        assert_context(&container, expected);
        container.stop();
        container.delete().ok();
    }
}

fn assert_context(container: &Container, expected: &str) {
    let table = mount_info::of_process(container.pid());
    let options = mount_info::at(&table, "/labelled").fs_options;
    let option = format!("context={expected}");
    assert!(options.contains(&option), "{option}: {options:?}");
}
