//! Reads what it can from a state that is damaged, or that another version wrote.

use serde_json::{Map, Value};

use super::State;
use crate::json;
use crate::spec::{objects, remove, retain};

/// What can be read of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// A field that cannot be read is that of the base. The pid is 0 if it or the start time cannot
    /// be read.
    pub state: State,
    /// Whether the text says which cgroup the container has, or that it has none.
    pub has_cgroup: bool,
}

impl State {
    /// The state of a container that is to be removed, field by field from the text of a
    /// `state.json` that [`State::find`] calls broken. `base` is what is known without it.
    pub fn salvage(base: &Self, text: &[u8]) -> Salvaged {
        let mut salvaged = Salvaged {
            state: base.clone(),
            has_cgroup: false,
        };
        let Some(mut whole) = object(&serde_json::to_string(base).unwrap_or_default()) else {
            return salvaged;
        };
        let mut process = Vec::new();
        for (key, value) in fields(text) {
            if key == "id" {
                continue;
            }
            let before = whole.insert(key.clone(), value);
            if let Some(state) = read(&whole) {
                salvaged.state = state;
                salvaged.has_cgroup |= key == "cgroup";
                process.extend(["pid", "startTime"].into_iter().filter(|part| key == *part));
            } else if let Some(before) = before {
                whole.insert(key, before);
            } else {
                remove(&mut whole, &key);
            }
        }
        if process.len() < 2 {
            (salvaged.state.pid, salvaged.state.start_time) = (base.pid, base.start_time);
        }
        salvaged
    }
}

/// By the text: reading a state from a `Value` would be another 20 kB of code.
fn read(whole: &Map<String, Value>) -> Option<State> {
    objects::read(&serde_json::to_string(whole).ok()?).ok()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text).ok()? {
        Value::Object(found) => Some(found),
        _ => None,
    }
}

/// The fields of a text, of which the end may be missing. Bytes that are not text would change a
/// path, and the field would be that of something else.
fn fields(text: &[u8]) -> Map<String, Value> {
    const UNKNOWN: char = char::REPLACEMENT_CHARACTER;
    let lossy = String::from_utf8_lossy(text);
    let complete = || Some(lossy[..last_comma(&lossy)?].to_owned() + "}");
    let found = object(&lossy).or_else(|| object(&complete()?));
    let mut found = found.unwrap_or_default();
    if matches!(lossy, std::borrow::Cow::Owned(_)) {
        retain(&mut found, &|_, value| !json::text(value).contains(UNKNOWN));
    }
    found
}

/// The last comma between two fields of the object.
fn last_comma(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    let mut last = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => last = Some(at),
            _ => {}
        }
    }
    last
}
