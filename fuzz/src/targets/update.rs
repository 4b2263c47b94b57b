//! The file of `update --resources`: the config that is stored with the container stays readable.

use std::path::Path;
use std::sync::OnceLock;

use sampan::config::default::default_config;
use sampan::plan::cgroup::{hierarchy, writes};
use sampan::plan::systemd::{limits, round_quota};
use sampan::spec;

use super::{BUNDLE, config, scenarios};
use crate::case::Case;
use crate::{Form, Target, check_config_error};

/// See the module.
pub const TARGET: Target = Target {
    name: "update",
    run,
    seeds,
    form: Form::Json,
    words: config::WORDS,
    longest: 4 << 10,
    changes: 8_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let cases = Case::all().into_iter();
    let resources = |case: Case| {
        let found = case.config.pointer("/linux/resources")?;
        Some(found.to_string().into_bytes())
    };
    let mut seeds: Vec<_> = cases.filter_map(resources).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

/// Configs with and without limits.
fn saved() -> &'static [String] {
    static ALL: OnceLock<Vec<String>> = OnceLock::new();
    ALL.get_or_init(|| {
        let cases = Case::all().into_iter();
        let docker = cases.filter(|case| case.name == "engine-docker");
        let docker = docker.map(|case| case.config.to_string());
        docker.chain([default_config(None)]).collect()
    })
}

fn run(data: &[u8]) {
    for config in saved() {
        let update = match spec::update(config.as_bytes(), data) {
            Ok(update) => update,
            Err(error) => {
                check_config_error(&error);
                continue;
            }
        };
        let read = spec::config(&update.config, Path::new(BUNDLE));
        if let Err(error) = read {
            panic!("the config that is kept cannot be read any more: {error}");
        }
        let again = spec::update(&update.config, data).expect("the same update once more");
        let (once, twice) = (text(&update.config), text(&again.config));
        assert!(
            once == twice || !is_exact(data),
            "an update that is repeated changes more: {once} {twice}"
        );
        for scenario in scenarios() {
            let Ok(hierarchy) = hierarchy(&scenario.host) else {
                continue;
            };
            let written = writes(&update.resources, hierarchy).and_then(|mut writes| {
                round_quota(&mut writes)?;
                limits(&writes)
            });
            if let Err(error) = written {
                check_config_error(&error);
            }
        }
    }
}

/// Whether the numbers survive being written and read. serde_json reads some fractions, which no
/// property has, as a neighbouring number.
fn is_exact(data: &[u8]) -> bool {
    let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
    read(data).is_some_and(|value| read(value.to_string().as_bytes()) == Some(value))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
