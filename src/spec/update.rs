//! Changes some limits in the `linux.resources` of an existing container.

use serde_json::{Map, Value};

use super::{check_request, repair, resources, syntax};
use crate::config::Resources;
use crate::error::{Error, Result, Warning};
use crate::json;

/// The result of an update.
#[derive(Clone, Debug)]
pub struct Update {
    /// The values to write to the cgroup: those of the request and the values on which they depend.
    /// Never has device rules.
    pub resources: Resources,
    /// The text of the config with the new values.
    pub config: Vec<u8>,
    /// What is ignored.
    pub warnings: Vec<Warning>,
}

/// Properties for which 0 is not a valid value. Engines send 0 for a value that should not change.
const UNSET_BY_ZERO: &str = "/memory/limit /memory/reservation /memory/swap /cpu/shares /cpu/quota \
    /cpu/period /cpu/realtimeRuntime /cpu/realtimePeriod /blockIO/weight";

/// Groups of properties that can only be written together.
const TOGETHER: [(&str, &str); 3] = [
    ("memory", "limit swap"),
    ("cpu", "quota period burst"),
    ("cpu", "shares idle"),
];

/// Applies `request`, the text of a value like `linux.resources`, to the text of `config`.
///
/// # Errors
/// `request` is not JSON, or a value is invalid, alone or together with a saved one.
pub fn update(config: &[u8], request: &[u8]) -> Result<Update> {
    let warnings = check_request(request)?;
    let mut request = changes(request)?;
    let mut config = document(config)?;
    let saved = limits_of(&mut config)?;
    end_idle(&mut request, saved);
    merge(saved, &request);
    complete(&mut request, saved);
    let (resources, _) = resources(request.to_string().as_bytes()).map_err(|error| {
        error.hint("a value that an update leaves out does not change: give both to change both")
    })?;
    Ok(Update {
        resources,
        config: json::text(&config).into_bytes(),
        warnings,
    })
}

/// Checks the text of a saved config as far as an update reads it.
///
/// # Errors
/// It is not JSON, or has no place for limits.
pub fn check_saved(config: &[u8]) -> Result<()> {
    limits_of(&mut document(config)?).map(drop)
}

fn document(text: &[u8]) -> Result<Value> {
    serde_json::from_str(&repair::text(text)).map_err(|error| syntax(&error))
}

/// The request without the values that ask for no change.
fn changes(request: &[u8]) -> Result<Value> {
    let mut request = document(request)?;
    repair::drop_nulls(&mut request);
    repair::resources(&mut request)?;
    if let Value::Object(request) = &mut request {
        // Device rules do not change: an engine may have set its own for the running container.
        repair::remove(request, "devices");
    }
    let zero = |value: Option<&Value>| value.and_then(Value::as_i64) == Some(0);
    for pointer in UNSET_BY_ZERO.split(' ') {
        if zero(request.pointer(pointer)) {
            remove(&mut request, pointer);
        }
    }
    for pointer in ["/cpu/cpus", "/cpu/mems"] {
        if request.pointer(pointer).and_then(Value::as_str) == Some("") {
            remove(&mut request, pointer);
        }
    }
    // In cgroup v1, unlimited memory made swap unlimited as well.
    if let Some(memory) = request.get_mut("memory").and_then(Value::as_object_mut)
        && memory.get("limit").and_then(Value::as_i64) == Some(-1)
    {
        memory.entry("swap").or_insert(Value::from(-1));
    }
    Ok(request)
}

