//! Arrays where the specification has objects. serde's derived types take either, and would
//! read `"user": [1000, 1000]` as a uid and a gid.

use serde_json::Value;

use super::locate::{join, string_end};
use crate::error::{Error, Result};

/// Where `config.json` has objects of named properties; `[]` stands for any index and `*` for
/// any key.
const OBJECTS: &[&str] = &[
    "root",
    "mounts[]",
    "process",
    "process.user",
    "process.consoleSize",
    "process.capabilities",
    "process.rlimits[]",
    "hooks",
    "hooks.prestart[]",
    "hooks.createRuntime[]",
    "hooks.createContainer[]",
    "hooks.startContainer[]",
    "hooks.poststart[]",
    "hooks.poststop[]",
    "linux",
    "linux.namespaces[]",
    "linux.uidMappings[]",
    "linux.gidMappings[]",
    "linux.timeOffsets.*",
    "linux.devices[]",
    "linux.personality",
    "linux.seccomp",
    "linux.seccomp.syscalls[]",
    "linux.seccomp.syscalls[].args[]",
    "linux.resources",
    "linux.resources.devices[]",
    "linux.resources.memory",
    "linux.resources.cpu",
    "linux.resources.pids",
    "linux.resources.blockIO",
    "linux.resources.blockIO.weightDevice[]",
    "linux.resources.blockIO.throttleReadBpsDevice[]",
    "linux.resources.blockIO.throttleWriteBpsDevice[]",
    "linux.resources.blockIO.throttleReadIOPSDevice[]",
    "linux.resources.blockIO.throttleWriteIOPSDevice[]",
    "linux.resources.hugepageLimits[]",
    "linux.resources.network",
    "linux.resources.network.priorities[]",
    "linux.resources.rdma.*",
];

const WRONG: &str = "invalid type: array, expected an object";

/// Whether well-formed `json` may have an array in the place of an object: one directly within
/// another, or behind a key that has an object somewhere. A wrong yes costs time only.
pub(super) fn suspicious(json: &[u8]) -> bool {
    let objects: Vec<_> = OBJECTS.iter().map(|pattern| last_names(pattern)).collect();
    // The key of each open object; nothing for an array.
    let mut open: Vec<Option<&[u8]>> = Vec::with_capacity(16);
    let mut last: &[u8] = b"";
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let start = at;
                at = string_end(json, start);
                last = json.get(start..at - 1).unwrap_or_default();
            }
            b'[' => match open.last() {
                Some(Some(parent)) if !needs_object(&objects, parent, last) => open.push(None),
                _ => return true,
            },
            b'{' => open.push(Some(last)),
            b']' | b'}' => {
                open.pop();
            }
            _ => {}
        }
    }
    false
}

/// The last two names of a pattern.
fn last_names(pattern: &'static str) -> (&'static [u8], &'static [u8]) {
    let (parents, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
    let parent = parents
        .rsplit_once('.')
        .map_or(parents, |(_, parent)| parent);
    (parent.as_bytes(), name.as_bytes())
}

/// Whether `key` in an object behind the key `parent` may want an object.
fn needs_object(objects: &[(&[u8], &[u8])], parent: &[u8], key: &[u8]) -> bool {
    key.contains(&b'\\')
        || objects
            .iter()
            .any(|(above, name)| *name == key || (*name == b"*" && *above == parent))
}

/// Refuses every array in the place of an object. `path` is where `value` stands, `pattern`
/// the same with `[]` for the indices.
///
/// # Errors
/// The first such array, by its path.
pub(super) fn check(value: &Value, path: &str, pattern: &str) -> Result<()> {
    match value {
        Value::Array(_) if path.is_empty() => Err(Error::config("line 1, the document", WRONG)),
        Value::Array(_) if is_object(pattern) => Err(Error::config(path, WRONG)),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .try_for_each(|(index, element)| {
                check(
                    element,
                    &format!("{path}[{index}]"),
                    &format!("{pattern}[]"),
                )
            }),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(key, member)| check(member, &join(path, key), &join(pattern, key))),
        _ => Ok(()),
    }
}

fn is_object(pattern: &str) -> bool {
    let any_key = OBJECTS.iter().filter_map(|object| object.strip_suffix('*'));
    OBJECTS.contains(&pattern)
        || any_key.into_iter().any(|map| {
            pattern
                .strip_prefix(map)
                .is_some_and(|key| !key.is_empty() && !key.contains(['.', '[']))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_array_for_an_object_is_found() {
        for pattern in OBJECTS {
            // `mounts[]` becomes {"mounts": [[]]}, `rdma.*` becomes {"rdma": {"x": []}}.
            let mut text = "[]".to_owned();
            for name in pattern.rsplit('.') {
                let plain = name.trim_end_matches("[]");
                if plain.len() < name.len() {
                    text = format!("[{text}]");
                }
                text = format!("{{{:?}: {text}}}", plain.replace('*', "x"));
            }
            assert!(suspicious(text.as_bytes()), "{text}");
            let value = serde_json::from_str(&text).expect("JSON");
            let error = check(&value, "", "").expect_err(&text).to_string();
            let path = pattern.replace("[]", "[0]").replace('*', "x");
            assert_eq!(error, format!("{path}: {WRONG}"));
        }
    }

    #[test]
    fn arrays_at_their_places_and_in_unknown_properties_are_none() {
        let engine = include_bytes!("../config/tests/engine.json");
        assert!(!suspicious(engine));
        for text in [
            r#"{"new": [[1]], "linux": {"new": {"memory": []}}}"#,
            r#"{"a": [1, {"memory": [2]}], "mounts": [{"options": [[]]}]}"#,
        ] {
            assert!(suspicious(text.as_bytes()), "{text}");
            let value = serde_json::from_str(text).expect("JSON");
            check(&value, "", "").expect(text);
        }
    }
}
