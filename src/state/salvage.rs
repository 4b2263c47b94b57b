//! What a state that another version wrote still says.

use serde_json::{Map, Value};

use super::{Dir, Later, State};
use crate::sys::file;

impl State {
    /// What `state.json` names of a container that is to be removed, where [`State::load`] refuses
    /// the file because a property is missing. Whether there are hooks is then to be looked up in
    /// the config. `None` if the file names no process.
    pub fn salvage(dir: &Dir) -> Option<Self> {
        let text = file::read(&dir.state_file()).ok()?;
        let found: Map<String, Value> = serde_json::from_slice(&text).ok()?;
        if !["pid", "startTime"]
            .iter()
            .all(|key| found.contains_key(*key))
        {
            return None;
        }
        let nothing = Self {
            id: dir.id.clone(),
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