/// New shares end the idle state, in which they would have no effect.
fn end_idle(request: &mut Value, saved: &Value) {
    let is_idle = saved.pointer("/cpu/idle").and_then(Value::as_i64) == Some(1);
    if let (true, Some(Value::Object(cpu))) = (is_idle, request.get_mut("cpu"))
        && cpu.contains_key("shares")
    {
        cpu.entry("idle").or_insert(Value::from(0));
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(Value::Object(parent)) = value.pointer_mut(parent) {
        repair::remove(parent, key);
    }
}

/// `linux.resources` of the config. Creates it if it is absent.
fn limits_of(config: &mut Value) -> Result<&mut Value> {
    let broken = || Error::new("linux.resources: not an object");
    let mut at = config;
    for key in ["linux", "resources"] {
        let members = at.as_object_mut().ok_or_else(broken)?;
        at = members.entry(key).or_insert(Value::Null);
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
    }
    at.is_object().then_some(at).ok_or_else(broken)
}

/// Merges `new` into `old`: objects member by member, and lists element by element if all elements
/// have a name.
fn merge(old: &mut Value, new: &Value) {
    if old.is_null() {
        // A clone of `new` would not do: the request may have two elements with the same name.
        match new {
            Value::Object(_) => *old = Value::Object(Map::new()),
            Value::Array(_) => *old = Value::Array(Vec::new()),
            _ => {}
        }
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(old), Value::Array(new)) if new.iter().all(|it| name(it).is_some()) => {
            for element in new {
                let place = old.iter().position(|it| name(it) == name(element));
                let place = place.unwrap_or_else(|| {
                    old.push(Value::Null);
                    old.len() - 1
                });
                merge(&mut old[place], element);
            }
        }
        (old, new) => *old = new.clone(),
    }
}

/// The name of a list element: the numbers of its device, or its size of huge pages. What can be
/// merged itself is no name: it may change.
fn name(element: &Value) -> Option<(&Value, Option<&Value>)> {
    let (name, rest) = match element.get("pageSize") {
        Some(size) => (size, None),
        None => (element.get("major")?, element.get("minor")),
    };
    let is_fixed = |value: &&Value| !value.is_array() && !value.is_object();
    let all = [Some(name), rest];
    all.iter().flatten().all(is_fixed).then_some((name, rest))
}

