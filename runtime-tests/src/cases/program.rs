//! `process.args`, `env` and `cwd`: which program starts, with which arguments, and where.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::{Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    program_is_found_in_the_path_of_the_config,
    program_is_found_without_a_path,
    program_by_path_needs_no_search,
    relative_program_starts_at_cwd,
    directory_in_the_path_is_not_a_program,
    plain_file_in_the_path_is_reported,
    script_without_interpreter_line_fails_at_start,
    last_value_of_a_variable_wins,
    environment_keeps_its_order,
    variable_without_a_name_is_refused,
    empty_home_comes_from_passwd,
    home_without_passwd_is_the_root,
    home_of_a_user_without_a_line_is_the_root,
    home_of_the_config_stays,
    home_is_found_in_a_long_passwd,
    missing_cwd_is_made,
    cwd_that_is_a_file_is_refused,
    cwd_that_only_the_user_may_enter,
    cwd_that_the_user_may_not_enter_is_refused,
    cwd_through_a_link_stays_inside,
    process_may_be_absent_until_start,
    run_needs_a_process[Need::NotAPeer],
];

/// The environment of `Bundle` with this PATH.
fn path(path: &str) -> Value {
    json!([format!("PATH={path}")])
}

fn program_is_found_in_the_path_of_the_config(t: &Sandbox) {
    let bundle = t.bundle().script("/first/tool", "echo first $0 $1");
    let bundle = bundle
        .script("/second/tool", "echo second")
        .set("/process/env", path("/none:/first:/second:/bin"))
        .args(&["tool", "word"]);
    bundle
        .container()
        .run()
        .ok()
        .prints("first /first/tool word");
}

fn program_is_found_without_a_path(t: &Sandbox) {
    let bundle = t.bundle().set("/process/env", json!(["A=1"]));
    bundle
        .args(&["echo", "found"])
        .container()
        .run()
        .ok()
        .prints("found");
}

fn program_by_path_needs_no_search(t: &Sandbox) {
    let bundle = t.bundle().script("/opt/tool", "echo ran");
    let bundle = bundle
        .set("/process/env", path("/none"))
        .args(&["/opt/tool"]);
    bundle.file("/x", "").container().run().ok().prints("ran");
}

fn relative_program_starts_at_cwd(t: &Sandbox) {
    let bundle = || {
        t.bundle()
            .script("/opt/bin/tool", "echo ran")
            .set("/process/cwd", json!("/opt"))
    };
    for name in ["./bin/tool", "bin/tool"] {
        bundle().args(&[name]).container().run().ok().prints("ran");
    }
    bundle()
        .args(&["./tool"])
        .container()
        .create()
        .fails_with("no such file or directory");
}

fn directory_in_the_path_is_not_a_program(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/first/tool/x", "")
        .script("/second/tool", "echo second");
    let bundle = bundle.set("/process/env", path("/first:/second:/bin"));
    let again = bundle.args(&["tool"]).container();
    again.run().ok().prints("second");
    // Engines turn these texts into exit status 126.
    let output = t.bundle().args(&["/etc"]).container().create().fails();
    let known = ["permission denied", "is a directory"];
    let text = output.stderr.to_lowercase();
    assert!(known.iter().any(|words| text.contains(words)), "{output}");
}

fn plain_file_in_the_path_is_reported(t: &Sandbox) {
    let bundle = t.bundle().file("/first/tool", "text");
    let bundle = bundle.set("/process/env", path("/first:/second"));
    let output = bundle.args(&["tool"]).container().create().fails();
    let text = output.stderr.to_lowercase();
    assert!(
        text.contains("permission denied") || text.contains("executable file not found in"),
        "{output}"
    );
}

fn script_without_interpreter_line_fails_at_start(t: &Sandbox) {
    let container = t.bundle().script("/tool", "").args(&["/tool"]).container();
    std::fs::write(container.bundle.join("rootfs/tool"), "echo ran\n").expect("the script");
    let output = container.run().fails();
    let text = output.stderr.to_lowercase();
    assert!(text.contains("exec format error"), "{output}");
    container.verb("state").fails_with("does not exist");
}

fn last_value_of_a_variable_wins(t: &Sandbox) {
    let env = json!([
        "PATH=/bin",
        "A=1",
        "B=x=y",
        "A=2",
        "HOME=/first",
        "HOME=/second"
    ]);
    let bundle = t.bundle().set("/process/env", env);
    let output = bundle.args(&["env"]).container().run().ok();
    let count = |start: &str| {
        let lines = output.stdout.lines();
        lines.filter(|line| line.starts_with(start)).count()
    };
    assert_eq!((count("A="), count("HOME=")), (1, 1), "{output}");
    for line in ["A=2", "B=x=y", "HOME=/second"] {
        assert!(output.stdout.lines().any(|one| one == line), "{output}");
    }
}

fn environment_keeps_its_order(t: &Sandbox) {
    let env = json!(["Z=1", "PATH=/bin", "M=2", "HOME=/", "A=3"]);
    let bundle = t.bundle().set("/process/env", env);
    // The shell exports its environment in another order, so the case reads the one that the shell
    // got.
    let script = "tr '\\0' '\\n' </proc/1/environ; true";
    bundle
        .shell(script)
        .container()
        .run()
        .ok()
        .prints("Z=1\nPATH=/bin\nM=2\nHOME=/\nA=3");
}

