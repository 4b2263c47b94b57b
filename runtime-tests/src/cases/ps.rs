//! ps: which processes it lists, and in which format.

use std::fs;

use serde_json::Value;

use crate::console::lines_on_terminal;
use crate::{Container, Need, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    json_has_every_process,
    created_container_has_its_init,
    table_has_the_rows_of_the_container[Need::Program("ps")],
    table_fits_a_terminal[Need::Program("ps"), Need::NotAPeer],
    arguments_after_the_id_belong_to_ps [Need::Program("ps"), Need::NotAPeer],
    table_without_pids_is_refused[Need::Program("ps")],
    nested_cgroups_are_counted[Need::NotAPeer],
    unknown_format_is_refused,
    missing_container_is_refused,
];

/// A running container with two sleeping processes.
fn two(t: &Sandbox) -> Container<'_> {
    let script = "sleep 1001 & echo ready; exec sleep 1002";
    let container = t.bundle().shell(script).container();
    container.launch_ok();
    container.wait_stdout("ready");
    container
}

fn pids(t: &Sandbox, container: &Container) -> Vec<i64> {
    let call = t.runtime().args(["ps", "--format", "json", &container.id]);
    match call.run().ok().json() {
        Value::Array(pids) => pids
            .iter()
            .map(|pid| pid.as_i64().expect("a pid"))
            .collect(),
        other => panic!("expected a list: {other}"),
    }
}

/// The heading and the lines after it.
fn rows(t: &Sandbox, args: &[&str]) -> (String, Vec<String>) {
    let output = t.runtime().arg("ps").args(args).run().ok();
    let mut lines = output.stdout.lines().map(str::to_owned);
    (lines.next().expect("a heading"), lines.collect())
}

fn json_has_every_process(t: &Sandbox) {
    let container = two(t);
    let found = pids(t, &container);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&i64::from(container.pid())), "{found:?}");
}

fn created_container_has_its_init(t: &Sandbox) {
    let container = t.bundle().args(&["sleep", "1000"]).container();
    container.create().ok();
    assert!(pids(t, &container).contains(&i64::from(container.pid())));
}

fn table_has_the_rows_of_the_container(t: &Sandbox) {
    let container = two(t);
    let (heading, rows) = rows(t, &[&container.id]);
    assert!(heading.starts_with("UID "), "{heading}");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows.iter().any(|row| row.ends_with(" sleep 1001")),
        "{rows:?}"
    );
    assert!(
        rows.iter().any(|row| row.ends_with(" sleep 1002")),
        "{rows:?}"
    );
}

fn table_fits_a_terminal(t: &Sandbox) {
    let long = format!("echo ready; sleep 1000; : {}", "x".repeat(200));
    let container = t.bundle().shell(&long).container();
    container.launch_ok();
    container.wait_stdout("ready");
    let call = || t.runtime().args(["ps", &container.id, "-eo", "pid,args"]);
    let whole = call().run().ok().stdout;
    assert!(whole.contains(&"x".repeat(200)), "{whole}");
    for columns in [60, 80, 120] {
        let cut = |line: &str| line.chars().take(columns.into()).collect();
        let expected: Vec<String> = whole.lines().map(cut).collect();
        assert_eq!(lines_on_terminal(call(), columns), expected);
    }
}

fn arguments_after_the_id_belong_to_ps(t: &Sandbox) {
    let container = two(t);
    let (heading, rows) = rows(t, &[&container.id, "-e", "--format", "args,pid"]);
    let heading: Vec<_> = heading.split_whitespace().collect();
    assert_eq!(heading, ["COMMAND", "PID"]);
    let commands: Vec<_> = rows.iter().map(|row| &row[..10]).collect();
    assert!(
        commands.contains(&"sleep 1001") && commands.len() == 2,
        "{rows:?}"
    );
}

fn table_without_pids_is_refused(t: &Sandbox) {
    let container = two(t);
    let call = t.runtime().args(["ps", &container.id, "-eo", "args"]);
    call.run().fails_with("PID");
}

fn nested_cgroups_are_counted(t: &Sandbox) {
    let container = two(t);
    let all = pids(t, &container);
    let child = all.iter().find(|pid| **pid != i64::from(container.pid()));
    let nested = container.cgroup().join("nested");
    fs::create_dir(&nested).expect("a cgroup below");
    let child = child.expect("a second process").to_string();
    fs::write(nested.join("cgroup.procs"), child).expect("move the process");
    assert_eq!(pids(t, &container), all);
    container.delete_force().ok();
    assert!(!nested.exists());
}

fn unknown_format_is_refused(t: &Sandbox) {
    let container = two(t);
    let call = t.runtime().args(["ps", "--format", "yaml", &container.id]);
    call.run().fails();
}

fn missing_container_is_refused(t: &Sandbox) {
    t.bundle()
        .container()
        .verb("ps")
        .fails_with("does not exist");
}
