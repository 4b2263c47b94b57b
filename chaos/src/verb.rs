//! The verbs that are disturbed: what has to be there before, and the words of the call.

use std::ffi::OsString;
use std::path::Path;

use runtime_tests::Container;
use serde_json::json;

use crate::world::World;

/// What a verb finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Before {
    Nothing,
    Created,
    Running,
}

/// A verb with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    pub name: &'static str,
    pub before: Before,
    /// What follows the container's id.
    pub args: &'static [&'static str],
}

impl Verb {
    const fn new(name: &'static str, before: Before, args: &'static [&'static str]) -> Self {
        Self { name, before, args }
    }

    /// A new container in the state that the verb needs.
    pub fn prepare<'w>(&self, world: &'w World, bundle: &Path) -> Container<'w> {
        let container = world.sandbox.container(bundle);
        match self.before {
            Before::Nothing => {}
            Before::Created => drop(container.create().ok()),
            Before::Running => container.launch_ok(),
        }
        container
    }

    /// The words of the call.
    pub fn words(&self, container: &Container<'_>) -> Vec<OsString> {
        container.command_line(self.name, self.args)
    }
}

/// The verbs that change something.
pub const CHANGING: &[Verb] = &[
    Verb::new("create", Before::Nothing, &[]),
    Verb::new("run", Before::Nothing, &[]),
    Verb::new("start", Before::Created, &[]),
    Verb::new("exec", Before::Running, &["true"]),
    Verb::new("kill", Before::Running, &["KILL"]),
    Verb::new("delete", Before::Created, &["--force"]),
];

/// A bundle with hooks at each moment, whose process stays for a while.
pub fn bundle(world: &World, userns: bool) -> std::path::PathBuf {
    let moments = [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ];
    let hook = json!([{"path": "/bin/busybox", "args": ["true"]}]);
    let mut bundle = world.sandbox.bundle().args(&["sleep", "0.01"]);
    for moment in moments {
        bundle = bundle.set(&format!("/hooks/{moment}"), hook.clone());
    }
    if userns {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle = bundle
            .push("/linux/namespaces", json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map);
    }
    bundle.write()
}
