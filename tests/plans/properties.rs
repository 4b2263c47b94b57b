//! Properties of every plan, and of every error in place of a plan.

use sampan::plan::{EntryStep, InitStep, NamespaceKind, Plan, RuntimeStep};
use serde_json::Value;

/// The origins of steps that no property asks for.
const RULES: [&str; 5] = [
    "NOTIFY_SOCKET",
    "default devices",
    "default links",
    "session keyring",
    "open descriptors",
];
const PROPERTIES: [&str; 8] = [
    "root",
    "mounts",
    "process",
    "hostname",
    "domainname",
    "hooks",
    "annotations",
    "linux",
];

/// Whether `field` is a property below one of the config's, or a rule.
fn names_its_origin(field: &str) -> bool {
    let top = field.split(['.', '[']).next().unwrap_or_default();
    PROPERTIES.contains(&top) || RULES.contains(&field)
}

fn steps(plan: &Plan) -> usize {
    let lists = [
        plan.prepare.len(),
        plan.leave.len(),
        plan.beside_first.len(),
        plan.between.len(),
        plan.beside_init.len(),
        plan.meanwhile.len(),
        plan.init.len(),
        plan.hooks.len(),
        plan.when_ready.len(),
        plan.ready.len(),
        plan.start.len(),
        plan.after_start.len(),
        plan.after_delete.len(),
    ];
    lists.into_iter().sum()
}

/// The kinds of namespaces that a step enters.
fn entered(step: &EntryStep) -> &[NamespaceKind] {
    match step {
        EntryStep::JoinNamespace { kind, .. } | EntryStep::EnterNamespace { kind, .. } => {
            std::slice::from_ref(kind)
        }
        EntryStep::EnterContainer { kinds, .. } => kinds,
        _ => &[],
    }
}

/// A process that begins in a pid namespace with others must begin in the other namespaces too,
/// because the others can look through it at those that it is in. Only init can join a mount
/// namespace in which it makes its mounts, only a child can enter a user namespace for good, and
/// nothing of a cgroup namespace can be seen in this way.
fn check_entry(plan: &Plan) {
    let mut before = plan.leave.iter().chain(plan.between.iter());
    if !before.any(|planned| entered(&planned.step).contains(&NamespaceKind::Pid)) {
        return;
    }
    for planned in plan.init.iter() {
        if let InitStep::Enter(step) = &planned.step {
            let later = [
                NamespaceKind::User,
                NamespaceKind::Mount,
                NamespaceKind::Cgroup,
            ];
            let all = entered(step).iter().all(|kind| later.contains(kind));
            assert!(all, "{step:?} comes after the pid namespace");
        }
    }
    let mut meanwhile = plan.meanwhile.iter();
    let makes_network = |step: &RuntimeStep| matches!(step, RuntimeStep::MakeNetwork);
    assert!(!meanwhile.any(|planned| makes_network(&planned.step)));
}

/// What holds for every plan.
pub fn check(plan: &Plan) {
    check_json(plan);
    check_entry(plan);
}

/// The plan's JSON form must survive a round trip as text, and describe every step and its origin.
fn check_json(plan: &Plan) {
    let text = serde_json::to_string(&plan.json()).unwrap();
    let form: Value = serde_json::from_str(&text).unwrap();
    let list = form["steps"].as_array().expect("steps");
    assert_eq!(list.len(), steps(plan));
    assert!(form["warnings"].is_array() && form["clone"]["namespaces"].is_array());
    for step in list {
        for key in ["phase", "step", "what", "config"] {
            let word = step[key].as_str().unwrap_or_default();
            assert!(!word.is_empty(), "{key} of {step}");
        }
        let field = step["config"].as_str().unwrap();
        assert!(names_its_origin(field), "{step}");
    }
}

/// Whether an error names the property. If the text cannot be parsed it names a line, and if the
/// host has no cgroup v2 it says so.
pub fn names_a_place(error: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "no cgroup2 ",
        "line ",
        "ociVersion",
        "vm",
        "windows",
        "solaris",
        "zos",
    ];
    let top = error.split(['.', '[', ':']).next().unwrap_or_default();
    PROPERTIES.contains(&top) || OTHERS.iter().any(|other| error.starts_with(other))
}
