//! Reads what it can from a state that another version wrote.

use serde_json::Value;

use super::{DeferredWork, State};
use crate::spec::objects;

impl State {
    /// The state of the container `id`, which is to be removed, from the text of a `state.json`
    /// that [`State::find`] calls broken because a field is missing. The caller has to look up the
    /// hooks in the config. `None` if the text does not contain a process.
    pub fn salvage(id: &str, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let Value::Object(found) = serde_json::from_str(text).ok()? else {
            return None;
        };
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
        let mut whole: Value = serde_json::from_str(&nothing).ok()?;
        whole.as_object_mut()?.extend(found);
        // By the text: reading a state from a `Value` would be another 20 kB of code.
        objects::read(&whole.to_string()).ok()
    }
}
