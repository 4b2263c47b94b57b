//! The targets.

pub mod arguments;
pub mod config;
pub mod dbus;
pub mod heap;
pub mod messages;
pub mod mounts;
pub mod process;
pub mod program;
pub mod seccomp;
pub mod state;
pub mod update;

use std::sync::OnceLock;

use sampan::host::Host;
use sampan::plan::{Options, ProcessOptions};

use crate::Target;
use crate::case;

/// All targets.
pub const ALL: [&Target; 11] = [
    &config::TARGET,
    &process::TARGET,
    &update::TARGET,
    &mounts::TARGET,
    &seccomp::TARGET,
    &state::TARGET,
    &program::TARGET,
    &arguments::TARGET,
    &dbus::TARGET,
    &messages::TARGET,
    &heap::TARGET,
];

/// The absolute path of the bundle for which configs are read.
const BUNDLE: &str = "/bundle";

/// A host, and additions by the command line.
struct Scenario {
    host: Host,
    options: Options,
}

/// Every kind of host that planning distinguishes, each with its own flags.
fn scenarios() -> &'static [Scenario] {
    static ALL: OnceLock<Vec<Scenario>> = OnceLock::new();
    ALL.get_or_init(|| {
        let id = || Options {
            id: "ship".to_owned(),
            ..Options::default()
        };
        let systemd = Options {
            systemd: true,
            ..id()
        };
        let rootless = Options {
            process: ProcessOptions {
                preserved_fds: 3,
                listen_fds: 1,
                ..ProcessOptions::default()
            },
            notify: Some("/run/user/1000/sampan/ship/notify".into()),
            ..systemd.clone()
        };
        let nested = Options {
            no_pivot: true,
            process: ProcessOptions {
                no_new_keyring: true,
                ..ProcessOptions::default()
            },
            ..id()
        };
        let none = Options {
            no_cgroup: true,
            ..id()
        };
        let all = [
            ("unified", id()),
            ("apparmor", systemd),
            ("rootless", rootless),
            ("nested", nested),
            ("hybrid", id()),
            ("none", none),
        ];
        let scenario = |(host, options)| Scenario {
            host: case::host(host),
            options,
        };
        all.map(scenario).into()
    })
}
