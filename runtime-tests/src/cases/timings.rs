//! `--timings`, and the steps in the debug log. The times themselves are of no interest.

use serde_json::{Value, json};

use crate::{Container, Need, Output, Sandbox, Test, tests};

pub const TESTS: &[Test] = tests![
    each_phase_has_a_line[Need::NotAPeer],
    the_program_keeps_its_standard_output[Need::NotAPeer],
    the_json_log_has_an_object[Need::NotAPeer],
    hooks_are_a_phase[Need::NotAPeer],
    the_debug_log_has_each_step[Need::NotAPeer],
    a_failure_logs_only_its_error[Need::NotAPeer],
    nothing_is_printed_unasked[Need::NotAPeer],
];

const CREATE: [&str; 7] = [
    "plan", "open", "prepare", "clone", "parent", "init", "finish",
];
const RUN: [&str; 9] = [
    "plan", "open", "prepare", "clone", "parent", "init", "finish", "start", "started",
];
/// A property whose step the runtime executes on every host.
const SCORE: &str = "process.oomScoreAdj";

fn sleeping(t: &Sandbox) -> Container<'_> {
    let bundle = t.bundle().set("/process/oomScoreAdj", json!(500));
    bundle.args(&["sleep", "1000"]).container()
}

/// What `explain` says about the container's bundle.
#[track_caller]
fn explained(t: &Sandbox, container: &Container, flags: &[&str]) -> String {
    let call = t.runtime().arg("explain").args(flags).arg("--bundle");
    let plan = call.arg(&container.bundle).run().ok().stdout;
    // A bundle has no id yet.
    plan.replace(" ID", &format!(" {}", container.id))
}

/// The first word of each line and its time.
#[track_caller]
fn lines(text: &str) -> Vec<(&str, f64)> {
    let line = |line| {
        let words: Vec<&str> = str::split_whitespace(line).collect();
        assert_eq!(words.get(2), Some(&"ms"), "{text}");
        (words[0], words[1].parse().expect("a time"))
    };
    text.lines().map(line).collect()
}

/// Checks that the phases are these, that their sum is the total, and that the step is named.
#[track_caller]
fn check(text: &str, phases: &[&str]) {
    let lines = lines(text);
    let total = phases.len();
    let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(&names[..total], phases, "{text}");
    assert_eq!(names[total], "total", "{text}");
    assert!(names[total + 1..].iter().all(|name| *name == "step"));
    assert!(lines.iter().all(|(_, time)| *time >= 0.0), "{text}");
    let sum: f64 = lines[..total].iter().map(|(_, time)| time).sum();
    // Each phase is rounded down to a microsecond.
    let lost = lines[total].1 - sum;
    assert!((-0.0005..0.001 * 10.0).contains(&lost), "{lost} in {text}");
}

fn each_phase_has_a_line(t: &Sandbox) {
    let container = sleeping(t);
    let output = container.create_with(&["--timings"]).ok();
    check(&output.stderr, &CREATE);
    let plan = explained(t, &container, &[]);
    let steps: Vec<_> = output.stderr.lines().skip(CREATE.len() + 1).collect();
    assert!((1..=5).contains(&steps.len()), "{output}");
    for step in steps {
        let (_, step) = step.split_once(" ms  ").expect("a step");
        assert!(plan.lines().any(|line| line == step), "{step}\n{plan}");
    }
    container.start().ok();
    let output = container.exec_with(&["--timings"], &["true"]).ok();
    check(&output.stderr, &CREATE);
    let output = container.exec_with(&["--timings", "-d"], &["true"]).ok();
    check(&output.stderr, &CREATE);
    let output = container.sibling().run_with(&["--timings", "-d"]).ok();
    check(&output.stderr, &RUN);
}

fn the_program_keeps_its_standard_output(t: &Sandbox) {
    let container = t.bundle().shell("echo out; exit 3").container();
    let output = container.run_with(&["--timings"]).exits(3);
    assert_eq!(output.stdout, "out\n");
    check(&output.stderr, &RUN);
}

/// The one object of the log.
#[track_caller]
fn logged(t: &Sandbox) -> Value {
    let text = std::fs::read(t.path("log.json")).expect("the log");
    serde_json::from_slice(&text).expect("exactly one JSON object")
}

