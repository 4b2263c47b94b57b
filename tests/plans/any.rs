//! Random changes of a config: there must be a plan or an error, and never a panic. Every step must
//! name its origin.

#[path = "../../src/config/tests/mutator.rs"]
mod mutator;

use mutator::{Random, mutate};

use crate::case::{Case, host, plan};
use crate::properties::{check, names_a_place};

#[test]
fn every_step_of_every_case_names_its_origin() {
    for case in Case::all() {
        if let Ok(plan) = case.plan() {
            check(&plan);
        }
    }
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
                    check(&plan);
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
    // Both outcomes must be common; otherwise the mutations test nothing.
    assert!(tally[0] > 100 && tally[1] > 300, "{tally:?}");
}