fn variable_without_a_name_is_refused(t: &Sandbox) {
    for entry in ["NOVALUE", "=1"] {
        let bundle = t.bundle().push("/process/env", json!(entry));
        let container = bundle.container();
        container.create().fails_with("process.env[2]");
        container.verb("state").fails_with("does not exist");
    }
}

fn home(bundle: Bundle) -> Output {
    let script = "tr '\\0' '\\n' </proc/1/environ | grep ^HOME=";
    bundle.shell(script).container().run().ok()
}

fn empty_home_comes_from_passwd(t: &Sandbox) {
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = t.bundle().push("/process/env", json!("HOME="));
    home(bundle.set("/process/user", user)).prints("HOME=/home");
}

fn home_without_passwd_is_the_root(t: &Sandbox) {
    let bundle = t.bundle();
    std::fs::remove_file(bundle.rootfs().join("etc/passwd")).expect("passwd");
    home(bundle).prints("HOME=/");
}

fn home_of_a_user_without_a_line_is_the_root(t: &Sandbox) {
    home(t.bundle().set("/process/user/uid", json!(4711))).prints("HOME=/");
}

fn home_of_the_config_stays(t: &Sandbox) {
    let bundle = t
        .bundle()
        .push("/process/env", json!("HOME=/of the config"));
    home(bundle).prints("HOME=/of the config");
}

fn home_is_found_in_a_long_passwd(t: &Sandbox) {
    let mut passwd: String = (2000..4000)
        .map(|uid| format!("u{uid}:x:{uid}:{uid}::/home/u{uid}:/bin/sh\n"))
        .collect();
    passwd += "broken line\n\nlast:x:1234:5::/home/last:/bin/sh\nlater:x:1234:5::/wrong:/bin/sh\n";
    let bundle = t.bundle().file("/etc/passwd", &passwd);
    home(bundle.set("/process/user/uid", json!(1234))).prints("HOME=/home/last");
}

fn missing_cwd_is_made(t: &Sandbox) {
    let bundle = t.bundle().set("/process/cwd", json!("/a/b/c"));
    let output = bundle
        .shell("pwd; stat -c '%a %u' /a/b/c")
        .container()
        .run();
    output.ok().prints("/a/b/c\n755 0");
}

fn cwd_that_is_a_file_is_refused(t: &Sandbox) {
    let bundle = t.bundle().file("/plain", "");
    let container = bundle.set("/process/cwd", json!("/plain")).container();
    let output = container.create().fails_with("process.cwd");
    let text = output.stderr.to_lowercase();
    assert!(
        text.contains("not a directory") || text.contains("file exists"),
        "{output}"
    );
    container.verb("state").fails_with("does not exist");
}

/// A bundle whose process starts in the directory `/own`, which only user 1000 may enter.
fn private_cwd(t: &Sandbox) -> Bundle<'_> {
    let bundle = t.bundle().file("/own/inside", "");
    let own = bundle.rootfs().join("own");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&own, mode).expect("mode");
    std::os::unix::fs::chown(&own, Some(1000), Some(1000)).expect("owner");
    bundle.set("/process/cwd", json!("/own")).args(&["ls"])
}

fn cwd_that_only_the_user_may_enter(t: &Sandbox) {
    // Root without CAP_DAC_OVERRIDE may not enter, so the process must have changed its user
    // before.
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = private_cwd(t).set("/process/user", user);
    let none = json!({});
    let bundle = bundle.set("/process/capabilities", none);
    bundle.container().run().ok().prints("inside");
}

fn cwd_that_the_user_may_not_enter_is_refused(t: &Sandbox) {
    let user = json!({"uid": 1001, "gid": 1001});
    let bundle = private_cwd(t).set("/process/user", user);
    let container = bundle.container();
    let output = container.create();
    // The specification allows both results: root may open the directory for the user.
    if output.status.success() {
        container.start().ok();
        return;
    }
    let output = output.fails_with("process.cwd");
    assert!(
        output.stderr.to_lowercase().contains("permission denied"),
        "{output}"
    );
}

fn cwd_through_a_link_stays_inside(t: &Sandbox) {
    let bundle = t.bundle();
    std::os::unix::fs::symlink("/tmp", bundle.rootfs().join("link")).expect("link");
    let bundle = bundle.set("/process/cwd", json!("/link/deep"));
    bundle
        .shell("pwd -P; ls -d /tmp/deep")
        .container()
        .run()
        .ok()
        .prints("/tmp/deep\n/tmp/deep");
    assert!(
        !std::path::Path::new("/tmp/deep").exists(),
        "made on the host"
    );
}

fn process_may_be_absent_until_start(t: &Sandbox) {
    let container = t.bundle().remove("/process").container();
    container.create().ok();
    assert_eq!(container.status(), "created");
    let output = container.start().exits(1);
    assert!(output.stderr.contains("process: missing"), "{output}");
    container.wait_status("stopped");
    container.delete().ok();
}

fn run_needs_a_process(t: &Sandbox) {
    let hook = json!([{"path": "/bin/touch", "args": ["touch", t.path("hook")]}]);
    let bundle = t.bundle().remove("/process");
    let container = bundle.set("/hooks/createRuntime", hook).container();
    for flags in [&[][..], &["--detach"]] {
        let output = container.run_with(flags).exits(1);
        assert!(output.stderr.contains("process: missing"), "{output}");
        container.verb("state").fails_with("does not exist");
    }
    assert!(!t.path("hook").exists());
}
