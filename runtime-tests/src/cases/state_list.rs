//! state and list: the formats that engines parse.

use serde_json::{Value, json};

use crate::console::lines_on_terminal;
use crate::{Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    state_has_the_keys_that_engines_read,
    state_shows_the_annotations,
    state_of_a_stopped_container_has_no_pid,
    state_of_a_missing_container_fails,
    list_json_has_every_container,
    list_table_has_a_header_and_a_line_each,
    list_fits_a_terminal[Need::NotAPeer],
    list_quiet_prints_ids_only,
    list_of_an_empty_root,
];

fn state_has_the_keys_that_engines_read(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let state = container.state();
    assert_eq!(state["id"], container.id.as_str());
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], container.bundle.to_str().expect("UTF-8"));
    assert_eq!(
        state["rootfs"],
        container.bundle.join("rootfs").to_str().expect("UTF-8")
    );
    assert!(
        state["ociVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("1."))
    );
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", state["pid"])).expect("comm");
    assert_eq!(
        comm, "sleep\n",
        "the pid must be the process's in the caller's pid namespace"
    );
    assert_is_rfc3339(&state["created"]);
}

/// `2026-01-31T12:00:00[.123]Z`, or with an offset.
fn assert_is_rfc3339(value: &Value) {
    let text = value.as_str().expect("a time is a string");
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert!(
        shape.starts_with("0000-00-00T00:00:00"),
        "{text} is not RFC 3339"
    );
    let zone = shape[19..].trim_start_matches(['.', '0']);
    let zone_fits = zone == "Z" || shape.ends_with("+00:00") || shape.ends_with("-00:00");
    assert!(zone_fits, "{text} is not RFC 3339");
}

fn state_shows_the_annotations(t: &Sandbox) {
    let annotations = json!({"org.example.one": "1", "org.example.two": "text: with \"quotes\""});
    let container = t
        .bundle()
        .set("/annotations", annotations.clone())
        .container();
    container.create().ok();
    assert_eq!(container.state()["annotations"], annotations);
}

fn state_of_a_stopped_container_has_no_pid(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    container.stop();
    let state = container.state();
    assert_eq!(state["status"], "stopped");
    assert!(
        matches!(state["pid"].as_i64(), None | Some(0)),
        "pid of a stopped one: {state}"
    );
}

fn state_of_a_missing_container_fails(t: &Sandbox) {
    t.bundle()
        .container()
        .verb("state")
        .fails_with("does not exist")
        .exits(1);
}

fn list_json_has_every_container(t: &Sandbox) {
    let first = t.bundle().args(&["sleep", "1000"]).container();
    let second = first.sibling();
    first.launch_ok();
    second.create().ok();
    let list = t
        .runtime()
        .args(["list", "--format", "json"])
        .run()
        .ok()
        .json();
    let mut list = list.as_array().expect("an array").clone();
    list.sort_by_key(|item| item["id"].as_str().map(str::to_owned));
    assert_eq!(list.len(), 2);
    for (item, container) in list.iter().zip([&first, &second]) {
        let state = container.state();
        for key in [
            "ociVersion",
            "id",
            "pid",
            "status",
            "bundle",
            "rootfs",
            "created",
        ] {
            assert_eq!(item[key], state[key], "list and state differ in {key}");
        }
        assert_eq!(item["owner"], "root");
    }
}

fn list_table_has_a_header_and_a_line_each(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.launch_ok();
    let output = t.runtime().arg("list").run().ok();
    let lines: Vec<Vec<&str>> = output
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    assert_eq!(lines.len(), 2, "{output}");
    let pid = container.pid().to_string();
    assert_eq!(
        lines[1][..3],
        [container.id.as_str(), pid.as_str(), "running"]
    );
    assert_eq!(lines[1][3], container.bundle.to_str().expect("UTF-8"));
    assert_eq!(lines[1][5], "root");
}

/// Engines read the table from a pipe, and get all of it there.
fn list_fits_a_terminal(t: &Sandbox) {
    let first = t.bundle().args(&["sleep", "1000"]).container();
    let second = first.sibling();
    first.create().ok();
    second.create().ok();
    let ids = [&first.id, &second.id];
    let bundle = first.bundle.to_str().expect("UTF-8");
    for columns in [60, 80, 120, 300] {
        let lines = lines_on_terminal(t.runtime().arg("list"), columns);
        assert_eq!(lines.len(), 3, "{lines:?}");
        for line in &lines {
            assert!(line.chars().count() <= usize::from(columns), "{line}");
        }
        for id in ids {
            let whole = |line: &String| line.split(' ').next() == Some(id);
            assert!(lines.iter().any(whole), "{lines:?}");
        }
        assert_eq!(lines[1].contains(bundle), columns == 300, "{lines:?}");
    }
}

fn list_quiet_prints_ids_only(t: &Sandbox) {
    let container = t.bundle().container();
    container.create().ok();
    t.runtime()
        .args(["list", "-q"])
        .run()
        .ok()
        .prints(&container.id);
    t.runtime()
        .args(["list", "--quiet"])
        .run()
        .ok()
        .prints(&container.id);
}

fn list_of_an_empty_root(t: &Sandbox) {
    t.runtime().args(["list", "--quiet"]).run().ok().prints("");
    let list = t
        .runtime()
        .args(["list", "--format=json"])
        .run()
        .ok()
        .json();
    assert!(list.is_null() || list == json!([]), "{list}");
    t.runtime()
        .args(["list", "--format", "nonsense"])
        .run()
        .fails();
}