/// Adds the saved values without which the values of the request cannot be written.
fn complete(request: &mut Value, saved: &Value) {
    let checks = saved.pointer("/memory/checkBeforeUpdate").cloned();
    let limits_memory = request.pointer("/memory/limit").is_some();
    for (parent, keys) in TOGETHER {
        let Some(section) = request.get_mut(parent).and_then(Value::as_object_mut) else {
            continue;
        };
        if !keys.split(' ').any(|key| section.contains_key(key)) {
            continue;
        }
        for key in keys.split(' ') {
            if let (false, Some(value)) = (section.contains_key(key), saved[parent].get(key)) {
                section.insert(key.to_owned(), value.clone());
            }
        }
    }
    // The check is for a new limit only: the memory in use may well have reached the old one.
    if let Some(memory) = request.get_mut("memory").and_then(Value::as_object_mut) {
        repair::remove(memory, "checkBeforeUpdate");
        if let (true, Some(checks)) = (limits_memory, checks) {
            memory.insert("checkBeforeUpdate".to_owned(), checks);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::resources::{Limit, Swap};

    fn run(saved: &Value, request: &Value) -> Result<(Update, Value)> {
        let config = json!({"ociVersion": "1.3.0", "linux": {"resources": saved}});
        let done = update(
            config.to_string().as_bytes(),
            request.to_string().as_bytes(),
        )?;
        let config: Value = serde_json::from_slice(&done.config).unwrap();
        let saved = config["linux"]["resources"].clone();
        Ok((done, saved))
    }

    #[test]
    fn the_last_of_two_elements_with_one_name_is_saved() {
        let request = json!({"hugepageLimits": [
            {"pageSize": "2MB", "limit": 1}, {"pageSize": "2MB", "limit": 0}]});
        for saved in [json!({}), json!({"hugepageLimits": []})] {
            let (_, saved) = run(&saved, &request).unwrap();
            let expected = json!([{"pageSize": "2MB", "limit": 0}]);
            assert_eq!(saved["hugepageLimits"], expected);
        }
    }

    #[test]
    fn only_requested_values_are_written_and_all_are_saved() {
        let saved = json!({
            "devices": [{"allow": false}],
            "memory": {"limit": 100, "reservation": 50},
            "cpu": {"shares": 512, "cpus": "0"},
            "pids": {"limit": 9},
        });
        let request = json!({"memory": {"reservation": 60}, "cpu": {"mems": "0"}, "devices": [],
            "unified": {"memory.high": "7"}});
        let (done, saved) = run(&saved, &request).unwrap();
        let resources = &done.resources;
        assert_eq!(resources.memory.reservation, Some(Limit::At(60)));
        assert_eq!((resources.memory.limit, resources.pids), (None, None));
        assert_eq!((resources.cpu.shares, &resources.cpu.cpus), (None, &None));
        assert_eq!(resources.cpu.mems.as_deref(), Some("0"));
        assert!(resources.devices.is_empty());
        assert_eq!(
            saved,
            json!({
                "devices": [{"allow": false}],
                "memory": {"limit": 100, "reservation": 60},
                "cpu": {"shares": 512, "cpus": "0", "mems": "0"},
                "pids": {"limit": 9},
                "unified": {"memory.high": "7"},
            })
        );
    }

    #[test]
    fn missing_values_of_a_group_come_from_the_saved_ones() {
        let saved = json!({
            "memory": {"limit": 100, "swap": 300},
            "cpu": {"quota": 20000, "period": 50000, "burst": 10, "idle": 0},
        });
        let (done, saved) = run(&saved, &json!({"cpu": {"period": 40000}})).unwrap();
        let cpu = &done.resources.cpu;
        assert_eq!(
            (cpu.quota, cpu.period, cpu.burst),
            (Some(Limit::At(20000)), Some(40000), Some(10))
        );
        assert_eq!((cpu.idle, done.resources.memory.swap), (None, None));
        let (done, saved) = run(&saved, &json!({"memory": {"limit": 200}})).unwrap();
        let memory = &done.resources.memory;
        assert_eq!(memory.limit, Some(Limit::At(200)));
        assert_eq!(memory.swap, Some(Swap::Asked(Limit::At(100))));
        assert_eq!(saved["cpu"]["period"], 40000);
        let (done, saved) = run(&saved, &json!({"memory": {"limit": -1}})).unwrap();
        assert_eq!(done.resources.memory.swap, Some(Swap::Asked(Limit::Max)));
        assert_eq!(saved["memory"], json!({"limit": -1, "swap": -1}));
    }

    #[test]
    fn values_that_contradict_the_saved_ones_are_refused() {
        for (saved, request, field) in [
            (
                json!({"memory": {"limit": 100, "swap": 300}}),
                json!({"memory": {"limit": 400}}),
                "swap",
            ),
            (
                json!({"cpu": {"quota": 2000}}),
                json!({"cpu": {"burst": 3000}}),
                "burst",
            ),
            (
                json!({"cpu": {"quota": 5000, "burst": 4000}}),
                json!({"cpu": {"quota": 3000}}),
                "burst",
            ),
        ] {
            let error = run(&saved, &request).unwrap_err().to_string();
            assert!(
                error.contains(&format!(".{field}: ")) && error.contains("give both"),
                "{error}"
            );
        }
        let error = run(&json!({}), &json!({"cpu": {"quota": 5}}))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cpu.quota") && !error.contains("give both"),
            "{error}"
        );
    }

    #[test]
    fn zeros_that_mean_unset_change_nothing_but_real_zeros_do() {
        let saved = json!({"memory": {"limit": 100}, "cpu": {"quota": 2000, "cpus": "0"}});
        let request = json!({
            "memory": {"limit": 0, "swap": 0},
            "cpu": {"quota": 0, "shares": 0, "cpus": "", "idle": 0},
            "pids": {"limit": 0},
        });
        let (done, saved) = run(&saved, &request).unwrap();
        assert_eq!(saved["memory"], json!({"limit": 100}));
        assert_eq!(saved["cpu"], json!({"quota": 2000, "cpus": "0", "idle": 0}));
        assert_eq!(
            (done.resources.memory.limit, done.resources.cpu.quota),
            (None, None)
        );
        assert_eq!(
            (done.resources.cpu.idle, done.resources.pids),
            (Some(false), Some(Limit::At(1)))
        );
        let (done, _) = run(&saved, &json!({"pids": {}})).unwrap();
        assert_eq!(done.resources.pids, None);
    }

    #[test]
    fn new_shares_end_the_idle_state() {
        let saved = json!({"cpu": {"idle": 1}});
        for (request, idle) in [
            (json!({"shares": 512}), false),
            (json!({"shares": 512, "idle": 1}), true),
            (json!({"period": 50000}), true),
        ] {
            let (done, saved) = run(&saved, &json!({"cpu": request})).unwrap();
            assert_eq!(saved["cpu"]["idle"], i64::from(idle), "{request}");
            let written = done.resources.cpu.idle;
            assert_eq!(written.unwrap_or(true), idle, "{request}");
        }
        let (done, _) = run(&json!({}), &json!({"cpu": {"shares": 512}})).unwrap();
        assert_eq!(done.resources.cpu.idle, None);
    }

    #[test]
    fn an_update_that_is_repeated_changes_nothing_more() {
        for request in [
            r#"{"new": [{"major": 1, "new": [{"major": 8}, {"new": 0, "major": 8}]}]}"#,
            r#"{"new": [{"major": [{"major": 8}, {"new": 0, "major": 8}]}]}"#,
        ] {
            let once = update(b"{}", request.as_bytes()).unwrap().config;
            let twice = update(&once, request.as_bytes()).unwrap().config;
            assert_eq!(String::from_utf8(once), String::from_utf8(twice));
        }
    }

    #[test]
    fn lists_are_merged_by_device_and_size() {
        let one = |minor, rate| json!({"major": 8, "minor": minor, "rate": rate});
        let saved = json!({
            "blockIO": {"throttleReadBpsDevice": [one(0, 1), one(1, 2)]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        });
        let request = json!({
            "blockIO": {"throttleReadBpsDevice": [one(1, 3), one(2, 4)]},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 2}],
        });
        let (done, saved) = run(&saved, &request).unwrap();
        assert_eq!(done.resources.block_io.throttle.len(), 2);
        assert_eq!(
            saved["blockIO"]["throttleReadBpsDevice"],
            json!([one(0, 1), one(1, 3), one(2, 4)])
        );
        assert_eq!(saved["hugepageLimits"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn check_before_update_applies_only_to_a_new_limit() {
        let saved = json!({"memory": {"limit": 100, "checkBeforeUpdate": true}});
        let checks = |request: Value| {
            let (done, _) = run(&saved, &json!({"memory": request})).unwrap();
            done.resources.memory.check_before_update
        };
        assert!(checks(json!({"limit": 50})));
        assert!(!checks(json!({"limit": 50, "checkBeforeUpdate": false})));
        assert!(!checks(json!({"swap": 200})));
    }

    #[test]
    fn a_config_without_resources_gets_them() {
        for config in [
            json!({}),
            json!({"linux": null}),
            json!({"linux": {"resources": null}}),
        ] {
            let text = config.to_string();
            let done = update(text.as_bytes(), br#"{"pids": {"limit": 3}}"#).unwrap();
            let config: Value = serde_json::from_slice(&done.config).unwrap();
            assert_eq!(config["linux"]["resources"], json!({"pids": {"limit": 3}}));
        }
        assert!(update(b"{}", b"{").is_err());
        assert!(update(b"{}", b"[]").is_err());
    }
}
