//! Reads what it can from a state that another version wrote.

use serde_json::{Map, Value};

use super::{DeferredWork, State};

impl State {
    /// The state of the container `id`, which is to be removed, from the text of a `state.json`
    /// that [`State::find`] calls broken because a field is missing. The caller has to look up the
    /// hooks in the config. `None` if the text does not contain a process.
    pub fn salvage(id: &str, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let found: Map<String, Value> = serde_json::from_str(text).ok()?;
        if !["pid", "startTime"]
            .iter()
            .all(|key| found.contains_key(*key))
        {
            return None;
        }
        let nothing = Self {
            id: id.to_owned(),
            later: DeferredWork {
                process: true,
                start_container_hooks: true,
                poststart_hooks: true,
                poststop_hooks: true,
            },
            ..Self::default()
        };
        let nothing = serde_json::to_string(&nothing).ok()?;
        let mut whole: Map<String, Value> = serde_json::from_str(&nothing).ok()?;
        whole.extend(found);
        // By the text: reading a state from a `Value` would be another 20 kB of code.
        let whole = serde_json::to_string(&whole).ok()?;
        serde_json::from_str(&whole).ok()
    }
}
