//! Invalid input is refused with an error that names it, and leaves nothing behind.

use serde_json::{Value, json};

use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    odd_ids_are_refused,
    ids_of_every_legal_character,
    duplicate_id_is_refused,
    missing_bundle_is_refused,
    broken_json_is_refused,
    missing_rootfs_is_refused,
    wrong_properties_are_refused,
    wrong_oci_version_is_refused[Need::NotAPeer],
    unknown_properties_are_ignored,
    unknown_verb_and_flag_are_refused,
    log_file_holds_one_json_object,
    log_file_is_appended_to,
    unknown_log_format_is_refused,
    unknown_properties_are_named[Need::NotAPeer],
];

fn odd_ids_are_refused(t: &Sandbox) {
    let bundle = t.bundle().write();
    let bundle = bundle.to_str().expect("UTF-8");
    for id in [
        "", ".", "..", "a/b", "../a", "a b", "a\nb", "ä", "a:b", "a*",
    ] {
        t.runtime()
            .args(["create", "--bundle", bundle, id])
            .run()
            .fails();
    }
}

fn ids_of_every_legal_character(t: &Sandbox) {
    let bundle = t.bundle().write();
    let id = format!("{}_A.z+0-9", t.id);
    t.runtime()
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(id)
        .run()
        .ok();
}

fn duplicate_id_is_refused(t: &Sandbox) {
    let first = t.bundle().args(&["sleep", "1000"]).container();
    first.launch_ok();
    let pid = first.pid();
    let call = || {
        t.runtime()
            .arg("create")
            .arg("--bundle")
            .arg(&first.bundle)
            .arg(&first.id)
    };
    call()
        .run()
        .fails_with("container with given ID already exists");
    assert_eq!(
        first.pid(),
        pid,
        "the refused create must not touch the first container"
    );
    assert_eq!(first.status(), "running");
}

fn missing_bundle_is_refused(t: &Sandbox) {
    let container = t.container(&t.path("no-such-bundle"));
    container.create().fails_with("no such file or directory");
    let empty = t.path("empty-bundle");
    std::fs::create_dir(&empty).expect("a directory");
    t.container(&empty).create().fails_with("config.json");
}

fn broken_json_is_refused(t: &Sandbox) {
    let container = t.bundle().container();
    for text in ["", "{", "[]", "null", "{\"process\": 1}"] {
        std::fs::write(container.bundle.join("config.json"), text).expect("config.json");
        container.create().fails();
        container.verb("state").fails_with("does not exist");
    }
}

fn missing_rootfs_is_refused(t: &Sandbox) {
    let container = t
        .bundle()
        .set("/root/path", json!("no-such-rootfs"))
        .container();
    container.create().fails_with("no-such-rootfs");
}

/// Each has one wrong property. The result must be an error, not a panic.
fn wrong_properties_are_refused(t: &Sandbox) {
    let wrong: &[(&str, Value)] = &[
        ("/process/args", json!([])),
        ("/process/cwd", json!("relative")),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]),
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
        ),
        ("/linux/namespaces/0/type", json!("nonsense")),
        ("/linux/rootfsPropagation", json!("nonsense")),
        ("/linux/sysctl", json!({"kernel.nonsense": "1"})),
    ];
    for (pointer, value) in wrong {
        let container = t.bundle().set(pointer, value.clone()).container();
        let output = container.create();
        // A panic exits with status 101.
        let refused = !output.status.success() && output.code() != 101;
        assert!(refused, "{pointer} = {value} is not refused\n{output}");
        output.fails();
        container.verb("state").fails_with("does not exist");
    }
}

/// The specification requires this, but runc and crun accept it.
fn wrong_oci_version_is_refused(t: &Sandbox) {
    let container = t.bundle().set("/ociVersion", json!("nonsense")).container();
    container.create().fails_with("ociVersion");
}

fn unknown_properties_are_ignored(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/unknown", json!({"a": 1}))
        .set("/linux/unknown", json!([1]));
    bundle.container().run().ok();
}

fn unknown_verb_and_flag_are_refused(t: &Sandbox) {
    t.runtime().arg("nonsense").run().fails();
    t.runtime()
        .args(["state", "--nonsense", "id"])
        .run()
        .fails();
    t.runtime().args(["create"]).run().fails();
}

fn log_file_holds_one_json_object(t: &Sandbox) {
    let log = t.path("log.json");
    let failing = t.bundle().args(&["/no/such/program"]).container();
    let call = t
        .runtime()
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "create"]);
    let output = failing.launch(call).finish().fails();
    let text = std::fs::read_to_string(&log).expect("the log");
    // Podman parses the whole file as one object and drops the message if there are two.
    let entry: Value = serde_json::from_str(&text).expect("exactly one JSON object");
    assert_eq!(entry["level"], "error", "{text}\n{output}");
    assert!(
        entry["msg"]
            .as_str()
            .is_some_and(|msg| msg.contains("no such file")),
        "{text}"
    );
    assert!(
        entry["time"]
            .as_str()
            .is_some_and(|time| time.contains('T')),
        "{text}"
    );
}

fn log_file_is_appended_to(t: &Sandbox) {
    let log = t.path("log.json");
    std::fs::write(&log, "{}\n").expect("a log with content");
    let call = || {
        t.runtime()
            .arg("--log")
            .arg(&log)
            .args(["--log-format=json", "state", "none"])
    };
    call().run().fails();
    call().run().fails();
    let text = std::fs::read_to_string(&log).expect("the log");
    let objects = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    assert_eq!(objects.filter(Result::is_ok).count(), 3, "{text}");
}

fn unknown_log_format_is_refused(t: &Sandbox) {
    t.runtime()
        .args(["--log-format", "nonsense", "list"])
        .run()
        .fails_with("nonsense");
}

/// As the specification says they are ignored, so only `explain` and the debug log name them.
fn unknown_properties_are_named(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/namspaces", json!([]))
        .args(&["true"]);
    let container = bundle.container();
    let said = "linux.namspaces: unknown, ignored; the nearest known is linux.namespaces";
    let call = t.runtime().args(["explain", "--bundle"]);
    let output = call.arg(&container.bundle).run().ok();
    assert!(
        output.stdout.contains(&format!("warning  {said}\n")),
        "{output}"
    );
    assert_eq!(container.run().ok().stderr, "");
    let call = t.runtime().args(["--debug", "run"]);
    let output = container.sibling().launch(call).finish().ok();
    assert!(output.stderr.contains(said), "{output}");
}