fn the_json_log_has_an_object(t: &Sandbox) {
    let container = sleeping(t);
    let call = t.runtime().arg("--log").arg(t.path("log.json"));
    let call = call.args(["--log-format", "json", "create", "--timings"]);
    let output = container.launch(call).finish().ok();
    assert_eq!(output.stderr, "");
    let line = logged(t);
    assert_eq!(line["level"], "debug", "{line}");
    let timings = &line["timings"];
    let phases = timings["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().map(|phase| &phase["phase"]).collect();
    assert_eq!(names, CREATE, "{line}");
    let time = |object: &Value| object["us"].as_u64().expect("microseconds");
    let sum: u64 = phases.iter().map(time).sum();
    let total = timings["total_us"].as_u64().expect("a total");
    let lost = total.checked_sub(sum);
    assert!(lost.is_some_and(|lost| lost < 10), "{line}");
    let slowest = timings["slowest"].as_array().expect("steps");
    let times: Vec<_> = slowest.iter().map(time).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{line}");
    let plan: Value = serde_json::from_str(&explained(t, &container, &["--json"])).expect("JSON");
    let planned = plan["steps"].as_array().expect("steps");
    let same = |step: &Value, other: &Value| {
        ["phase", "step", "what", "config"]
            .iter()
            .all(|key| step[key] == other[key])
    };
    let is_planned = |step: &Value| planned.iter().any(|other| same(step, other));
    assert!(
        !slowest.is_empty() && slowest.iter().all(is_planned),
        "{line}"
    );
}

fn hooks_are_a_phase(t: &Sandbox) {
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = t.bundle().set("/hooks/createRuntime", hook);
    let container = bundle.args(&["sleep", "1000"]).container();
    let output = container.create_with(&["--timings"]).ok();
    let phases = [
        "plan", "open", "prepare", "clone", "parent", "init", "hooks", "finish",
    ];
    check(&output.stderr, &phases);
}

fn the_debug_log_has_each_step(t: &Sandbox) {
    let container = sleeping(t);
    let plan = explained(t, &container, &[]);
    let call = t.runtime().args(["--debug", "create"]);
    let output = container.launch(call).finish().ok();
    check_steps(&plan, &["prepare ", "parent ", "init "], &output);
    let output = {
        let other = container.sibling();
        let call = t.runtime().args(["--debug", "run", "-d"]);
        let mut output = other.launch(call).finish().ok();
        output.stderr = output.stderr.replace(&other.id, &container.id);
        output
    };
    check_steps(&plan, &["prepare ", "parent ", "init ", "start "], &output);
}

/// Checks that the debug log has the steps of these phases, but for those during which init waits or
/// becomes the program.
#[track_caller]
fn check_steps(plan: &str, phases: &[&str], output: &Output) {
    let of_phase = |line: &&str| phases.iter().any(|phase| line.starts_with(phase));
    let last = |line: &&str| line.contains(" wait for start ") || line.contains("    execve ");
    let steps: Vec<_> = plan.lines().filter(of_phase).collect();
    assert!(steps.iter().any(|step| step.ends_with(SCORE)), "{plan}");
    assert_eq!(
        steps.iter().copied().filter(|it| last(it)).count(),
        phases.len() - 2,
        "{plan}"
    );
    for step in steps.iter().filter(|it| !last(it)) {
        // The log quotes its text.
        let step = step.replace('"', "\\\"");
        assert!(
            output.stderr.contains(&format!("{step}, ")),
            "{step}\n{output}"
        );
    }
    assert!(output.stderr.contains("timings: total "), "{output}");
}

fn a_failure_logs_only_its_error(t: &Sandbox) {
    let container = t.bundle().args(&["/nonexistent"]).container();
    let call = t.runtime().arg("--log").arg(t.path("log.json"));
    let call = call.args(["--log-format", "json", "create", "--timings"]);
    container.launch(call).finish().fails();
    assert_eq!(logged(t)["level"], "error");
}

fn nothing_is_printed_unasked(t: &Sandbox) {
    let container = sleeping(t);
    assert_eq!(container.create().ok().stderr, "");
    container.start().ok();
    assert_eq!(container.exec(&["true"]).ok().stderr, "");
    assert_eq!(container.sibling().run_with(&["-d"]).ok().stderr, "");
}
