//! Labels of the security modules.

use serde_json::json;

use crate::host::Need;
use crate::{Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    an_apparmor_profile_confines_the_process [Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    an_apparmor_profile_that_is_not_loaded_is_named [Need::Lsm("apparmor")],
    exec_takes_an_apparmor_profile [Need::Lsm("apparmor"), Need::Program("apparmor_parser")],
    a_selinux_label_reaches_the_process [Need::Lsm("selinux"), Need::Path("/sys/fs/selinux/enforce")],
];

/// Loads a profile that allows all files except /secret.
fn load_profile(t: &Sandbox, name: &str) {
    let file = t.path("profile");
    let text = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n  file,\n  capability,\n  \
         mount,\n  signal,\n  deny /secret rwklx,\n}}\n"
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

/// Without a policy the kernel knows only its initial contexts.
fn a_selinux_label_reaches_the_process(t: &Sandbox) {
    let container = t
        .bundle()
        .set("/process/selinuxLabel", json!("kernel"))
        .args(&["cat", "/proc/self/attr/current"])
        .container();
    let output = container.run().ok();
    assert_eq!(output.stdout.trim_end_matches(['\0', '\n']), "kernel");
}
