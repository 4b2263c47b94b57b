//! What errors say: the property or the flag, the object, and the remedy, once each and not more
//! than a screen of text.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    a_wrong_type_is_named_beside_the_right_one[Need::NotAPeer],
    an_id_is_checked_before_the_config[Need::NotAPeer],
    the_call_is_said_once[Need::NotAPeer],
    the_flag_is_named_if_it_gave_the_value[Need::NotAPeer],
    long_lists_are_cut[Need::NotAPeer],
    mount_options_that_do_not_fit_are_named[Need::NotAPeer],
    an_unmapped_owner_of_a_file_system_is_named[Need::NotAPeer],
    a_status_names_the_container[Need::NotAPeer],
    a_terminal_without_a_holder_has_a_remedy[Need::NotAPeer],
    a_sysctl_keeps_its_spelling[Need::NotAPeer],
    an_empty_program_is_not_found[Need::NotAPeer],
];

#[track_caller]
fn says(bundle: Bundle, words: &str) -> String {
    let output = bundle.container().create().fails_with(words);
    assert!(output.stderr.len() < 1500, "{output}");
    output.stderr
}

fn a_wrong_type_is_named_beside_the_right_one(t: &Sandbox) {
    let device = json!({"path": "/dev/x", "type": 99});
    let rlimit = json!({"type": true, "soft": 1, "hard": 1});
    let wanted = "expected a string";
    for (pointer, value, field, found) in [
        (
            "/linux/devices",
            json!([device]),
            "linux.devices[0].type",
            "number `99`",
        ),
        (
            "/process/rlimits",
            json!([rlimit]),
            "process.rlimits[0].type",
            "boolean `true`",
        ),
        (
            "/linux/namespaces",
            json!([{"type": ["pid"]}]),
            "linux.namespaces[0].type",
            "array",
        ),
    ] {
        let bundle = t.bundle().set(pointer, value);
        says(bundle, &format!("{field}: invalid type: {found}, {wanted}"));
    }
    let bundle = t.bundle().set("/process/args", json!([]));
    says(bundle, "process.args: is empty");
}

fn an_id_is_checked_before_the_config(t: &Sandbox) {
    let bundle = t.bundle().set("/process", json!(1)).write();
    for id in ["", "..", &"a".repeat(300)] {
        let call = t.runtime().args(["run", "--bundle"]).arg(&bundle).arg(id);
        let output = call.run().fails_with("invalid container ID format");
        assert!(output.stderr.len() < 300, "{output}");
    }
}

fn the_call_is_said_once(t: &Sandbox) {
    let bundle = t
        .bundle()
        .file("/file", "")
        .set("/process/cwd", json!("/file"));
    says(bundle, "process.cwd: chdir /file: not a directory");
}

fn the_flag_is_named_if_it_gave_the_value(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
        .exec_with(&["--cwd", "/no/such"], &["true"])
        .fails_with("--cwd: ")
        .fails_with("chdir /no/such: no such file or directory");
}

fn user_namespace(bundle: Bundle<'_>, map: Value) -> Bundle<'_> {
    bundle
        .push("/linux/namespaces", json!({"type": "user"}))
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
}

fn long_lists_are_cut(t: &Sandbox) {
    let groups: Vec<u32> = (0..65_537).collect();
    let bundle = t
        .bundle()
        .set("/process/user/additionalGids", json!(groups));
    says(bundle, "process.user.additionalGids: 65537 entries");
    let line = |id| json!({"containerID": id, "hostID": 100_000 + id, "size": 1});
    let map: Vec<Value> = (0..340).map(line).collect();
    let bundle = user_namespace(t.bundle(), json!(map)).write();
    let plan = t.bare_runtime().args(["explain", "--bundle"]).arg(&bundle);
    let plan = plan.run().ok().stdout;
    assert!(plan.contains("324 more"), "{plan}");
}

fn mount_options_that_do_not_fit_are_named(t: &Sandbox) {
    let layers: Vec<String> = (0..600)
        .map(|number| format!("/no/layer{number}"))
        .collect();
    let option = format!("lowerdir={}", layers.join(":"));
    let mount = json!({"destination": "/mnt", "type": "overlay", "source": "overlay",
        "options": [option]});
    let container = t.bundle().mount(mount).container();
    container.create().fails_with("use shorter paths");
}

fn an_unmapped_owner_of_a_file_system_is_named(t: &Sandbox) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1}]);
    let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs",
        "options": ["gid=5"]});
    let bundle = user_namespace(t.bundle(), map).mount(mount);
    says(bundle, "gid=5");
}

fn a_status_names_the_container(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let id = container.id.as_str();
    let name = |text: &str| format!("{text}: {id}");
    let running = "cannot start an already running container";
    container.start().fails_with(&name(running));
    container.verb("pause").ok();
    container
        .exec(&["true"])
        .fails_with("paused")
        .fails_with(id);
    container.verb("resume").ok();
    container.stop();
    let stopped = "cannot exec in a stopped container";
    container.exec(&["true"]).fails_with(&name(stopped));
    let stopped = "cannot start a container that has stopped";
    container.start().fails_with(&name(stopped));
}

fn a_terminal_without_a_holder_has_a_remedy(t: &Sandbox) {
    let bundle = t.bundle().set("/process/terminal", json!(true));
    says(bundle, "set process.terminal to false");
}

fn a_sysctl_keeps_its_spelling(t: &Sandbox) {
    let bundle = t
        .bundle()
        .set("/linux/sysctl", json!({"net/ipv4/no_such": "1"}));
    says(bundle, "linux.sysctl[\\\"net/ipv4/no_such\\\"]");
}

fn an_empty_program_is_not_found(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container
        .exec(&[""])
        .fails_with("executable file not found in $PATH");
}
