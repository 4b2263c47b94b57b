//! Repairs JSON that container engines write, or read, differently from oci-spec's types.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::config::numbers;
use crate::error::{Code, Error, Result, Warning};

/// The sets of `process.capabilities`.
const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
];

/// Whether a `capabilities` object has a string that does not look like `CAP_…`. oci-spec's types
/// also accept lower-case names and names without the prefix, which the specification does not
/// allow. A false positive only costs time.
pub(super) fn odd_capability(json: &str) -> bool {
    const KEY: &str = "\"capabilities\"";
    let Some((_, rest)) = json.split_once(KEY) else {
        return false;
    };
    let rest = rest.as_bytes();
    let object = &rest[..rest
        .iter()
        .position(|byte| *byte == b'}')
        .unwrap_or(rest.len())];
    let strings = object.split(|byte| *byte == b'"').skip(1).step_by(2);
    let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    strings.into_iter().any(|string| {
        let set = SETS.iter().any(|name| name.as_bytes() == string);
        let name = string.starts_with(b"CAP_") && string.iter().all(upper);
        !(set || name)
    })
}

/// The text with U+FFFD in place of invalid UTF-8 and of unpaired surrogates (`\ud800` to
/// `\udfff`), as Go reads it. A replaced escape keeps its length, so positions stay valid.
pub(super) fn text(json: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(json);
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    let mut text = text.into_owned();
    for at in lone {
        text.replace_range(at..at + 6, "\\ufffd");
    }
    Cow::Owned(text)
}

/// The positions at which escapes of unpaired surrogates begin.
fn lone_surrogates(text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            at += 1;
            continue;
        }
        match (escape(text, at), escape(text, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                found.push(at);
                at += 6;
            }
            (Some(_), _) => at += 6,
            (None, _) => at += 2,
        }
    }
    found
}

/// The number of the `\uXXXX` at `at`.
fn escape(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// Removes the members for which `keep` does not hold. [`Map::retain`] and [`Map::remove`] balance the
/// tree again, which is 4 kB of code.
pub(crate) fn retain(members: &mut Map<String, Value>, keep: &dyn Fn(&str, &Value) -> bool) {
    for (name, member) in std::mem::take(members) {
        if keep(&name, &member) {
            members.insert(name, member);
        }
    }
}

/// Removes the member, if there is one.
pub fn remove(members: &mut Map<String, Value>, name: &str) {
    retain(members, &|other, _| other != name);
}

/// Removes the members that are `null`: they count as absent.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            retain(members, &|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Two names of `process.scheduler.flags` that oci-spec's types spell differently.
const SCHEDULER_FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

fn scheduler(scheduler: &mut Value) {
    let flags = scheduler.get_mut("flags").and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        let known = SCHEDULER_FLAGS.iter().find(|(name, _)| flag == name);
        if let Some((_, theirs)) = known {
            *flag = Value::from(*theirs);
        }
    }
}

/// Removes empty lists of CPUs, which count as absent. oci-spec's types refuse them, and do not say
/// which list is not one.
fn affinity(lists: &mut Map<String, Value>) -> Result<()> {
    retain(lists, &|_, list| list != "");
    for (name, list) in lists {
        if let Value::String(text) = list {
            numbers::checked(&format!("process.execCPUAffinity.{name}"), text)?;
        }
    }
    Ok(())
}

/// Adds an absent `user`, which is root. Turns unknown capability names into warnings.
///
/// # Errors
/// A list of CPUs is not one.
pub(super) fn process(process: &mut Value, warnings: &mut Vec<Warning>) -> Result<()> {
    let Value::Object(process) = process else {
        return Ok(());
    };
    process.get_mut("scheduler").map(scheduler);
    if let Some(Value::Object(lists)) = process.get_mut("execCPUAffinity") {
        affinity(lists)?;
    }
    process
        .entry("user")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(Value::Object(sets)) = process.get_mut("capabilities") else {
        return Ok(());
    };
    let mut told: Vec<String> = Vec::new();
    for set in SETS {
        let Some(Value::Array(names)) = sets.get_mut(set) else {
            continue;
        };
        names.retain(|name| {
            let Value::String(name) = name else {
                return true;
            };
            let known = name.parse::<caps::Capability>().is_ok();
            // Most names stand in several sets.
            if !known && !told.contains(name) {
                told.push(name.clone());
                let field = format!("process.capabilities.{set}");
                let message = format!("unknown capability {name:?}, ignored");
                let warning = Error::config(field, message);
                warnings.push(warning.code_is(Code::WarningUnknownCapability));
            }
            known
        });
    }
    Ok(())
}

/// Removes `pids` if it has no `limit`: there is no limit then.
///
/// # Errors
/// A limit of huge pages is missing.
pub(super) fn resources(resources: &mut Value) -> Result<()> {
    let Value::Object(resources) = resources else {
        return Ok(());
    };
    let limitless = |limit: &Value| {
        limit
            .as_object()
            .is_some_and(|it| !it.contains_key("limit"))
    };
    if resources.get("pids").is_some_and(limitless) {
        remove(resources, "pids");
    }
    let hugepages = resources.get("hugepageLimits").and_then(Value::as_array);
    match hugepages.and_then(|limits| limits.iter().position(limitless)) {
        None => Ok(()),
        Some(index) => {
            let field = format!("linux.resources.hugepageLimits[{index}].limit");
            Err(Error::missing(field))
        }
    }
}

/// Adds the absent numbers of conditions on arguments, which are 0: writers that leave out zeros
/// leave out those too.
pub(super) fn syscalls(rules: &mut Value) {
    let rules = rules.as_array_mut().into_iter().flatten();
    let args = rules.filter_map(|rule| rule.get_mut("args")?.as_array_mut());
    for arg in args.flatten().filter_map(Value::as_object_mut) {
        for name in ["index", "value"] {
            arg.entry(name).or_insert(Value::from(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_stay() {
        for (from, to) in [
            (r#""a\ud800b""#, r#""a\ufffdb""#),
            (r#""\udc00\ud800""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\ud8""#, r#""\ud8""#),
        ] {
            assert_eq!(text(from.as_bytes()), to);
        }
        assert_eq!(text(b"\"\xff\""), "\"\u{fffd}\"");
    }

    #[test]
    fn odd_capability_names_are_found() {
        for (json, odd) in [
            (
                r#"{"capabilities": {"bounding": ["CAP_KILL"], "ambient": []}}"#,
                false,
            ),
            (r#"{"capabilities": {"bounding": ["cap_kill"]}}"#, true),
            (
                r#"{"capabilities": {"bounding": ["CAP_KILL", "chown"]}}"#,
                true,
            ),
            (r#"{"args": ["chown"]}"#, false),
        ] {
            assert_eq!(odd_capability(json), odd, "{json}");
        }
    }
}
