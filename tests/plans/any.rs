//! Whatever is done to a config: there is a plan or an error, and never a panic; each step says
//! where it comes from.

#[path = "../../src/config/tests/mutator.rs"]
mod mutator;

use mutator::{Random, mutate};
use serde_json::Value;

use crate::case::{Case, host, plan};

/// Steps that no property asks for name the rule that does.
const RULES: [&str; 4] = [
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

/// The JSON form must survive its own text and say for each step what it is and where it is from.
fn check_json(form: &Value, steps: usize) {
    let text = serde_json::to_string(form).unwrap();
    let form: Value = serde_json::from_str(&text).unwrap();
    let list = form["steps"].as_array().expect("steps");
    assert_eq!(list.len(), steps);
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

#[test]
fn every_step_of_every_case_names_its_origin() {
    for case in Case::all() {
        if let Ok(plan) = case.plan() {
            check_json(&plan.json(), plan.steps.len());
        }
    }
}

/// An error names the property, unless the text cannot be read or the host has no cgroup v2.
fn names_a_place(error: &str) -> bool {
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

#[test]
fn mutated_configs_have_a_plan_or_an_error_that_names_a_place() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut tally = [0; 2];
    let hosts = ["unified", "hybrid", "rootless", "none"].map(host);
    for case in Case::all().iter().filter(|case| case.plan().is_ok()) {
        for round in 0..20 {
            let host = match round % 4 {
                0 => &hosts[random.below(hosts.len())],
                _ => &case.host,
            };
            let mut config = case.config.clone();
            for _ in 0..=random.below(3) {
                mutate(&mut config, &mut random);
            }
            match plan(&config, host, &case.options) {
                Ok(plan) => {
                    tally[0] += 1;
                    check_json(&plan.json(), plan.steps.len());
                    assert!(plan.text().ends_with('\n'));
                }
                Err(error) => {
                    tally[1] += 1;
                    let error = error.to_string();
                    assert!(names_a_place(&error), "{error}\n{config}");
                }
            }
        }
    }
    // Both outcomes are common, else the mutations test nothing.
    assert!(tally[0] > 100 && tally[1] > 300, "{tally:?}");
}
