//! Random changes of a JSON value.

#![allow(unreachable_pub, reason = "fuzz and other tests include this file")]

use serde_json::Value;

/// A xorshift generator, which gives the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// The pointers of every value below `value`.
pub fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, child)| (key.replace('~', "~0").replace('/', "~1"), child))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, child)| (index.to_string(), child))
            .collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let pointer = format!("{at}/{key}");
        out.push(pointer.clone());
        pointers(child, &pointer, out);
    }
}

const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1",
    "4096",
    "65536",
    "4294967295",
    "4294967296",
    "-2147483649",
    "9223372036854775807",
    "18446744073709551615",
    "1e300",
    "0.5",
    "\"\"",
    "\"x\"",
    "\"/\"",
    "\"../..\"",
    "\"a=b\"",
    "\"\\u0000\"",
    "\"rbind\"",
    "\"=\"",
    "\"CAP_\"",
    "[]",
    "[0]",
    "[\"\"]",
    "[[]]",
    "[{}]",
    "{}",
    "{\"\": \"\"}",
    "{\"path\": \"x\"}",
    "{\"type\": \"user\"}",
];

/// One random change: removes a value, or replaces it with another one of the config or of a list.
pub fn mutate(config: &mut Value, random: &mut Random) {
    let mut all = Vec::new();
    pointers(config, "", &mut all);
    if all.is_empty() {
        return;
    }
    let pointer = all[random.below(all.len())].clone();
    match random.below(4) {
        0 => remove(config, &pointer),
        1 => {
            let other = all[random.below(all.len())].clone();
            let donor = config.pointer(&other).expect("listed").clone();
            *config.pointer_mut(&pointer).expect("listed") = donor;
        }
        _ => {
            let value = VALUES[random.below(VALUES.len())];
            let value = serde_json::from_str(value).expect("valid JSON");
            *config.pointer_mut(&pointer).expect("listed") = value;
        }
    }
}

fn remove(config: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match config.pointer_mut(parent).expect("listed") {
        Value::Object(members) => {
            members.remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(elements) => {
            elements.remove(key.parse().expect("an index"));
        }
        _ => {}
    }
}
