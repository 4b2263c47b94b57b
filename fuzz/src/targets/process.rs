//! The file of `exec --process`: from its bytes to the plan of `exec`.

use std::path::Path;
use std::sync::OnceLock;

use sampan::config::Config;
use sampan::{plan, spec};

use super::{BUNDLE, config, scenarios};
use crate::case::Case;
use crate::{Form, Target, check_config_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "process",
    run,
    seeds,
    form: Form::Json,
    words: config::WORDS,
    longest: 4 << 10,
    changes: 8_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let cases = Case::all().into_iter();
    let process = |case: Case| {
        case.config
            .get("process")
            .map(|p| p.to_string().into_bytes())
    };
    let mut seeds: Vec<_> = cases.filter_map(process).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Containers that differ in what joining them needs.
fn containers() -> &'static [Config] {
    static ALL: OnceLock<Vec<Config>> = OnceLock::new();
    ALL.get_or_init(|| {
        let wanted = ["engine-docker", "engine-cri-userns", "minimal"];
        let cases = Case::all().into_iter();
        cases
            .filter(|case| wanted.contains(&case.name.as_str()))
            .map(|case| {
                let text = case.config.to_string();
                spec::config(text.as_bytes(), Path::new(BUNDLE)).expect("the config of a case")
            })
            .collect()
    })
}

fn run(data: &[u8]) {
    let process = match spec::process(data, None) {
        Ok((process, _)) => process,
        Err(error) => return check_config_error(&error),
    };
    for (container, scenario) in containers().iter().cycle().zip(scenarios()) {
        match plan::exec(
            container,
            &process,
            &scenario.host,
            &scenario.options.process,
            None,
        ) {
            Ok(plan) => config::check(&plan),
            Err(error) => check_config_error(&error),
        }
    }
}
