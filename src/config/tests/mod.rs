//! Every check, as tables: a change of a valid config and the beginning of the error.

mod linux;
mod mounts;
mod mutate;
mod mutator;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod top;

use std::path::Path;

use serde_json::Value;

use super::Config;
use crate::error::Result;
use crate::spec;

/// A config as a container engine writes it, with nearly every property.
const ENGINE: &str = include_str!("engine.json");
const BUNDLE: &str = "/bundle";

fn load(config: &Value) -> Result<Config> {
    spec::config(config.to_string().as_bytes(), Path::new(BUNDLE))
}

/// The engine's config with the property at `pointer` set to the JSON text `value`,
/// or removed when that is empty. A `-` at the end of the pointer appends to an array.
fn patched(pointer: &str, value: &str) -> Value {
    let mut config: Value = serde_json::from_str(ENGINE).expect("the engine's config");
    patch(&mut config, pointer, value);
    config
}

fn patch(config: &mut Value, pointer: &str, value: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let key = key.replace("~1", "/");
    let parent = config
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("no parent of {pointer}"));
    match (parent, value) {
        (Value::Object(members), "") => {
            members
                .remove(&key)
                .unwrap_or_else(|| panic!("nothing at {pointer}"));
        }
        (Value::Object(members), value) => {
            members.insert(key, json(value));
        }
        (Value::Array(elements), value) if key == "-" => elements.push(json(value)),
        (Value::Array(elements), value) => {
            elements[key.parse::<usize>().expect("an index")] = json(value);
        }
        (other, _) => panic!("{pointer} is below {other}"),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Each row: pointer, value, the beginning of the error.
fn refused(rows: &[(&str, &str, &str)]) {
    for (pointer, value, expected) in rows {
        match load(&patched(pointer, value)) {
            Ok(_) => panic!("{pointer} = {value}: accepted"),
            Err(error) => {
                let error = error.to_string();
                assert!(error.starts_with(expected), "{pointer} = {value}: {error}");
            }
        }
    }
}

/// Each row: pointer, value. Returns the last config.
fn accepted(rows: &[(&str, &str)]) -> Config {
    let mut last = None;
    for (pointer, value) in rows {
        match load(&patched(pointer, value)) {
            Ok(config) => last = Some(config),
            Err(error) => panic!("{pointer} = {value}: {error}"),
        }
    }
    last.expect("a row")
}

/// The config with one change. It must have exactly one warning, which begins with `expected`.
fn warned(pointer: &str, value: &str, expected: &str) -> Config {
    let config = accepted(&[(pointer, value)]);
    assert_eq!(
        config.warnings.len(),
        1,
        "{pointer} = {value}: {:?}",
        config.warnings
    );
    assert!(
        config.warnings[0].to_string().starts_with(expected),
        "{:?}",
        config.warnings
    );
    config
}
