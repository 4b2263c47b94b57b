//! What a state that another version wrote still says.

use serde_json::{Map, Value};

use super::{Later, State};

impl State {
    /// What the text of a `state.json` names of the container `id`, which is to be removed, where
    /// [`State::find`] calls it broken because a property is missing. Whether there are hooks is then to be looked up in
    /// the config. `None` if the file names no process.
    pub fn salvage(id: &str, text: &[u8]) -> Option<Self> {
        let found: Map<String, Value> = serde_json::from_slice(text).ok()?;
        if !["pid", "startTime"]
            .iter()
            .all(|key| found.contains_key(*key))
        {
            return None;
        }
        let nothing = Self {
            id: id.to_owned(),
            later: Later {
                process: true,
                start_container_hooks: true,
                poststart_hooks: true,
                poststop_hooks: true,
            },
            ..Self::default()
        };
        let mut whole = serde_json::to_value(nothing).ok()?;
        whole.as_object_mut()?.extend(found);
        serde_json::from_value(whole).ok()
    }
}
